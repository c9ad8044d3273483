//! The key ring in the use cases: reading it again, and verifying and issuing tokens with it.

use super::{Auth, KeyRefresh, KeysError};
use crate::domain::{KeyState, Session};
use crate::store::StoreError;
use crate::token::{InvalidToken, MissingKey, TokenPair, Tokens};

impl Auth {
    /// Reads the keys into this instance's ring if they have changed, and tells their states. For the
    /// worker that follows them.
    pub async fn renew_keys(&self) -> Result<(KeyRefresh, Vec<KeyState>), KeysError> {
        self.0.ring_reader.refresh().await
    }

    /// Reads the keys again, unless another request does so for all that wait.
    pub(super) async fn catch_up_with_keys(&self) -> Result<(), StoreError> {
        // In a box, or the future of every check of a token would have the size of this one.
        Box::pin(self.0.ring_reader.catch_up()).await
    }

    /// Verifies a token. Before one is refused because of its key, the keys are read again if that one
    /// may be newer than the ring; if they cannot be read, nothing is decided.
    pub(super) async fn verified<C>(
        &self,
        token: &str,
        verify: impl Fn(&Tokens) -> Result<C, InvalidToken>,
    ) -> Result<Result<C, InvalidToken>, StoreError> {
        let tokens = &self.0.tokens;
        match verify(tokens) {
            Err(InvalidToken::UnknownKey) if tokens.may_have_newer_key(token) => {
                self.catch_up_with_keys().await?;
                Ok(verify(tokens))
            }
            verdict => Ok(verdict),
        }
    }

    /// The pair of a session that was perhaps opened or refreshed elsewhere, under a key that is new
    /// here.
    pub(super) async fn issue_known<E>(&self, session: &Session) -> Result<TokenPair, E>
    where
        E: From<StoreError> + From<MissingKey>,
    {
        if let Ok(pair) = self.0.tokens.issue(session) {
            return Ok(pair);
        }
        self.catch_up_with_keys().await?;
        Ok(self.0.tokens.issue(session)?)
    }
}
