//! The public keys that verify access tokens, in the forms in which they are published.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};

use super::open_key::OpenKey;
use crate::domain::KeyId;

/// The published keys.
pub struct PublicKeys {
    /// A JWK Set (RFC 7517).
    pub keys: serde_json::Value,
    /// Names this very set: an entity tag (RFC 9110, section 8.8.3).
    pub etag: String,
    /// The same keys in PEM form (RFC 7468), the one that signs first.
    pub pem: String,
    /// Names this very text, in the same way.
    pub pem_etag: String,
    each: HashMap<KeyId, Arc<OpenKey>>,
}

impl PublicKeys {
    /// The forms of `keys`, of which `active` signs.
    pub(super) fn of(keys: HashMap<KeyId, Arc<OpenKey>>, active: &KeyId) -> Self {
        let mut jwks: Vec<Jwk> = keys.values().map(|key| key.jwk.clone()).collect();
        jwks.sort_by(|a, b| a.common.key_id.cmp(&b.common.key_id));
        let mut pems: Vec<_> = keys
            .iter()
            .map(|(id, key)| (id, key.pem.as_str()))
            .collect();
        pems.sort_by_key(|&(id, _)| (id != active, id));
        let pem: String = pems.into_iter().map(|(_, pem)| pem).collect();
        let jwks = serde_json::to_value(JwkSet { keys: jwks }).expect("a JWK is JSON");
        Self {
            etag: etag(&jwks.to_string()),
            keys: jwks,
            pem_etag: etag(&pem),
            pem,
            each: keys,
        }
    }

    /// One of them in PEM form.
    #[must_use]
    pub fn pem_of(&self, key_id: &KeyId) -> Option<&str> {
        self.each.get(key_id).map(|key| key.pem.as_str())
    }
}

fn etag(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash))
}
