//! Ory Kratos: identities with their credentials, as its administration lists them.

use super::json::Object;
use super::record::{Person, Refusal, address, hash};

pub(super) fn read(identity: &Object) -> Result<Option<Person>, Refusal> {
    let traits = identity.object("traits");
    let text = |name| match &traits {
        Some(traits) => traits.text(name),
        None => Ok(None),
    };
    let credentials = identity.object("credentials");
    let password = credentials.and_then(|credentials| credentials.object("password"));
    let config = password.and_then(|password| password.object("config"));
    let hashed = config.map(|config| config.text("hashed_password"));
    Ok(Some(Person {
        email: address(text("email")?, text("username")?),
        hash: hash(hashed.transpose()?.flatten()),
        is_disabled: identity.text("state")?.as_deref() == Some("inactive"),
        ..Person::default()
    }))
}
