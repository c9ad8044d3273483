//! A table of accepted and refused answers, made by an authenticator in software. Each case is red without
//! the check that it is about.

#[path = "../../tests/authenticator/mod.rs"]
#[expect(unreachable_pub, reason = "other tests use it, too")]
mod authenticator;

use authenticator::{
    ATTESTED, Authenticator, BACKED_UP as SYNCED, ELIGIBLE, Key, PRESENT, VERIFIED, cbor, encode,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use serde_json::{Value, json};

use super::*;

const RP_ID: &str = "example.com";
const ORIGIN: &str = "https://office.example.com";
const CHALLENGE: PasskeyChallenge = [7; CHALLENGE_BYTES];
const HANDLE: [u8; 32] = [9; 32];

fn party() -> RelyingParty {
    RelyingParty::new(RP_ID, &[ORIGIN.to_owned()])
}

fn ours(key: Key) -> Authenticator {
    Authenticator::new(key, RP_ID, ORIGIN)
}

fn options() -> Value {
    json!({"challenge": encode(&CHALLENGE), "user": {"id": encode(&HANDLE)}})
}

fn register(credential: &Value) -> Result<NewPasskey, InvalidPasskey> {
    let response = RegistrationResponse::from_json(credential).unwrap();
    party().verify_registration(&CHALLENGE, response)
}

fn assert(
    credential: &Value,
    proof: Proof,
    public_key: &[u8],
) -> Result<PasskeyFacts, InvalidPasskey> {
    let response = AssertionResponse::from_json(credential).unwrap();
    let stored = StoredPasskey {
        public_key,
        user_handle: &HANDLE,
    };
    party().verify_assertion(&CHALLENGE, proof, &response, stored)
}

/// Replaces bytes of a response.
fn alter(credential: &mut Value, part: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let part = &mut credential["response"][part];
    let mut bytes = URL_SAFE_NO_PAD.decode(part.as_str().unwrap()).unwrap();
    change(&mut bytes);
    *part = encode(&bytes).into();
}

#[test]
fn a_passkey_of_each_algorithm_is_made_and_used() {
    for key in [Key::es256(), Key::rs256(), Key::eddsa()] {
        let mut authenticator = ours(key);
        let made = register(&authenticator.create(&options())).unwrap();
        assert_eq!(made.credential_id, authenticator.credential_id);
        assert_eq!(made.transports, ["internal", "hybrid"]);
        for proof in [Proof::Possession, Proof::Alone] {
            let facts = assert(&authenticator.get(&options()), proof, &made.public_key);
            let facts = facts.unwrap();
            assert!(facts.is_user_verified && facts.is_synced);
            assert_eq!(facts.sign_count, 0);
        }
    }
}

#[test]
fn the_facts_that_the_authenticator_states_are_told() {
    let mut authenticator = ours(Key::es256());
    authenticator.flags = PRESENT;
    authenticator.sign_count = 41;
    let made = register(&authenticator.create(&options())).unwrap();
    let facts = PasskeyFacts {
        sign_count: 41,
        is_user_verified: false,
        is_synced: false,
    };
    assert_eq!(made.facts, facts);
    authenticator.user_handle = None;
    let used = assert(
        &authenticator.get(&options()),
        Proof::Possession,
        &made.public_key,
    );
    assert_eq!(
        used.unwrap(),
        PasskeyFacts {
            sign_count: 42,
            ..facts
        }
    );
}

/// A change to an authenticator or a page, and how it is refused where a passkey is made and used.
type Case = (
    &'static str,
    fn(&mut Authenticator),
    Option<InvalidPasskey>,
    Option<InvalidPasskey>,
);

const CASES: [Case; 12] = [
    (
        "another page",
        |a| a.origin = "https://office.example.com.evil.example".to_owned(),
        Some(InvalidPasskey::Origin),
        Some(InvalidPasskey::Origin),
    ),
    (
        "another page of the domain",
        |a| a.origin = "https://other.example.com".to_owned(),
        Some(InvalidPasskey::Origin),
        Some(InvalidPasskey::Origin),
    ),
    (
        "another port",
        |a| a.origin = format!("{ORIGIN}:8443"),
        Some(InvalidPasskey::Origin),
        Some(InvalidPasskey::Origin),
    ),
    (
        "embedded",
        |a| a.is_cross_origin = true,
        Some(InvalidPasskey::CrossOrigin),
        Some(InvalidPasskey::CrossOrigin),
    ),
    (
        "another domain",
        |a| a.rp_id = "office.example.com".to_owned(),
        Some(InvalidPasskey::RelyingParty),
        Some(InvalidPasskey::RelyingParty),
    ),
    (
        "nobody there",
        |a| a.flags = VERIFIED,
        Some(InvalidPasskey::UserAbsent),
        Some(InvalidPasskey::UserAbsent),
    ),
    (
        "nobody verified",
        |a| a.flags = PRESENT,
        None,
        Some(InvalidPasskey::UserUnverified),
    ),
    (
        "backed up, which it cannot be",
        |a| a.flags = PRESENT | VERIFIED | SYNCED,
        Some(InvalidPasskey::BackupState),
        Some(InvalidPasskey::BackupState),
    ),
    (
        "not backed up yet",
        |a| a.flags = PRESENT | VERIFIED | ELIGIBLE,
        None,
        None,
    ),
    (
        "no handle",
        |a| a.user_handle = None,
        None,
        Some(InvalidPasskey::UserHandle),
    ),
    (
        "another handle",
        |a| a.user_handle = Some(vec![8; 32]),
        None,
        Some(InvalidPasskey::UserHandle),
    ),
    (
        "another key",
        |a| a.key = Key::es256(),
        None,
        Some(InvalidPasskey::Signature),
    ),
];

#[test]
fn a_page_or_an_authenticator_that_is_not_ours_is_refused() {
    for (name, change, made, used) in CASES {
        let mut authenticator = ours(Key::es256());
        let good = register(&authenticator.create(&options())).unwrap();
        change(&mut authenticator);
        let assertion = authenticator.get(&options());
        let alone = assert(&assertion, Proof::Alone, &good.public_key);
        assert_eq!(alone.err(), used, "{name}, used alone");
        let created = register(&authenticator.create(&options()));
        assert_eq!(created.err(), made, "{name}, made");
    }
}

#[test]
fn a_second_factor_need_not_verify_or_name_the_person_and_must_not_name_another() {
    let mut authenticator = ours(Key::es256());
    let made = register(&authenticator.create(&options())).unwrap();
    authenticator.flags = PRESENT;
    for (handle, refusal) in [
        (None, None),
        (Some(HANDLE.to_vec()), None),
        (Some(vec![8; 32]), Some(InvalidPasskey::UserHandle)),
    ] {
        authenticator.user_handle = handle;
        let used = assert(
            &authenticator.get(&options()),
            Proof::Possession,
            &made.public_key,
        );
        assert_eq!(used.err(), refusal);
    }
}

#[test]
fn another_challenge_or_ceremony_is_refused() {
    let mut authenticator = ours(Key::es256());
    let made = register(&authenticator.create(&options())).unwrap();
    let mut stale = options();
    stale["challenge"] = encode(&[8; CHALLENGE_BYTES]).into();
    let used = |credential: &Value| assert(credential, Proof::Possession, &made.public_key);
    let refused = Err(InvalidPasskey::Challenge);
    assert_eq!(used(&authenticator.get(&stale)), refused);
    assert_eq!(register(&authenticator.create(&stale)).err(), refused.err());
    let (create, get) = (
        authenticator.create(&options()),
        authenticator.get(&options()),
    );
    let mut swapped = get.clone();
    swapped["response"]["clientDataJSON"] = create["response"]["clientDataJSON"].clone();
    assert_eq!(used(&swapped), Err(InvalidPasskey::ClientData));
    let mut swapped = create.clone();
    swapped["response"]["clientDataJSON"] = get["response"]["clientDataJSON"].clone();
    assert_eq!(register(&swapped), Err(InvalidPasskey::ClientData));
}

#[test]
fn every_byte_that_was_signed_counts() {
    let mut authenticator = ours(Key::es256());
    let made = register(&authenticator.create(&options())).unwrap();
    let good = authenticator.get(&options());
    for part in ["clientDataJSON", "authenticatorData", "signature"] {
        let text = good["response"][part].as_str().unwrap();
        for at in 0..URL_SAFE_NO_PAD.decode(text).unwrap().len() {
            let mut bad = good.clone();
            alter(&mut bad, part, |bytes| bytes[at] ^= 1);
            let used = assert(&bad, Proof::Possession, &made.public_key);
            assert!(used.is_err(), "{part}, byte {at}");
        }
    }
}

#[test]
fn client_data_that_no_browser_makes_are_refused() {
    let challenge = encode(&CHALLENGE);
    let good =
        format!(r#"{{"type":"webauthn.create","challenge":"{challenge}","origin":"{ORIGIN}"}}"#);
    let newer = good.replace('{', r#"{"other_keys_can_be_added_here":"do not compare","#);
    for (json, is_good) in [
        (good.clone(), true),
        (newer, true),
        (String::new(), false),
        (format!("{good} {{}}"), false),
        (format!("[{good}]"), false),
        (good.replace("webauthn.create", "webauthn.CREATE"), false),
        (good.replace("webauthn.create", "payment.get"), false),
        (good.replace(&challenge, &format!("{challenge}=")), false),
        (good.replace('{', r#"{"origin":"https://x","#), false),
        (good.replace('{', r#"{"other":"\ud800","#), false),
        (good.replace(r#""origin""#, r#""Origin""#), false),
        (good.replace('{', r#"{"crossOrigin":"true","#), false),
    ] {
        let mut credential = ours(Key::es256()).create(&options());
        credential["response"]["clientDataJSON"] = encode(json.as_bytes()).into();
        assert_eq!(register(&credential).is_ok(), is_good, "{json}");
    }
}

#[test]
fn authenticator_data_are_read_to_the_last_byte() {
    let mut authenticator = ours(Key::es256());
    let made = register(&authenticator.create(&options())).unwrap();
    let get = authenticator.get(&options());
    let data = get["response"]["authenticatorData"].as_str().unwrap();
    let data = URL_SAFE_NO_PAD.decode(data).unwrap();
    let is_read = |bytes: &[u8]| AuthenticatorData::read(bytes).is_ok();
    assert!(is_read(&data));
    for length in 0..data.len() {
        assert!(!is_read(&data[..length]), "{length} bytes");
    }
    assert!(!is_read(&[&data[..], &[0]].concat()), "a byte more");
    let with = |flag: u8, rest: &[u8]| {
        let mut data = data.clone();
        data[32] |= flag;
        is_read(&[&data[..], rest].concat())
    };
    let extensions = 1 << 7;
    assert!(with(extensions, &cbor(&Cbor::Map(Vec::new()))));
    assert!(
        !with(extensions, &[]),
        "extensions are announced and missing"
    );
    assert!(!with(ATTESTED, &[]), "a passkey is announced and missing");
    let key = &made.public_key;
    let attested = |length: u16| {
        let id = vec![1; length.into()];
        [&[0; 16], &length.to_be_bytes()[..], &id, key].concat()
    };
    assert!(with(ATTESTED, &attested(32)));
    assert!(!with(ATTESTED, &attested(32)[..50]));
    assert!(!with(ATTESTED, &[&attested(32)[..], &[0]].concat()));
}

#[test]
fn an_id_has_1_to_1023_bytes() {
    for (length, is_good) in [(0, false), (1, true), (1023, true), (1024, false)] {
        let mut authenticator = ours(Key::es256());
        authenticator.credential_id = vec![1; length];
        let made = register(&authenticator.create(&options()));
        assert_eq!(made.is_ok(), is_good, "{length}");
    }
}

#[test]
fn attestations_that_are_no_such_thing_are_refused() {
    let good = ours(Key::es256()).create(&options());
    let data = |name: &str, value: Cbor| (Cbor::from(name), value);
    let empty = || Cbor::Map(Vec::new());
    for (name, object) in [
        ("nothing", Vec::new()),
        ("no map", cbor(&Cbor::Array(Vec::new()))),
        ("no data", cbor(&empty())),
        (
            "data that are a text",
            cbor(&Cbor::Map(vec![data("authData", "x".into())])),
        ),
        (
            "no bytes",
            cbor(&Cbor::Map(vec![data("authData", Cbor::Bytes(Vec::new()))])),
        ),
    ] {
        let mut bad = good.clone();
        bad["response"]["attestationObject"] = encode(&object).into();
        assert_eq!(
            register(&bad),
            Err(InvalidPasskey::AuthenticatorData),
            "{name}"
        );
    }
    let mut longer = good.clone();
    alter(&mut longer, "attestationObject", |bytes| bytes.push(0));
    assert_eq!(register(&longer), Err(InvalidPasskey::AuthenticatorData));
    let mut assertion = ours(Key::es256()).get(&options());
    let unattested = assertion["response"]["authenticatorData"].take();
    let unattested = URL_SAFE_NO_PAD
        .decode(unattested.as_str().unwrap())
        .unwrap();
    let object = |twice: bool| {
        let one = || data("authData", Cbor::Bytes(unattested.clone()));
        let mut map = vec![one()];
        map.extend(twice.then(one));
        cbor(&Cbor::Map(map))
    };
    for twice in [false, true] {
        let mut bad = good.clone();
        bad["response"]["attestationObject"] = encode(&object(twice)).into();
        assert_eq!(register(&bad), Err(InvalidPasskey::AuthenticatorData));
    }
}

#[test]
fn a_key_that_was_not_asked_for_or_is_no_key_is_refused() {
    let change = |key: Key, label: i32, value: Option<Cbor>| {
        let mut authenticator = ours(key);
        let parameters = &mut authenticator.parameters;
        parameters.retain(|(known, _)| *known != label);
        parameters.extend(value.map(|value| (label, value)));
        register(&authenticator.create(&options()))
    };
    let bytes = |length: usize| Some(Cbor::Bytes(vec![1; length]));
    for label in [1, 3, -1, -2, -3] {
        let refused = Err(InvalidPasskey::PublicKey);
        assert_eq!(
            change(Key::es256(), label, None),
            refused,
            "without {label}"
        );
        let text = Some(Cbor::from("x"));
        assert_eq!(change(Key::es256(), label, text), refused, "{label}");
    }
    let leading_zero = Cbor::Bytes([&[0][..], &[1; 256]].concat());
    for (name, made) in [
        ("ES384", change(Key::es256(), 3, Some((-35).into()))),
        ("P-384", change(Key::es256(), -1, Some(2.into()))),
        ("a short x", change(Key::es256(), -2, bytes(31))),
        ("a long y", change(Key::es256(), -3, bytes(33))),
        ("RSA of 1024 bits", change(Key::rs256(), -1, bytes(128))),
        ("RSA of 16384 bits", change(Key::rs256(), -1, bytes(2048))),
        (
            "a leading zero",
            change(Key::rs256(), -1, Some(leading_zero)),
        ),
        ("a point off the curve", change(Key::es256(), -3, bytes(32))),
        (
            "an even modulus",
            change(Key::rs256(), -1, Some(Cbor::Bytes(vec![2; 256]))),
        ),
        ("an exponent of 1", change(Key::rs256(), -2, bytes(1))),
        (
            "an even exponent",
            change(Key::rs256(), -2, Some(Cbor::Bytes(vec![1, 0]))),
        ),
        ("no exponent", change(Key::rs256(), -2, bytes(0))),
        ("RSA with PSS", change(Key::rs256(), 3, Some((-37).into()))),
        ("X25519", change(Key::eddsa(), -1, Some(4.into()))),
        ("Ed25519 of 33 bytes", change(Key::eddsa(), -2, bytes(33))),
    ] {
        assert_eq!(made, Err(InvalidPasskey::PublicKey), "{name}");
    }
    let mut twice = ours(Key::es256());
    twice.parameters.push((3, (-7).into()));
    assert_eq!(
        register(&twice.create(&options())),
        Err(InvalidPasskey::PublicKey)
    );
}

#[test]
fn a_credential_that_no_browser_sends_is_named_for_what_is_wrong_with_it() {
    let mut authenticator = ours(Key::es256());
    let (create, get) = (
        authenticator.create(&options()),
        authenticator.get(&options()),
    );
    let told = |json: &Value| AssertionResponse::from_json(json).map(drop);
    for json in [json!(null), json!("x"), json!([]), json!({})] {
        assert_eq!(told(&json), Err(MalformedCredential::Shape));
    }
    let mut other = get.clone();
    other["type"] = "password".into();
    assert_eq!(told(&other), Err(MalformedCredential::Shape));
    for part in ["clientDataJSON", "authenticatorData", "signature"] {
        for bad in [
            json!(null),
            json!(7),
            json!("a"),
            json!("AA=="),
            json!("+/A"),
        ] {
            let mut json = get.clone();
            json["response"][part] = bad;
            assert_eq!(told(&json), Err(MalformedCredential::Part(part)));
        }
    }
    let mut json = get.clone();
    json["response"]["userHandle"] = "=".into();
    assert_eq!(told(&json), Err(MalformedCredential::Part("userHandle")));
    json["response"]["userHandle"] = json!(null);
    assert_eq!(told(&json), Ok(()));
    let mut json = create.clone();
    json["response"]["transports"] = json!(["usb", "U S B", 7, "", "smart-card"]);
    let read = RegistrationResponse::from_json(&json).unwrap();
    assert_eq!(read.transports, ["usb", "smart-card"]);
    json["response"]["transports"] = json!(null);
    assert!(RegistrationResponse::from_json(&json).is_ok());
}
