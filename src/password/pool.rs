//! The hashing pool.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::{Argon2, Block};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::hold::Hold;
use super::scheme::{self, Cost, Scheme};
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
    /// The task that computed died.
    #[error("the hashing task failed")]
    Failed,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Match {
        /// Whether the stored hash is weaker than what would be made today.
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
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pool.lock_idle().push(std::mem::take(&mut self.slot));
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
    ) -> Verdict {
        let readable = stored.and_then(|stored| Scheme::parse(stored).ok());
        let Some(scheme) = readable else {
            let decoy = Scheme::parse(&self.decoy).expect("it was made here");
            std::hint::black_box(decoy.verify(password, slot));
            return Verdict::Mismatch;
        };
        let started = Instant::now();
        let is_match = scheme.verify(password, slot);
        self.hold.learn(scheme.cost(), started.elapsed());
        if is_match {
            Verdict::Match {
                is_outdated: scheme.is_outdated(&self.config) && !scheme.cuts(password),
            }
        } else {
            Verdict::Mismatch
        }
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
        let turn = self.turn().await?;
        let started = Instant::now();
        let check =
            move |pool: &Pool, slot: &mut Slot| pool.check(&password, stored.as_ref(), slot);
        let verdict = compute(turn, check).await?;
        Ok(Check { verdict, started })
    }

    /// Waits until a refusal that follows from a check may leave: its time after the turn must not
    /// tell what kind of hash was checked. Holds no worker meanwhile.
    pub async fn hold_back(&self, check: &Check) {
        let hold = self.0.hold.pass(check.started.elapsed());
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
        for cost in self.0.hold.keep(&used) {
            let sample = samples[&cost].clone();
            let password = PlainPassword::parse("nobody's").expect("it is short");
            self.compute(move |pool, slot| pool.check(&password, Some(&sample), slot))
                .await?;
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
        assert_eq!(pool.0.hold.pass(measured), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_kind_of_hash_is_learned_from_the_first_check_of_one() {
        let pool = pool(1, 1);
        let stored = scheme::sample("$2y$04");
        let check = pool.verify(plain("wrong"), Some(stored)).await.unwrap();
        assert_eq!(check.verdict, Verdict::Mismatch);
        assert!(pool.0.hold.pass(Duration::ZERO) > Duration::ZERO);
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
