//! Keycloak: the JSON of a realm with its users, as `kc.sh export` writes it.

use super::json::Object;
use super::record::{Person, Refusal, address, hash};
use crate::password::read_keycloak;

pub(super) fn read(user: &Object) -> Result<Option<Person>, Refusal> {
    if user.has("realm") && user.has("users") {
        return Err("a realm, and not a user: export one realm into a file of its own".into());
    }
    // The account of a client, which no person has.
    if user.has("serviceAccountClientId") {
        return Ok(None);
    }
    Ok(Some(Person {
        email: address(user.text("email")?, user.text("username")?),
        hash: hash(password(user)?),
        is_disabled: user.flag("enabled")? == Some(false),
        ..Person::default()
    }))
}

fn password(user: &Object) -> Result<Option<String>, Refusal> {
    for credential in user.objects("credentials") {
        if credential.text("type")?.as_deref() == Some("password") {
            let part = |name| {
                let text = credential.text(name)?;
                text.ok_or_else(|| Refusal::from(format!("credentials: {name} is missing")))
            };
            let read = read_keycloak(&part("secretData")?, &part("credentialData")?);
            return match read {
                Ok(stored) => Ok(Some(stored)),
                Err(error) => Err(format!("credentials: {error}").into()),
            };
        }
    }
    Ok(None)
}
