//! A circuit breaker for each relay: a relay that failed is tried last for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A relay that failed is tried last for this long.
const COOL_OFF: Duration = Duration::from_secs(30);

/// The state of one relay.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// `None` while it works.
    down_until: Mutex<Option<Instant>>,
}

impl Breaker {
    /// Whether the relay is known not to work. After a while one caller gets `false` and so tries the relay
    /// for all; the others get `true` until that caller reports the outcome.
    pub(super) fn is_open(&self) -> bool {
        let now = Instant::now();
        match &mut *self.down_until() {
            None => false,
            Some(until) if *until > now => true,
            Some(until) => {
                *until = now + COOL_OFF;
                false
            }
        }
    }

    /// Notes that the relay does not work; whether that is news.
    pub(super) fn open(&self) -> bool {
        (self.down_until().replace(Instant::now() + COOL_OFF)).is_none()
    }

    /// Notes that the relay works; whether that is news.
    pub(super) fn close(&self) -> bool {
        self.down_until().take().is_some()
    }

    fn down_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.down_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_failed_is_tried_again_by_one_after_a_while() {
        let breaker = Breaker::default();
        assert!(!breaker.is_open() && breaker.open() && !breaker.open());
        advance(COOL_OFF / 2).await;
        assert!(breaker.is_open());
        advance(COOL_OFF / 2).await;
        assert_eq!([(); 3].map(|()| breaker.is_open()), [false, true, true]);
        assert!(breaker.close() && !breaker.close() && !breaker.is_open());
    }
}
