//! The access tokens that were verified, so that the next check of one costs no signature.
//!
//! One page is dozens of checks of one token. The cache remembers a token's claims, and that the keys
//! in force signed it. Whether it has expired, and whether its session has ended, is asked each time.
//! With other keys in force, all of it is forgotten.
//!
//! Only verified tokens are remembered, so tokens that nobody issued take no place in it.

use std::mem::size_of;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::AccessClaims;

/// The room that a token takes at least; a longer one takes a multiple of it.
const PLACE_BYTES: usize = 1024;

/// The bytes of a place beside the claims: the key, the cache's own entry, and the allocator's overhead.
const OVERHEAD_BYTES: usize = 160;

/// A token's name in the cache: nothing shorter is as hard to forge as a signature.
type Digest = [u8; SHA256_OUTPUT_LEN];

/// A bounded memory of verified access tokens.
pub(super) struct VerifiedTokens(Option<Cache<Digest, Arc<AccessClaims>, Places>>);

impl VerifiedTokens {
    /// A memory with so many places; without any, nothing is remembered.
    pub(super) fn new(places: u32) -> Self {
        let cache = |places: u32| Cache::with_weighter(places as usize, places.into(), Places);
        Self((places > 0).then(|| cache(places)))
    }

    /// The claims of a token that is remembered and has not expired at `now`; else those that `verify`
    /// finds, which are remembered unless they have expired.
    pub(super) fn get_or_verify<E>(
        &self,
        token: &str,
        now: i64,
        verify: impl FnOnce() -> Result<AccessClaims, E>,
    ) -> Result<Arc<AccessClaims>, E> {
        let Some(cache) = &self.0 else {
            return verify().map(Arc::new);
        };
        let name = name(token);
        if let Some(claims) = cache.get(&name) {
            if now < claims.exp {
                return Ok(claims);
            }
            cache.remove(&name);
        }
        let claims = Arc::new(verify()?);
        if now < claims.exp {
            cache.insert(name, Arc::clone(&claims));
        }
        Ok(claims)
    }
}

fn name(token: &str) -> Digest {
    let mut name = [0; SHA256_OUTPUT_LEN];
    name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    name
}

/// How many places a token takes.
#[derive(Debug, Clone)]
struct Places;

impl Weighter<Digest, Arc<AccessClaims>> for Places {
    fn weight(&self, _: &Digest, claims: &Arc<AccessClaims>) -> u64 {
        bytes(claims).div_ceil(PLACE_BYTES) as u64
    }
}

/// The memory that a token takes.
fn bytes(claims: &AccessClaims) -> usize {
    let texts = [&claims.iss, &claims.aud, &claims.client_id];
    let methods = claims.amr.iter();
    let methods = methods.map(|method| size_of::<String>() + method.len());
    OVERHEAD_BYTES
        + size_of::<AccessClaims>()
        + texts.into_iter().map(String::len).sum::<usize>()
        + claims.email.as_str().len()
        + methods.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::claims::sample;

    const NOW: i64 = 1_800_000_000;

    fn claims(email: &str) -> AccessClaims {
        sample(email, NOW)
    }

    /// Whether a good token had to be verified at that time.
    fn is_verified(tokens: &VerifiedTokens, token: &str, now: i64) -> bool {
        let mut is_verified = false;
        let found = tokens.get_or_verify(token, now, || {
            is_verified = true;
            Ok::<_, ()>(claims("a@example.com"))
        });
        assert_eq!(*found.unwrap(), claims("a@example.com"));
        is_verified
    }

    fn refuse(tokens: &VerifiedTokens, token: &str) {
        let refused = tokens.get_or_verify(token, NOW, || Err(()));
        assert_eq!(refused, Err(()));
    }

    #[test]
    fn a_token_is_verified_once_until_it_expires_and_then_each_time() {
        let tokens = VerifiedTokens::new(100);
        assert!(is_verified(&tokens, "a", NOW));
        for now in [NOW, NOW + 899] {
            assert!(!is_verified(&tokens, "a", now));
        }
        for now in [NOW + 900, NOW + 900, NOW] {
            assert!(is_verified(&tokens, "a", now), "{now}");
        }
    }

    #[test]
    fn a_token_that_differs_in_its_last_character_is_another_one() {
        let tokens = VerifiedTokens::new(100);
        assert!(is_verified(&tokens, "aaa", NOW));
        for other in ["aab", "aaa=", "aa", "Aaa"] {
            refuse(&tokens, other);
        }
    }

    /// Red where a token takes a place before it is verified.
    #[test]
    fn tokens_that_nobody_issued_push_none_out() {
        let tokens = VerifiedTokens::new(128);
        let remembered: Vec<_> = (0..64).map(|n| format!("good {n}")).collect();
        for token in &remembered {
            assert!(is_verified(&tokens, token, NOW));
        }
        for n in 0..100_000 {
            refuse(&tokens, &format!("forged {n}"));
        }
        let again = remembered.iter();
        assert_eq!(
            again
                .filter(|token| is_verified(&tokens, token, NOW))
                .count(),
            0
        );
    }

    #[test]
    fn there_are_no_more_places_than_were_asked_for_and_a_long_token_takes_several() {
        let tokens = VerifiedTokens::new(128);
        let long = claims(&format!("{}@example.com", "x".repeat(240)));
        for n in 0..10_000 {
            let verified = tokens.get_or_verify(&n.to_string(), NOW, || {
                let mut claims = long.clone();
                claims.client_id = "c".repeat(n % 7 * 500);
                Ok::<_, ()>(claims)
            });
            assert!(verified.is_ok());
        }
        let cache = tokens.0.as_ref().unwrap();
        let bytes: usize = cache.iter().map(|(_, claims)| bytes(&claims)).sum();
        assert!(cache.len() > 16, "{}", cache.len());
        assert!(cache.len() <= 128 && bytes <= 128 * PLACE_BYTES, "{bytes}");
    }

    #[test]
    fn without_places_nothing_is_remembered() {
        let tokens = VerifiedTokens::new(0);
        for _ in 0..2 {
            assert!(is_verified(&tokens, "a", NOW));
        }
    }
}
