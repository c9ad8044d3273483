//! A body is read as `serde_json` reads it and in no second way, and a refusal repeats none of it.

use std::sync::LazyLock;

use axum::extract::{FromRequest as _, Request};
use backoffice_auth::domain::{EmailAddress, PlainPassword, RequestId};
use backoffice_auth::http::endpoints::confirm::ConfirmRequest;
use backoffice_auth::http::endpoints::refresh::RefreshRequest;
use backoffice_auth::http::endpoints::signin::SigninRequest;
use backoffice_auth::http::extract::body::{ApiJson, FromBody, MAX_BODY_BYTES};
use backoffice_auth::http::problem::{Code, Problem};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use unicode_normalization::UnicodeNormalization as _;

/// Takes the body of a request.
pub fn holds(data: &[u8]) {
    let expected = object_in(data);
    signin(data, expected.as_ref());
    confirm(data, expected.as_ref());
    refresh(data, expected.as_ref());
}

/// The object that a body is, if it can be read in one way only.
fn object_in(data: &[u8]) -> Result<Map<String, Value>, Code> {
    if data.len() > MAX_BODY_BYTES {
        return Err(Code::BodyTooLarge);
    }
    let value: Value = serde_json::from_slice(data).map_err(|_| Code::MalformedRequest)?;
    // `Value` keeps the last of a repeated key, so there are fewer members than colons.
    let has_repeated_key = colons(data) != members(&value);
    match value {
        Value::Object(map) if !has_repeated_key => Ok(map),
        _ => Err(Code::MalformedRequest),
    }
}

/// The colons outside the texts of a well-formed JSON text: one for each member of an object.
fn colons(json: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b':' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
        Value::Array(list) => list.iter().map(members).sum(),
        _ => 0,
    }
}

fn signin(data: &[u8], expected: Result<&Map<String, Value>, &Code>) {
    let read = read::<SigninRequest>(data);
    let email = |text: &str| Some(text.parse::<EmailAddress>().err()?.to_string());
    let password = |text: &str| Some(PlainPassword::parse(text).err()?.to_string());
    let rules: [Rule<'_>; 2] = [("email", &email), ("password", &password)];
    let Some(map) = refused_as_expected(&read, expected, &rules) else {
        return;
    };
    let Ok(request) = read else { return };
    assert_eq!(
        request.email.as_str(),
        text(map, "email").to_ascii_lowercase()
    );
    let password: String = text(map, "password").nfkc().collect();
    assert_eq!(request.password.expose(), password.as_bytes());
    assert!((1..=1024).contains(&text(map, "password").len()));
}

fn confirm(data: &[u8], expected: Result<&Map<String, Value>, &Code>) {
    if expected.is_ok_and(|map| map.contains_key("credential")) {
        // `passkey` judges credentials.
        return;
    }
    let read = read::<ConfirmRequest>(data);
    let Some(map) = refused_as_expected(&read, expected, &[("token", &any), ("code", &any)]) else {
        return;
    };
    let Ok(ConfirmRequest::Code(request)) = read else {
        return;
    };
    assert_eq!(
        (&*request.token, &*request.code),
        (text(map, "token"), text(map, "code"))
    );
}

fn refresh(data: &[u8], expected: Result<&Map<String, Value>, &Code>) {
    let read = read::<RefreshRequest>(data);
    let Some(map) = refused_as_expected(&read, expected, &[("refreshToken", &any)]) else {
        return;
    };
    let Ok(request) = read else { return };
    assert_eq!(request.refresh_token, text(map, "refreshToken"));
}

/// Any text will do.
fn any(_: &str) -> Option<String> {
    None
}

fn text<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map[field]
        .as_str()
        .expect("a field that was read is a text")
}

/// The value that an endpoint reads from a body.
fn read<T: FromBody>(data: &[u8]) -> Result<T, Problem> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    });
    let request = Request::new(data.to_vec().into());
    let read = RUNTIME.block_on(ApiJson::from_request(request, &()));
    read.map(|ApiJson(read)| read)
}

/// A field, and the error of a text in it.
type Rule<'a> = (&'a str, &'a dyn Fn(&str) -> Option<String>);

/// Checks that a body is refused exactly if it should be, for exactly the reasons that there are,
/// in words that do not depend on it. Gives the object that an accepted one is.
fn refused_as_expected<'a, T>(
    read: &Result<T, Problem>,
    expected: Result<&'a Map<String, Value>, &Code>,
    rules: &[Rule<'_>],
) -> Option<&'a Map<String, Value>> {
    let (code, errors) = match expected {
        Err(code) => (*code, Value::Null),
        Ok(map) => {
            let errors: Vec<_> = rules.iter().filter_map(|rule| error(map, rule)).collect();
            if errors.is_empty() {
                assert!(read.is_ok());
                return Some(map);
            }
            (Code::InvalidRequest, errors.into())
        }
    };
    let problem = read.as_ref().err().expect("it is refused");
    assert_eq!(problem.code(), code);
    let id = RequestId::parse("fuzz").expect("an id");
    let body = serde_json::to_value(problem.body(&id)).expect("a problem is JSON");
    assert_eq!(body.get("errors").unwrap_or(&Value::Null), &errors);
    assert_eq!(body["detail"], code.detail());
    None
}

fn error(map: &Map<String, Value>, (field, wrong): &Rule<'_>) -> Option<Value> {
    let message = match map.get(*field) {
        None => Some("is required".to_owned()),
        Some(Value::String(text)) => wrong(text),
        Some(_) => Some("must be a string".to_owned()),
    };
    message.map(|message| json!({"field": field, "message": message}))
}
