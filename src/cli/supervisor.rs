//! Messages to a supervisor: `sd_notify(3)`, which systemd reads where the unit says
//! `Type=notify`.
//!
//! No supervisor has to be there, and none can stop the server: a message that cannot be sent is logged.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::telemetry::causes;

/// The variable with the supervisor's socket: a path, or `@` and a name that is in no file system.
const SOCKET: &str = "NOTIFY_SOCKET";

/// How long a supervisor that reads nothing can hold up the server.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest reason. systemd drops a message of more than 4096 bytes.
const MAX_REASON: usize = 1000;

/// A stage in the life of a server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage<'a> {
    /// No request is served yet.
    Starting,
    /// Requests are served.
    Ready {
        public: std::net::SocketAddr,
        management: std::net::SocketAddr,
    },
    /// It was told to stop.
    Stopping,
    /// It ends without having served.
    Failed(&'a anyhow::Error),
}

/// Whether there is one that wants to be told.
pub(super) fn is_there() -> bool {
    socket().is_some()
}

fn socket() -> Option<OsString> {
    std::env::var_os(SOCKET).filter(|socket| !socket.is_empty())
}

/// Tells the supervisor, if there is one.
pub(super) fn tell(stage: Stage<'_>) {
    let Some(socket) = socket() else {
        return;
    };
    if let Err(error) = send(&socket, &stage.message()) {
        tracing::warn!(error = causes(&error), "the supervisor cannot be told");
    }
}

impl Stage<'_> {
    fn message(self) -> String {
        match self {
            Self::Starting => {
                "STATUS=starting: waits for its database, or applies migrations".to_owned()
            }
            Self::Ready { public, management } => {
                format!("READY=1\nSTATUS=serves on {public}, probes on {management}")
            }
            Self::Stopping => "STOPPING=1\nSTATUS=draining".to_owned(),
            Self::Failed(error) => {
                let reason = causes(error.as_ref()).replace('\n', "; ");
                let end = reason.floor_char_boundary(MAX_REASON);
                format!("STATUS=did not start: {}", &reason[..end])
            }
        }
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(TIMEOUT))?;
    sender.connect_addr(&address(socket)?)?;
    sender.send(message.as_bytes())?;
    Ok(())
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => without_a_path(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(target_os = "linux")]
fn without_a_path(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn without_a_path(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut text = [0; 4096];
        let length = listener.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_with_a_path_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let stage = Stage::Ready {
            public: ([127, 0, 0, 1], 8080).into(),
            management: ([127, 0, 0, 1], 9090).into(),
        };
        send(path.as_os_str(), &stage.message()).unwrap();
        assert_eq!(
            heard(&listener),
            "READY=1\nSTATUS=serves on 127.0.0.1:8080, probes on 127.0.0.1:9090"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_without_a_path_is_told() {
        let name = format!("backoffice-auth-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&without_a_path(name.as_bytes()).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), &Stage::Stopping.message()).unwrap();
        assert_eq!(heard(&listener), "STOPPING=1\nSTATUS=draining");
    }

    #[test]
    fn a_reason_is_one_line_that_systemd_takes() {
        let error = anyhow::anyhow!("one\ntwo{}", "é".repeat(5000));
        let message = Stage::Failed(&error).message();
        assert!(message.starts_with("STATUS=did not start: one; two"));
        assert!(!message.contains('\n') && message.len() < 4096);
    }

    /// Red without the time limit.
    #[test]
    fn a_supervisor_that_reads_nothing_does_not_hold_up_the_server_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let failed = (0..100_000).find_map(|_| send(path.as_os_str(), "READY=1").err());
        assert_eq!(failed.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
