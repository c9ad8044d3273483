//! Answers, and the rules that all of them keep.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat};
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};

use super::scanner::{self, Kind};
use super::{Jwt, soon};

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A pair of tokens as handed out.
#[derive(Debug, Clone)]
pub struct Pair {
    pub access: String,
    pub refresh: String,
    /// The whole answer, byte for byte.
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = soon("a body", response.bytes()).await.unwrap();
        Self::new(status, headers, body.to_vec())
    }

    /// An answer that must hold no secret but those that it is there to bring, which are known
    /// from now on.
    pub fn new(status: u16, headers: HeaderMap, body: Vec<u8>) -> Self {
        let head: Vec<u8> = (headers.iter())
            .flat_map(|(name, value)| {
                [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat()
            })
            .collect();
        scanner::assert_clean("a head", &head);
        scanner::assert_clean("a body", &without_secrets(&body));
        Self {
            status,
            headers,
            body,
        }
    }

    /// A header that is there once or not at all.
    pub fn header(&self, name: &str) -> Option<&str> {
        let name: HeaderName = name.parse().unwrap();
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(values.len() <= 1, "{values:?}");
        values.first().map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }

    /// Checks the headers that every answer has.
    fn check(&self) {
        let id = self.header("x-request-id").unwrap();
        let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        assert!((1..=128).contains(&id.len()) && id.bytes().all(is_safe));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(self.header("server"), None);
    }

    /// The body of an answer that must be a success.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.check();
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// An answer that must be a success and say no more.
    pub fn ok_and_empty(&self) {
        assert_eq!(self.text(), "200 ");
        self.check();
        assert_eq!(self.header("content-type"), None);
    }

    /// The body of an answer that must be this refusal, with all that goes with it. Its request id
    /// is checked and taken out, so that the rest can be compared.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let mut body = self.json();
        assert_eq!((self.status, &body["code"]), (status, &json!(code)));
        self.check();
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(body["status"], status);
        assert_eq!(body["requestId"], self.header("x-request-id").unwrap());
        body["requestId"] = json!("(id)");

        let has_challenge = self.header("www-authenticate").is_some();
        assert_eq!(has_challenge, status == 401, "WWW-Authenticate");
        let retry_after = self
            .header("retry-after")
            .map(|s| s.parse::<u64>().unwrap());
        let says_when = matches!(status, 429 | 503);
        assert_eq!(retry_after.is_some_and(|s| s > 0), says_when);
        assert_eq!(body["retryAfter"], json!(retry_after));

        let mut keys = BTreeSet::from(["type", "title", "status", "detail", "code", "requestId"]);
        keys.extend((status == 422).then_some("errors"));
        keys.extend(says_when.then_some("retryAfter"));
        assert_keys(&body, &keys.into_iter().collect::<Vec<_>>());
        body
    }

    /// How long a refusal for too many attempts says to wait, in seconds.
    pub fn limited(&self) -> u64 {
        let body = self.problem(429, "too_many_attempts");
        body["retryAfter"].as_u64().unwrap()
    }

    /// All of a refusal that a client sees, but for the two headers that name the moment and the
    /// request.
    pub fn seen(&self) -> String {
        let mut lines: Vec<String> = (self.headers.iter())
            .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        let id = self.header("x-request-id").unwrap();
        let body = String::from_utf8_lossy(&self.body).replace(id, "(id)");
        format!("{}\n{}\n\n{body}", self.status, lines.join("\n"))
    }

    /// The pair of an answer that must bring one.
    pub fn pair(&self) -> Pair {
        let body = self.ok();
        let token = |kind: &str| {
            assert_keys(&body[kind], &["token", "createdAt", "expiresAt"]);
            let token = body[kind]["token"].as_str().unwrap().to_owned();
            let claims = Jwt::read(&token).claims;
            assert_eq!(seconds(&body[kind]["createdAt"]), claims["iat"]);
            assert_eq!(seconds(&body[kind]["expiresAt"]), claims["exp"]);
            token
        };
        Pair {
            access: token("accessToken"),
            refresh: token("refreshToken"),
            body: self.body.clone(),
        }
    }
}

/// A body without what it is there to bring.
fn without_secrets(body: &[u8]) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<Value>(body) else {
        return body.to_vec();
    };
    for kind in ["accessToken", "refreshToken"] {
        if let Some(Value::String(token)) = json.pointer_mut(&format!("/{kind}/token")) {
            scanner::know_token(&std::mem::take(token));
        }
    }
    if let Some(Value::String(token)) = json.pointer_mut("/2faDetails/token") {
        scanner::know(Kind::Challenge, &std::mem::take(token));
    }
    json.to_string().into_bytes()
}

/// Fails unless an object has these keys and no other.
pub fn assert_keys(object: &Value, keys: &[&str]) {
    let found: BTreeSet<&str> = object.as_object().unwrap().keys().map(|k| &**k).collect();
    assert_eq!(found, keys.iter().copied().collect(), "{object}");
}

/// Reads a time in the one form that the wire knows.
pub fn seconds(time: &Value) -> i64 {
    let text = time.as_str().unwrap();
    let read = DateTime::parse_from_rfc3339(text).unwrap();
    assert_eq!(text, read.to_rfc3339_opts(SecondsFormat::Secs, false));
    assert!(text.ends_with("+00:00"), "{text}");
    read.timestamp()
}
