//! Timing equalizer: delays refusals, so that their time does not tell which hash was checked.
//!
//! An unknown address costs a hash with today's parameters. A known one may have a hash of an older
//! service, which costs something else. While such hashes are in use, every refusal leaves at the same
//! time after its check got a worker: the time of the most expensive hash, with a margin. The wait
//! occupies neither a worker nor a core. Where all hashes have today's parameters, nothing waits.
//!
//! A busy machine takes longer than an idle one, so the time follows what refusals took recently.
//!
//! A password that normalisation changes is compared in two forms, with every hash. That
//! takes twice as long, and the refusal is delayed for twice as long.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::kind::Kind;

/// No refusal is delayed for longer: an instance that is told to stop lets requests finish for
/// five seconds. A hash that takes longer can be recognised by its time.
const MAX_DELAY: Duration = Duration::from_secs(4);

/// Nor is it delayed for longer than so many times the most expensive hash: after a machine stood still
/// for a moment, everybody would wait.
const MAX_FACTOR: u32 = 4;

/// The slowest refusal is remembered for at least this long.
const MEMORY: Duration = Duration::from_mins(5);

/// The measured costs of the hashes in use, and the delay that follows from them.
#[derive(Debug)]
pub(super) struct TimingEqualizer(Mutex<RefusalTiming>);

#[derive(Debug)]
struct RefusalTiming {
    todays: Kind,
    /// The shortest check of each kind. Nothing is delayed while this holds no kind but today's.
    measured: HashMap<Kind, Duration>,
    /// The slowest refusal since `since`.
    slowest: Duration,
    /// The slowest refusal in the period before that.
    slowest_before: Duration,
    since: Instant,
}

impl TimingEqualizer {
    pub(super) fn new(todays: Kind) -> Self {
        Self(Mutex::new(RefusalTiming::new(todays)))
    }

    fn lock(&self) -> MutexGuard<'_, RefusalTiming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how long one check took.
    pub(super) fn note_check(&self, kind: Kind, took: Duration) {
        let mut timing = self.lock();
        let least = timing.measured.entry(kind).or_insert(took);
        *least = took.min(*least);
    }

    /// Forgets the costs that are not in use any more. Returns the costs to measure: the most expensive
    /// one of each algorithm, if it was not measured yet.
    pub(super) fn retain_used(&self, used: &HashSet<Kind>) -> Vec<Kind> {
        let mut timing = self.lock();
        let todays = timing.todays;
        if used.iter().all(|kind| *kind == todays) {
            *timing = RefusalTiming::new(todays);
            return Vec::new();
        }
        timing
            .measured
            .retain(|kind, _| *kind == todays || used.contains(kind));
        let mut most_expensive: HashMap<&str, Kind> = HashMap::new();
        for kind in used.iter().chain([&todays]) {
            let known = most_expensive.entry(kind.algorithm()).or_insert(*kind);
            if kind.work() > known.work() {
                *known = *kind;
            }
        }
        let mut unknown: Vec<Kind> = most_expensive.into_values().collect();
        unknown.retain(|kind| !timing.measured.contains_key(kind));
        unknown
    }

    #[cfg(test)]
    pub(super) fn measured(&self, kind: Kind) -> Option<Duration> {
        self.lock().measured.get(&kind).copied()
    }

    /// How long a refusal is held back after its check got a worker, as far as is known now; `None` if nothing is.
    pub(super) fn price(&self) -> Option<Duration> {
        let timing = self.lock();
        timing.knows_other_kinds().then(|| timing.target())
    }

    /// How long after its check got a worker a refusal may leave, if the check took `took` for this
    /// many forms of a password. The check counts for later refusals.
    pub(super) fn delay(&self, took: Duration, forms: u32) -> Duration {
        let mut timing = self.lock();
        if !timing.knows_other_kinds() {
            return Duration::ZERO;
        }
        timing.note_refusal(took / forms.max(1));
        (timing.target() * forms).min(MAX_DELAY)
    }
}

impl RefusalTiming {
    fn new(todays: Kind) -> Self {
        Self {
            todays,
            measured: HashMap::new(),
            slowest: Duration::ZERO,
            slowest_before: Duration::ZERO,
            since: Instant::now(),
        }
    }

    fn knows_other_kinds(&self) -> bool {
        self.measured.keys().any(|kind| *kind != self.todays)
    }

    fn note_refusal(&mut self, took: Duration) {
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
        let most_expensive = self.measured.values().copied().max().unwrap_or_default();
        let slowest = most_expensive.max(self.slowest).max(self.slowest_before);
        // A margin of a quarter: the next one may be a little slower still.
        (slowest + slowest / 4)
            .min(most_expensive * MAX_FACTOR)
            .min(MAX_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAYS: &str = "$argon2id$v=19$m=19456,t=2,p=1";

    fn kind(text: &str) -> Kind {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn equalizer(known: &[(&str, u64)]) -> TimingEqualizer {
        let equalizer = TimingEqualizer::new(kind(TODAYS));
        for (known, millis) in known {
            equalizer.note_check(kind(known), ms(*millis));
        }
        equalizer
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_hashes_are_of_today_nothing_is_delayed() {
        let equalizer = equalizer(&[(TODAYS, 20)]);
        assert!(
            equalizer
                .retain_used(&HashSet::from([kind(TODAYS)]))
                .is_empty()
        );
        assert_eq!(equalizer.delay(ms(50), 1), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_when_the_most_expensive_hash_would_whatever_it_took_itself() {
        let equalizer = equalizer(&[("$2y$12", 200), ("$2y$04", 1), (TODAYS, 20)]);
        for took in [0, 20, 200] {
            assert_eq!(equalizer.delay(ms(took), 1), ms(250), "{took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hash_that_is_cheaper_than_todays_waits_too() {
        let cheap = "$argon2id$v=19$m=64,t=1,p=1";
        let equalizer = equalizer(&[(cheap, 1), (TODAYS, 20)]);
        assert_eq!(equalizer.delay(ms(1), 1), ms(25));
    }

    /// Red where the two forms are not told from one that took long.
    #[tokio::test(start_paused = true)]
    async fn a_password_of_two_forms_is_delayed_for_twice_as_long_and_alone() {
        let equalizer = equalizer(&[("$2y$12", 200), (TODAYS, 20)]);
        for took in [40, 400] {
            assert_eq!(equalizer.delay(ms(took), 2), ms(500), "{took}");
        }
        assert_eq!(equalizer.delay(ms(20), 1), ms(250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_spell_is_followed_and_forgotten() {
        let equalizer = equalizer(&[("$2y$12", 200)]);
        assert_eq!(equalizer.delay(ms(400), 1), ms(500));
        assert_eq!(equalizer.delay(ms(20), 1), ms(500));
        tokio::time::advance(MEMORY + ms(1)).await;
        assert_eq!(equalizer.delay(ms(20), 1), ms(500));
        tokio::time::advance(MEMORY + ms(1)).await;
        assert_eq!(equalizer.delay(ms(20), 1), ms(250));
        assert_eq!(equalizer.delay(ms(9_000), 1), ms(800), "but not any spell");
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_last_older_hash_is_gone_nothing_is_delayed_any_more() {
        let equalizer = equalizer(&[("$2y$12", 200), (TODAYS, 20)]);
        assert_eq!(equalizer.retain_used(&HashSet::from([kind("$2y$12")])), []);
        assert_eq!(equalizer.delay(ms(20), 1), ms(250));
        equalizer.retain_used(&HashSet::from([kind(TODAYS)]));
        assert_eq!(equalizer.delay(ms(20), 1), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_expensive_unknown_kind_of_each_scheme_is_measured() {
        let kinds = ["$2y$10", "$2y$12", "$argon2i$v=19$m=64,t=3,p=2", TODAYS];
        let used: HashSet<Kind> = kinds.into_iter().map(kind).collect();
        let equalizer = equalizer(&[]);
        let mut unknown = equalizer.retain_used(&used);
        unknown.sort_by_key(|kind| kind.algorithm());
        assert_eq!(unknown, [kind(kinds[2]), kind(TODAYS), kind("$2y$12")]);
        equalizer.note_check(kind("$2y$12"), ms(200));
        equalizer.note_check(kind(TODAYS), ms(20));
        assert_eq!(equalizer.retain_used(&used), [kind(kinds[2])]);
    }
}
