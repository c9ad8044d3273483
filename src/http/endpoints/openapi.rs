//! The parts that the endpoints' descriptions share: tags, the note on JSON bodies, constant flags.

use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// The tag of the four methods to sign in and out.
pub const SIGN_IN: &str = "Sign in";
/// The tag of the operations on a user's own account.
pub const ACCOUNT: &str = "Account";
/// The tag of the operations by which people set passwords.
pub const PASSWORDS: &str = "Passwords";
/// The tag of the operations of administrators.
pub const ADMINISTRATION: &str = "Administration";
/// The tag of the operations on a user's own sessions.
pub const SESSIONS: &str = "Sessions";
/// The tag of the operations for other services.
pub const SERVICES: &str = "Services";
/// The tag of the operation for reverse proxies.
pub const PROXIES: &str = "Proxies";
/// The tag of the description itself.
pub const DESCRIPTION: &str = "Description";

/// The note on the bodies of the methods.
pub const JSON_BODY: &str = "A JSON object of at most 16 KiB, without repeated keys. It is read \
    as JSON under `application/json`, under `application/x-www-form-urlencoded` (what curl calls \
    whatever `--data` sends) and under no `Content-Type`. Unknown fields are ignored.";

/// An address that sign-in takes.
// Without `format = Email`, which allows 64 bytes before the `@`, and other signs: we take more of the one, and less
// of the other.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = r"^[A-Za-z0-9#$&'*+=?^_`{}~][A-Za-z0-9#$&'*+/=?^_`{|}~-]*(\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$",
    max_length = 254,
)]
#[expect(dead_code, reason = "it describes `EmailAddress`")]
pub(super) struct Address(String);

/// The schema of a flag that is `true` wherever it is.
pub(super) fn always_true() -> Object {
    always(true)
}

/// The schema of a flag that is `false` wherever it is.
pub(super) fn always_false() -> Object {
    always(false)
}

fn always(value: bool) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([value]))
        .build()
}
