//! Sockets that listen.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use tokio::net::{TcpListener, TcpSocket};

use super::error::StartError;

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4096;

/// A socket that listens, and its address: of a configured port 0, the port that the system chose.
pub(super) struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Bound {
    /// Listens on an address.
    pub(super) fn to(address: SocketAddr) -> Result<Self, StartError> {
        let listen = || {
            let listener = bind(address)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        listen().map_err(|source| StartError::Listen { address, source })
    }

    /// A second listener on the same socket.
    pub(super) fn share(&self) -> Result<TcpListener, StartError> {
        let share = || {
            let socket = self.listener.as_fd().try_clone_to_owned()?;
            TcpListener::from_std(socket.into())
        };
        share().map_err(|source| StartError::Listen {
            address: self.address,
            source,
        })
    }
}

/// `TcpListener::bind` asks for a backlog of 128. A burst overflows it, and each connection lost so
/// costs its client a second or more.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Without it a restart would have to wait for the connections of the run before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
