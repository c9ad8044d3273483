//! Accepting connections, up to the cap, and those that wait when the listener closes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::connection::{self, Shared};
use super::limits::ServerLimits;
use super::slots::{Slot, Slots};
use super::timers::ConnectionTimers;
use crate::telemetry::metrics::CONNECTIONS;

/// How long to wait before accepting again when the system has run out of something. It will not
/// have more at once, and a busy loop would take what is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Accepts one connection after the other until told to stop, and serves each once there is a slot
/// for it. One that waits for a slot when told to stop is served too: its client is connected.
pub(super) async fn accept_until_stopped(
    listener: &TcpListener,
    limits: ServerLimits,
    connections: &TaskTracker,
    shared: &Arc<Shared>,
) {
    let slots = Arc::new(Slots::new(limits.max_connections));
    let stop = &shared.shutdown.stop;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                stop.run_until_cancelled(survive(&error)).await;
                continue;
            }
        };
        let timers = Arc::new(ConnectionTimers::new(shared.timeouts));
        let slot = stop.run_until_cancelled(slots.acquire(&timers)).await;
        let open = Open::begin(slot, limits.listener);
        connections.spawn(serve_open(open, stream, peer, shared.clone(), timers));
    }
}

/// Serves a connection that counts as open meanwhile. The future of [`serve`] is made in here, because one that is
/// moved in would take its room twice.
async fn serve_open(
    _open: Open,
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    timers: Arc<ConnectionTimers>,
) {
    serve(stream, peer, shared, timers).await;
}

/// An open connection: it counts, and holds its slot, until this is dropped.
struct Open {
    listener: &'static str,
    _slot: Option<Slot>,
}

impl Open {
    fn begin(slot: Option<Slot>, listener: &'static str) -> Self {
        CONNECTIONS.shift(1.0, [listener.into()]);
        Self {
            listener,
            _slot: slot,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        CONNECTIONS.shift(-1.0, [self.listener.into()]);
    }
}

/// Closes the listener, and accepts the connections that wait in the backlog: the system tells
/// clients that they are connected before they are accepted, and would reset those that still wait,
/// with the requests that they have sent.
///
/// They are no more than the backlog holds, and may exceed the cap: this is the end.
pub(super) fn accept_backlog(
    listener: TcpListener,
    connections: &TaskTracker,
    shared: &Arc<Shared>,
) {
    // Tokio's listener asks the system only when it has been told that a connection waits.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // A client that has left already keeps no other from being served.
            Err(error) if is_of_one_client(&error) => continue,
            Err(_) => return,
        };
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            let timers = Arc::new(ConnectionTimers::new(shared.timeouts));
            connections.spawn(serve(stream, peer, shared.clone(), timers));
        }
    }
}

fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    timers: Arc<ConnectionTimers>,
) -> impl Future<Output = ()> {
    // An answer is one small write: there is nothing to gain from waiting for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
    }
    connection::serve(stream, peer, shared, timers)
}

/// A connection that failed before it was accepted needs no reaction; anything else (no more file
/// descriptors, no memory) is logged and waited out.
async fn survive(error: &io::Error) {
    if !is_of_one_client(error) {
        tracing::error!(error = error as &dyn std::error::Error, "cannot accept");
        sleep(ACCEPT_PAUSE).await;
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::protocols;
    use crate::serve::shutdown::Shutdown;
    use crate::serve::timers::Timeouts;

    /// Red where the future of a connection is moved into that which holds its slot.
    #[tokio::test]
    async fn an_open_connection_takes_little_more_than_a_kilobyte() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let stream = TcpStream::connect(peer).await.unwrap();
        let second = Duration::from_secs(1);
        let timeouts = Timeouts {
            head: second,
            idle: second,
            write: second,
        };
        let shared = Arc::new(Shared {
            router: axum::Router::new(),
            replace: |_, _| None,
            http1: protocols::http1(),
            http2: protocols::http2(),
            timeouts,
            shutdown: Shutdown::default(),
        });
        let timers = Arc::new(ConnectionTimers::new(timeouts));
        let open = Open::begin(None, "public");
        let task = serve_open(open, stream, peer, shared, timers);
        let bytes = size_of_val(&task);
        assert!(bytes <= 1280, "{bytes}");
    }
}
