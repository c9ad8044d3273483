//! The requests of a connection that have no complete answer yet, and what each of them waits for.

use std::time::Duration;

use tokio::time::Instant;

/// A request's number on its connection.
pub(super) type RequestNumber = u64;

/// The event that a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rest of its body, since its head arrived. No work was done for it yet.
    Receiving(Instant),
    /// The handler.
    Working,
    /// The client, which could have taken the answer's next piece since then.
    Answering(Instant),
}

impl Phase {
    /// The time since which the request has waited for its client, if it does.
    fn waits_since(self) -> Option<Instant> {
        match self {
            Self::Receiving(since) | Self::Answering(since) => Some(since),
            Self::Working => None,
        }
    }

    /// The time by which the client must take the answer's next piece, if there is one.
    fn deadline(self, write: Duration) -> Option<Instant> {
        match self {
            Self::Answering(since) => Some(since + write),
            Self::Receiving(_) | Self::Working => None,
        }
    }
}

/// The unanswered requests of a connection, in the order in which they arrived.
#[derive(Default)]
pub(super) struct Requests {
    phases: Vec<(RequestNumber, Phase)>,
    next: RequestNumber,
}

impl Requests {
    pub(super) fn is_empty(&self) -> bool {
        self.phases.is_empty()
    }

    pub(super) fn begin(&mut self, phase: Phase) -> RequestNumber {
        let number = self.next;
        self.next += 1;
        self.phases.push((number, phase));
        number
    }

    pub(super) fn phase_mut(&mut self, number: RequestNumber) -> Option<&mut Phase> {
        let mut phases = self.phases.iter_mut();
        let found = phases.find(|(other, _)| *other == number);
        found.map(|(_, phase)| phase)
    }

    pub(super) fn end(&mut self, number: RequestNumber) {
        self.phases.retain(|(other, _)| *other != number);
    }

    /// Gives back the memory that no request needs.
    pub(super) fn shrink(&mut self) {
        self.phases.shrink_to_fit();
    }

    /// The time since which the connection has waited for its client alone. `None` while the server
    /// works on a request.
    pub(super) fn all_wait_since(&self) -> Option<Instant> {
        latest_of_all(self.phases().map(Phase::waits_since))
    }

    /// The first time at which an answer is overdue.
    pub(super) fn first_deadline(&self, write: Duration) -> Option<Instant> {
        self.phases()
            .filter_map(|phase| phase.deadline(write))
            .min()
    }

    /// The time at which every answer is overdue. `None` while a request has no answer yet.
    pub(super) fn last_deadline(&self, write: Duration) -> Option<Instant> {
        latest_of_all(self.phases().map(|phase| phase.deadline(write)))
    }

    /// Whether there is a request whose answer is not overdue.
    pub(super) fn any_in_time(&self, write: Duration, now: Instant) -> bool {
        self.phases()
            .any(|phase| phase.deadline(write).is_none_or(|at| at > now))
    }

    fn phases(&self) -> impl Iterator<Item = Phase> {
        self.phases.iter().map(|(_, phase)| *phase)
    }
}

/// The latest of these times. `None` if one of them is missing, or if there are none.
fn latest_of_all(mut times: impl Iterator<Item = Option<Instant>>) -> Option<Instant> {
    times.try_fold(None, |latest: Option<Instant>, at| {
        Some(latest.max(Some(at?)))
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Duration = Duration::from_secs(30);

    fn of(phases: &[Phase]) -> Requests {
        let mut requests = Requests::default();
        for phase in phases {
            requests.begin(*phase);
        }
        requests
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_for_its_client_while_no_request_is_worked_on() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let waiting = [Phase::Answering(later), Phase::Receiving(now)];
        for (phases, since) in [
            (&[][..], None),
            (&waiting[..], Some(later)),
            (&waiting[1..], Some(now)),
            (&[waiting[0], Phase::Working], None),
        ] {
            assert_eq!(of(phases).all_wait_since(), since, "{phases:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_deadline_is_there_once_every_request_has_an_answer() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let answering = [Phase::Answering(later), Phase::Answering(now)];
        let requests = of(&answering);
        assert_eq!(requests.first_deadline(WRITE), Some(now + WRITE));
        assert_eq!(requests.last_deadline(WRITE), Some(later + WRITE));
        assert!(requests.any_in_time(WRITE, now + WRITE));
        assert!(!requests.any_in_time(WRITE, later + WRITE));
        let requests = of(&[answering[0], Phase::Working]);
        assert_eq!(requests.first_deadline(WRITE), Some(later + WRITE));
        assert_eq!(requests.last_deadline(WRITE), None);
        assert!(requests.any_in_time(WRITE, later + WRITE));
    }
}
