//! Access tokens of an older service with our issuer, which are good here until they expire.
//!
//! With [`auth::legacy`](crate::auth), which says when both can be deleted, this is all that there is
//! about them but for the import and the storage of the keys.

use serde::Deserialize;

use super::claims::{decimal, is_present};
use super::compact::Compact;
use super::verifier::Verifier;
use super::{InvalidToken, KeyRingError, Tokens};
use crate::domain::{KeyStage, SigningKeyRecord, Timestamp, UserId, stage_of};

/// The claims of an access token of an older service: those that every such token has.
///
/// Its other claims are not read, with two exceptions: RFC 7519 has us check these where they are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LegacyClaims {
    /// The issuer, which is ours.
    pub iss: String,
    /// The user's number, in decimal.
    #[serde(with = "decimal")]
    pub sub: UserId,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it expires.
    pub exp: i64,
    /// From when it is good, if it says so (RFC 7519, section 4.1.5).
    pub nbf: Option<i64>,
    /// The services that it is for, if it says so (RFC 7519, section 4.1.3).
    pub aud: Option<String>,
}

/// The header of a token of an older service. A token of ours always has a `kid`, so no token is of both
/// kinds.
#[derive(Debug, Deserialize)]
struct LegacyHeader {
    alg: String,
    typ: Option<String>,
    #[serde(default, rename = "kid", deserialize_with = "is_present")]
    has_kid: bool,
    #[serde(default, rename = "crit", deserialize_with = "is_present")]
    has_crit: bool,
}

/// The keys of older services. They stand apart from ours, so that the holder of one of them can make
/// neither a refresh token nor a token that names its key. They are not published, so that no other
/// service comes to trust them because of us.
pub(super) struct LegacyKeys(Vec<Verifier>);

impl LegacyKeys {
    pub(super) fn of(records: &[SigningKeyRecord], now: Timestamp) -> Result<Self, KeyRingError> {
        let legacy = records
            .iter()
            .filter(|record| stage_of(record, records, now) == KeyStage::Legacy)
            .map(|record| Verifier::open(&record.public_key));
        Ok(Self(legacy.collect::<Result<_, _>>()?))
    }
}

impl Tokens {
    /// Checks an access token of the older service, if the settings have us take them: signature by a
    /// key that was imported for that, header, issuer, claims, times. Whether its owner may still use
    /// it is another question.
    ///
    /// That service marks neither its access tokens nor its refresh tokens, so only their lives tell them
    /// apart.
    pub fn verify_legacy(&self, token: &str) -> Result<LegacyClaims, InvalidToken> {
        if self.legacy_life.is_zero() {
            return Err(InvalidToken::Header);
        }
        let token = Compact::parse(token)?;
        check_header(&token)?;
        let claims = self.read_legacy(&token)?;
        if claims.aud.as_ref().is_some_and(|aud| *aud != self.audience) {
            return Err(InvalidToken::Unverified);
        }
        self.check_expiry(claims.exp)?;
        if claims
            .nbf
            .is_some_and(|nbf| nbf > self.clock.now().timestamp())
        {
            return Err(InvalidToken::NotYet);
        }
        let life = claims.exp.saturating_sub(claims.iat);
        if u64::try_from(life).is_ok_and(|life| life > self.legacy_life.as_secs()) {
            return Err(InvalidToken::LivesTooLong);
        }
        Ok(claims)
    }

    /// Tries each key of the older service: its tokens do not say which one signed them.
    fn read_legacy(&self, token: &Compact<'_>) -> Result<LegacyClaims, InvalidToken> {
        let ring = self.ring.current();
        let keys = &ring.legacy().0;
        if keys.is_empty() {
            return Err(InvalidToken::UnknownKey);
        }
        if !keys.iter().any(|key| token.is_signed_by(key)) {
            return Err(InvalidToken::Unverified);
        }
        let claims: LegacyClaims = token.claims()?;
        if claims.iss == self.issuer {
            Ok(claims)
        } else {
            Err(InvalidToken::Unverified)
        }
    }
}

/// Checks the header before anything is computed: `JWT` or no type, and no name of a key.
fn check_header(token: &Compact<'_>) -> Result<(), InvalidToken> {
    let header: LegacyHeader = token.header()?;
    let is_plain = header.typ.is_none_or(|typ| typ == "JWT");
    if header.alg != "RS256" || !is_plain || header.has_kid || header.has_crit {
        return Err(InvalidToken::Header);
    }
    Ok(())
}
