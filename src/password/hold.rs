//! How long a refusal is held back, so that its time does not tell what was checked.
//!
//! An unknown address costs a hash of today. A known one may have a hash of an older service, which
//! costs something else. So while such hashes are in use, every refusal leaves at one and the same
//! time after its check got its turn: what the dearest of them takes, with a margin. Waiting costs
//! neither a worker nor a core. Where all hashes are today's, nothing waits.
//!
//! A busy machine takes longer than an idle one, so the time follows what refusals took of late.
//!
//! A password that normalisation changes is compared in two forms, whatever it is compared with. That
//! takes twice as long, and is held back for twice as long.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::scheme::Cost;

/// No refusal is held back for longer: an instance that is told to stop lets requests finish for
/// five seconds. A hash that takes longer can be told by its time.
const MAX_HOLD: Duration = Duration::from_secs(4);

/// Nor for longer than so many times the dearest hash: a machine that stood still for a moment
/// would make everybody wait afterwards.
const MAX_FACTOR: u32 = 4;

/// For how long it is remembered what refusals took, at least.
const MEMORY: Duration = Duration::from_mins(5);

/// What is known of the hashes in use.
#[derive(Debug)]
pub(super) struct Hold(Mutex<Pace>);

#[derive(Debug)]
struct Pace {
    todays: Cost,
    /// The least that a check took, by what it depends on. Nothing is held back while this knows none but
    /// today's.
    measured: HashMap<Cost, Duration>,
    /// What the slowest refusal took since `since`, and before.
    slowest: Duration,
    slowest_before: Duration,
    since: Instant,
}

impl Hold {
    pub(super) fn new(todays: Cost) -> Self {
        Self(Mutex::new(Pace::new(todays)))
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a check took.
    pub(super) fn learn(&self, cost: Cost, took: Duration) {
        let mut pace = self.lock();
        let least = pace.measured.entry(cost).or_insert(took);
        *least = took.min(*least);
    }

    /// Forgets what is not in use any more. Tells what is to be measured: of what is not known, the
    /// dearest of each scheme.
    pub(super) fn keep(&self, used: &HashSet<Cost>) -> Vec<Cost> {
        let mut pace = self.lock();
        let todays = pace.todays;
        if used.iter().all(|cost| *cost == todays) {
            *pace = Pace::new(todays);
            return Vec::new();
        }
        pace.measured
            .retain(|cost, _| *cost == todays || used.contains(cost));
        let mut dearest: HashMap<&str, Cost> = HashMap::new();
        for cost in used.iter().chain([&todays]) {
            let known = dearest.entry(cost.scheme).or_insert(*cost);
            if cost.work > known.work {
                *known = *cost;
            }
        }
        let mut unknown: Vec<Cost> = dearest.into_values().collect();
        unknown.retain(|cost| !pace.measured.contains_key(cost));
        unknown
    }

    #[cfg(test)]
    pub(super) fn measured(&self, cost: Cost) -> Option<Duration> {
        self.lock().measured.get(&cost).copied()
    }

    /// How long after its turn a refusal that took `took` for so many forms of a password may leave; it
    /// counts for those to come.
    pub(super) fn pass(&self, took: Duration, forms: u32) -> Duration {
        let mut pace = self.lock();
        if !pace.is_mixed() {
            return Duration::ZERO;
        }
        pace.note(took / forms.max(1));
        (pace.target() * forms).min(MAX_HOLD)
    }
}

impl Pace {
    fn new(todays: Cost) -> Self {
        Self {
            todays,
            measured: HashMap::new(),
            slowest: Duration::ZERO,
            slowest_before: Duration::ZERO,
            since: Instant::now(),
        }
    }

    fn is_mixed(&self) -> bool {
        self.measured.keys().any(|cost| *cost != self.todays)
    }

    fn note(&mut self, took: Duration) {
        let age = self.since.elapsed();
        if age > MEMORY {
            self.slowest_before = if age > 2 * MEMORY {
                Duration::ZERO
            } else {
                self.slowest
            };
            self.slowest = Duration::ZERO;
            self.since = Instant::now();
        }
        self.slowest = self.slowest.max(took);
    }

    fn target(&self) -> Duration {
        let dearest = self.measured.values().copied().max().unwrap_or_default();
        let slowest = dearest.max(self.slowest).max(self.slowest_before);
        // A margin of a quarter: the next one may be a little slower still.
        (slowest + slowest / 4)
            .min(dearest * MAX_FACTOR)
            .min(MAX_HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scheme::Scheme;
    use super::super::scheme::sample;
    use super::*;

    const TODAYS: &str = "$argon2id$v=19$m=19456,t=2,p=1";

    fn cost(kind: &str) -> Cost {
        let hash = sample(kind);
        let scheme = Scheme::parse(&hash).unwrap_or_else(|_| panic!("{kind}"));
        scheme.cost()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn hold(known: &[(&str, u64)]) -> Hold {
        let hold = Hold::new(cost(TODAYS));
        for (kind, millis) in known {
            hold.learn(cost(kind), ms(*millis));
        }
        hold
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_hashes_are_of_today_nothing_is_held_back() {
        let hold = hold(&[(TODAYS, 20)]);
        assert!(hold.keep(&HashSet::from([cost(TODAYS)])).is_empty());
        assert_eq!(hold.pass(ms(50), 1), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_when_the_dearest_hash_would_whatever_it_took_itself() {
        let hold = hold(&[("$2y$12", 200), ("$2y$04", 1), (TODAYS, 20)]);
        for took in [0, 20, 200] {
            assert_eq!(hold.pass(ms(took), 1), ms(250), "{took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hash_that_is_cheaper_than_todays_waits_too() {
        let cheap = "$argon2id$v=19$m=64,t=1,p=1";
        let hold = hold(&[(cheap, 1), (TODAYS, 20)]);
        assert_eq!(hold.pass(ms(1), 1), ms(25));
    }

    /// Red where the two forms are not told from one that took long.
    #[tokio::test(start_paused = true)]
    async fn a_password_of_two_forms_is_held_back_for_twice_as_long_and_alone() {
        let hold = hold(&[("$2y$12", 200), (TODAYS, 20)]);
        for took in [40, 400] {
            assert_eq!(hold.pass(ms(took), 2), ms(500), "{took}");
        }
        assert_eq!(hold.pass(ms(20), 1), ms(250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_spell_is_followed_and_forgotten() {
        let hold = hold(&[("$2y$12", 200)]);
        assert_eq!(hold.pass(ms(400), 1), ms(500));
        assert_eq!(hold.pass(ms(20), 1), ms(500));
        tokio::time::advance(MEMORY + ms(1)).await;
        assert_eq!(hold.pass(ms(20), 1), ms(500));
        tokio::time::advance(MEMORY + ms(1)).await;
        assert_eq!(hold.pass(ms(20), 1), ms(250));
        assert_eq!(hold.pass(ms(9_000), 1), ms(800), "but not any spell");
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_last_older_hash_is_gone_nothing_is_held_back_any_more() {
        let hold = hold(&[("$2y$12", 200), (TODAYS, 20)]);
        assert_eq!(hold.keep(&HashSet::from([cost("$2y$12")])), []);
        assert_eq!(hold.pass(ms(20), 1), ms(250));
        hold.keep(&HashSet::from([cost(TODAYS)]));
        assert_eq!(hold.pass(ms(20), 1), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_measured_is_the_dearest_of_each_scheme_that_is_not_known() {
        let kinds = ["$2y$10", "$2y$12", "$argon2i$v=19$m=64,t=3,p=2", TODAYS];
        let used: HashSet<Cost> = kinds.into_iter().map(cost).collect();
        let hold = hold(&[]);
        let mut unknown = hold.keep(&used);
        unknown.sort_by_key(|cost| cost.scheme);
        assert_eq!(unknown, [cost(kinds[2]), cost(TODAYS), cost("$2y$12")]);
        hold.learn(cost("$2y$12"), ms(200));
        hold.learn(cost(TODAYS), ms(20));
        assert_eq!(hold.keep(&used), [cost(kinds[2])]);
    }
}
