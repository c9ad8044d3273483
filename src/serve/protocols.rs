//! HTTP/1 and HTTP/2 as hyper speaks them here: within bounds.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// The largest head, in HTTP/1 and HTTP/2 alike.
const MAX_HEAD_BYTES: u16 = 16 * 1024;

/// Requests at a time on one HTTP/2 connection: the fifty tabs of a browser that wake at once, and a
/// few more. Each may make the server hold a head, a body and an answer.
const MAX_STREAMS: u32 = 64;

/// How much of a body may be on its way on an HTTP/2 connection before the server has read it: of
/// one request, which need not send more, and of all.
const STREAM_WINDOW: u32 = 32 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// How often an HTTP/2 peer is asked whether it lives, and how long it may take to answer.
const PING: Duration = Duration::from_secs(20);

/// HTTP/1 within bounds. hyper's own clock is off; [`ConnectionTimers`](super::timers::ConnectionTimers)
/// keep the times.
pub(super) fn http1() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES.into());
    http
}

/// HTTP/2 within bounds.
pub(super) fn http2() -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD_BYTES.into())
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    http
}
