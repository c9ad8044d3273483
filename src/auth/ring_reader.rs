//! This instance's key ring: a copy of the database's keys, read again at once when a request meets a
//! key that is not in it.
//!
//! A key can be stored, sign, and have its token presented here before the next regular refresh. So an
//! unknown `kid` is no verdict while the key may be newer than the last reading. One reading serves
//! all requests that wait for one, and there are at most ten a second, so forged tokens cannot flood
//! the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::{KeyRefresh, KeysError, SigningKeys};
use crate::domain::KeyState;
use crate::store::{DEADLINE, StoreError};
use crate::token::Tokens;

/// The least time between the beginnings of two readings of which one was asked for by a request.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the keys into the ring, one reading at a time.
#[derive(Debug)]
pub(super) struct RingReader {
    keys: SigningKeys,
    tokens: Arc<Tokens>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<KeyState>,
    last: Option<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    began: Instant,
    /// `None` while it runs. It stays `None` if its request was dropped meanwhile: then the next
    /// request reads.
    has_succeeded: Option<bool>,
}

impl RingReader {
    pub(super) fn new(keys: SigningKeys, tokens: Arc<Tokens>) -> Self {
        Self {
            keys,
            tokens,
            state: Mutex::default(),
        }
    }

    /// The regular refresh.
    pub(super) async fn refresh(&self) -> Result<(KeyRefresh, Vec<KeyState>), KeysError> {
        let mut state = self.state.lock().await;
        let refresh = self.read(&mut state).await?;
        Ok((refresh, state.seen.clone()))
    }

    /// Waits for a reading that began after this was called.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let caught_up = async {
            let mut state = self.state.lock().await;
            match state.last {
                // Another request that waited has read for all.
                Some(Reading {
                    began,
                    has_succeeded: Some(has_succeeded),
                }) if began >= asked_at => {
                    return has_succeeded.then_some(()).ok_or(StoreError::TimedOut);
                }
                Some(last) => sleep_until(last.began + LEAST_INTERVAL).await,
                None => {}
            }
            match self.read(&mut state).await {
                Ok(_) => Ok(()),
                Err(KeysError::Store(error)) => Err(error),
                Err(_) => Err(StoreError::Unreadable("signing_keys")),
            }
        };
        let caught_up = timeout(DEADLINE, caught_up).await;
        caught_up.unwrap_or(Err(StoreError::TimedOut))
    }

    async fn read(&self, state: &mut State) -> Result<KeyRefresh, KeysError> {
        let mut reading = Reading {
            began: Instant::now(),
            has_succeeded: None,
        };
        state.last = Some(reading);
        let before = self.tokens.ring().current();
        let refreshed = self.keys.refresh(&before, &mut state.seen).await;
        reading.has_succeeded = Some(refreshed.is_ok());
        state.last = Some(reading);
        let mut refresh = refreshed?;
        if let Some(ring) = refresh.ring.take() {
            let refresh_key = ring.signers().refresh.as_ref();
            tracing::info!(active = %ring.active(), refresh = refresh_key.map(tracing::field::display), "the signing keys were read");
            self.tokens.ring().replace(ring);
        }
        self.tokens.ring().confirm(refresh.now);
        Ok(refresh)
    }
}
