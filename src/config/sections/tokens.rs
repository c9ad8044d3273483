//! `[tokens]`: tokens and sessions.

use super::super::reader::{Reader, Reading};
use super::super::shape;
use super::super::types::TokensConfig;
use super::DAY;

const TEN_YEARS: u32 = 3650 * DAY;

/// The lifetimes may be in any order: the shortest that applies decides.
pub(super) fn tokens(reader: &mut Reader) -> Reading<TokensConfig> {
    let issuer = reader.parsed("tokens.issuer", shape::issuer);
    let audience = reader.required("tokens.audience");
    let access_ttl = reader.seconds("tokens.access_ttl_seconds", 1..=DAY);
    let refresh_idle_ttl = reader.seconds("tokens.refresh_idle_ttl_seconds", 1..=TEN_YEARS);
    let session_ttl = reader.seconds("tokens.session_ttl_seconds", 1..=TEN_YEARS);
    let refresh_grace = reader.seconds("tokens.refresh_grace_seconds", 0..=300);
    let fresh = reader.seconds("tokens.fresh_seconds", 60..=DAY);
    let max_sessions_per_user = reader.number("tokens.max_sessions_per_user", 1..=100_000);
    let remembered = reader.number("tokens.remembered", 0..=1_000_000);
    let legacy_ttl = reader.seconds("tokens.legacy_ttl_seconds", 0..=DAY);
    Ok(TokensConfig {
        issuer: issuer?,
        audience: audience?,
        access_ttl: access_ttl?,
        refresh_idle_ttl: refresh_idle_ttl?,
        session_ttl: session_ttl?,
        refresh_grace: refresh_grace?,
        fresh: fresh?,
        max_sessions_per_user: max_sessions_per_user?,
        remembered: remembered?,
        legacy_ttl: legacy_ttl?,
    })
}
