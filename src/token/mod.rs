//! Access and refresh tokens: RS256 JWTs that follow from a session and a key, and nothing else.
//!
//! Signing the same session's generation with the same key gives the same bytes (PKCS#1 v1.5 is
//! deterministic, and no claim depends on when or where it is signed), so a pair that was lost on
//! the way can be given again without having been stored.
//!
//! Verification is as strict as issuing is uniform (RFC 8725): one algorithm, keys from the ring
//! alone, an explicit `typ` for each kind, every claim required and typed, no leeway.

mod claims;
mod compact;
mod legacy;
mod open_key;
mod public_keys;
mod ring;
mod ring_error;
mod seal;
mod sealed_key;
mod verified;
mod verifier;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use jsonwebtoken::{Algorithm, Header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::config::TokensConfig;
use crate::domain::{
    Clock, Generation, KeyId, KeyPurpose, Session, SessionId, Timestamp, whole_seconds,
};

use claims::TokenHeader;
use compact::Compact;

pub use claims::{AccessClaims, RefreshClaims};
pub use legacy::LegacyClaims;
pub use open_key::public_key_pem;
pub use public_keys::PublicKeys;
pub use ring::{KeyRing, Ring};
pub use ring_error::KeyRingError;
pub use seal::{Sealer, UnsealError};
pub use sealed_key::{ImportedKey, SealedKey};

/// The seconds by which the database's clock may step back when another server takes over.
const CLOCK_STEP: i64 = 5;

/// Why a token is refused. For logs: a client learns only that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not three parts of base64url, or too long.
    #[error("malformed")]
    Malformed,
    /// A header that we do not write: another algorithm or type, a `crit`.
    #[error("header")]
    Header,
    /// A key that is not in the ring, or not for this kind of token.
    #[error("key")]
    UnknownKey,
    /// A signature that does not hold, or an issuer or audience that is not ours.
    #[error("signature, issuer or audience")]
    Unverified,
    /// A claim that is missing or of the wrong type.
    #[error("claims")]
    Claims,
    /// Past its `exp`.
    #[error("expired")]
    Expired,
    /// Before its `nbf`.
    #[error("not yet")]
    NotYet,
    /// Of an older service, and good for longer than its access tokens are: a refresh token, perhaps.
    #[error("too long a life")]
    LivesTooLong,
}

/// The key that a session names is not in the ring: revoked, or too new for this instance's view.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the signing key {0} is not in the ring")]
pub struct MissingKey(pub KeyId);

/// A signed token with its times.
#[derive(Clone)]
pub struct IssuedToken {
    /// The compact form.
    pub token: String,
    /// `iat`.
    pub created_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The tokens of a session's generation.
#[derive(Debug, Clone)]
pub struct TokenPair {
    /// For the services.
    pub access: IssuedToken,
    /// For the next pair.
    pub refresh: IssuedToken,
}

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    ring: KeyRing,
    issuer: String,
    audience: String,
    clock: Clock,
    /// The longest life of an access token of an older service. Zero: none is taken.
    legacy_life: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
}

impl Kind {
    /// RFC 9068, section 2.1, for access tokens; for refresh tokens a type of our own, so that
    /// neither passes for the other (RFC 8725, section 3.11).
    fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
        }
    }

    /// The keys that sign it.
    fn purpose(self) -> KeyPurpose {
        match self {
            Self::Access => KeyPurpose::Access,
            Self::Refresh => KeyPurpose::Refresh,
        }
    }

    /// An id that follows from the session and its generation.
    fn token_id(self, session_id: SessionId, generation: Generation) -> Uuid {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.typ().as_bytes());
        context.update(session_id.0.as_bytes());
        context.update(&generation.0.to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.finish().as_ref()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl Tokens {
    /// Tokens under `config`, signed and verified by the keys of `ring`.
    #[must_use]
    pub fn new(config: &TokensConfig, ring: Ring, clock: Clock) -> Self {
        Self {
            ring: KeyRing::new(ring, config.remembered),
            legacy_life: config.legacy_ttl,
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            clock,
        }
    }

    /// The keys, to be replaced when the database has others.
    #[must_use]
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The time by which it is told whether a token has expired.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The issuer: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The pair of a session's generation.
    pub fn issue(&self, session: &Session) -> Result<TokenPair, MissingKey> {
        let ring = self.ring.current();
        let key_id = |kind| match (kind, &session.refresh_key_id) {
            (Kind::Refresh, Some(key_id)) => key_id,
            (Kind::Access | Kind::Refresh, _) => &session.key_id,
        };
        let signer = |kind: Kind| {
            let key = ring.signing(kind.purpose(), key_id(kind));
            key.ok_or_else(|| MissingKey(key_id(kind).clone()))
        };
        let issued = |token, expires_at| IssuedToken {
            token,
            created_at: whole_seconds(session.rotated_at),
            expires_at: whole_seconds(expires_at),
        };
        let access = signer(Kind::Access)?.sign(
            &header(Kind::Access, key_id(Kind::Access)),
            &self.access_claims(session),
        );
        let refresh = signer(Kind::Refresh)?.sign(
            &header(Kind::Refresh, key_id(Kind::Refresh)),
            &self.refresh_claims(session),
        );
        Ok(TokenPair {
            access: issued(access, session.access_expires_at),
            refresh: issued(refresh, session.idle_expires_at),
        })
    }

    fn access_claims(&self, session: &Session) -> AccessClaims {
        AccessClaims {
            iss: self.issuer.clone(),
            sub: session.user_id,
            aud: self.audience.clone(),
            client_id: self.audience.clone(),
            iat: session.rotated_at.timestamp(),
            exp: session.access_expires_at.timestamp(),
            jti: Kind::Access.token_id(session.session_id, session.generation),
            sid: session.session_id,
            auth_time: session.created_at.timestamp(),
            amr: session.methods.amr(),
            email: session.email.clone(),
        }
    }

    fn refresh_claims(&self, session: &Session) -> RefreshClaims {
        RefreshClaims {
            iss: self.issuer.clone(),
            sub: session.user_id,
            aud: self.issuer.clone(),
            iat: session.rotated_at.timestamp(),
            exp: session.idle_expires_at.timestamp(),
            jti: Kind::Refresh.token_id(session.session_id, session.generation),
            sid: session.session_id,
            generation: session.generation,
        }
    }

    /// Checks an access token: signature, type, issuer, audience, claims, and `exp`. Whether its
    /// session has ended is another question.
    pub fn verify_access(&self, token: &str) -> Result<Arc<AccessClaims>, InvalidToken> {
        let claims = self.verify_expired_access(token)?;
        self.check_access_expiry(&claims)?;
        Ok(claims)
    }

    /// The same without `exp`: an expired token of ours lets nobody in, but its owner may still sign
    /// out with it.
    pub fn verify_expired_access(&self, token: &str) -> Result<Arc<AccessClaims>, InvalidToken> {
        let in_force = self.ring.in_force();
        let now = self.clock.now().timestamp();
        in_force.verified.get_or_verify(token, now, || {
            let claims: AccessClaims = self.verify(&in_force.ring, token, Kind::Access)?;
            self.check_parties(&claims.iss, &claims.aud, &self.audience)?;
            Ok(claims)
        })
    }

    /// Whether an access token that was verified has expired.
    pub fn check_access_expiry(&self, claims: &AccessClaims) -> Result<(), InvalidToken> {
        self.check_expiry(claims.exp)
    }

    /// Checks a refresh token in the same way, without `exp`: an expired one of ours still names its
    /// session, for which attempts are counted.
    pub fn verify_refresh(&self, token: &str) -> Result<RefreshClaims, InvalidToken> {
        let claims: RefreshClaims = self.verify(&self.ring.current(), token, Kind::Refresh)?;
        // It is for us alone.
        self.check_parties(&claims.iss, &claims.aud, &self.issuer)?;
        Ok(claims)
    }

    /// Whether a refresh token that was verified has expired.
    pub fn check_refresh_expiry(&self, claims: &RefreshClaims) -> Result<(), InvalidToken> {
        self.check_expiry(claims.exp)
    }

    /// Whether a token whose key is not in the ring may be under one that was stored after the ring
    /// was last known to be complete. Its claims are not verified yet: a key signs only tokens that
    /// are issued after it was stored, by one and the same clock, so an older token is none of ours.
    #[must_use]
    pub fn may_have_newer_key(&self, token: &str) -> bool {
        let issued_at = read_issued_at(token);
        issued_at.is_ok_and(|at| at >= self.ring.complete_at() - CLOCK_STEP)
    }

    /// Checks all that is asked of each kind of token: header, signature, the types of its claims, `nbf`.
    fn verify<C: DeserializeOwned>(
        &self,
        ring: &Ring,
        token: &str,
        kind: Kind,
    ) -> Result<C, InvalidToken> {
        let token = Compact::parse(token)?;
        let key_id = check_header(&token, kind)?;
        let key = ring.verifying(kind.purpose(), &key_id);
        let key = key.ok_or(InvalidToken::UnknownKey)?;
        if !token.is_signed_by(key) {
            return Err(InvalidToken::Unverified);
        }
        let claims = token.claims()?;
        self.check_not_before(&token)?;
        Ok(claims)
    }

    fn check_parties(&self, iss: &str, aud: &str, audience: &str) -> Result<(), InvalidToken> {
        if iss == self.issuer && aud == audience {
            Ok(())
        } else {
            Err(InvalidToken::Unverified)
        }
    }

    /// We write no `nbf`, but where one is, it counts (RFC 7519, section 4.1.5).
    fn check_not_before(&self, token: &Compact<'_>) -> Result<(), InvalidToken> {
        #[derive(Deserialize)]
        struct NotBefore {
            nbf: Option<i64>,
        }
        let NotBefore { nbf } = token.claims()?;
        if nbf.is_some_and(|nbf| nbf > self.clock.now().timestamp()) {
            Err(InvalidToken::NotYet)
        } else {
            Ok(())
        }
    }

    /// `exp` equal to now has passed (RFC 7519, section 4.1.4: "on or after").
    fn check_expiry(&self, exp: i64) -> Result<(), InvalidToken> {
        if exp <= self.clock.now().timestamp() {
            Err(InvalidToken::Expired)
        } else {
            Ok(())
        }
    }
}

fn header(kind: Kind, key_id: &KeyId) -> Header {
    let mut header = Header::new(Algorithm::RS256);
    header.typ = Some(kind.typ().to_owned());
    header.kid = Some(key_id.0.clone());
    header
}

/// Checks a header before anything is computed. A header that we would not write is refused, and `jku`,
/// `x5u` and `jwk` are not even read.
fn check_header(token: &Compact<'_>, kind: Kind) -> Result<KeyId, InvalidToken> {
    let header: TokenHeader = token.header()?;
    if header.alg != "RS256" || header.typ != kind.typ() || header.has_crit {
        return Err(InvalidToken::Header);
    }
    Ok(KeyId(header.kid))
}

/// The `iat` of a token, unverified.
fn read_issued_at(token: &str) -> Result<i64, InvalidToken> {
    #[derive(Deserialize)]
    struct IssuedAt {
        iat: i64,
    }
    let claims: IssuedAt = Compact::parse(token)?.claims()?;
    Ok(claims.iat)
}
