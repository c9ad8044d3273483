//! How much a listener takes on.

use std::time::Duration;

use super::timers::Timeouts;

/// How much a listener takes on.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// The listener's name, for the metrics.
    pub listener: &'static str,
    /// Connections at a time. A further one takes the slot of one that is silent, and waits in the
    /// system's backlog while there is none.
    pub max_connections: usize,
    /// How long a connection may take.
    pub timeouts: Timeouts,
    /// How long requests may go on after the listener has closed.
    pub drain: Duration,
}

impl ServerLimits {
    /// The usual limits for so many connections. Idle ones live longer than the 60 s for which
    /// load balancers keep theirs: a connection that is used again must not be found closing.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        Self {
            listener: "public",
            max_connections,
            timeouts: Timeouts {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                write: Duration::from_secs(30),
            },
            drain: Duration::from_secs(20),
        }
    }
}
