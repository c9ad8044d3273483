//! The hashing pool.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::{Argon2, Block};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::hold::Hold;
use super::scheme::{self, Cost, OutOfMemory, Scheme, outgrows_worker};
use crate::config::PasswordsConfig;
use crate::domain::{PasswordHash, PlainPassword};
use crate::telemetry::metrics::{
    HASHING_DURATION, HASHING_QUEUE, HASHING_REFUSALS, HASHING_WAITING, HASHING_WORKERS,
    HASHING_WORKING,
};

/// A place that would come later than this is not waited for: the client has given up by then.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// The queue is full, or a place would come too late.
    #[error("the hashing queue is full")]
    Overloaded {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// There is no memory for this hash now, which needs more than a worker has.
    #[error("there is no memory for a hash that needs more than a worker has")]
    OutOfMemory,
    /// The task that computed died.
    #[error("the hashing task failed")]
    Failed,
}

impl HashingError {
    /// Whether waiting may help: the answer is then 503, and nothing was decided.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::OutOfMemory => true,
            Self::Failed => false,
        }
    }
}

impl From<OutOfMemory> for HashingError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Match {
        /// Whether the stored hash is to be replaced by one of this password: it is weaker than what
        /// would be made today, or made of what was typed.
        is_outdated: bool,
    },
    /// It is not, or there is nothing that it could be right for.
    Mismatch,
}

/// A check that was made.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What it found.
    pub verdict: Verdict,
    /// When it got its turn.
    started: Instant,
    /// How many forms of the password it compared.
    forms: u32,
}

/// Bounded workers for password hashes; cheap to clone.
#[derive(Clone)]
pub struct HashingPool(Arc<Pool>);

struct Pool {
    config: PasswordsConfig,
    context: Argon2<'static>,
    /// What is checked for an address without a user: a hash of nothing anybody types.
    decoy: PasswordHash,
    /// A permit for everything that computes or waits.
    admission: Arc<Semaphore>,
    /// A permit for everything that computes; first come, first served.
    turns: Arc<Semaphore>,
    /// The permit for the one hash that takes more memory than a worker has.
    spare: Arc<Semaphore>,
    /// The kinds of such hashes that the log was told of.
    told: Mutex<HashSet<Cost>>,
    idle: Mutex<Vec<Slot>>,
    waiting: AtomicUsize,
    /// How long a hash took of late, in microseconds.
    typical: AtomicU64,
    hold: Hold,
}

/// The memory of one worker.
type Slot = Vec<Block>;

/// A worker's slot on loan to a task. Whichever way the task ends, the slot goes back before its
/// permits do.
struct Turn {
    slot: Slot,
    pool: Arc<Pool>,
    _permits: [OwnedSemaphorePermit; 2],
    spare: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pool.lock_idle().push(std::mem::take(&mut self.slot));
        drop(self.spare.take());
    }
}

impl Pool {
    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long somebody who came now would wait.
    fn expected_wait(&self) -> Duration {
        let ahead = self.waiting.load(Ordering::Relaxed) as u64;
        let rounds = ahead.div_ceil(self.config.workers as u64);
        Duration::from_micros(rounds.saturating_mul(self.typical.load(Ordering::Relaxed)))
    }

    fn check(
        &self,
        password: &PlainPassword,
        stored: Option<&PasswordHash>,
        slot: &mut Slot,
    ) -> Result<Verdict, OutOfMemory> {
        let readable = stored.and_then(|stored| Scheme::parse(stored).ok());
        let Some(scheme) = readable else {
            let decoy = Scheme::parse(&self.decoy).expect("it was made here");
            for form in password.forms() {
                std::hint::black_box(decoy.verify(form, slot))?;
            }
            return Ok(Verdict::Mismatch);
        };
        // The second form is compared whatever the first one said and whoever made the hash: only what
        // was typed decides what a check costs.
        let mut right = None;
        for form in password.forms() {
            let started = Instant::now();
            let is_match = scheme.verify(form, slot)?;
            self.hold.learn(scheme.cost(), started.elapsed());
            right = right.or(is_match.then_some(form));
        }
        let Some(right) = right else {
            return Ok(Verdict::Mismatch);
        };
        let is_foreign = right != password.expose() || scheme.is_outdated(&self.config);
        let is_whole = !scheme.cuts(right) && !scheme.cuts(password.expose_typed());
        Ok(Verdict::Match {
            is_outdated: is_foreign && is_whole,
        })
    }

    /// A running mean, so that one slow hash does not shut the door.
    fn note_duration(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let typical = self.typical.load(Ordering::Relaxed);
        self.typical
            .store((typical * 7 + took) / 8, Ordering::Relaxed);
    }
}

/// Counts a waiter for as long as it waits, and no longer if it hangs up.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HashingPool {
    /// A pool with its memory taken up front. Computes one hash, so it takes a moment.
    #[must_use]
    pub fn new(config: PasswordsConfig) -> Self {
        let context = scheme::context(&config);
        let blocks = context.params().block_count();
        let mut idle: Vec<Slot> = (0..config.workers)
            .map(|_| vec![Block::new(); blocks])
            .collect();
        let decoy = PlainPassword::parse("a password that no user has").expect("it is short");
        let decoy = scheme::make(&context, &decoy, &mut idle[0]);
        Self(Arc::new(Pool {
            config,
            hold: Hold::new(scheme::todays_cost(&context)),
            context,
            decoy,
            admission: Arc::new(Semaphore::new(config.workers + config.queue)),
            turns: Arc::new(Semaphore::new(config.workers)),
            spare: Arc::new(Semaphore::new(1)),
            told: Mutex::default(),
            idle: Mutex::new(idle),
            waiting: AtomicUsize::new(0),
            typical: AtomicU64::new(0),
        }))
    }

    /// Checks a password. Without a stored hash, or with one that cannot be read, the work of one
    /// of today is done through the same queue, and nothing matches.
    pub async fn verify(
        &self,
        password: PlainPassword,
        stored: Option<PasswordHash>,
    ) -> Result<Check, HashingError> {
        let turn = self.turn_for(stored.as_ref()).await?;
        let started = Instant::now();
        let forms = u32::try_from(password.forms().len()).unwrap_or(u32::MAX);
        let check =
            move |pool: &Pool, slot: &mut Slot| pool.check(&password, stored.as_ref(), slot);
        let verdict = compute(turn, check).await??;
        Ok(Check {
            verdict,
            started,
            forms,
        })
    }

    /// Waits until a refusal that follows from a check may leave: its time after the turn must not
    /// tell what kind of hash was checked. Holds no worker meanwhile.
    pub async fn hold_back(&self, check: &Check) {
        let hold = self.0.hold.pass(check.started.elapsed(), check.forms);
        tokio::time::sleep_until(check.started + hold).await;
    }

    /// Learns which kinds of hashes are in use, each told by what stands before its salt, and
    /// measures what the dearest of them cost. What cannot be read costs what today's do.
    pub async fn learn_kinds(&self, kinds: &[String]) -> Result<(), HashingError> {
        let samples: HashMap<Cost, PasswordHash> = (kinds.iter())
            .map(|kind| scheme::sample(kind))
            .chain([self.0.decoy.clone()])
            .filter_map(|sample| Some((Scheme::parse(&sample).ok()?.cost(), sample)))
            .collect();
        let used: HashSet<Cost> = samples.keys().copied().collect();
        self.tell_of_memory(&samples);
        for cost in self.0.hold.keep(&used) {
            let sample = samples[&cost].clone();
            let password = PlainPassword::parse("nobody's").expect("it is short");
            let turn = self.turn_for(Some(&sample)).await?;
            let check =
                move |pool: &Pool, slot: &mut Slot| pool.check(&password, Some(&sample), slot);
            if compute(turn, check).await?.is_err() {
                tracing::debug!(scheme = cost.scheme, "there is no memory to measure a hash");
            }
        }
        Ok(())
    }

    /// Makes the hash to store for a password.
    pub async fn hash(&self, password: PlainPassword) -> Result<PasswordHash, HashingError> {
        self.compute(move |pool, slot| scheme::make(&pool.context, &password, slot))
            .await
    }

    /// Whether a worker is free now: the moment for work that nobody waits for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.turns.available_permits() > 0 && self.waiting() == 0
    }

    /// Requests that wait for a worker now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Says how busy it is, for a scrape.
    pub fn measure(&self) {
        let PasswordsConfig { workers, queue, .. } = self.0.config;
        let free = self.0.turns.available_permits();
        HASHING_WAITING.count(self.waiting(), []);
        HASHING_WORKING.count(workers.saturating_sub(free), []);
        HASHING_WORKERS.count(workers, []);
        HASHING_QUEUE.count(queue, []);
    }

    async fn compute<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Pool, &mut Slot) -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        compute(self.turn().await?, job).await
    }

    /// Writes into the log which hashes in use take more memory than a worker has, each kind once.
    fn tell_of_memory(&self, samples: &HashMap<Cost, PasswordHash>) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|cost| samples.contains_key(cost));
        for (cost, sample) in samples {
            let memory_kib = Scheme::parse(sample).map_or(0, |scheme| scheme.memory_kib());
            if memory_kib > self.0.config.memory_kib && told.insert(*cost) {
                tracing::warn!(
                    scheme = cost.scheme,
                    memory_kib,
                    "hashes are in use that take more memory than a worker has: one at a time is \
                     checked, and needs that much beside the workers"
                );
            }
        }
    }

    /// A turn for checking this hash; one that takes more memory than a worker has waits for its like
    /// before it waits for a worker.
    async fn turn_for(&self, stored: Option<&PasswordHash>) -> Result<Turn, HashingError> {
        if !stored.is_some_and(|stored| outgrows_worker(stored, &self.0.config)) {
            return self.turn().await;
        }
        let spare = Arc::clone(&self.0.spare).acquire_owned();
        let Ok(Ok(spare)) = timeout(MAX_WAIT, spare).await else {
            HASHING_REFUSALS.add(1, []);
            let retry_after = Duration::from_secs(1);
            return Err(HashingError::Overloaded { retry_after });
        };
        let mut turn = self.turn().await?;
        turn.spare = Some(spare);
        Ok(turn)
    }

    async fn turn(&self) -> Result<Turn, HashingError> {
        let pool = &self.0;
        let expected = pool.expected_wait();
        let overloaded = || {
            HASHING_REFUSALS.add(1, []);
            HashingError::Overloaded {
                retry_after: Duration::from_secs(expected.as_secs() + 1),
            }
        };
        if expected > MAX_WAIT {
            return Err(overloaded());
        }
        let admitted = Arc::clone(&pool.admission)
            .try_acquire_owned()
            .map_err(|_| overloaded())?;
        let waiter = Waiter::new(&pool.waiting);
        let turn = Arc::clone(&pool.turns)
            .acquire_owned()
            .await
            .map_err(|_| overloaded())?;
        drop(waiter);
        let slot = pool.lock_idle().pop().ok_or(HashingError::Failed)?;
        Ok(Turn {
            slot,
            pool: Arc::clone(pool),
            _permits: [turn, admitted],
            spare: None,
        })
    }
}

/// Computes in a slot, which goes back when it is done, whoever has stopped waiting meanwhile.
async fn compute<T: Send + 'static>(
    mut turn: Turn,
    job: impl FnOnce(&Pool, &mut Slot) -> T + Send + 'static,
) -> Result<T, HashingError> {
    let began = Instant::now();
    let task = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let pool = Arc::clone(&turn.pool);
        let result = job(&pool, &mut turn.slot);
        pool.note_duration(started.elapsed());
        HASHING_DURATION.observe(started.elapsed(), []);
        result
    });
    let done = task.await.map_err(|_| HashingError::Failed);
    tracing::debug!(took = ?began.elapsed(), "a hash was computed");
    done
}

impl fmt::Debug for HashingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashingPool")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(workers: usize, queue: usize) -> HashingPool {
        let config = PasswordsConfig {
            memory_kib: 64,
            iterations: 1,
            parallelism: 1,
            workers,
            queue,
        };
        HashingPool::new(config)
    }

    fn plain(text: &str) -> PlainPassword {
        PlainPassword::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_and_no_other() {
        let pool = pool(1, 1);
        let hash = pool.hash(plain("correct")).await.unwrap();
        let verify = async |text, hash| pool.verify(plain(text), hash).await.unwrap().verdict;
        let hash = Some(hash);
        assert_eq!(
            verify("correct", hash.clone()).await,
            Verdict::Match { is_outdated: false }
        );
        assert_eq!(verify("Correct", hash.clone()).await, Verdict::Mismatch);
        assert_eq!(verify("correct ", hash).await, Verdict::Mismatch);
        assert_eq!(verify("correct", None).await, Verdict::Mismatch);
    }

    /// Red where the normalised form alone is compared.
    #[tokio::test]
    async fn a_hash_of_what_was_typed_opens_and_is_replaced_by_one_of_the_normalised_form() {
        let pool = pool(1, 1);
        let verify = async |typed, hash: &PasswordHash| {
            let check = pool.verify(plain(typed), Some(hash.clone())).await.unwrap();
            check.verdict
        };
        let replaced = Verdict::Match { is_outdated: true };
        for typed in [
            "Passw\u{b2}rd-lang",
            "\u{b5} \u{b4} \u{ba} \u{2026} \u{bd} \u{2122} \u{a8}",
            "no\u{a0}break",
            "\u{ff26}\u{ff35}\u{ff2c}\u{ff2c}",
            "u\u{308}ber",
        ] {
            let bcrypt = PasswordHash::new(bcrypt::hash(typed, 4).unwrap());
            assert_eq!(verify(typed, &bcrypt).await, replaced, "{typed}");
            let mut slot = vec![Block::new(); 64];
            let argon2id = scheme::make_of(&pool.0.context, typed.as_bytes(), &mut slot);
            assert_eq!(verify(typed, &argon2id).await, replaced, "{typed}");
            assert_eq!(verify("another", &argon2id).await, Verdict::Mismatch);
            let ours = pool.hash(plain(typed)).await.unwrap();
            let kept = Verdict::Match { is_outdated: false };
            assert_eq!(verify(typed, &ours).await, kept, "{typed}");
        }
    }

    /// Red where bcrypt's hash is replaced whatever was typed, and with `> 72`.
    #[tokio::test]
    async fn a_bcrypt_hash_stays_where_it_cannot_tell_whether_all_of_the_password_was_typed() {
        let pool = pool(1, 1);
        let verdict = async |typed: &str, password: &str| {
            let hash = PasswordHash::new(bcrypt::hash(password, 4).unwrap());
            let check = pool.verify(plain(typed), Some(hash)).await.unwrap();
            check.verdict
        };
        let match_ = |is_outdated| Verdict::Match { is_outdated };
        let long = "0123456789".repeat(10);
        for (typed, password, is_outdated) in [
            (&long[..99], &long[..99], false),
            (&long[..73], &long[..99], false),
            (&long[..72], &long[..99], false),
            (&long[..72], &long[..72], false),
            (&long[..71], &long[..71], true),
            // Bytes that bcrypt cannot tell from their repetition.
            ("abc\0abc", "abc", false),
            ("abc", "abc", true),
        ] {
            assert_eq!(
                verdict(typed, password).await,
                match_(is_outdated),
                "{typed}"
            );
        }
        assert_eq!(verdict(&long[..71], &long[..99]).await, Verdict::Mismatch);
        // 72 bytes and more as typed, fewer as normalised; and the other way round.
        let shrinks = "\u{ff41}".repeat(30);
        assert_eq!(verdict(&shrinks, &shrinks[..72]).await, match_(false));
        assert_eq!(verdict(&shrinks, &"a".repeat(30)).await, match_(false));
        let grows = "\u{bd}".repeat(20);
        assert_eq!(verdict(&grows, &grows).await, match_(true));
    }

    #[tokio::test]
    async fn nobody_has_the_decoys_password() {
        let pool = pool(1, 1);
        let typed = plain("a password that no user has");
        let check = pool.verify(typed, None).await.unwrap();
        assert_eq!(check.verdict, Verdict::Mismatch);
    }

    #[tokio::test]
    async fn hashes_of_other_services_are_read_and_marked_for_an_upgrade() {
        let pool = pool(1, 1);
        let laravel = bcrypt::hash("secret-of-old", 4)
            .unwrap()
            .replace("$2b$", "$2y$");
        let argon2i = "$argon2i$v=19$m=64,t=3,p=2$c29tZXNhbHRzb21lc2FsdA$\
                       PGnVoCdKU3NrS0rdJ4bQkAFYR6pk1CuiXvOvIJ+gJFs";
        let stored = PasswordHash::new(laravel);
        assert_eq!(check_importable(&stored), Ok(()));
        assert_eq!(
            pool.verify(plain("secret-of-old"), Some(stored))
                .await
                .unwrap()
                .verdict,
            Verdict::Match { is_outdated: true }
        );
        assert_eq!(
            check_importable(&PasswordHash::new(argon2i.to_owned())),
            Ok(())
        );
    }

    use super::scheme::UnsupportedHash::{TooDear, Unknown};
    use super::scheme::check_importable;

    #[test]
    fn a_hash_that_is_unknown_or_too_dear_is_not_taken_over() {
        let check = |text: &str| check_importable(&PasswordHash::new(text.to_owned()));
        for unknown in [
            "",
            "secret",
            "$1$abc$def",
            "$2y$10$short",
            "$argon2id$v=19$m=64,t=1,p=1",
        ] {
            assert_eq!(check(unknown), Err(Unknown), "{unknown}");
        }
        let tail = "$c29tZXNhbHRzb21lc2FsdA$PGnVoCdKU3NrS0rdJ4bQkAFYR6pk1CuiXvOvIJ+gJFs";
        assert_eq!(
            check(&format!("$argon2id$v=19$m=999999,t=1,p=1{tail}")),
            Err(TooDear)
        );
        assert_eq!(
            check(&format!("$argon2id$v=19$m=64,t=999,p=1{tail}")),
            Err(TooDear)
        );
        let dear = bcrypt::hash("x", 4).unwrap().replacen("$04$", "$31$", 1);
        assert_eq!(check(&dear), Err(TooDear));
    }

    #[tokio::test]
    async fn a_refusal_is_held_back_only_while_hashes_of_other_kinds_are_in_use() {
        let pool = pool(1, 1);
        let unknown = pool.verify(plain("wrong"), None).await.unwrap();
        let held = async |pool: &HashingPool| {
            let before = Instant::now();
            pool.hold_back(&Check {
                started: before,
                ..unknown
            })
            .await;
            before.elapsed()
        };
        let mine = "$argon2id$v=19$m=64,t=1,p=1".to_owned();
        let old = vec!["$2y$08".to_owned(), mine.clone()];
        pool.learn_kinds(&old).await.unwrap();
        let cost = Scheme::parse(&scheme::sample("$2y$08")).unwrap().cost();
        let measured = pool.0.hold.measured(cost).unwrap();
        assert!(measured > Duration::ZERO);
        assert!(held(&pool).await >= measured);
        pool.learn_kinds(&[mine]).await.unwrap();
        assert_eq!(pool.0.hold.pass(measured, 1), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_kind_of_hash_is_learned_from_the_first_check_of_one() {
        let pool = pool(1, 1);
        let stored = scheme::sample("$2y$04");
        let check = pool.verify(plain("wrong"), Some(stored)).await.unwrap();
        assert_eq!(check.verdict, Verdict::Mismatch);
        assert!(pool.0.hold.pass(Duration::ZERO, 1) > Duration::ZERO);
    }

    /// More memory than any machine has: 4 TiB.
    fn oversize() -> PasswordHash {
        scheme::sample("$argon2id$v=19$m=4294967295,t=1,p=1")
    }

    /// Red when `fill` takes every failure for a wrong password.
    #[tokio::test]
    async fn a_hash_for_which_there_is_no_memory_is_no_wrong_password() {
        let pool = pool(1, 1);
        let checked = pool.verify(plain("correct"), Some(oversize())).await;
        assert_eq!(checked.unwrap_err(), HashingError::OutOfMemory);
        assert!(HashingError::OutOfMemory.is_unavailable());
        // Nor does it keep other kinds from being learned.
        let kinds = ["$argon2id$v=19$m=4294967295,t=1,p=1", "$2y$04"];
        pool.learn_kinds(&kinds.map(str::to_owned)).await.unwrap();
        assert!(pool.0.hold.pass(Duration::ZERO, 1) > Duration::ZERO);
    }

    /// Red when such a hash takes a worker's turn at once.
    #[tokio::test]
    async fn of_hashes_that_take_more_memory_than_a_worker_has_one_is_checked_at_a_time() {
        let pool = pool(2, 2);
        let sample = scheme::sample("$argon2id$v=19$m=128,t=1,p=1");
        let first = pool.turn_for(Some(&sample)).await.unwrap();
        let second = tokio::spawn({
            let (pool, sample) = (pool.clone(), sample.clone());
            async move { pool.turn_for(Some(&sample)).await.is_ok() }
        });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.0.turns.available_permits(), 1, "it holds no worker");
        let other = scheme::sample("$argon2id$v=19$m=64,t=1,p=1");
        drop(pool.turn_for(Some(&other)).await.unwrap());
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
    }

    #[tokio::test]
    async fn what_does_not_fit_into_the_queue_is_refused_at_once() {
        let pool = pool(1, 2);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move { pool.compute(move |_, _| held.recv().is_ok()).await }
        });
        while pool.0.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                tokio::spawn({
                    let pool = pool.clone();
                    async move { pool.compute(|_, _| ()).await }
                })
            })
            .collect();
        while pool.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        let surplus = pool.compute(|_, _| ()).await;
        assert!(matches!(surplus, Err(HashingError::Overloaded { .. })));
        release.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(true));
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_frees_its_place_in_the_queue_but_not_a_running_slot() {
        let pool = pool(1, 1);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move { pool.compute(move |_, _| held.recv().is_ok()).await }
        });
        while pool.0.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        busy.abort();
        assert!(busy.await.unwrap_err().is_cancelled());
        assert_eq!(pool.0.turns.available_permits(), 0, "the work goes on");
        let waiter = tokio::spawn({
            let pool = pool.clone();
            async move { pool.compute(|_, _| ()).await }
        });
        while pool.waiting() < 1 {
            tokio::task::yield_now().await;
        }
        waiter.abort();
        assert!(waiter.await.unwrap_err().is_cancelled());
        assert_eq!(pool.waiting(), 0);
        release.send(()).unwrap();
        assert_eq!(pool.compute(|_, _| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_task_that_panics_gives_its_slot_back() {
        let pool = pool(1, 1);
        let panicked = pool.compute(|_, _| panic!("boom")).await;
        assert_eq!(panicked, Err::<(), _>(HashingError::Failed));
        assert_eq!(pool.compute(|_, _| 7).await, Ok(7));
    }
}
