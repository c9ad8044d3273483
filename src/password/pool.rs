//! The hashing pool: which hash is checked or made, and how long a refusal waits for its answer.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::HashingError;
use super::formats;
use super::kind::Kind;
use super::make::{make, todays_kind};
use super::slot::{Library, OutOfMemory, Slot};
use super::stored_hash::StoredHash;
use super::timing::TimingEqualizer;
use super::wait::wait_until;
use super::workers::{WorkerLease, Workers};
use crate::config::PasswordsConfig;
use crate::domain::{HashKind, NewPasswordHash, PasswordHash, PlainPassword};
use crate::telemetry::metrics::{HASHING_FALLBACK, REFUSAL_DELAY};

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Match {
        /// Whether the stored hash is to be replaced by one of this password: it is weaker than today's
        /// hashes, or made of the password as it was typed.
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
    /// The hash that is checked for an address without a user. No password matches it.
    decoy: PasswordHash,
    library: Library,
    workers: Workers,
    /// The kinds of hashes that were logged because they need more memory than a worker has.
    logged: Mutex<HashSet<Kind>>,
    equalizer: TimingEqualizer,
}

impl Pool {
    fn check_stored(
        &self,
        password: &PlainPassword,
        stored: &dyn StoredHash,
        slot: &mut Slot,
    ) -> Result<Verdict, OutOfMemory> {
        // The second form is compared even if the first one matched, and with hashes of every service:
        // only the typed password may decide the cost of a check.
        let mut right = None;
        for form in password.forms() {
            let started = Instant::now();
            let is_match = stored.verify(form, slot)?;
            self.equalizer.note_check(stored.kind(), started.elapsed());
            right = right.or(is_match.then_some(form));
        }
        let Some(right) = right else {
            return Ok(Verdict::Mismatch);
        };
        let is_foreign = right != password.expose() || stored.is_outdated(&self.config);
        let is_whole = !stored.cuts(right) && !stored.cuts(password.expose_typed());
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
        let decoy = formats::read(self.decoy.expose()).expect("it was made here");
        for form in password.forms() {
            std::hint::black_box(decoy.verify(form, slot))?;
        }
        Ok(Verdict::Mismatch)
    }
}

impl HashingPool {
    /// A pool with its memory taken up front. This computes some hashes, so it takes a moment.
    #[must_use]
    pub fn new(config: PasswordsConfig) -> Self {
        Self::with_library(config, Library::choose())
    }

    fn with_library(config: PasswordsConfig, library: Library) -> Self {
        let mut slots: Vec<Slot> = (0..config.workers)
            .map(|_| Slot::new(library, config.memory_kib))
            .collect();
        let decoy = PlainPassword::parse("a password that no user has").expect("it is short");
        let decoy = make(&config, &decoy, &mut slots[0]).hash().clone();
        Self(Arc::new(Pool {
            equalizer: TimingEqualizer::new(todays_kind(&config)),
            decoy,
            library,
            workers: Workers::new(slots, config.queue, config.imported_memory_kib()),
            config,
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
        let stored = stored.and_then(|stored| formats::read(stored.expose()).ok());
        self.check(password, stored).await
    }

    async fn check(
        &self,
        password: PlainPassword,
        stored: Option<Box<dyn StoredHash>>,
    ) -> Result<Check, HashingError> {
        let lease = self.lease_for(stored.as_deref()).await?;
        let started = Instant::now();
        let forms = u32::try_from(password.forms().len()).unwrap_or(u32::MAX);
        let pool = Arc::clone(&self.0);
        let check = move |slot: &mut Slot| match stored {
            Some(stored) => pool.check_stored(&password, &*stored, slot),
            None => pool.check_decoy(&password, slot),
        };
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
        wait_until(check.started + delay).await;
    }

    /// Learns which kinds of hashes are in use, and measures the most expensive ones. A kind that cannot be read
    /// counts as today's.
    pub async fn learn_kinds(&self, kinds: &[HashKind]) -> Result<(), HashingError> {
        let mut used: HashSet<Kind> = kinds.iter().filter_map(Kind::read).collect();
        self.log_oversize(&used);
        used.insert(todays_kind(&self.0.config));
        for kind in self.0.equalizer.retain_used(&used) {
            match self.measure(kind).await {
                Err(error @ (HashingError::OutOfMemory | HashingError::TooLarge { .. })) => {
                    tracing::debug!(%kind, %error, "a kind of hash was not measured");
                }
                measured => measured?,
            }
        }
        Ok(())
    }

    /// How long refusals are held back for the kinds of hashes that are known; `None` if they are not.
    #[must_use]
    pub fn refusal_delay(&self) -> Option<Duration> {
        self.0.equalizer.price()
    }

    /// Makes the hash to store for a password.
    pub async fn hash(&self, password: PlainPassword) -> Result<NewPasswordHash, HashingError> {
        let lease = self.0.workers.lease().await?;
        let pool = Arc::clone(&self.0);
        lease
            .compute(move |slot| make(&pool.config, &password, slot))
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
        let delay = self.refusal_delay().unwrap_or_default();
        REFUSAL_DELAY.set(delay.as_secs_f64(), []);
        HASHING_FALLBACK.count(usize::from(self.0.library == Library::Reference), []);
    }

    /// Checks a hash so that the equalizer learns what such a check takes.
    async fn measure(&self, kind: Kind) -> Result<(), HashingError> {
        let password = PlainPassword::parse("nobody's").expect("it is short");
        self.check(password, formats::sample(kind))
            .await
            .map(|_| ())
    }

    /// Logs which hashes in use need more memory than a worker has, each kind once.
    fn log_oversize(&self, used: &HashSet<Kind>) {
        let mut logged = self.0.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|kind| used.contains(kind));
        let budget_kib = self.0.config.imported_memory_kib();
        for kind in used {
            let memory_kib = kind.foreign_memory_kib(&self.0.config);
            if memory_kib == 0 || !logged.insert(*kind) {
                continue;
            }
            if memory_kib > budget_kib {
                tracing::warn!(
                    %kind, memory_kib, budget_kib,
                    "hashes are in use that take more memory than passwords.imported_memory_mib: \
                     their owners are answered 503 until they have set a password"
                );
            } else {
                tracing::info!(
                    %kind, memory_kib, budget_kib,
                    "hashes are in use that need memory beside the workers'"
                );
            }
        }
    }

    /// Leases a worker for checking this hash, and memory for it, if it needs some of its own.
    async fn lease_for(
        &self,
        stored: Option<&dyn StoredHash>,
    ) -> Result<WorkerLease, HashingError> {
        let (config, workers) = (&self.0.config, &self.0.workers);
        let needs = stored.map_or(0, |stored| stored.kind().foreign_memory_kib(config));
        if needs == 0 {
            return workers.lease().await;
        }
        if needs > config.imported_memory_kib() {
            return Err(HashingError::TooLarge {
                needs_mib: needs.div_ceil(1024),
                budget_mib: config.imported_memory_mib,
            });
        }
        workers.lease_with_memory(needs).await
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
