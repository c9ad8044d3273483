//! A response's body that is handed over in pieces, each with a clock.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Buf, Frame, SizeHint};

use super::in_flight::InFlight;

/// How much of an answer is handed over at a time, and must be taken within the time for a write.
const PIECE: usize = 16 * 1024;

/// A response's body. It and its pieces keep the request in flight, for hyper keeps a piece until it
/// is written: in HTTP/2 that is when the client has opened its window for it.
pub(super) struct TrackedBody {
    body: Body,
    /// Bytes that were taken from the body and not handed over yet.
    rest: Bytes,
    request: Arc<InFlight>,
}

impl TrackedBody {
    pub(super) fn new(body: Body, request: Arc<InFlight>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            request,
        }
    }

    fn next_piece(&mut self) -> Frame<Piece> {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE));
        self.request.note_answering();
        Frame::data(Piece {
            bytes,
            request: self.request.clone(),
        })
    }
}

impl HttpBody for TrackedBody {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rest = bytes,
                    // No answer here has trailers.
                    Err(_) => return Poll::Ready(None),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(self.next_piece())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}

/// A part of an answer. hyper drops it once the client has taken it.
pub(super) struct Piece {
    bytes: Bytes,
    request: Arc<InFlight>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// The piece is taken, which starts the clock of the next one.
impl Drop for Piece {
    fn drop(&mut self) {
        self.request.note_answering();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use crate::serve::wire::{Wire, pause};

    /// Red without `answer_deadline`. With a window of one byte, red where a [`Piece`] does not hold
    /// the turn: hyper then has nothing left to do for the answer.
    #[tokio::test(start_paused = true)]
    async fn an_http2_answer_that_is_not_taken_ends_its_connection_after_thirty_seconds() {
        for window in [0, 1] {
            for path in ["/", "/large"] {
                let mut wire = Wire::open(99_999).http2(window).await;
                let answer = wire.get(path).await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(wire.seconds_until_cut().await, 30, "{path} {window}");
            }
        }
    }

    /// Red where an overdue answer cuts the connection at once.
    #[tokio::test(start_paused = true)]
    async fn those_who_share_a_connection_with_an_answer_that_is_not_taken_are_answered() {
        let mut wire = Wire::open(99_999).http2(0).await;
        let _untaken = wire.get("/large").await.unwrap();
        assert_eq!(wire.get("/soon").await.unwrap().status(), 204);
        assert_eq!(wire.opened.elapsed().as_secs(), 50);
        assert!(wire.get("/").await.is_err(), "it takes no more");
        assert_eq!(wire.seconds_until_cut().await, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_waits_for_others_for_thirty_seconds_more() {
        let mut wire = Wire::open(99_999).http2(0).await;
        let _untaken = wire.get("/large").await.unwrap();
        assert!(wire.get("/slow").await.is_err());
        assert_eq!(wire.seconds_until_cut().await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_not_taken_one_after_the_other_end_with_the_last() {
        let mut wire = Wire::open(99_999).http2(0).await;
        let _first = wire.get("/large").await.unwrap();
        pause(10).await;
        let _second = wire.get("/large").await.unwrap();
        assert_eq!(wire.seconds_until_cut().await, 40);
    }

    /// Red where a piece that is taken does not wind the clock up.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_but_steadily_arrives() {
        let mut wire = Wire::open(99_999).http2(16 * 1024).await;
        let mut body = wire.get("/large").await.unwrap().into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().unwrap().len();
            pause(20).await;
        }
        assert_eq!(length, 100_000);
        assert!(wire.opened.elapsed().as_secs() > 100);
    }
}
