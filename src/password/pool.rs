//! The hashing pool: which hash is checked or made, and how long a refusal waits for its answer.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::{Argon2, Block};
use tokio::time::Instant;

use super::scheme::{self, Cost, OutOfMemory, Scheme, outgrows_worker};
use super::timing::TimingEqualizer;
use super::workers::{Slot, WorkerLease, Workers};
use crate::config::PasswordsConfig;
use crate::domain::{PasswordHash, PlainPassword};

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// The queue is full, or a worker would come too late.
    #[error("the hashing queue is full")]
    Overloaded {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// There is no memory for this hash now, which needs more than a worker has.
    #[error("there is no memory for a hash that needs more than a worker has")]
    OutOfMemory,
    /// The task that computed the hash panicked.
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

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Match {
        /// Whether the stored hash is to be replaced by one of this password: it is weaker than what
        /// would be made today, or made of what was typed.
        is_outdated: bool,
    },
    /// The password is wrong, or there is no hash that it could match.
    Mismatch,
}

/// A check that was made.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its result.
    pub verdict: Verdict,
    /// When it got a worker.
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
    /// The hash that is checked for an address without a user. No password matches it.
    decoy: PasswordHash,
    workers: Workers,
    /// The kinds of hashes that were logged because they need more memory than a worker has.
    logged: Mutex<HashSet<Cost>>,
    equalizer: TimingEqualizer,
}

impl Pool {
    fn check(
        &self,
        password: &PlainPassword,
        stored: Option<&PasswordHash>,
        slot: &mut Slot,
    ) -> Result<Verdict, OutOfMemory> {
        match stored.and_then(|stored| Scheme::parse(stored).ok()) {
            Some(scheme) => self.check_stored(password, &scheme, slot),
            None => self.check_decoy(password, slot),
        }
    }

    fn check_stored(
        &self,
        password: &PlainPassword,
        scheme: &Scheme<'_>,
        slot: &mut Slot,
    ) -> Result<Verdict, OutOfMemory> {
        // The second form is compared whatever the first comparison said and whichever service made the
        // hash: only what was typed decides what a check costs.
        let mut right = None;
        for form in password.forms() {
            let started = Instant::now();
            let is_match = scheme.verify(form, slot)?;
            self.equalizer.note_check(scheme.cost(), started.elapsed());
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

    /// Does the work of a check with a hash that nothing matches.
    fn check_decoy(
        &self,
        password: &PlainPassword,
        slot: &mut Slot,
    ) -> Result<Verdict, OutOfMemory> {
        let decoy = Scheme::parse(&self.decoy).expect("it was made here");
        for form in password.forms() {
            std::hint::black_box(decoy.verify(form, slot))?;
        }
        Ok(Verdict::Mismatch)
    }
}

impl HashingPool {
    /// A pool with its memory taken up front. This computes one hash, so it takes a moment.
    #[must_use]
    pub fn new(config: PasswordsConfig) -> Self {
        let context = scheme::context(&config);
        let blocks = context.params().block_count();
        let mut slots: Vec<Slot> = (0..config.workers)
            .map(|_| vec![Block::new(); blocks])
            .collect();
        let decoy = PlainPassword::parse("a password that no user has").expect("it is short");
        let decoy = scheme::make(&context, &decoy, &mut slots[0]);
        Self(Arc::new(Pool {
            config,
            equalizer: TimingEqualizer::new(scheme::todays_cost(&context)),
            context,
            decoy,
            workers: Workers::new(slots, config.queue),
            logged: Mutex::default(),
        }))
    }

    /// Checks a password. Without a stored hash, or with one that cannot be read, the same queue does
    /// the work of a hash with today's parameters, and nothing matches.
    pub async fn verify(
        &self,
        password: PlainPassword,
        stored: Option<PasswordHash>,
    ) -> Result<Check, HashingError> {
        let lease = self.lease_for(stored.as_ref()).await?;
        let started = Instant::now();
        let forms = u32::try_from(password.forms().len()).unwrap_or(u32::MAX);
        let pool = Arc::clone(&self.0);
        let check = move |slot: &mut Slot| pool.check(&password, stored.as_ref(), slot);
        Ok(Check {
            verdict: lease.compute(check).await??,
            started,
            forms,
        })
    }

    /// Waits until a refusal that follows from a check may leave, so that its time does not tell which
    /// kind of hash was checked. Occupies no worker meanwhile.
    pub async fn delay_refusal(&self, check: &Check) {
        let delay = self.0.equalizer.delay(check.started.elapsed(), check.forms);
        tokio::time::sleep_until(check.started + delay).await;
    }

    /// Learns which kinds of hashes are in use, each given as the text before its salt, and measures the
    /// most expensive ones. A kind that cannot be read counts as today's.
    pub async fn learn_kinds(&self, kinds: &[String]) -> Result<(), HashingError> {
        let samples: HashMap<Cost, PasswordHash> = (kinds.iter())
            .map(|kind| scheme::sample(kind))
            .chain([self.0.decoy.clone()])
            .filter_map(|sample| Some((Scheme::parse(&sample).ok()?.cost(), sample)))
            .collect();
        let used: HashSet<Cost> = samples.keys().copied().collect();
        self.log_oversize(&samples);
        for cost in self.0.equalizer.retain_used(&used) {
            let measured = self.measure(samples[&cost].clone()).await;
            if measured == Err(HashingError::OutOfMemory) {
                tracing::debug!(scheme = cost.scheme, "there is no memory to measure a hash");
            } else {
                measured?;
            }
        }
        Ok(())
    }

    /// Makes the hash to store for a password.
    pub async fn hash(&self, password: PlainPassword) -> Result<PasswordHash, HashingError> {
        let lease = self.0.workers.lease().await?;
        let pool = Arc::clone(&self.0);
        lease
            .compute(move |slot| scheme::make(&pool.context, &password, slot))
            .await
    }

    /// Whether a worker is free now: the moment for work that no request waits for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.workers.free() > 0 && self.waiting() == 0
    }

    /// Requests that wait for a worker now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.workers.waiting()
    }

    /// Records how busy the workers are.
    pub fn record_metrics(&self) {
        self.0.workers.record_metrics();
    }

    /// Checks a hash so that the equalizer learns what such a check takes.
    async fn measure(&self, sample: PasswordHash) -> Result<(), HashingError> {
        let password = PlainPassword::parse("nobody's").expect("it is short");
        self.verify(password, Some(sample)).await.map(|_| ())
    }

    /// Logs which hashes in use need more memory than a worker has, each kind once.
    fn log_oversize(&self, samples: &HashMap<Cost, PasswordHash>) {
        let mut logged = self.0.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|cost| samples.contains_key(cost));
        for (cost, sample) in samples {
            let memory_kib = Scheme::parse(sample).map_or(0, |scheme| scheme.memory_kib());
            if memory_kib > self.0.config.memory_kib && logged.insert(*cost) {
                tracing::warn!(
                    scheme = cost.scheme,
                    memory_kib,
                    "hashes are in use that take more memory than a worker has: one at a time is \
                     checked, and needs that much beside the workers"
                );
            }
        }
    }

    /// Leases a worker for checking this hash.
    async fn lease_for(&self, stored: Option<&PasswordHash>) -> Result<WorkerLease, HashingError> {
        let workers = &self.0.workers;
        if stored.is_some_and(|stored| outgrows_worker(stored, &self.0.config)) {
            workers.lease_for_oversize().await
        } else {
            workers.lease().await
        }
    }
}

impl fmt::Debug for HashingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashingPool")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
