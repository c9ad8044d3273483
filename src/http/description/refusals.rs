//! The refusals of the operations: the codes of each, and the answer of each code.
//!
//! A response is made from the [`Problem`]s that it stands for, so its headers and examples are
//! theirs. Operations that refuse alike share it, as a component.

use std::time::Duration;

use axum::http::HeaderName;
use axum::http::header::{ALLOW, RETRY_AFTER};
use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Components, Ref};

use super::add_shared_headers;
use crate::domain::RequestId;
use crate::http::endpoints::administration::{AFTER_RULE, LIMIT_RULE, PREFIX_RULE, STATE_RULE};
use crate::http::endpoints::introspect::not_a_form;
use crate::http::problem::{Code, FieldError, Problem};

/// How long a block is, by default.
const BLOCK: Duration = Duration::from_mins(5);

/// How recent a sign-in has to be where that matters, by default.
const MAX_AGE: Duration = Duration::from_mins(15);

/// The codes of operations that read JSON.
const JSON: &[Code] = &[
    Code::MalformedRequest,
    Code::RequestTimeout,
    Code::UnsupportedMediaType,
    Code::InvalidRequest,
];
/// The codes of operations that need an access token.
const BEARER: &[Code] = &[Code::MissingAccessToken, Code::InvalidAccessToken];
/// The codes of operations that need a recent sign-in.
const FRESH: &[Code] = &[Code::ReauthenticationRequired];
/// The codes of operations that need an administrator's access token.
const ADMINISTRATOR: &[Code] = &[
    Code::MissingAccessToken,
    Code::InvalidAccessToken,
    Code::ReauthenticationRequired,
    Code::Forbidden,
    Code::SecondFactorRequired,
];
/// The codes of operations that take a code of a second factor.
const CODE: &[Code] = &[Code::InvalidTwoFactor];
/// The codes of operations behind the flood layer.
const FLOOD: &[Code] = &[Code::TooManyAttempts];
/// The codes of operations that change or count something.
const PAGES: &[Code] = &[Code::ForbiddenOrigin];
/// The codes of operations that may ask the database.
const STORE: &[Code] = &[Code::Unavailable];
/// The codes that every operation has.
const ALL: &[Code] = &[Code::HeadTooLarge, Code::Internal];
/// The codes of operations for callers, rather than for a proxy.
const CALLERS: &[Code] = &[Code::MethodNotAllowed, Code::BodyTooLarge];

/// The codes of an operation, besides [`ALL`]. `None` for an operation that is not listed here.
pub(super) fn own(operation: &str) -> Option<&'static [&'static [Code]]> {
    Some(match operation {
        "signin" => &[
            CALLERS,
            PAGES,
            JSON,
            FLOOD,
            STORE,
            &[Code::InvalidCredentials, Code::Overloaded],
        ],
        "confirm" => &[CALLERS, PAGES, JSON, FLOOD, STORE, CODE],
        "askForPasskey" => &[CALLERS, PAGES, FLOOD, &[Code::NotFound]],
        "signinWithPasskey" => &[CALLERS, PAGES, JSON, FLOOD, STORE, &[Code::InvalidPasskey]],
        "refresh" => &[
            CALLERS,
            PAGES,
            JSON,
            FLOOD,
            STORE,
            &[Code::InvalidRefreshToken],
        ],
        "showAccount" | "listSessions" => &[CALLERS, BEARER, FLOOD, STORE],
        "signout" => &[CALLERS, PAGES, BEARER, FLOOD, STORE],
        "endSessions" => &[
            CALLERS,
            PAGES,
            BEARER,
            FLOOD,
            STORE,
            &[Code::InvalidRequest],
        ],
        "forgotPassword" => &[CALLERS, PAGES, JSON, FLOOD, STORE],
        "showLink" => &[CALLERS, PAGES, JSON, FLOOD, STORE, &[Code::InvalidLink]],
        "setPassword" => &[
            CALLERS,
            PAGES,
            JSON,
            FLOOD,
            STORE,
            &[Code::InvalidLink, Code::Overloaded],
        ],
        "showSession" => &[CALLERS, BEARER, STORE],
        "endSession" => &[CALLERS, PAGES, BEARER, FLOOD, STORE, &[Code::NotFound]],
        _ => return of_services(operation),
    })
}

/// The codes of an operation for services and proxies, or of one that anybody may read.
fn of_services(operation: &str) -> Option<&'static [&'static [Code]]> {
    Some(match operation {
        "introspect" => &[
            CALLERS,
            PAGES,
            STORE,
            &[
                Code::InvalidClient,
                Code::MalformedRequest,
                Code::UnsupportedMediaType,
                Code::InvalidRequest,
            ],
        ],
        "listRevocations" => &[
            CALLERS,
            STORE,
            &[Code::InvalidClient, Code::InvalidRequest, Code::Overloaded],
        ],
        "showKeys"
        | "showKeysAsPem"
        | "showMetadata"
        | "showOpenidConfiguration"
        | "showDescription" => &[CALLERS],
        "showKeyAsPem" => &[CALLERS, &[Code::NotFound]],
        verify if verify.starts_with("verify") => &[BEARER, STORE],
        _ => return of_account(operation),
    })
}

/// The codes of an operation that changes a user's own account.
fn of_account(operation: &str) -> Option<&'static [&'static [Code]]> {
    Some(match operation {
        "changePassword" => &[
            CALLERS,
            PAGES,
            JSON,
            BEARER,
            FLOOD,
            STORE,
            &[Code::WrongPassword, Code::Overloaded],
        ],
        "beginTotp" => &[CALLERS, PAGES, BEARER, FRESH, FLOOD, STORE],
        "confirmTotp" => &[CALLERS, PAGES, JSON, BEARER, FRESH, FLOOD, STORE, CODE],
        "removeTotp" | "removePasskey" | "renewRecoveryCodes" => &[
            CALLERS,
            PAGES,
            BEARER,
            FRESH,
            FLOOD,
            STORE,
            &[Code::NotFound],
        ],
        "beginPasskey" => &[
            CALLERS,
            PAGES,
            BEARER,
            FRESH,
            FLOOD,
            STORE,
            &[Code::TooManyPasskeys],
        ],
        "addPasskey" => &[
            CALLERS,
            PAGES,
            JSON,
            BEARER,
            FRESH,
            FLOOD,
            STORE,
            &[Code::PasskeyKnown, Code::TooManyPasskeys],
        ],
        _ => return of_administrators(operation),
    })
}

/// The codes of an operation of administrators.
fn of_administrators(operation: &str) -> Option<&'static [&'static [Code]]> {
    Some(match operation {
        "listUsers" => &[
            CALLERS,
            ADMINISTRATOR,
            FLOOD,
            STORE,
            &[Code::InvalidRequest],
        ],
        "showUser" | "listSessionsOfUser" => {
            &[CALLERS, ADMINISTRATOR, FLOOD, STORE, &[Code::NotFound]]
        }
        "listEventsOfUser" => &[
            CALLERS,
            ADMINISTRATOR,
            FLOOD,
            STORE,
            &[Code::NotFound, Code::InvalidRequest],
        ],
        "deleteUser" | "disableUser" | "enableUser" | "unlockUser" | "signUserOut"
        | "resetFactors" | "endSessionOfUser" => &[
            CALLERS,
            PAGES,
            ADMINISTRATOR,
            FLOOD,
            STORE,
            &[Code::NotFound],
        ],
        "mailLink" => &[
            CALLERS,
            PAGES,
            ADMINISTRATOR,
            FLOOD,
            STORE,
            &[Code::NotFound, Code::UserDisabled],
        ],
        "setTwoFactor" => &[
            CALLERS,
            PAGES,
            JSON,
            ADMINISTRATOR,
            FLOOD,
            STORE,
            &[Code::NotFound],
        ],
        "inviteUser" | "changeAddress" => &[
            CALLERS,
            PAGES,
            JSON,
            ADMINISTRATOR,
            FLOOD,
            STORE,
            &[Code::NotFound, Code::AddressTaken],
        ],
        _ => return None,
    })
}

/// Adds to an operation how it refuses.
pub(super) fn add(operation: &mut Operation, components: &mut Components) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let mut codes: Vec<Code> = own(&id).unwrap_or_default().concat();
    codes.extend(ALL);
    codes.sort_by_key(|code| (code.status(), code.as_str()));
    for codes in codes.chunk_by(|one, other| one.status() == other.status()) {
        let problems: Vec<Problem> = codes.iter().map(|code| problem(*code, &id)).collect();
        let name = component(codes, &id);
        let status = codes[0].status().as_u16().to_string();
        let reference = Ref::from_response_name(&name);
        operation
            .responses
            .responses
            .insert(status, reference.into());
        let response = || response(&problems).into();
        components.responses.entry(name).or_insert_with(response);
    }
}

/// A refusal of an operation, as it would be.
fn problem(code: Code, operation: &str) -> Problem {
    let fields: &[&str] = match operation {
        "signin" => &["email", "password"],
        "confirm" => &["token", "code"],
        "confirmTotp" => &["id", "code"],
        "signinWithPasskey" => &["token", "credential"],
        "addPasskey" => &["token", "name", "credential"],
        "refresh" => &["refreshToken"],
        "changePassword" => &["currentPassword", "newPassword"],
        "endSessions" => &["others"],
        "introspect" => &["token"],
        "listRevocations" => &["since", "wait"],
        "listUsers" => &["limit", "after", "email", "state"],
        "listEventsOfUser" => &["limit", "after"],
        "inviteUser" => &["email", "twoFactor"],
        "setTwoFactor" => &["twoFactor"],
        "changeAddress" => &["email"],
        _ => &[],
    };
    let bad = |field: &&'static str| FieldError {
        field,
        message: message(field, operation).to_owned(),
    };
    match code {
        Code::InvalidRequest => Problem::invalid(fields.iter().map(bad).collect()),
        Code::UnsupportedMediaType if operation == "introspect" => not_a_form(),
        Code::TooManyAttempts => Problem::too_many_attempts(BLOCK),
        Code::ReauthenticationRequired => Problem::reauthentication_required(MAX_AGE),
        _ => Problem::new(code),
    }
}

/// The message for a bad field.
fn message(field: &str, operation: &str) -> &'static str {
    match field {
        "limit" => LIMIT_RULE,
        "after" => AFTER_RULE,
        "state" => STATE_RULE,
        "email" if operation == "listUsers" => PREFIX_RULE,
        "twoFactor" => "must be `email` or `off`",
        "others" => "must be true, or absent",
        "since" => "must be a cursor of an earlier answer",
        "wait" => "must be a whole number of seconds up to 30",
        _ => "is required",
    }
}

/// A refusal as it is written on the wire.
fn body(problem: &Problem) -> Value {
    let id = RequestId::parse("6f1c8f0e-3d0b-4c53-9f5d-2a7e8b9c0d1e");
    id.and_then(|id| serde_json::to_value(problem.body(&id)).ok())
        .unwrap_or_default()
}

/// The name of the component for these refusals. Two of them depend on the operation, so their names
/// hold it.
fn component(codes: &[Code], operation: &str) -> String {
    let names: Vec<String> = codes.iter().map(|code| format!("{code:?}")).collect();
    let name = names.join("Or");
    match codes {
        [Code::InvalidRequest] => format!("{name}.{operation}"),
        [Code::UnsupportedMediaType] if operation == "introspect" => format!("{name}.{operation}"),
        _ => name,
    }
}

/// The response that says one of `problems`, all of one status.
fn response(problems: &[Problem]) -> Response {
    let bodies: Vec<Value> = problems.iter().map(body).collect();
    let lines = problems.iter().map(|problem| {
        let code = problem.code();
        format!("`{}`: {}", code.as_str(), code.detail())
    });
    let examples = problems.iter().zip(&bodies).map(|(problem, body)| {
        let example = ExampleBuilder::new().value(Some(body.clone()));
        (problem.code().as_str(), example)
    });
    let content = ContentBuilder::new()
        .schema(Some(schema(&bodies)))
        .examples_from_iter(examples);
    let response = ResponseBuilder::new()
        .description(lines.collect::<Vec<_>>().join("\n\n"))
        .content("application/problem+json", content.build());
    let headers = headers(problems, &bodies).into_iter();
    let mut response = headers
        .fold(response, |response, (name, header)| {
            response.header(title_case(&name), header)
        })
        .build();
    add_shared_headers(&mut response);
    response
}

/// The problem schema, narrowed to these problems.
fn schema(bodies: &[Value]) -> AllOfBuilder {
    let all_of = |key: &str| {
        let mut values: Vec<Value> = bodies.iter().map(|body| body[key].clone()).collect();
        values.dedup();
        ObjectBuilder::new().enum_values(Some(values))
    };
    let status = all_of("status").schema_type(Type::Integer);
    let narrowed = ObjectBuilder::new()
        .property("status", status)
        .property("code", all_of("code").schema_type(Type::String));
    let optional = ["errors", "retryAfter"].into_iter();
    let narrowed = optional
        .filter(|key| bodies[0].get(key).is_some())
        .fold(narrowed, ObjectBuilder::required);
    AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(narrowed)
}

/// The headers of such an answer, besides the request's id.
fn headers(problems: &[Problem], bodies: &[Value]) -> Vec<(HeaderName, Header)> {
    let mut headers = Vec::new();
    // The last one of a name is the one that is sent.
    let sent = |problem: &Problem| problem.headers().last().cloned();
    let sent: Vec<_> = problems.iter().filter_map(sent).collect();
    if let Some((name, _)) = sent.first() {
        let values = sent.iter().filter_map(|(_, value)| value.to_str().ok());
        let schema = ObjectBuilder::new().schema_type(Type::String);
        // How recent a sign-in has to be is a setting, and part of the value.
        let schema = if problems
            .iter()
            .any(|p| p.code() == Code::ReauthenticationRequired)
        {
            schema.examples(values)
        } else {
            schema.enum_values(Some(values))
        };
        headers.push((
            name.clone(),
            HeaderBuilder::new().schema(Some(schema)).build(),
        ));
    }
    if let Some(seconds) = bodies[0].get("retryAfter") {
        let schema = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .examples([seconds.clone()]);
        let header = HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some("In how many seconds to come back"));
        headers.push((RETRY_AFTER, header.build()));
    }
    if problems[0].code() == Code::MethodNotAllowed {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .examples([json!("GET,HEAD,DELETE")]);
        let header = HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some("The methods that the path knows"));
        headers.push((ALLOW, header.build()));
    }
    headers
}

/// `WWW-Authenticate` for `www-authenticate`: the spelling is free, and this one is read easily.
fn title_case(name: &HeaderName) -> String {
    if name == axum::http::header::WWW_AUTHENTICATE {
        return "WWW-Authenticate".to_owned();
    }
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}
