//! One connection, from its first byte to its end.
//!
//! [`parked`](super::parked) waits for the client; here hyper speaks with it. The clocks are in
//! [`timers`](super::timers).
//!
//! A client that closes its sending half after its request (`nc`, simple probes) still gets its
//! answer. The price: over HTTP/1 a client that has gone altogether looks the same until the server
//! writes, so its request is worked on to the end, and counts as every other.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tower::Service as _;

use super::cut::Cut;
use super::in_flight::InFlight;
use super::parked;
use super::request_body::RequestBody;
use super::shutdown::Shutdown;
use super::stream::{Protocol, Replace, TimedStream};
use super::timers::{ConnectionTimers, Due, Timeouts};
use super::tracked_body::TrackedBody;

/// The parts that all connections of a listener share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) replace: Replace,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) timeouts: Timeouts,
    pub(super) shutdown: Shutdown,
}

/// Serves one connection to its end.
pub(super) async fn serve<I>(
    io: I,
    peer: SocketAddr,
    shared: Arc<Shared>,
    timers: Arc<ConnectionTimers>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stream = TimedStream::new(io, peer, timers.clone(), shared.replace);
    let service = service_fn({
        let (shared, timers) = (shared.clone(), timers.clone());
        move |request: Request<Incoming>| {
            let in_flight = InFlight::begin(&timers, !request.body().is_end_stream());
            answer(request, peer, shared.clone(), in_flight)
        }
    });
    while let Some(protocol) = parked::wait(&mut stream, &shared.shutdown).await {
        let io = TokioIo::new(stream);
        if protocol == Protocol::Http2 {
            let mut hyper = Box::pin(shared.http2.serve_connection(io, service));
            attend(hyper.as_mut(), &shared, &timers).await;
            return;
        }
        // In a box, so that its memory is free while the connection is parked.
        let mut hyper = Box::new(shared.http1.serve_connection(io, &service));
        if attend(Pin::new(&mut *hyper), &shared, &timers).await == Attended::ToTheEnd {
            return;
        }
        let parts = hyper.into_parts();
        stream = parts.io.into_inner();
        stream.put_back(&parts.read_buf);
    }
}

/// How far hyper went with a connection.
#[derive(Debug, PartialEq, Eq)]
enum Attended {
    ToTheEnd,
    UntilQuiet,
}

/// Lets hyper speak on a connection until that ends, or has been quiet for a while.
async fn attend<C>(
    mut connection: Pin<&mut C>,
    shared: &Shared,
    timers: &ConnectionTimers,
) -> Attended
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut clock = pin!(sleep_until(Instant::now()));
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                ended.unwrap_or_else(|error| note_broken(&error));
                return Attended::ToTheEnd;
            }
            () = shared.shutdown.cut.cancelled() => return Attended::ToTheEnd,
            () = shared.shutdown.stop.cancelled(), if !is_closing => {}
            due = poll_fn(|cx| timers.poll_due(clock.as_mut(), cx)) => match due {
                Due::Park => return Attended::UntilQuiet,
                Due::Cut(Cut::Idle) if !is_closing => timers.restart_idle(),
                Due::Cut(reason) => {
                    reason.note();
                    if reason != Cut::Answer || !timers.begin_grace() {
                        return Attended::ToTheEnd;
                    }
                }
            },
            () = timers.evicted() => {
                Cut::Evicted.note();
                say_goodbye(connection).await;
                return Attended::ToTheEnd;
            }
        }
        connection.as_mut().graceful_shutdown();
        timers.note_closing();
        is_closing = true;
    }
}

fn note_broken(error: &hyper::Error) {
    Cut::by(error).count();
    tracing::debug!(%error, "connection broke off");
}

/// Tells a client of HTTP/2 which of its requests were looked at, if the socket takes that at once.
async fn say_goodbye<C>(mut connection: Pin<&mut C>)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        () = std::future::ready(()) => {}
    }
}

/// Hands a request to the router. Once draining has begun, every answer asks the client not to
/// use the connection again.
async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: Arc<Shared>,
    in_flight: InFlight,
) -> Result<Response<TrackedBody>, Infallible> {
    let in_flight = Arc::new(in_flight);
    let mut request = request.map(|body| Body::new(RequestBody::new(body, &in_flight)));
    let is_http1 = request.version() <= Version::HTTP_11;
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = shared.router.clone().call(request).await?;
    if is_http1 && shared.shutdown.is_draining() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    in_flight.note_answering();
    Ok(response.map(|body| TrackedBody::new(body, in_flight)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use crate::serve::wire::{REQUEST, Wire, pause};

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_used_can_be_closed_by_the_client() {
        let mut wire = Wire::open(999);
        wire.send(REQUEST).await;
        wire.answer().await;
        pause(60).await;
        drop(wire.client);
        wire.server.await.unwrap();
        assert_eq!(wire.opened.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_a_pipeline_are_all_answered() {
        let mut wire = Wire::open(9999);
        wire.send(&REQUEST.repeat(20)).await;
        for _ in 0..20 {
            wire.answer().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_closed_its_half_is_answered() {
        let mut wire = Wire::open(999);
        wire.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        wire.client.shutdown().await.unwrap();
        wire.answer().await;
        wire.server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_ends_idle_connections_at_once_and_busy_ones_when_answered() {
        let (mut idle, mut busy) = (Wire::open(999), Wire::open(999));
        idle.send(REQUEST).await;
        idle.answer().await;
        busy.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        pause(5).await;
        idle.shutdown.stop();
        busy.shutdown.stop();
        let mut nothing = [0];
        assert_eq!(idle.client.read(&mut nothing).await.unwrap(), 0);
        assert_eq!(idle.opened.elapsed().as_secs(), 5);
        let answer = busy.answer().await;
        assert!(answer.contains("connection: close"), "{answer}");
    }
}
