//! The moment in which a closed connection is still read.
//!
//! A connection that is closed with unread bytes is reset, and the client might never see the answer
//! that told it to stop.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a closed connection is read on.
const LINGER: Duration = Duration::from_secs(2);

/// How much of a closed connection is read.
const LINGER_BYTES: usize = 256 * 1024;

/// Reads and forgets.
pub(super) struct Linger {
    clock: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Linger {
    /// The moment begins.
    pub(super) fn begin() -> Self {
        Self {
            clock: Box::pin(sleep(LINGER)),
            bytes_left: LINGER_BYTES,
        }
    }

    /// Ready when the other side has closed too, and at the latest when time or bytes have run out.
    pub(super) fn poll<I>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>
    where
        I: AsyncRead + Unpin,
    {
        while self.bytes_left > 0 && self.clock.as_mut().poll(cx).is_pending() {
            let mut scratch = [0; 4096];
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.bytes_left = self.bytes_left.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use crate::serve::wire::Wire;

    #[tokio::test(start_paused = true)]
    async fn a_closed_connection_waits_two_seconds_for_the_client_to_notice() {
        let mut wire = Wire::open(999);
        wire.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        wire.answer().await;
        assert_eq!(wire.seconds_until_cut().await, 2);
    }
}
