//! A request's body that tells the clocks when there is nothing more to wait for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::in_flight::{InFlight, InFlightBody};

/// A request's body. It ends when it is complete, when it fails, and when a handler drops it: one
/// that wants no body, or no more of it.
pub(super) struct RequestBody {
    body: Incoming,
    in_flight: InFlightBody,
    has_ended: bool,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, request: &InFlight) -> Self {
        Self {
            has_ended: body.is_end_stream(),
            body,
            in_flight: request.body(),
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.in_flight.end();
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.end();
    }
}
