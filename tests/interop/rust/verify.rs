//! Verifies access tokens with jsonwebtoken, and knows which sessions have ended.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use tokio::time::Instant;

/// How often the feed is read: a sign-out is known after this and a round trip.
const POLL: Duration = Duration::from_millis(500);

/// How long the feed may stay unread before nothing is concluded from it any more.
const TRUSTED: Duration = Duration::from_secs(10);

/// The claims of a token.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sid: String,
}

/// Why a token is not accepted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not good: answer 401.
    Invalid(String),
    /// It cannot be told: answer 503.
    Unavailable(String),
}

/// Where the auth server is, and as whom the feed is read.
pub(crate) struct Settings {
    pub(crate) auth_url: String,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    /// How often at most the key set is read again for a key that is not in it: less than
    /// `keys.publish_seconds`.
    pub(crate) cooldown: Duration,
}

/// Knows the keys and the ended sessions.
pub(crate) struct Verifier {
    settings: Settings,
    rules: Validation,
    http: reqwest::Client,
    keys: tokio::sync::Mutex<Keys>,
    ended: RwLock<Ended>,
}

struct Keys {
    set: JwkSet,
    asked_at: Instant,
    fresh_until: Instant,
}

#[derive(Default)]
struct Ended {
    /// With the second since 1970 from which the session's tokens are expired anyway.
    sessions: HashMap<String, i64>,
    cursor: Option<String>,
    complete_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Page {
    revocations: Vec<Revocation>,
    cursor: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revocation {
    session_id: String,
    expires_at: DateTime<FixedOffset>,
}

impl Verifier {
    /// Reads the keys and starts to follow the feed.
    pub(crate) async fn start(settings: Settings) -> reqwest::Result<Arc<Self>> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(3))
            .build()?;
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&settings.issuer]);
        rules.set_audience(&[&settings.audience]);
        rules.leeway = 0; // 60 unless set
        let keys = read_keys(&http, &settings.auth_url).await?;
        let verifier = Arc::new(Self {
            settings,
            rules,
            http,
            keys: keys.into(),
            ended: RwLock::default(),
        });
        tokio::spawn(Arc::clone(&verifier).follow());
        Ok(verifier)
    }

    /// The claims of a good token.
    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let invalid = |error: jsonwebtoken::errors::Error| Refusal::Invalid(error.to_string());
        let header = decode_header(token).map_err(invalid)?;
        // jsonwebtoken leaves both to its caller. We know no extension, so none can be critical.
        if header.typ.as_deref() != Some("at+jwt") || header.crit.is_some() {
            return Err(Refusal::Invalid("not an access token".to_owned()));
        }
        let key = self.key(header.kid.as_deref().unwrap_or_default()).await?;
        let claims = decode::<Claims>(token, &key, &self.rules).map_err(invalid)?;
        self.refuse_ended(claims.claims)
    }

    async fn key(&self, key_id: &str) -> Result<DecodingKey, Refusal> {
        let mut keys = self.keys.lock().await;
        let is_unknown = keys.set.find(key_id).is_none();
        let is_stale = keys.fresh_until <= Instant::now();
        if (is_unknown || is_stale) && keys.asked_at.elapsed() >= self.settings.cooldown {
            keys.asked_at = Instant::now();
            match read_keys(&self.http, &self.settings.auth_url).await {
                Ok(read) => *keys = read,
                // A key that was good a moment ago bridges a restart of the auth server.
                Err(_) if !is_unknown => {}
                Err(error) => return Err(Refusal::Unavailable(error.to_string())),
            }
        }
        let key = keys.set.find(key_id);
        let key = key.ok_or_else(|| Refusal::Invalid("an unknown key".to_owned()))?;
        DecodingKey::from_jwk(key).map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    fn refuse_ended(&self, claims: Claims) -> Result<Claims, Refusal> {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        if ended.sessions.contains_key(&claims.sid) {
            return Err(Refusal::Invalid("the session has ended".to_owned()));
        }
        match ended.complete_at {
            Some(at) if at.elapsed() <= TRUSTED => Ok(claims),
            _ => Err(Refusal::Unavailable(
                "the feed is not being read".to_owned(),
            )),
        }
    }

    async fn follow(self: Arc<Self>) {
        loop {
            // At once again, until an answer has nothing new. When there is no answer, the known
            // entries stay.
            while let Ok(true) = self.read_feed().await {}
            tokio::time::sleep(POLL).await;
        }
    }

    fn feed_url(&self) -> String {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        let url = format!("{}/api/v2/revocations", self.settings.auth_url);
        match &ended.cursor {
            Some(cursor) => format!("{url}?since={cursor}"),
            None => url,
        }
    }

    async fn read_feed(&self) -> reqwest::Result<bool> {
        let started = Instant::now();
        let (client, secret) = (&self.settings.client_id, &self.settings.client_secret);
        let request = self
            .http
            .get(self.feed_url())
            .basic_auth(client, Some(secret));
        let page: Page = request.send().await?.error_for_status()?.json().await?;

        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        let expired = jsonwebtoken::get_current_timestamp().cast_signed() - 60;
        ended.sessions.retain(|_, expires_at| *expires_at > expired);
        let known = ended.sessions.len();
        let listed = page.revocations.into_iter();
        ended
            .sessions
            .extend(listed.map(|entry| (entry.session_id, entry.expires_at.timestamp())));
        ended.cursor = Some(page.cursor);
        let is_news = ended.sessions.len() > known;
        if !is_news {
            ended.complete_at = Some(started);
        }
        Ok(is_news)
    }
}

async fn read_keys(http: &reqwest::Client, auth_url: &str) -> reqwest::Result<Keys> {
    let asked_at = Instant::now();
    let url = format!("{auth_url}/.well-known/jwks.json");
    let response = http.get(url).send().await?.error_for_status()?;
    let caching = response.headers().get("cache-control");
    let max_age = caching
        .and_then(|value| value.to_str().ok()?.split("max-age=").nth(1)?.parse().ok())
        .unwrap_or_default();
    Ok(Keys {
        set: response.json().await?,
        asked_at,
        fresh_until: asked_at + Duration::from_secs(max_age),
    })
}
