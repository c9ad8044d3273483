//! Waiting for an instant, and not for the millisecond after it.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

/// The end of a wait that the system's own clock measures. A timer of tokio may come up to two milliseconds late.
const LAST: Duration = Duration::from_millis(3);

/// Waits until an instant, to less than a tenth of a millisecond.
///
/// tokio counts whole milliseconds from when a thread goes to sleep, so a wait for the same instant ends with
/// the fraction of a millisecond with which it began. Where answers are delayed so that their time tells
/// nothing of the work before, that fraction is what is left of the work, and a few hundred answers add up to it.
pub async fn wait_until(instant: Instant) {
    sleep_until(instant - LAST).await;
    let rest = instant.saturating_duration_since(Instant::now());
    if !rest.is_zero() {
        let waited = spawn_blocking(move || std::thread::sleep(rest));
        // It fails where the runtime ends, and with it the answer.
        let _ = waited.await;
    }
    // By the clock of a test, on which a thread's sleep takes no time.
    if Instant::now() < instant {
        sleep_until(instant).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_over_at_its_instant_also_where_that_has_passed() {
        let began = Instant::now();
        for millis in [0, 1, 3, 250, 250] {
            let instant = began + Duration::from_millis(millis);
            wait_until(instant).await;
            assert_eq!(Instant::now(), instant);
        }
        wait_until(began).await;
        assert_eq!(began.elapsed(), Duration::from_millis(250));
    }

    #[tokio::test]
    async fn no_wait_ends_before_its_instant() {
        let began = Instant::now();
        for micros in [0, 300, 2_900, 3_300, 7_777] {
            let instant = began + Duration::from_micros(micros);
            wait_until(instant).await;
            assert!(Instant::now() >= instant, "{micros}");
        }
    }
}
