//! How much of the time the machine was somebody else's.
//!
//! A promise in seconds is one for a machine that runs the servers. Where many others want
//! the same cores, every step of a request waits for its turn, and a deadline says more of them than
//! of us. So a metronome beats in the same place and under the same conditions, and the time by which
//! it is late is taken off what is judged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::{Instant, sleep};

/// Between two beats.
const BEAT: Duration = Duration::from_millis(20);

/// The time by which a timer is late anyway.
const USUAL: Duration = Duration::from_millis(4);

/// The time that a commit may take on a machine that is busy with the servers.
const USUAL_COMMIT: Duration = Duration::from_millis(100);

/// By how much which beat was late, in the order of time.
#[derive(Debug, Clone, Default)]
pub struct Stolen(pub Vec<(Duration, Duration)>);

/// Beats for as long as its task runs.
#[derive(Debug, Clone, Default)]
pub struct Metronome(Arc<Mutex<Stolen>>);

impl Metronome {
    /// Counts from `began`, as a history does.
    pub async fn beat(self, began: Instant) {
        loop {
            let from = Instant::now();
            sleep(BEAT).await;
            self.note(from.elapsed().saturating_sub(BEAT), USUAL, began);
        }
    }

    /// Beats by commits at a cluster, of a client that has nothing to do with the servers. One that is late
    /// says that the machine, its disk or PostgreSQL is: a cause of 503 where no fault is on.
    pub async fn commit(self, began: Instant, url: String) {
        loop {
            if let Ok(mut connection) = PgConnection::connect(&url).await {
                loop {
                    let from = Instant::now();
                    let record = "SELECT pg_logical_emit_message(TRUE, 'control', '')";
                    if connection.execute(record).await.is_err() {
                        break;
                    }
                    self.note(from.elapsed(), USUAL_COMMIT, began);
                    sleep(BEAT).await;
                }
            }
            sleep(BEAT).await;
        }
    }

    fn note(&self, late: Duration, usual: Duration, began: Instant) {
        if late > usual {
            let mut stolen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            stolen.0.push((began.elapsed(), late));
        }
    }

    pub fn stolen(&self) -> Stolen {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Stolen {
    /// The part that was not ours of the time between two instants.
    pub fn between(&self, from: Duration, to: Duration) -> Duration {
        let first = self.0.partition_point(|(at, _)| *at < from);
        let within = self.0[first..].iter().map(|(at, late)| {
            let (begin, end) = (at.saturating_sub(*late).max(from), (*at).min(to));
            end.saturating_sub(begin)
        });
        // A beat that was late beyond `to` still counts up to there, and none after it does.
        let mut sum = Duration::ZERO;
        for (part, (at, _)) in within.zip(&self.0[first..]) {
            sum += part;
            if *at > to {
                break;
            }
        }
        sum
    }

    /// Its share of the time between two instants.
    pub fn share(&self, from: Duration, to: Duration) -> f64 {
        let length = to.saturating_sub(from).as_secs_f64().max(1e-9);
        self.between(from, to).as_secs_f64() / length
    }
}

#[test]
fn the_time_stolen_between_two_instants_is_that_by_which_beats_were_late_there() {
    let ms = Duration::from_millis;
    let stolen = Stolen(vec![
        (ms(100), ms(40)),
        (ms(200), ms(50)),
        (ms(400), ms(100)),
    ]);
    assert_eq!(stolen.between(ms(0), ms(1_000)), ms(190));
    assert_eq!(stolen.between(ms(80), ms(170)), ms(20 + 20));
    assert_eq!(stolen.between(ms(210), ms(290)), ms(0));
    assert_eq!(stolen.between(ms(310), ms(350)), ms(40));
    assert!((stolen.share(ms(310), ms(350)) - 1.0).abs() < 1e-9);
}
