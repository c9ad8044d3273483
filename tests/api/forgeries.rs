//! Forged tokens. Each is a real one with a single flaw, and nearly all are signed with a key that
//! the server trusts: it is the flaw that is refused, not the signature.
//!
//! Every forgery is shown at every place that takes its kind of token, and gets there what a token
//! of one letter gets: the same answer, byte for byte.

use std::collections::{BTreeSet, HashSet};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use backoffice_auth::admin::{Admin, Imported};
use backoffice_auth::domain::{KeyId, KeyPurpose, SessionId};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::support::{Answer, Jwt, OPERATOR, Pair, Person, TestApp, but, decode, pem};

/// SHA-256 of `s3cret`.
const CLIENT: &str = "orders:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa(key: &KeyPair, padding: &'static dyn RsaEncoding, signed: &str) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(padding, &random, signed.as_bytes(), &mut signature)
        .unwrap();
    signature
}

/// A forger, with a key that the server trusts and another that it does not.
struct Forger {
    trusted: KeyPair,
    foreign: KeyPair,
    kid: String,
    /// The key that signs for the server.
    active_kid: String,
    revoked: (KeyPair, String),
    jwk: String,
}

impl Forger {
    /// Makes keys for some kind of token and has the server take them over; one of them is revoked again.
    async fn new(app: &TestApp, purpose: KeyPurpose) -> Self {
        let admin = Admin::new(app.store().await, &app.config);
        let active_kid = app.jwks().await["keys"][0]["kid"]
            .as_str()
            .unwrap()
            .to_owned();
        let make = || KeyPair::generate(KeySize::Rsa2048).unwrap();
        let revoked = make();
        let revoked_id = import(&admin, &revoked, purpose).await;
        admin
            .revoke_key(&OPERATOR, &KeyId(revoked_id.clone()))
            .await
            .unwrap();
        let trusted = make();
        let kid = import(&admin, &trusted, purpose).await;
        Self {
            trusted,
            foreign: make(),
            kid,
            active_kid,
            revoked: (revoked, revoked_id),
            jwk: String::new(),
        }
    }

    fn public_der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = self.trusted.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    /// The foreign key, as a token could bring it along.
    fn foreign_jwk(&self) -> Value {
        let key = self.foreign.public_key();
        let part = |bytes: &[u8]| encode(bytes);
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": part(key.modulus().big_endian_without_leading_zero()),
            "e": part(key.exponent().big_endian_without_leading_zero()),
        })
    }

    /// A token of these texts under a signature that holds.
    fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_bytes(header.as_bytes(), claims.as_bytes())
    }

    fn sign_bytes(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = rsa(&self.trusted, &RSA_PKCS1_SHA256, &signed);
        format!("{signed}.{}", encode(signature))
    }
}

async fn import(admin: &Admin, key: &KeyPair, purpose: KeyPurpose) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = pem("PRIVATE KEY", der.as_ref());
    if purpose == KeyPurpose::Refresh {
        let imported = admin
            .import_refresh_key(&OPERATOR, pem.as_bytes(), None)
            .await;
        return imported.unwrap().key_id.0;
    }
    match admin
        .import_key(&OPERATOR, pem.as_bytes(), None)
        .await
        .unwrap()
    {
        Imported::Private(successor) => successor.key_id.0,
        Imported::Legacy { .. } => panic!("a private key was imported"),
    }
}

/// An object's text with one more member before the others, which it may have already.
fn doubled(object: &Value, member: &str) -> String {
    format!("{{{member},{}", &object.to_string()[1..])
}

/// The forgeries of one token.
struct Forgeries<'a> {
    forger: &'a Forger,
    /// The header of the good token.
    header: Value,
    claims: Value,
    made: Vec<(String, String)>,
}

impl<'a> Forgeries<'a> {
    /// All forgeries of a token of this server.
    fn of(real: &Jwt, forger: &'a Forger) -> Self {
        let mut forgeries = Self {
            forger,
            header: but(&real.header, "kid", Some(json!(forger.kid))),
            claims: real.claims.clone(),
            made: Vec::new(),
        };
        forgeries.algorithms();
        forgeries.keys_of_ones_own();
        forgeries.key_ids();
        forgeries.headers();
        forgeries.types();
        forgeries.encodings();
        forgeries.shapes();
        forgeries.claims_of_wrong_types();
        forgeries.claims_of_wrong_values();
        forgeries.texts();
        forgeries
    }

    /// The token without a flaw: it only comes from another key.
    fn good(&self) -> String {
        self.forger
            .sign(&self.header.to_string(), &self.claims.to_string())
    }

    fn add(&mut self, name: impl Into<String>, token: String) {
        self.made.push((name.into(), token));
    }

    /// Signed with the trusted key, with another header.
    fn with_header(&mut self, name: &str, value: Option<Value>) {
        let told = format!("header {name} = {value:?}");
        let header = but(&self.header, name, value).to_string();
        let token = self.forger.sign(&header, &self.claims.to_string());
        self.add(told, token);
    }

    /// Signed with the trusted key, with another claim.
    fn with_claim(&mut self, name: &str, value: Option<Value>) {
        let told = format!("claim {name} = {value:?}");
        let claims = but(&self.claims, name, value).to_string();
        let token = self.forger.sign(&self.header.to_string(), &claims);
        self.add(told, token);
    }

    /// Signed in another way, which the header tells or does not.
    fn signed_by(&mut self, alg: &str, how: &str, sign: impl Fn(&str) -> Vec<u8>) {
        let header = but(&self.header, "alg", Some(json!(alg)));
        let signed = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(self.claims.to_string())
        );
        let signature = encode(sign(&signed));
        self.add(
            format!("alg {alg}, signed by {how}"),
            format!("{signed}.{signature}"),
        );
    }

    /// Tokens that name another algorithm, or that another one signed.
    fn algorithms(&mut self) {
        self.unsigned();
        self.signed_with_public_data();
        self.other_algorithms();
    }

    fn unsigned(&mut self) {
        let forger = self.forger;
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            self.signed_by(alg, "nobody", |_| Vec::new());
            self.signed_by(alg, "us", |signed| {
                rsa(&forger.trusted, &RSA_PKCS1_SHA256, signed)
            });
        }
    }

    /// The oldest trick: public data as the secret key of an HMAC.
    fn signed_with_public_data(&mut self) {
        let forger = self.forger;
        let der = forger.public_der();
        let text = pem("PUBLIC KEY", &der);
        let modulus = forger.trusted.public_key().modulus();
        let modulus = modulus.big_endian_without_leading_zero().to_vec();
        for (how, key) in [
            ("the public key in PEM", text.as_bytes()),
            (
                "the same without the last line break",
                text.trim_end().as_bytes(),
            ),
            ("the public key in DER", &der),
            ("its modulus", &modulus),
            (
                "its modulus as the key set has it",
                encode(&modulus).as_bytes(),
            ),
            ("the key set's entry", forger.jwk.as_bytes()),
            ("nothing", b""),
        ] {
            for (alg, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
                let key = hmac::Key::new(algorithm, key);
                let sign = |signed: &str| hmac::sign(&key, signed.as_bytes()).as_ref().to_vec();
                self.signed_by(alg, how, sign);
                self.signed_by("RS256", &format!("{alg} and {how}"), sign);
            }
        }
    }

    fn other_algorithms(&mut self) {
        let forger = self.forger;
        for (alg, padding) in [
            ("RS384", &RSA_PKCS1_SHA384 as &'static dyn RsaEncoding),
            ("RS512", &RSA_PKCS1_SHA512),
            ("PS256", &RSA_PSS_SHA256),
        ] {
            self.signed_by(alg, "us", |signed| rsa(&forger.trusted, padding, signed));
            self.signed_by("RS256", alg, |signed| rsa(&forger.trusted, padding, signed));
        }
        for alg in [
            "rs256",
            "Rs256",
            "RS256 ",
            " RS256",
            "RS256\u{0}",
            "RS-256",
            "ES256",
            "EdDSA",
        ] {
            self.signed_by(alg, "us", |signed| {
                rsa(&forger.trusted, &RSA_PKCS1_SHA256, signed)
            });
        }
        for value in [
            None,
            Some(Value::Null),
            Some(json!(["RS256"])),
            Some(json!(256)),
        ] {
            self.with_header("alg", value);
        }
        let curve = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        self.signed_by("ES256", "a curve", |signed| {
            let signature = curve.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            signature.as_ref().to_vec()
        });
    }

    /// Keys that the server does not know or no longer trusts, and tokens that bring theirs along.
    fn keys_of_ones_own(&mut self) {
        let forger = self.forger;
        let foreign = |signed: &str| rsa(&forger.foreign, &RSA_PKCS1_SHA256, signed);
        self.signed_by("RS256", "a foreign key", foreign);
        let jwk = forger.foreign_jwk();
        for (name, value) in [
            ("kid", json!("foreign")),
            ("jwk", jwk.clone()),
            ("jku", json!("https://evil.example/jwks.json")),
            (
                "jku",
                json!("https://auth.example.com@evil.example/.well-known/jwks.json"),
            ),
            ("x5u", json!("https://evil.example/cert.pem")),
            ("x5c", json!([BASE64_STANDARD.encode(forger.public_der())])),
            ("x5t#S256", json!(encode([0; 32]))),
        ] {
            let header = but(&self.header, name, Some(value.clone()));
            let signed = format!(
                "{}.{}",
                encode(header.to_string()),
                encode(self.claims.to_string())
            );
            let token = format!("{signed}.{}", encode(foreign(&signed)));
            self.add(format!("a foreign key by {name} {value}"), token);
        }
        let (revoked, kid) = &forger.revoked;
        let header = but(&self.header, "kid", Some(json!(kid)));
        let signed = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(self.claims.to_string())
        );
        let signature = rsa(revoked, &RSA_PKCS1_SHA256, &signed);
        self.add("a revoked key", format!("{signed}.{}", encode(signature)));
    }

    fn key_ids(&mut self) {
        let (kid, active) = (self.forger.kid.clone(), self.forger.active_kid.clone());
        for value in [
            json!(active),
            json!(""),
            json!("unknown"),
            json!("../../../../dev/null"),
            json!("/proc/self/environ"),
            json!("' OR '1'='1"),
            json!("x'; DROP TABLE signing_keys; --"),
            json!("https://evil.example/key"),
            json!("x".repeat(1500)),
            json!(format!("{kid} ")),
            json!(format!("{kid}\u{0}")),
            json!(swap_case(&kid)),
            json!([kid]),
            json!({"kid": kid}),
            json!(0),
            Value::Null,
        ] {
            self.with_header("kid", Some(value));
        }
        self.with_header("kid", None);
    }

    fn headers(&mut self) {
        for value in [
            json!([]),
            json!(["exp"]),
            json!(["b64"]),
            json!("exp"),
            json!({}),
            Value::Null,
        ] {
            self.with_header("crit", Some(value));
        }
        // RFC 7797: the claims as they are, in a signature that holds for that.
        let header = but(&self.header, "b64", Some(json!(false)));
        let header = encode(but(&header, "crit", Some(json!(["b64"]))).to_string());
        let signed = format!("{header}.{}", self.claims);
        let signature = encode(rsa(&self.forger.trusted, &RSA_PKCS1_SHA256, &signed));
        self.add(
            "claims that are not encoded",
            format!("{signed}.{signature}"),
        );
        for member in [
            r#""alg":"none""#,
            r#""alg":"RS256""#,
            r#""\u0061lg":"RS256""#,
            r#""kid":"unknown""#,
            r#""typ":"JWT""#,
            r#""crit":["x"],"crit":["x"]"#,
        ] {
            let header = doubled(&self.header, member);
            let token = self.forger.sign(&header, &self.claims.to_string());
            self.add(format!("header twice: {member}"), token);
        }
    }

    /// RFC 9068 would let a verifier take `application/at+jwt` too, and media types are the same in
    /// any case. We issue one spelling, and so nothing else is ours.
    fn types(&mut self) {
        let typ = self.header["typ"].as_str().unwrap().to_owned();
        let other = if typ == "at+jwt" { "rt+jwt" } else { "at+jwt" };
        for value in [
            json!(other),
            json!("JWT"),
            json!("jwt"),
            json!(""),
            json!(typ.to_uppercase()),
            json!(format!("application/{typ}")),
            json!(format!(" {typ}")),
            json!(format!("{typ}\u{0}")),
            json!([typ]),
            json!(1),
            Value::Null,
        ] {
            self.with_header("typ", Some(value));
        }
        self.with_header("typ", None);
    }

    fn encodings(&mut self) {
        let good = self.good();
        let [header, claims, signature]: [&str; 3] =
            good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let with = |h: &str, c: &str, s: &str| format!("{h}.{c}.{s}");
        let other_alphabet = signature.replace('-', "+").replace('_', "/");
        let spaced = format!("{} {}", &claims[..8], &claims[8..]);
        let broken = format!("{}\n{}", &signature[..8], &signature[8..]);
        let hexadecimal = crate::support::scanner::hex(&decode(signature));
        for (name, token) in [
            (
                "padding after the header",
                with(&format!("{header}="), claims, signature),
            ),
            (
                "padding after the claims",
                with(header, &format!("{claims}="), signature),
            ),
            (
                "padding after the signature",
                with(header, claims, &format!("{signature}==")),
            ),
            ("the other alphabet", with(header, claims, &other_alphabet)),
            (
                "spare bits in the signature",
                with(header, claims, &with_spare_bits(signature)),
            ),
            ("a space in the claims", with(header, &spaced, signature)),
            (
                "a line break in the signature",
                with(header, claims, &broken),
            ),
            ("a space before it", format!(" {good}")),
            ("a space after it", format!("{good} ")),
            ("a line break after it", format!("{good}\n")),
            ("a NUL after it", format!("{good}\u{0}")),
            ("a wide full stop", good.replacen('.', "\u{ff0e}", 1)),
            ("dots in percent", good.replace('.', "%2e")),
            ("in upper case", good.to_uppercase()),
            ("in quotes", format!("\"{good}\"")),
            ("with its scheme", format!("Bearer {good}")),
            ("twice", format!("{good},{good}")),
            ("as hexadecimal", with(header, claims, &hexadecimal)),
        ] {
            self.add(name, token);
        }
    }

    fn shapes(&mut self) {
        let good = self.good();
        let [header, claims, signature]: [&str; 3] =
            good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let bytes = decode(signature);
        let with = |signature: &[u8]| format!("{header}.{claims}.{}", encode(signature));
        let mut flipped = bytes.clone();
        flipped[128] ^= 1;
        let others = but(&self.claims, "exp", Some(json!(4_102_444_800_u64))).to_string();
        let others = self.forger.sign(&self.header.to_string(), &others);
        let others = others.rsplit('.').next().unwrap();
        let long = but(&self.header, "x", Some(json!("x".repeat(4000)))).to_string();
        for (name, token) in [
            ("no signature", format!("{header}.{claims}.")),
            ("two parts", format!("{header}.{claims}")),
            ("one part", header.to_owned()),
            ("no header", format!(".{claims}.{signature}")),
            ("no claims", format!("{header}..{signature}")),
            ("dots alone", "..".to_owned()),
            ("a dot after it", format!("{good}.")),
            ("a dot before it", format!(".{good}")),
            ("four parts", format!("{good}.{signature}")),
            ("five parts, like a JWE", format!("{header}.{claims}.{signature}.{claims}.{signature}")),
            ("a signature cut short", with(&bytes[..255])),
            ("a signature of one byte", with(&bytes[..1])),
            ("a longer signature", with(&[&bytes[..], &[0]].concat())),
            ("a signature with a zero in front", with(&[&[0], &bytes[..]].concat())),
            ("a signature of zeros", with(&[0; 256])),
            ("a signature of one", with(&[&[0; 255][..], &[1]].concat())),
            ("a signature with a bit flipped", with(&flipped)),
            ("the signature of another token", format!("{header}.{claims}.{others}")),
            ("a token in a token", self.forger.sign(&self.header.to_string(), &good)),
            ("a token in a token as text", self.forger.sign(&self.header.to_string(), &json!(good).to_string())),
            ("too long", self.forger.sign(&long, &self.claims.to_string())),
            ("JSON", json!({"protected": header, "payload": claims, "signature": signature}).to_string()),
            ("JSON with signatures", json!({"payload": claims, "signatures": [{"protected": header, "signature": signature}]}).to_string()),
        ] {
            self.add(name, token);
        }
    }

    fn claims_of_wrong_types(&mut self) {
        let names: Vec<String> = self.claims.as_object().unwrap().keys().cloned().collect();
        for name in &names {
            let value = self.claims[name].clone();
            self.with_claim(name, None);
            for wrong in [Value::Null, json!({}), json!(true), json!([value])] {
                self.with_claim(name, Some(wrong));
            }
            if !value.is_array() {
                self.with_claim(name, Some(json!([])));
            }
            let other = match &value {
                Value::String(text) => text.parse().map_or(json!(1), |number: i64| json!(number)),
                Value::Number(number) => json!(number.to_string()),
                _ => json!("pwd"),
            };
            self.with_claim(name, Some(other));
        }
        for name in names
            .iter()
            .filter(|name| self.claims[*name].is_i64())
            .cloned()
            .collect::<Vec<_>>()
        {
            for number in [
                "1e10",
                "10000000000.0",
                "10000000000.5",
                "9223372036854775808",
                "1e400",
                "-1e400",
            ] {
                let text = self.claims.to_string();
                let good = format!("\"{name}\":{}", self.claims[&name]);
                let claims = text.replace(&good, &format!("\"{name}\":{number}"));
                assert_ne!(text, claims);
                let token = self.forger.sign(&self.header.to_string(), &claims);
                self.add(format!("claim {name} = {number}"), token);
            }
        }
    }

    fn claims_of_wrong_values(&mut self) {
        // By now it is at least that late.
        let now = self.claims["iat"].as_i64().unwrap();
        let text = |name: &str| self.claims[name].as_str().unwrap().to_owned();
        let (iss, aud, sub, sid, jti) = (
            text("iss"),
            text("aud"),
            text("sub"),
            text("sid"),
            text("jti"),
        );
        let other_aud = if aud == iss { "back-office" } else { &iss };
        for (name, value) in [
            ("exp", json!(now)),
            ("exp", json!(now - 1)),
            ("exp", json!(0)),
            ("exp", json!(-1)),
            ("exp", json!(i64::MIN)),
            ("nbf", json!(now + 600)),
            ("nbf", json!(4_102_444_800_u64)),
            ("aud", json!(other_aud)),
            ("aud", json!("orders")),
            ("aud", json!([aud, "orders"])),
            ("aud", json!(format!("{aud}/"))),
            ("iss", json!(iss.to_uppercase())),
            ("iss", json!(iss.replace("https", "http"))),
            ("iss", json!(iss.replace(".com", ".com.evil.example"))),
        ] {
            self.with_claim(name, Some(value));
        }
        for end in ["/", "//", "/.", " ", "\u{0}"] {
            self.with_claim("iss", Some(json!(format!("{iss}{end}"))));
        }
        self.wrong_subjects(&sub);
        self.wrong_ids("sid", &sid);
        self.wrong_ids("jti", &jti);
    }

    /// Numbers that are not written as a user's is, or that no user can have.
    fn wrong_subjects(&mut self, sub: &str) {
        let signs = [
            format!("+{sub}"),
            format!("0{sub}"),
            format!("-{sub}"),
            format!(" {sub}"),
            format!("{sub}.0"),
        ];
        let others = [
            "",
            "0",
            "-0",
            "alice@example.com",
            "\u{ff11}",
            "9223372036854775808",
        ];
        for wrong in signs.iter().map(String::as_str).chain(others) {
            self.with_claim("sub", Some(json!(wrong)));
        }
    }

    /// Other ways to write an id, and a text that is none.
    fn wrong_ids(&mut self, claim: &str, id: &str) {
        for wrong in [
            id.to_uppercase(),
            id.replace('-', ""),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            format!("{id} "),
            "1".to_owned(),
        ] {
            self.with_claim(claim, Some(json!(wrong)));
        }
    }

    /// Claims and headers that are not the one JSON object that they should be.
    fn texts(&mut self) {
        let (header, claims) = (self.header.to_string(), self.claims.to_string());
        let sub = self.claims["sub"].clone();
        for member in [
            format!("\"sub\":{sub}"),
            format!("\"\\u0073ub\":{sub}"),
            format!("\"exp\":{}", self.claims["exp"]),
            "\"aud\":\"orders\"".to_owned(),
            "\"sid\":\"x\"".to_owned(),
        ] {
            let token = self.forger.sign(&header, &doubled(&self.claims, &member));
            self.add(format!("claim twice: {member}"), token);
        }
        for bad in ["", "{}", "[]", "null", "\"x\"", "1", "{"] {
            self.add(format!("claims {bad}"), self.forger.sign(&header, bad));
            self.add(format!("header {bad}"), self.forger.sign(bad, &claims));
        }
        for (name, bad) in [
            ("text after it", [claims.as_bytes(), b"x"].concat()),
            (
                "a byte order mark",
                [b"\xef\xbb\xbf", claims.as_bytes()].concat(),
            ),
            (
                "UTF-16",
                claims.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            ),
            (
                "no UTF-8",
                claims
                    .replace("\"sub\"", "\"x\":\"\u{1}\",\"sub\"")
                    .into_bytes()
                    .into_iter()
                    .map(|b| if b == 1 { 0xff } else { b })
                    .collect(),
            ),
        ] {
            self.add(
                format!("claims with {name}"),
                self.forger.sign_bytes(header.as_bytes(), &bad),
            );
        }
        let bad = [header.as_bytes(), b"x"].concat();
        self.add(
            "header with text after it",
            self.forger.sign_bytes(&bad, claims.as_bytes()),
        );
        let bad = [b"\xef\xbb\xbf", header.as_bytes()].concat();
        self.add(
            "header with a byte order mark",
            self.forger.sign_bytes(&bad, claims.as_bytes()),
        );
    }
}

fn swap_case(text: &str) -> String {
    let swap = |c: char| {
        if c.is_ascii_lowercase() {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        }
    };
    text.chars().map(swap).collect()
}

/// The same bytes, with bits set that decode to nothing.
fn with_spare_bits(part: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = part.split_at(part.len() - 1);
    let at = alphabet.find(last).unwrap();
    format!("{rest}{}", &alphabet[at + 1..at + 2])
}

/// Where access tokens are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Session,
    Sessions,
    Signout,
    Verify,
    Introspect,
    Refresh,
}

impl Place {
    const OF_ACCESS_TOKENS: [Self; 5] = [
        Self::Session,
        Self::Sessions,
        Self::Signout,
        Self::Verify,
        Self::Introspect,
    ];

    /// Shows a token; `None` if it cannot even be sent there.
    async fn show(self, app: &TestApp, token: &str) -> Option<Answer> {
        let network = app.new_network();
        let (method, path) = match self {
            Self::Session => ("GET", "/api/v2/session"),
            Self::Sessions => ("DELETE", "/api/v2/sessions"),
            Self::Signout => ("POST", "/api/v2/signout"),
            Self::Verify => ("GET", "/auth/verify"),
            Self::Introspect => ("POST", "/oauth2/introspect"),
            Self::Refresh => ("POST", "/api/v2/refresh"),
        };
        let request = app.request(method, path, &network);
        let request = match self {
            Self::Refresh => request.json(&json!({"refreshToken": token})),
            Self::Introspect => {
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("token", token)
                    .finish();
                request
                    .basic_auth("orders", Some("s3cret"))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form)
            }
            _ => {
                // Spaces around it belong to the header, and not to the token.
                if token.trim() != token {
                    return None;
                }
                let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).ok()?;
                request.header("authorization", value)
            }
        };
        Some(app.send(request).await)
    }

    /// Shows every forgery, and fails unless each gets what `x` gets.
    async fn refuses(self, app: &TestApp, forgeries: &[(String, String)]) {
        let refused = self.show(app, "x").await.unwrap();
        match self {
            Self::Introspect => assert_eq!(refused.ok(), json!({"active": false})),
            Self::Refresh => drop(refused.problem(401, "invalid_refresh_token")),
            _ => drop(refused.problem(401, "invalid_access_token")),
        }
        for (name, token) in forgeries {
            if let Some(answer) = self.show(app, token).await {
                assert_eq!(answer.seen(), refused.seen(), "{self:?}: {name}: {token}");
            }
        }
    }
}

/// A server that trusts a forger's key from the beginning, and somebody who is signed in there.
async fn deceived(purpose: KeyPurpose) -> (TestApp, Forger, Pair) {
    let first = TestApp::with(&[
        ("introspection.clients", CLIENT),
        ("limits.refresh.attempts", "100000"),
    ])
    .await;
    let mut forger = Forger::new(&first, purpose).await;
    let app = first.second_instance().await;
    let jwks = app.jwks().await;
    let entry = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| purpose == KeyPurpose::Refresh || key["kid"] == forger.kid);
    forger.jwk = entry.unwrap().to_string();
    let (_, pair) = app.signed_in("alice@example.com").await;
    (app, forger, pair)
}

/// Fails if there are fewer forgeries than there were, or two of the same name.
fn assert_so_many(forgeries: &Forgeries<'_>, least: usize) {
    let names: BTreeSet<&str> = forgeries
        .made
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let tokens: HashSet<&str> = forgeries
        .made
        .iter()
        .map(|(_, token)| token.as_str())
        .collect();
    assert_eq!(names.len(), forgeries.made.len(), "two have one name");
    assert!(tokens.len() >= least, "{}", tokens.len());
    assert!(!tokens.contains(&*forgeries.good()));
}

#[tokio::test]
async fn every_forged_access_token_is_refused_everywhere_with_the_one_answer() {
    let (app, forger, pair) = deceived(KeyPurpose::Access).await;
    let mut forgeries = Forgeries::of(&Jwt::read(&pair.access), &forger);
    forgeries.add("the refresh token", pair.refresh.clone());
    assert_so_many(&forgeries, 220);
    let good = forgeries.good();
    for place in Place::OF_ACCESS_TOKENS {
        let mut made = forgeries.made.clone();
        if matches!(place, Place::Signout) {
            made.retain(|forgery| !is_expired_alone(forgery));
        }
        place.refuses(&app, &made).await;
    }
    // Without a flaw it would have been good for all of that, and no forgery did anything.
    for place in [
        Place::Session,
        Place::Verify,
        Place::Introspect,
        Place::Signout,
    ] {
        assert_eq!(
            place.show(&app, &good).await.unwrap().status,
            200,
            "{place:?}"
        );
    }
}

/// A sign-out treats a token whose only flaw is its `exp` as expired.
fn is_expired_alone((name, _): &(String, String)) -> bool {
    name.starts_with("claim exp = Some(Number(")
}

/// Red for each check that an expired token is spared in `verify_expired_access`.
#[tokio::test]
async fn an_expired_token_with_any_other_flaw_signs_nobody_out() {
    let (app, forger, pair) = deceived(KeyPurpose::Access).await;
    let mut real = Jwt::read(&pair.access);
    let past = real.claims["iat"].as_i64().unwrap() - 2;
    real.claims["exp"] = json!(past);
    let mut forgeries = Forgeries::of(&real, &forger);
    assert_so_many(&forgeries, 220);
    let expired = forgeries.good();
    forgeries.made.retain(|forgery| !is_expired_alone(forgery));
    Place::Signout.refuses(&app, &forgeries.made).await;
    let session = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(app.count(session).await, 1);
    let refused = Place::Signout.show(&app, &expired).await.unwrap();
    refused.problem(401, "invalid_access_token");
    assert_eq!(app.count(session).await, 0);
}

#[tokio::test]
async fn every_forged_refresh_token_is_refused_with_the_one_answer() {
    let (app, forger, pair) = deceived(KeyPurpose::Refresh).await;
    let mut forgeries = Forgeries::of(&Jwt::read(&pair.refresh), &forger);
    forgeries.add("the access token", pair.access.clone());
    for generation in [
        "-1",
        "0",
        "1.0",
        "9223372036854775808",
        "18446744073709551616",
    ] {
        let claims = forgeries
            .claims
            .to_string()
            .replace("\"gen\":1", &format!("\"gen\":{generation}"));
        let token = forger.sign(&forgeries.header.to_string(), &claims);
        forgeries.add(format!("generation {generation}"), token);
    }
    let claims = but(&forgeries.claims, "sub", Some(json!("4711"))).to_string();
    let token = forger.sign(&forgeries.header.to_string(), &claims);
    forgeries.add("somebody else's session", token);
    assert_so_many(&forgeries, 200);
    let good = forgeries.good();
    Place::Refresh.refuses(&app, &forgeries.made).await;
    assert_eq!(Place::Refresh.show(&app, &good).await.unwrap().status, 200);
}

/// Header fields beyond `alg`, `typ` and `kid` are not read (RFC 7515, section 4), but for `crit`.
#[tokio::test]
async fn parts_of_a_token_that_are_not_read_neither_help_nor_harm_it() {
    let (app, forger, pair) = deceived(KeyPurpose::Access).await;
    let real = Jwt::read(&pair.access);
    let header = but(&real.header, "kid", Some(json!(forger.kid)));
    let now = real.claims["iat"].as_i64().unwrap();
    for (name, value) in [
        ("jwk", forger.foreign_jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("zip", json!("DEF")),
        ("b64", json!(true)),
    ] {
        let token = forger.sign(
            &but(&header, name, Some(value)).to_string(),
            &real.claims.to_string(),
        );
        assert_eq!(
            Place::Session.show(&app, &token).await.unwrap().status,
            200,
            "{name}"
        );
    }
    for (name, value) in [
        ("nbf", json!(now - 1)),
        ("exp", json!(now + 600)),
        ("scope", json!("all")),
    ] {
        let token = forger.sign(
            &header.to_string(),
            &but(&real.claims, name, Some(value)).to_string(),
        );
        assert_eq!(
            Place::Session.show(&app, &token).await.unwrap().status,
            200,
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_claims_of_a_token_cannot_be_exchanged_for_anothers() {
    let app = TestApp::start().await;
    let (alice, hers) = app.signed_in("alice@example.com").await;
    let (bob, his) = app.signed_in("bob@example.com").await;
    let mixed = |one: &str, other: &str| {
        let (one, other): (Vec<_>, Vec<_>) = (one.split('.').collect(), other.split('.').collect());
        format!("{}.{}.{}", one[0], other[1], one[2])
    };
    let refused = alice.signout(&mixed(&hers.access, &his.access)).await;
    refused.problem(401, "invalid_access_token");
    let refused = alice.refresh(&mixed(&hers.refresh, &his.refresh)).await;
    refused.problem(401, "invalid_refresh_token");
    bob.refresh(&his.refresh).await.pair();
    bob.signout(&his.access).await.ok_and_empty();
}

/// A token that our key signed for a session that does not exist: signing out finds none to end.
#[tokio::test]
async fn a_session_that_never_was_is_not_signed_out() {
    let (app, forger, pair) = deceived(KeyPurpose::Access).await;
    let real = Jwt::read(&pair.access);
    let header = but(&real.header, "kid", Some(json!(forger.kid)));
    let claims = but(&real.claims, "sid", Some(json!(SessionId::random().0)));
    let token = forger.sign(&header.to_string(), &claims.to_string());
    let alice: Person<'_> = app.stranger("alice@example.com");
    alice.fails_to_signout(&token).await;
}
