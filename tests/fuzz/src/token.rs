//! No token verifies but one that was issued, or one that says the same things in the same words
//! under a signature by our own key.
//!
//! An input is not a token but what is done to one, so that it gets past the signature, which no
//! fuzzer guesses: the forger here has the real key.

use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use backoffice_auth::config::{Config, TokensConfig};
use backoffice_auth::domain::{
    AuthenticationMethods, Clock, Generation, KeyPurpose, MasterKey, Session, SessionId,
    SigningKeyRecord, Timestamp, UserId,
};
use backoffice_auth::token::{AccessClaims, RefreshClaims, Ring, SealedKey, Sealer, Tokens};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "back-office";
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NOW: i64 = 1_800_000_000;
const ACCESS: [&str; 11] = [
    "iss",
    "sub",
    "aud",
    "client_id",
    "iat",
    "exp",
    "jti",
    "sid",
    "auth_time",
    "amr",
    "email",
];
const REFRESH: [&str; 8] = ["iss", "sub", "aud", "iat", "exp", "jti", "sid", "gen"];
const HEADER: [&str; 4] = ["alg", "typ", "kid", "crit"];

/// Takes a script. Its first letter is the token that it begins with: `a` for an access token, `r`
/// for a refresh token, `t` for the text that follows. Each other line is a change:
///
/// - `h NAME JSON` and `c NAME JSON` set a member of the header or of the claims, or without JSON
///   take it out; `H` and `C` put it there a second time;
/// - `s PLACE TEXT` puts a text in the place of one character of the finished token.
pub fn holds(data: &[u8]) {
    check(data, true);
}

/// The same, but changed tokens keep the signature of the genuine one unless `signs`. A
/// signature costs more than all else together; the claims are judged in any case.
pub fn check(data: &[u8], signs: bool) {
    let Some(script) = str::from_utf8(data).ok().and_then(Script::read) else {
        return;
    };
    let token = script.token(signs);
    let is_genuine = token.text == FORGE.access || token.text == FORGE.refresh;
    let access = FORGE.tokens.verify_access(&token.text);
    let refresh = FORGE.tokens.verify_refresh(&token.text);
    assert!(
        access.is_err() || refresh.is_err(),
        "it is one of both kinds"
    );
    assert!(is_genuine || token.is_signed || (access.is_err() && refresh.is_err()));
    let accepted = (access.is_ok(), refresh.is_ok());
    for (is_accepted, audience) in [(accepted.0, AUDIENCE), (accepted.1, ISSUER)] {
        assert!(!is_accepted || FORGE.is_good_elsewhere(&token.text, audience));
    }
    if let Ok(claims) = access {
        assert_canonical(&token.text, "at+jwt", &ACCESS, &*claims);
        assert_eq!((&*claims.iss, &*claims.aud), (ISSUER, AUDIENCE));
        assert!(claims.exp > NOW);
    }
    if let Ok(claims) = refresh {
        assert_canonical(&token.text, "rt+jwt", &REFRESH, &claims);
        assert_eq!((&*claims.iss, &*claims.aud), (ISSUER, ISSUER));
    }
    let access = claims_are_canonical::<AccessClaims>(&token.claims, &ACCESS);
    let refresh = claims_are_canonical::<RefreshClaims>(&token.claims, &REFRESH);
    let is_short = token.text.len() <= 4096;
    if token.is_signed && token.has_plain_header && is_short && are_ours(&token.claims) {
        let access = access.is_some_and(|claims| {
            claims.iss == ISSUER && claims.aud == AUDIENCE && claims.exp > NOW
        });
        let refresh = refresh
            .is_some_and(|claims| claims.iss == ISSUER && claims.aud == ISSUER && claims.exp >= 0);
        let is_refresh = script.start == Start::Refresh;
        assert_eq!(accepted, (access && !is_refresh, refresh && is_refresh));
    }
}

/// Whether these are claims of ours alone. Of others, `jsonwebtoken` knows some.
fn are_ours(json: &str) -> bool {
    let members = Members::read(json.as_bytes());
    let is_ours = |name: &str| ACCESS.contains(&name) || REFRESH.contains(&name);
    members.is_some_and(|members| members.0.iter().all(|(name, _)| is_ours(name)))
}

/// Asserts that a token that verified is spelled as we spell it.
fn assert_canonical(token: &str, typ: &str, names: &[&str], claims: &impl Serialize) {
    assert!(token.len() <= 4096);
    let parts: Vec<_> = token.split('.').map(decode).collect();
    let [header, payload, signature] = parts.as_slice() else {
        panic!("{} parts", parts.len());
    };
    assert_eq!(signature.len(), 256);
    let header = Members::read(header).expect("the header is an object");
    let header = header.only(&HEADER).expect("no member of it is doubled");
    let kid = Value::from(FORGE.kid.as_str());
    assert_eq!(
        header,
        [Some("RS256".into()), Some(typ.into()), Some(kid), None]
    );
    says_what_was_read(&Members::read(payload).expect("an object"), names, claims);
}

/// The bytes of a part, which has no second spelling.
fn decode(part: &str) -> Vec<u8> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url");
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(&bytes), part);
    bytes
}

/// Claims that are read say what was read, in our own spelling, for every signer.
fn claims_are_canonical<C: Serialize + DeserializeOwned>(json: &str, names: &[&str]) -> Option<C> {
    let claims: C = serde_json::from_str(json).ok()?;
    let members = Members::read(json.as_bytes()).expect("claims are an object");
    says_what_was_read(&members, names, &claims);
    Some(claims)
}

fn says_what_was_read(members: &Members, names: &[&str], claims: &impl Serialize) {
    let written = serde_json::to_value(claims).expect("claims are JSON");
    let read = members.only(names).expect("no claim is doubled");
    let written: Vec<_> = names
        .iter()
        .map(|name| written.get(name).cloned())
        .collect();
    assert_eq!(read, written);
}

/// A token, and the changes that are made to it.
struct Script<'a> {
    start: Start<'a>,
    changes: Vec<&'a str>,
}

#[derive(Clone, Copy, PartialEq)]
enum Start<'a> {
    Access,
    Refresh,
    Text(&'a str),
}

/// A token that was tampered with.
struct Tampered {
    text: String,
    /// The claims in its second part, before the finished text was changed.
    claims: String,
    /// It was signed as it is.
    is_signed: bool,
    /// Nothing was done to its header.
    has_plain_header: bool,
}

impl<'a> Script<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let start = match text.bytes().next()? {
            b'a' => Start::Access,
            b'r' => Start::Refresh,
            b't' => Start::Text(&text[1..]),
            _ => return None,
        };
        let changes = match start {
            Start::Text(_) => Vec::new(),
            _ => text.lines().skip(1).collect(),
        };
        Some(Self { start, changes })
    }

    fn token(&self, signs: bool) -> Tampered {
        let genuine = match self.start {
            Start::Access => &FORGE.access,
            Start::Refresh => &FORGE.refresh,
            Start::Text(text) => text,
        };
        let mut parts = genuine.splitn(3, '.');
        let mut part = || parts.next().and_then(Parts::read).unwrap_or_default();
        let (mut header, mut claims) = (part(), part());
        let (mut changes_header, mut changes_claims) = (false, false);
        for change in &self.changes {
            match change.as_bytes().first() {
                Some(b'h' | b'H') => changes_header |= header.change(change),
                Some(b'c' | b'C') => changes_claims |= claims.change(change),
                _ => {}
            }
        }
        let is_forged = changes_header || changes_claims;
        let mut text = genuine.to_owned();
        if is_forged {
            let signature = genuine.rsplit('.').next().unwrap_or_default();
            text = FORGE.forge(&header, &claims, (!signs).then_some(signature));
        }
        let finished = text.clone();
        for change in self.changes.iter().filter(|change| change.starts_with('s')) {
            splice(&mut text, change);
        }
        Tampered {
            claims: claims.to_string(),
            is_signed: signs && is_forged && text == finished,
            has_plain_header: !changes_header,
            text,
        }
    }
}

/// Puts a text in the place of one character.
fn splice(text: &mut String, change: &str) {
    let mut words = change.splitn(3, ' ').skip(1);
    let (place, new) = (
        words.next().and_then(|word| word.parse().ok()),
        words.next(),
    );
    let place: usize = place.unwrap_or(0);
    if text.is_char_boundary(place) && text.is_char_boundary(place + 1) && place < text.len() {
        text.replace_range(place..=place, new.unwrap_or_default());
    }
}

/// The members of an object as texts of JSON, in their order; anything can be written into them.
#[derive(Default)]
struct Parts(Vec<(String, String)>);

impl Parts {
    fn read(part: &str) -> Option<Self> {
        let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
        let pairs = Members::read(&json)?
            .0
            .into_iter()
            .map(|(name, raw)| (name, raw.get().to_owned()));
        Some(Self(pairs.collect()))
    }

    /// Whether the line changes anything.
    fn change(&mut self, line: &str) -> bool {
        let mut words = line.splitn(3, ' ');
        let (letter, name) = (words.next().unwrap_or_default(), words.next());
        let Some(name) = name else { return false };
        let json = words.next().map(|json| (name.to_owned(), json.to_owned()));
        if letter.starts_with(|c: char| c.is_ascii_lowercase()) {
            let place = self.0.iter().position(|(other, _)| other == name);
            match (place, json) {
                (Some(place), Some(pair)) => self.0[place] = pair,
                (Some(place), None) => drop(self.0.remove(place)),
                (None, json) => self.0.extend(json),
            }
        } else {
            self.0.extend(json);
        }
        true
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self
            .0
            .iter()
            .map(|(name, json)| format!("\"{name}\":{json}"));
        write!(f, "{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// The members of an object, including doubled ones.
struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The values of these names; `None` if one of them is there twice. The values of others are not
    /// looked at: nobody does, and `Value` knows no number like `1e999`.
    fn only(&self, names: &[&str]) -> Option<Vec<Option<Value>>> {
        let value = |name: &&str| {
            let mut values = self.0.iter().filter(|(other, _)| other == name);
            let value = values
                .next()
                .map(|(_, raw)| serde_json::from_str(raw.get()));
            let value = value.transpose().ok()?;
            values.next().is_none().then_some(value)
        };
        names.iter().map(value).collect()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = entries.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// A server's tokens, and the key that it signs with.
struct Forge {
    key: KeyPair,
    kid: String,
    /// The key by which another implementation verifies.
    reference: DecodingKey,
    tokens: Tokens,
    access: String,
    refresh: String,
}

static FORGE: LazyLock<Forge> = LazyLock::new(Forge::new);

impl Forge {
    fn new() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: Pkcs8V1Der<'_> = key.as_der().expect("PKCS#8");
        let der = BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let master_key = MasterKey::from_base64(MASTER_KEY);
        let sealer = Sealer::new(&master_key.expect("a master key"));
        let (imported, _) = SealedKey::import(pem.as_bytes(), &sealer).expect("an RSA key");
        let now = at(NOW);
        let record = SigningKeyRecord {
            key_id: imported.key_id,
            purpose: KeyPurpose::Access,
            public_key: imported.public_key,
            sealed_private_key: imported.sealed_private_key,
            created_at: now,
            activates_at: now,
            expires_at: None,
            revoked_at: None,
            is_legacy: false,
            refresh_expires_at: None,
        };
        let reference = DecodingKey::from_rsa_der(&record.public_key);
        let ring = Ring::open(std::slice::from_ref(&record), now, &sealer).expect("a ring");
        let tokens = Tokens::new(&config(), ring, Clock::new(move || now));
        let pair = tokens
            .issue(&session(&record))
            .expect("the key is in the ring");
        Self {
            key,
            reference,
            kid: record.key_id.0,
            tokens,
            access: pair.access.token,
            refresh: pair.refresh.token,
        }
    }

    /// Whether `jsonwebtoken` takes it, too.
    fn is_good_elsewhere(&self, token: &str, audience: &str) -> bool {
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[audience]);
        // By the clock of the test, which is not the machine's.
        rules.validate_exp = false;
        jsonwebtoken::decode::<Value>(token, &self.reference, &rules).is_ok()
    }

    /// A token of these parts, under a new signature or a given one.
    fn forge(&self, header: &Parts, claims: &Parts, signature: Option<&str>) -> String {
        let part = |parts: &Parts| BASE64_URL_SAFE_NO_PAD.encode(parts.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let sign = || {
            let mut signature = vec![0; self.key.public_modulus_len()];
            let random = SystemRandom::new();
            let signed = self.key.sign(
                &RSA_PKCS1_SHA256,
                &random,
                message.as_bytes(),
                &mut signature,
            );
            signed.expect("an RSA key signs any message");
            BASE64_URL_SAFE_NO_PAD.encode(signature)
        };
        let signature = signature.map_or_else(sign, ToOwned::to_owned);
        format!("{message}.{signature}")
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).expect("a time")
}

/// The defaults, and values for the keys without one.
fn config() -> TokensConfig {
    let required = [
        ("DATABASE__URL", "postgres://user:password@host/database"),
        ("SECRETS__MASTER_KEY", MASTER_KEY),
        ("TOKENS__ISSUER", ISSUER),
        ("MAIL__FROM", "no-reply@example.com"),
        ("MAIL__SMTP__HOST", "mail.example.com"),
    ];
    let variable = |(key, value)| (format!("BACKOFFICE_AUTH__{key}"), String::from(value));
    let loaded = Config::load(None, required.map(variable).to_vec());
    loaded.expect("a configuration").config.tokens
}

fn session(key: &SigningKeyRecord) -> Session {
    Session {
        session_id: SessionId(Uuid::from_u128(7)),
        user_id: UserId(42),
        email: "foo@bar.com".parse().expect("an address"),
        generation: Generation::FIRST,
        key_id: key.key_id.clone(),
        refresh_key_id: None,
        methods: AuthenticationMethods::PASSWORD,
        created_at: at(NOW),
        rotated_at: at(NOW),
        access_expires_at: at(NOW + 900),
        idle_expires_at: at(NOW + 86_400),
    }
}
