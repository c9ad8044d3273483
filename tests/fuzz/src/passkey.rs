//! The bytes that an authenticator and a browser send are read to the last one, or refused.

use backoffice_auth::passkey::{
    AssertionResponse, InvalidPasskey, Proof, RegistrationResponse, RelyingParty, StoredPasskey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const RP_ID: &str = "example.com";
const ORIGIN: &str = "https://office.example.com";
const CHALLENGE: [u8; 32] = [7; 32];

/// No attestation object at all, for inputs that are about the browser's part.
const NO_PASSKEY: &[u8] = &[];

/// Takes a letter and its data: `a` an attestation object, `c` client data, `k` a public key.
pub fn holds(input: &[u8]) {
    let party = RelyingParty::new(RP_ID, &[ORIGIN.to_owned()]);
    match input.split_first() {
        Some((b'a', object)) => attestation(&party, object),
        Some((b'c', data)) => client_data(&party, data),
        Some((b'k', key)) => public_key(&party, key),
        _ => {}
    }
}

/// Client data that a browser makes for us.
fn ours(kind: &str) -> Vec<u8> {
    let challenge = URL_SAFE_NO_PAD.encode(CHALLENGE);
    let data = json!({"type": kind, "challenge": challenge, "origin": ORIGIN});
    data.to_string().into_bytes()
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// Panics if a passkey is taken that does not stand in the object, or whose key is no key the second time.
fn attestation(party: &RelyingParty, object: &[u8]) {
    let response = RegistrationResponse {
        client_data_json: ours("webauthn.create"),
        attestation_object: object.to_vec(),
        transports: Vec::new(),
    };
    let Ok(made) = party.verify_registration(&CHALLENGE, response) else {
        return;
    };
    assert!((1..=1023).contains(&made.credential_id.len()));
    for part in [&made.credential_id, &made.public_key] {
        assert!(contains(object, part), "it is told as it came");
    }
    let used = use_key(party, &made.public_key);
    assert_eq!(used, InvalidPasskey::Signature, "it is a key");
}

/// Panics if client data are taken that say anything else than what was asked.
fn client_data(party: &RelyingParty, data: &[u8]) {
    let response = RegistrationResponse {
        client_data_json: data.to_vec(),
        attestation_object: NO_PASSKEY.to_vec(),
        transports: Vec::new(),
    };
    let refusal = party.verify_registration(&CHALLENGE, response);
    let refusal = refusal.expect_err("there is no passkey");
    let is_taken = refusal == InvalidPasskey::AuthenticatorData;
    let said: Option<Value> = serde_json::from_slice(data).ok();
    let is = |key: &str, value: &str| said.as_ref().is_some_and(|said| said[key] == value);
    let is_embedded = said
        .as_ref()
        .is_some_and(|said| said["crossOrigin"] == true);
    let is_ours = is("type", "webauthn.create")
        && is("challenge", &URL_SAFE_NO_PAD.encode(CHALLENGE))
        && is("origin", ORIGIN)
        && !is_embedded;
    assert!(is_ours || !is_taken, "what was not said was taken");
}

/// Panics if a signature of nobody verifies.
fn public_key(party: &RelyingParty, key: &[u8]) {
    let refusal = use_key(party, key);
    let expected = [InvalidPasskey::PublicKey, InvalidPasskey::Signature];
    assert!(expected.contains(&refusal), "{refusal}");
}

/// How a signature of nobody is refused.
fn use_key(party: &RelyingParty, public_key: &[u8]) -> InvalidPasskey {
    // SHA-256 of the domain; the person was there; no count.
    let of_domain = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, RP_ID.as_bytes());
    let response = AssertionResponse {
        credential_id: vec![1],
        client_data_json: ours("webauthn.get"),
        authenticator_data: [of_domain.as_ref(), &[1, 0, 0, 0, 0]].concat(),
        signature: vec![0x30, 6, 2, 1, 1, 2, 1, 1],
        user_handle: None,
    };
    let stored = StoredPasskey {
        public_key,
        user_handle: &[],
    };
    let used = party.verify_assertion(&CHALLENGE, Proof::Possession, &response, stored);
    used.expect_err("nobody signed")
}
