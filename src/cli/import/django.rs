//! Django: the output of `manage.py dumpdata` for a model of users, as JSON or as lines of JSON.

use super::json::Object;
use super::record::{Person, Refusal, address, hash, number};

pub(super) fn read(object: &Object) -> Result<Option<Person>, Refusal> {
    let fields = object.object("fields").ok_or("fields: missing")?;
    // Another model of the same dump.
    if !fields.has("password") {
        return Ok(None);
    }
    let pk = object.members().find(|(name, _)| *name == "pk");
    Ok(Some(Person {
        id: pk.and_then(|(_, pk)| number(&pk.to_string())),
        email: address(fields.text("email")?, fields.text("username")?),
        hash: hash(fields.text("password")?),
        is_disabled: fields.flag("is_active")? == Some(false),
        ..Person::default()
    }))
}
