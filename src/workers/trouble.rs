//! The log of a loop's failures: each outage once, and its end.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::causes;

/// An outage has ended when nothing has failed for this long: one that comes and goes is one outage.
const CALM: Duration = Duration::from_secs(2);

/// The least time between two causes of the same outage in the log.
const AGAIN: Duration = Duration::from_mins(1);

/// The failures of one kind of work.
#[derive(Debug)]
pub(super) struct Trouble {
    doing: &'static str,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// When it failed last.
    last: Instant,
    cause: String,
    told_at: Instant,
}

impl Trouble {
    /// None so far in `doing` something, as in "reading the outbox".
    pub(super) fn new(doing: &'static str) -> Self {
        Self {
            doing,
            outage: None,
        }
    }

    /// Takes note of how it went.
    pub(super) fn note<T>(&mut self, outcome: Result<T, impl Error + 'static>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.went_well();
                Some(value)
            }
            Err(error) => {
                self.failed(causes(&error));
                None
            }
        }
    }

    fn failed(&mut self, cause: String) {
        let (doing, now) = (self.doing, Instant::now());
        let is_told = self.outage.as_mut().is_some_and(|outage| {
            outage.last = now;
            outage.cause == cause || now < outage.told_at + AGAIN
        });
        if is_told {
            return;
        }
        tracing::warn!(cause, "{doing} fails");
        let since = self.outage.as_ref().map_or(now, |outage| outage.since);
        self.outage = Some(Outage {
            since,
            last: now,
            cause,
            told_at: now,
        });
    }

    fn went_well(&mut self) {
        let is_over = |outage: &mut Outage| outage.last.elapsed() >= CALM;
        if let Some(outage) = self.outage.take_if(is_over) {
            let seconds = (outage.last - outage.since).as_secs();
            tracing::info!(seconds, "{} works again", self.doing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::telemetry::testing::Written;

    fn lines() -> (Written, tracing::subscriber::DefaultGuard) {
        let lines = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(lines.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn take(lines: &Written) -> Vec<String> {
        let text = lines.take();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn failure(of: &'static str) -> Result<(), io::Error> {
        Err(io::Error::other(of))
    }

    /// Red when each failure is told, and when the first success ends an outage.
    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_with_its_cause_and_once_when_it_is_over() {
        let (lines, _guard) = lines();
        let mut trouble = Trouble::new("reading");
        for _ in 0..20 {
            trouble.note(failure("away"));
            assert_eq!(trouble.note(Ok::<_, io::Error>(7)), Some(7));
            pass(1).await;
        }
        assert_eq!(take(&lines), [r#"WARN reading fails cause="away""#]);
        for _ in 0..3 {
            pass(1).await;
            trouble.note(Ok::<_, io::Error>(()));
        }
        assert_eq!(take(&lines), ["INFO reading works again seconds=19"]);
        trouble.note(failure("away"));
        assert_eq!(take(&lines).len(), 1, "the next one is told again");
    }

    #[tokio::test(start_paused = true)]
    async fn another_cause_is_told_at_most_once_a_minute() {
        let (lines, _guard) = lines();
        let mut trouble = Trouble::new("reading");
        for second in 0..120 {
            trouble.note(failure(if second % 2 == 0 { "away" } else { "late" }));
            pass(1).await;
        }
        assert_eq!(
            take(&lines),
            [
                r#"WARN reading fails cause="away""#,
                r#"WARN reading fails cause="late""#
            ]
        );
    }
}
