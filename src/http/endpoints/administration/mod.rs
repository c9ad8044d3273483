//! `/admin`: the interface of administrators. [`users`] lists, shows, invites and removes, [`acts`] changes one
//! user, and [`history`] tells of sessions and events.

pub mod acts;
pub mod history;
pub mod users;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use utoipa::IntoParams;

use crate::domain::{EmailAddress, SessionId, UserId};
use crate::http::problem::{Code, FieldError, Problem};

/// Rows of a page, unless the caller wants another number.
const PAGE: u8 = 50;

/// Rows of a page at most.
const LONGEST_PAGE: u8 = 200;

/// The user whose number is in the path. A text that is no number is nobody's.
#[derive(Debug, Clone, Copy)]
pub struct UserPath(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let user_id = path.ok().and_then(|Path(id)| user_id(&id));
        user_id.map(Self).ok_or_else(|| Code::NotFound.into())
    }
}

/// That number, as the description has it.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes `UserPath`")]
struct UserParam {
    /// The user's number
    #[param(pattern = r"^-?[0-9]{1,19}$", example = "1")]
    id: String,
}

/// The user and the session in the path.
#[derive(Debug, Clone, Copy)]
pub struct SessionPath(pub UserId, pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let ids = path
            .ok()
            .and_then(|Path((user, session))| Some((user_id(&user)?, SessionId::parse(&session)?)));
        let (user, session) = ids.ok_or(Code::NotFound)?;
        Ok(Self(user, session))
    }
}

/// A number has one spelling.
fn user_id(text: &str) -> Option<UserId> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(UserId(number))
}

/// Collects what is wrong with a query.
#[derive(Debug, Default)]
struct BadFields(Vec<FieldError>);

impl BadFields {
    /// Reads a field, and notes a bad one. `None` for one that is bad or absent.
    fn read<T>(
        &mut self,
        field: &'static str,
        text: Option<&str>,
        read: impl FnOnce(&str) -> Option<T>,
        message: &str,
    ) -> Option<T> {
        let value = read(text?);
        if value.is_none() {
            self.note(field, message);
        }
        value
    }

    fn note(&mut self, field: &'static str, message: &str) {
        let message = message.to_owned();
        self.0.push(FieldError { field, message });
    }

    /// The length of a page.
    fn limit(&mut self, text: Option<&str>) -> u8 {
        let in_bounds = |limit: &u8| (1..=LONGEST_PAGE).contains(limit);
        let read = |text: &str| text.parse().ok().filter(in_bounds);
        self.read("limit", text, read, LIMIT_RULE).unwrap_or(PAGE)
    }

    /// The parameters, if none was bad.
    fn or<T>(self, good: T) -> Result<T, Problem> {
        if self.0.is_empty() {
            Ok(good)
        } else {
            Err(Problem::invalid(self.0))
        }
    }
}

/// A query that cannot be read as one: a field comes twice.
fn refuse_query(_: QueryRejection) -> Problem {
    let mut bad = BadFields::default();
    bad.note("limit", LIMIT_RULE);
    Problem::invalid(bad.0)
}

/// Rows to read for a page: one more tells whether there is a next one.
fn to_read(limit: u8) -> i64 {
    i64::from(limit) + 1
}

/// Cuts what was read to a page, and tells after which row the next one begins.
fn cut<T>(rows: &mut Vec<T>, limit: u8) -> Option<&T> {
    let has_more = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    rows.last().filter(|_| has_more)
}

pub(in crate::http) const LIMIT_RULE: &str = "must be a whole number from 1 to 200";
pub(in crate::http) const AFTER_RULE: &str = "must be `next` of an earlier answer";
pub(in crate::http) const STATE_RULE: &str = "must be active, invited, disabled or locked";
pub(in crate::http) const PREFIX_RULE: &str =
    "must be the beginning of an address: at most 254 ASCII characters without spaces";

/// The place after an address, for the next page.
fn cursor_after(email: &EmailAddress) -> String {
    URL_SAFE_NO_PAD.encode(email.as_str())
}

fn read_cursor(text: &str) -> Option<EmailAddress> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    EmailAddress::from_stored(String::from_utf8(bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_a_path_has_one_spelling() {
        assert_eq!(user_id("12"), Some(UserId(12)));
        for other in [
            "",
            "012",
            "+12",
            " 12",
            "12.0",
            "1e1",
            "9223372036854775808",
            "x",
        ] {
            assert_eq!(user_id(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let email: EmailAddress = "a.b@c.example".parse().unwrap();
        assert_eq!(read_cursor(&cursor_after(&email)), Some(email));
        for other in ["", "a.b@c.example", "!", "AAAA"] {
            assert_eq!(read_cursor(other), None, "{other:?}");
        }
    }
}
