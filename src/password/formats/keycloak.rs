//! Keycloak: two JSON texts in the export of a realm, for which there is a stored form that other services have.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::super::kind::Kind;
use super::super::kind_text::argon2_variant;
use super::super::refusal::{Flaw, UnsupportedHash};
use super::super::text;

/// `secretData` of a credential.
#[derive(Deserialize)]
struct SecretData {
    value: String,
    salt: String,
}

/// `credentialData` of a credential.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialData {
    hash_iterations: u32,
    algorithm: String,
    #[serde(default)]
    additional_parameters: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    #[serde(rename = "type")]
    variant: Vec<String>,
    version: Vec<String>,
    memory: Vec<String>,
    parallelism: Vec<String>,
}

/// Puts the hash of a Keycloak credential into a form that is read here: Argon2 into its own, PBKDF2 into passlib's.
///
/// The arguments are the JSON texts of a credential whose `type` is `password`.
pub fn read_keycloak(secret_data: &str, credential_data: &str) -> Result<String, UnsupportedHash> {
    stored(secret_data, credential_data).map_err(|flaw| UnsupportedHash::Malformed {
        format: "Keycloak",
        flaw,
    })
}

fn stored(secret_data: &str, credential_data: &str) -> Result<String, Flaw> {
    let secret: SecretData = serde_json::from_str(secret_data).map_err(|_| Flaw::NotJson)?;
    let data: CredentialData = serde_json::from_str(credential_data).map_err(|_| Flaw::NotJson)?;
    let decode = |what, text: &str| STANDARD.decode(text).map_err(|_| Flaw::NotBase64(what));
    let salt = STANDARD_NO_PAD.encode(decode("the salt", &secret.salt)?);
    let hash = STANDARD_NO_PAD.encode(decode("the value", &secret.value)?);
    match data.algorithm.as_str() {
        "argon2" => Ok(format!("{}${salt}${hash}", argon2_kind(&data)?)),
        algorithm @ ("pbkdf2" | "pbkdf2-sha256" | "pbkdf2-sha512") => {
            let [salt, hash] = [salt, hash].map(|text| text.replace('+', "."));
            Ok(format!(
                "${algorithm}${}${salt}${hash}",
                data.hash_iterations
            ))
        }
        _ => Err(Flaw::UnknownVersion),
    }
}

fn argon2_kind(data: &CredentialData) -> Result<Kind, Flaw> {
    let parameters = &data.additional_parameters;
    let first = |what, values: &[String]| values.first().cloned().ok_or(Flaw::Missing(what));
    let name = format!("argon2{}", first("type", &parameters.variant)?);
    Ok(Kind::Argon2 {
        variant: argon2_variant(&name).ok_or(Flaw::UnknownVersion)?,
        version: match first("version", &parameters.version)?.as_str() {
            "1.0" => 16,
            "1.3" => 19,
            _ => return Err(Flaw::UnknownVersion),
        },
        memory_kib: text::number_from("memory", &first("memory", &parameters.memory)?)?,
        passes: data.hash_iterations,
        lanes: text::number_from(
            "parallelism",
            &first("parallelism", &parameters.parallelism)?,
        )?,
    })
}
