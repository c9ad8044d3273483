//! A connection that waits for its client without hyper.
//!
//! hyper keeps two buffers of 8 KiB for each HTTP/1 connection, and browsers and balancers hold
//! thousands open that are silent. So a connection is given to hyper when something arrives, and
//! taken back once it has been quiet for a moment: parked, it needs a kilobyte or so.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until};

use super::cut::Cut;
use super::shutdown::Shutdown;
use super::stream::{Protocol, TimedStream};
use super::timers::Due;

/// How long a new connection may take to send its first byte when the server ends: its client has
/// been told that it is connected, and cannot tell that its request was not worked on.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Why a connection is no longer parked.
enum Unparked {
    /// The client has sent something.
    Speaks(Protocol),
    /// It ends in good order.
    Close,
    /// It ends at once.
    Drop,
}

/// Waits for the client to send something, and tells the protocol. `None` if the connection ends
/// instead: nothing came in time, another connection needs the slot, or the server stops.
pub(super) async fn wait<I>(stream: &mut TimedStream<I>, shutdown: &Shutdown) -> Option<Protocol>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    stream.timers().park();
    match unparked(stream, shutdown).await {
        Unparked::Speaks(protocol) => return Some(protocol),
        Unparked::Close => {
            // An error here means that the other side has closed first.
            let closed = shutdown.cut.run_until_cancelled(stream.shutdown());
            let _ = closed.await;
        }
        Unparked::Drop => {}
    }
    None
}

async fn unparked<I>(stream: &mut TimedStream<I>, shutdown: &Shutdown) -> Unparked
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let timers = stream.timers().clone();
    let mut clock = pin!(sleep_until(Instant::now()));
    let is_known = stream.is_known();
    tokio::select! {
        biased;
        () = shutdown.cut.cancelled() => Unparked::Drop,
        protocol = stream.wait_for_bytes() => {
            timers.unpark();
            match protocol {
                Ok(Some(protocol)) => Unparked::Speaks(protocol),
                Ok(None) => Unparked::Close,
                Err(_) => Unparked::Drop,
            }
        }
        due = poll_fn(|cx| timers.poll_due(clock.as_mut(), cx)) => end_overdue(due),
        () = stopped(shutdown, is_known) => Unparked::Close,
        () = timers.evicted() => {
            Cut::Evicted.note();
            Unparked::Drop
        }
    }
}

/// Ends a connection whose clock has run out. An idle one has done nothing wrong, so it is closed and
/// not counted.
fn end_overdue(due: Due) -> Unparked {
    match due {
        Due::Park | Due::Cut(Cut::Idle) => Unparked::Close,
        Due::Cut(reason) => {
            reason.note();
            Unparked::Drop
        }
    }
}

/// Waits until a silent connection has to end because the server does.
async fn stopped(shutdown: &Shutdown, is_known: bool) {
    shutdown.stop.cancelled().await;
    if !is_known {
        // In a box, since every parked connection would keep the room for it.
        Box::pin(sleep(FIRST_BYTE)).await;
    }
}
