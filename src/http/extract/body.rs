//! The bodies of requests: read within bounds, parsed strictly, with every bad field named.
//!
//! Two parsers that read one text differently are a security hole, so ambiguous texts are refused: a
//! key given twice (at any depth, in any spelling), trailing text, a lone surrogate, a byte order mark.
//! The content type is not checked as strictly: curl labels the data of `-d` as a form, and the
//! documented calls use `-d`. A page on another origin could make a browser send such a "form" without
//! a preflight; `layers/origin.rs` refuses it.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokio::time::timeout;
use zeroize::{Zeroize, Zeroizing};

use crate::http::problem::{Code, FieldError, Problem};

/// The largest body that is read. The largest body of a real client is well under 8 KiB.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The content type of a form, which curl also gives to the data of `-d`.
pub(in crate::http) const FORM: &str = "application/x-www-form-urlencoded";

/// How long a body may take to arrive, counted from when its head is in.
const MAX_BODY_TIME: Duration = Duration::from_secs(10);

/// A request body of type `T`. A body that is not one is refused with a [`Problem`].
#[derive(Debug, Clone, Copy)]
pub struct ApiJson<T>(pub T);

impl<T: FromBody, S: Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_headers(request.headers())?;
        let bytes = read_in_time(request.into_body()).await?;
        parse(&bytes).map(Self)
    }
}

/// A type that can be read from a body's fields.
pub trait FromBody: Sized {
    /// Reads the value. `None` where a field is missing or bad; `fields` remembers which.
    ///
    /// Read every field before giving up on one, so that all bad ones are named:
    ///
    /// ```text
    /// let email = fields.required("email", str::parse);
    /// let password = fields.required("password", PlainPassword::parse);
    /// Some(Self { email: email?, password: password? })
    /// ```
    fn from_body(fields: &mut BodyFields) -> Option<Self>;
}

/// The fields of a body while they are read. The strings are wiped when it is dropped.
pub struct BodyFields {
    map: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl BodyFields {
    /// Reads a required text, and remembers the error of `parse`. The error's text goes to the caller,
    /// so it must not repeat the value.
    pub fn required<T, E: fmt::Display>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = match self.map.get(field) {
            None => Err("is required".to_owned()),
            Some(Value::String(text)) => parse(text).map_err(|error| error.to_string()),
            Some(_) => Err("must be a string".to_owned()),
        };
        parsed.map_err(|message| self.refuse(field, message)).ok()
    }

    /// Reads a required value of any kind, and remembers the error of `parse`, as [`required`](Self::required)
    /// does.
    pub fn value<T, E: fmt::Display>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = match self.map.get(field) {
            None => Err("is required".to_owned()),
            Some(value) => parse(value).map_err(|error| error.to_string()),
        };
        parsed.map_err(|message| self.refuse(field, message)).ok()
    }

    /// Reads a text that may be absent: then it is `Some(None)`.
    pub fn optional<T, E: fmt::Display>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        if self.has(field) {
            self.required(field, parse).map(Some)
        } else {
            Some(None)
        }
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.map.contains_key(field)
    }

    /// Remembers that a field is bad.
    pub fn refuse(&mut self, field: &'static str, message: String) {
        self.errors.push(FieldError { field, message });
    }

    /// Reads a required text without checking it.
    pub fn text(&mut self, field: &'static str) -> Option<String> {
        self.required(field, |text| Ok::<_, Infallible>(text.to_owned()))
    }
}

impl fmt::Debug for BodyFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.map.keys()).finish()
    }
}

impl Drop for BodyFields {
    fn drop(&mut self) {
        for value in self.map.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_ENCODING) {
        let identity = HeaderValue::from_static("identity");
        return Err(Problem::new(Code::UnsupportedMediaType).with_header(ACCEPT_ENCODING, identity));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if is_accepted_type(value) => Ok(()),
        _ => Err(Code::UnsupportedMediaType.into()),
    }
}

fn is_accepted_type(value: &HeaderValue) -> bool {
    is_of_type(value, "application/json") || is_of_type(value, FORM)
}

/// Whether a `Content-Type` is this one, with any parameters.
pub(in crate::http) fn is_of_type(value: &HeaderValue, essence: &str) -> bool {
    let given = value.as_bytes().split(|b| *b == b';').next();
    let given = given.unwrap_or_default().trim_ascii();
    given.eq_ignore_ascii_case(essence.as_bytes())
}

/// Reads a body within the time and up to the limit.
pub(in crate::http) async fn read_in_time(body: Body) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let in_time = timeout(MAX_BODY_TIME, read(body)).await;
    in_time.map_err(|_| Problem::new(Code::RequestTimeout))?
}

/// Reads a body up to the limit: one that declares more is not read at all, one that declares
/// nothing is read until it is too long.
async fn read(mut body: Body) -> Result<Zeroizing<Vec<u8>>, Problem> {
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(Code::BodyTooLarge.into());
    }
    let mut bytes = Growing::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::new(Code::MalformedRequest).because(error))?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.0.len() + data.len() > MAX_BODY_BYTES {
            return Err(Code::BodyTooLarge.into());
        }
        bytes.push(&data);
    }
    Ok(bytes.0)
}

/// Bytes whose memory grows as they arrive, since many bodies are announced and never arrive. When it
/// grows, the old copy is wiped, which a plain vector would not do.
#[derive(Default)]
struct Growing(Zeroizing<Vec<u8>>);

impl Growing {
    fn push(&mut self, data: &[u8]) {
        let length = self.0.len() + data.len();
        if length > self.0.capacity() {
            let larger = Vec::with_capacity(length.next_power_of_two());
            let smaller = std::mem::replace(&mut self.0, Zeroizing::new(larger));
            self.0.extend_from_slice(&smaller);
        }
        self.0.extend_from_slice(data);
    }
}

/// Reads a `T` from the text of a body.
fn parse<T: FromBody>(bytes: &[u8]) -> Result<T, Problem> {
    let mut fields = BodyFields {
        map: parse_object(bytes)?,
        errors: Vec::new(),
    };
    let parsed = T::from_body(&mut fields);
    let errors = std::mem::take(&mut fields.errors);
    match parsed {
        Some(value) if errors.is_empty() => Ok(value),
        _ => Err(Problem::invalid(errors)),
    }
}

/// Parses a text that is a JSON object and nothing else. Nesting ends where `serde_json` ends it,
/// before the 128th level.
fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let malformed = |error| Problem::new(Code::MalformedRequest).because(error);
    match serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))? {
        Strict(Value::Object(map)) => Ok(map),
        Strict(_) => Err(malformed("not an object".to_owned())),
    }
}

/// A JSON value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, _>()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is repeated"));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::ACCEPT;
    use futures_util::stream;

    use super::*;

    /// A wire type with two texts, one of them bounded.
    #[derive(Debug, PartialEq)]
    struct Pair {
        a: String,
        b: u8,
    }

    impl FromBody for Pair {
        fn from_body(fields: &mut BodyFields) -> Option<Self> {
            let a = fields.text("a");
            let b = fields.required("b", str::parse);
            Some(Self { a: a?, b: b? })
        }
    }

    const GOOD: &str = r#"{"a": "x", "b": "7"}"#;

    async fn extract(request: Request) -> Result<Pair, Problem> {
        let ApiJson(pair) = ApiJson::from_request(request, &()).await?;
        Ok(pair)
    }

    async fn code_of(body: impl Into<Body>) -> Code {
        let request = Request::new(body.into());
        extract(request).await.unwrap_err().code()
    }

    fn with_headers(headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(Body::from(GOOD));
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(*name, value);
        }
        request
    }

    #[tokio::test]
    async fn json_is_read_under_the_content_type_that_curl_gives_it_and_under_none() {
        for headers in [
            &[][..],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            )],
            &[("content-type", "application/json")],
            &[("content-type", "Application/JSON ; charset=\"utf-8\"; x=y")],
        ] {
            let pair = extract(with_headers(headers)).await.unwrap();
            assert_eq!((pair.a.as_str(), pair.b), ("x", 7), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn any_other_content_type_and_any_encoding_is_a_415_that_says_what_is_accepted() {
        for headers in [
            &[("content-type", "text/plain")][..],
            &[("content-type", "")],
            &[("content-type", "application/jsonp")],
            &[("content-type", "application/problem+json")],
            &[(
                "content-type",
                "multipart/form-data; boundary=application/json",
            )],
            &[("content-type", "application/json, application/json")],
            &[
                ("content-type", "application/json"),
                ("content-type", "application/json"),
            ],
        ] {
            let problem = extract(with_headers(headers)).await.unwrap_err();
            assert_eq!(problem.code(), Code::UnsupportedMediaType, "{headers:?}");
        }
        for encoding in ["gzip", "identity", ""] {
            let problem = extract(with_headers(&[("content-encoding", encoding)])).await;
            let response = axum::response::IntoResponse::into_response(problem.unwrap_err());
            assert_eq!(response.status(), 415, "{encoding}");
            assert_eq!(response.headers()[ACCEPT], "application/json");
            assert_eq!(response.headers()[ACCEPT_ENCODING], "identity");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_exactly_one_json_object_is_malformed() {
        for body in [
            "",
            " ",
            "null",
            "[]",
            "\"a\"",
            "7",
            "{",
            "{'a': 1}",
            "{a: 1}",
            r#"{"a": "x", "b": "7"} x"#,
            r#"{"a": "x", "b": "7"}{}"#,
            r#"{"a": "x", "b": "7",}"#,
            "\u{feff}{}",
            r#"{"a": "\ud800", "b": "7"}"#,
            r#"{"a": "\udc00\ud800", "b": "7"}"#,
            r#"{"\ud800": 1}"#,
            r#"{"unknown": ["\udfff"]}"#,
            "{\"a\": \"\u{0}\"}",
            "a=x&b=7",
        ] {
            assert_eq!(code_of(body).await, Code::MalformedRequest, "{body:?}");
        }
        for body in [
            &b"{\"a\": \"\xff\", \"b\": \"7\"}"[..],
            b"{\"x\": [\"\xc0\xaf\"]}",
        ] {
            assert_eq!(code_of(body).await, Code::MalformedRequest, "{body:?}");
        }
    }

    #[tokio::test]
    async fn a_repeated_key_is_malformed_at_any_depth_and_in_any_spelling() {
        for body in [
            r#"{"a": "x", "a": "x", "b": "7"}"#,
            r#"{"a": "x", "\u0061": "y", "b": "7"}"#,
            r#"{"a": "x", "b": "7", "c": 1, "c": 1}"#,
            r#"{"a": "x", "b": "7", "c": {"d": [{"e": 1, "\u0065": 2}]}}"#,
            r#"{"a": "x", "b": "7", "": 1, "": 2}"#,
        ] {
            assert_eq!(code_of(body).await, Code::MalformedRequest, "{body}");
        }
    }

    #[tokio::test]
    async fn nesting_ends_before_the_128th_level() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"a": "x", "b": "7", "c": {open}{close}}}"#)
        };
        assert!(extract(Request::new(nested(126).into())).await.is_ok());
        assert_eq!(code_of(nested(128)).await, Code::MalformedRequest);
        assert_eq!(code_of(nested(8000)).await, Code::MalformedRequest);
    }

    #[tokio::test]
    async fn unknown_fields_are_ignored() {
        let body = r#"{"a": "x", "b": "7", "c": {"a": [1, -2, 3.5, true, null]}}"#;
        assert!(extract(Request::new(body.into())).await.is_ok());
    }

    #[tokio::test]
    async fn every_bad_field_is_named() {
        for (body, a, b) in [
            ("{}", "is required", "is required"),
            (
                r#"{"a": null, "b": 7}"#,
                "must be a string",
                "must be a string",
            ),
            (
                r#"{"a": ["x"], "b": "300"}"#,
                "must be a string",
                "number too large to fit in target type",
            ),
            (r#"{"A": "x", "b ": "7"}"#, "is required", "is required"),
        ] {
            let problem = extract(Request::new(body.into())).await.unwrap_err();
            let error = |field, message: &str| FieldError {
                field,
                message: message.to_owned(),
            };
            assert_eq!(problem.code(), Code::InvalidRequest);
            let expected = Problem::invalid(vec![error("a", a), error("b", b)]);
            assert_eq!(format!("{problem:?}"), format!("{expected:?}"), "{body}");
        }
    }

    #[tokio::test]
    async fn a_body_of_16_kib_is_read_and_a_byte_more_is_not() {
        let fill = |size: usize| format!("{GOOD}{}", " ".repeat(size - GOOD.len()));
        let request = Request::new(fill(MAX_BODY_BYTES).into());
        assert!(extract(request).await.is_ok());
        assert_eq!(code_of(fill(MAX_BODY_BYTES + 1)).await, Code::BodyTooLarge);
    }

    #[tokio::test]
    async fn a_body_without_a_declared_length_is_read_up_to_the_limit_only() {
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(vec![b' '; 1000]));
        assert_eq!(
            code_of(Body::from_stream(endless)).await,
            Code::BodyTooLarge
        );
    }

    #[test]
    fn a_body_takes_up_no_room_before_it_arrives_and_little_more_than_it_needs_then() {
        let mut body = Growing::default();
        assert_eq!(body.0.capacity(), 0);
        let text: Vec<u8> = (0..MAX_BODY_BYTES).map(|n| n.to_be_bytes()[7]).collect();
        for piece in text.chunks(100) {
            body.push(piece);
            assert!(body.0.capacity() <= 2 * body.0.len().max(128));
        }
        assert_eq!(*body.0, text);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_in_ten_seconds_is_a_408() {
        let silent = stream::pending::<Result<Vec<u8>, Infallible>>();
        let started = tokio::time::Instant::now();
        assert_eq!(
            code_of(Body::from_stream(silent)).await,
            Code::RequestTimeout
        );
        assert_eq!(started.elapsed().as_secs(), 10);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_malformed() {
        let broken = stream::iter([Ok(GOOD), Err(std::io::Error::other("reset"))]);
        assert_eq!(
            code_of(Body::from_stream(broken)).await,
            Code::MalformedRequest
        );
    }

    #[test]
    fn fields_print_their_names_alone() {
        let map = parse_object(br#"{"password": "hunter2"}"#).unwrap();
        let fields = BodyFields {
            map,
            errors: Vec::new(),
        };
        assert_eq!(format!("{fields:?}"), r#"{"password"}"#);
    }
}
