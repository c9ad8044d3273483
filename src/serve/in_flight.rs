//! A request that is in flight: from its head until its answer is taken.

use std::sync::Arc;

use tokio::time::Instant;

use super::requests::{Phase, RequestNumber};
use super::timers::ConnectionTimers;

/// Keeps the clocks of a connection informed of one request. Its end is the request's.
pub(super) struct InFlight {
    timers: Arc<ConnectionTimers>,
    number: RequestNumber,
}

impl InFlight {
    /// A head is complete; its body follows, or it has none.
    pub(super) fn begin(timers: &Arc<ConnectionTimers>, has_body: bool) -> Self {
        let phase = if has_body {
            Phase::Receiving(Instant::now())
        } else {
            Phase::Working
        };
        Self {
            number: timers.begin_request(phase),
            timers: timers.clone(),
        }
    }

    /// The clock of the answer's next piece begins.
    pub(super) fn note_answering(&self) {
        let answering = Phase::Answering(Instant::now());
        self.timers.set_phase(self.number, answering);
    }

    /// A handle to track the request's body by, which does not keep the request in flight.
    pub(super) fn body(&self) -> InFlightBody {
        InFlightBody {
            timers: self.timers.clone(),
            number: self.number,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.timers.end_request(self.number);
    }
}

/// Keeps the clocks of a connection informed of one request's body.
pub(super) struct InFlightBody {
    timers: Arc<ConnectionTimers>,
    number: RequestNumber,
}

impl InFlightBody {
    /// There is nothing more to wait for.
    pub(super) fn end(&self) {
        self.timers.end_body(self.number);
    }
}
