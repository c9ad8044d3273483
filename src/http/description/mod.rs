//! The interface described for programs: OpenAPI 3.1, from the code.
//!
//! A handler describes its own part in `#[utoipa::path]`, right above it: path, body, the good answer.
//! The parts that follow from rules for many operations are added here: the refusals, and the headers
//! that every answer has. The examples are made by the
//! types and conversions that make real answers. `backoffice-auth openapi` prints the description,
//! `docs/openapi.json` keeps it, and [`show`] serves it.

pub mod docs;
mod refusals;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi, Ref, RefOr, Response, Server};

use crate::http::endpoints::openapi::{
    ACCOUNT, ADMINISTRATION, DESCRIPTION, PASSWORDS, PROXIES, SERVICES, SESSIONS, SIGN_IN,
};
use crate::http::endpoints::verify;
use crate::http::problem::ProblemBody;

const REQUEST_ID: &str = "X-Request-Id";
const CACHE_CONTROL: &str = "Cache-Control";
const CONTENT_TYPE_OPTIONS: &str = "X-Content-Type-Options";

/// The head of the description, above the operations.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Back Office authentication",
        description = "Sign people in and out of the Back Office, and check who they are.\n\n\
            Every time is UTC in whole seconds, with a numeric offset: \
            `2022-01-01T00:00:00+00:00`.\n\n\
            Every refusal is a problem (RFC 9457): rely on its `code`, show its `detail`, quote \
            its `requestId`. Every answer carries that id in `X-Request-Id`, and \
            `Cache-Control: no-store` where nothing else is said. A 429 and a 503 say in \
            `Retry-After` when to come back.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = SIGN_IN, description = "Sign in, stay signed in, sign out"),
        (name = ACCOUNT, description = "See and change one's own account"),
        (name = ADMINISTRATION, description = "See and change other users, for administrators"),
        (name = PASSWORDS, description = "Passwords by mailed links, where the server is set to mail them"),
        (name = SESSIONS, description = "See and end one's own sessions"),
        (name = SERVICES, description = "For services that let signed-in people in"),
        (name = PROXIES, description = "For reverse proxies in front of such services"),
        (name = DESCRIPTION, description = "This description"),
    ),
    components(schemas(ProblemBody)),
)]
struct Frame;

/// Routes that the router's table does not describe by itself: one takes any method, and one
/// serves the description, so it cannot be there before it.
#[derive(utoipa::OpenApi)]
#[openapi(paths(verify::verify, show))]
struct Apart;

/// The description of `routes` and of those apart from them, under the address `server`.
fn describe(routes: OpenApi, server: &str) -> OpenApi {
    let mut api = Frame::openapi()
        .merge_from(routes)
        .merge_from(Apart::openapi());
    api.servers = Some(vec![Server::new(server)]);
    let components = api.components.get_or_insert_default();
    add_shared(components);
    for (path, item) in &mut api.paths.paths {
        if path == verify::PATH {
            repeat_for_every_method(item);
        }
        for operation in operations(item) {
            refusals::add(operation, components);
            complete(operation);
        }
    }
    api
}

/// The description of `routes` as it is printed: relative to wherever it is served.
#[must_use]
pub fn printed(routes: OpenApi) -> String {
    let api = describe(routes, "/");
    api.to_pretty_json().expect("a description is JSON")
}

/// The description as it is served: rendered once, since it is the same for all.
#[derive(Debug, Clone)]
pub struct Rendered(Bytes);

impl Rendered {
    /// Renders the description of `routes` for a server that calls itself `issuer`.
    #[must_use]
    pub fn new(routes: OpenApi, issuer: &str) -> Self {
        let text = describe(routes, issuer).to_json();
        Self(text.expect("a description is JSON").into())
    }
}

/// Describes this interface (OpenAPI 3.1).
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    operation_id = "showDescription",
    tag = DESCRIPTION,
    responses((status = OK, description = "The description", body = Object)),
)]
pub async fn show(
    State(Rendered(text)): State<Rendered>,
) -> ([(HeaderName, HeaderValue); 1], Bytes) {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], text)
}

/// Adds the parts that operations refer to: how callers authenticate, and the headers of every answer.
fn add_shared(components: &mut Components) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token of a signed-in user"));
    let basic = HttpBuilder::new()
        .scheme(HttpAuthScheme::Basic)
        .description(Some(
            "The name and secret of a service, from `introspection.clients`",
        ));
    components.add_security_scheme("accessToken", SecurityScheme::Http(bearer.build()));
    components.add_security_scheme("service", SecurityScheme::Http(basic.build()));
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let id = text().pattern(Some("^[A-Za-z0-9._-]{1,128}$"));
    let fixed = |value| text().enum_values(Some([value]));
    for (name, schema, description) in [
        (
            REQUEST_ID,
            id,
            "Ties the answer to the log; quote it to report a problem",
        ),
        (CACHE_CONTROL, fixed("no-store"), "Nobody keeps the answer"),
        (
            CONTENT_TYPE_OPTIONS,
            fixed("nosniff"),
            "The answer is of the kind that it says, and of no other",
        ),
    ] {
        let header = HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(description))
            .build();
        components.headers.insert(name.to_owned(), header.into());
    }
}

/// Describes a route that takes any method by each of them.
fn repeat_for_every_method(item: &mut PathItem) {
    let Some(get) = item.get.clone() else { return };
    let named = |method: &str| {
        let id = get
            .operation_id
            .as_ref()
            .map(|id| format!("{id}By{method}"));
        let mut operation = get.clone();
        operation.operation_id = id;
        Some(operation)
    };
    item.head = named("Head");
    item.post = named("Post");
    item.put = named("Put");
    item.patch = named("Patch");
    item.delete = named("Delete");
    item.options = named("Options");
    item.trace = named("Trace");
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.head,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
        &mut item.options,
        &mut item.trace,
    ];
    all.into_iter().flatten()
}

/// Says that an operation without credentials needs none, and which headers its good answers have.
fn complete(operation: &mut Operation) {
    operation.security.get_or_insert_default();
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            add_shared_headers(response);
        }
    }
}

/// The headers of every answer, but where it has one of its own.
fn add_shared_headers(response: &mut Response) {
    for name in [REQUEST_ID, CACHE_CONTROL, CONTENT_TYPE_OPTIONS] {
        let shared = Ref::new(format!("#/components/headers/{name}"));
        let header = response.headers.entry(name.to_owned());
        header.or_insert(RefOr::Ref(shared));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::http::{described_routes, printed_description};

    fn description() -> Value {
        serde_json::from_str(&printed_description()).unwrap()
    }

    /// Each operation with its path.
    fn described() -> Vec<(String, Operation)> {
        let mut api = describe(described_routes(), "/");
        let items = api.paths.paths.iter_mut();
        items
            .flat_map(|(path, item)| operations(item).map(|op| (path.clone(), op.clone())))
            .collect()
    }

    #[test]
    fn the_committed_description_is_that_of_the_code() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let committed = fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed.trim_end() == printed_description(),
            "docs/openapi.json is out of date; rewrite it: cargo run -- openapi > docs/openapi.json"
        );
    }

    #[test]
    fn it_is_openapi_3_1_under_the_issuer_where_it_is_served() {
        assert_eq!(description()["openapi"], "3.1.0");
        assert_eq!(description()["servers"][0]["url"], "/");
        let Rendered(served) = Rendered::new(described_routes(), "https://a.example");
        let served: Value = serde_json::from_slice(&served).unwrap();
        assert_eq!(served["servers"][0]["url"], "https://a.example");
    }

    #[test]
    fn every_operation_has_its_own_id_a_tag_a_summary_and_its_refusals() {
        let mut ids = HashSet::new();
        for (path, operation) in described() {
            let id = operation.operation_id.unwrap();
            assert!(refusals::own(&id).is_some(), "{id} has no line in `own`");
            assert!(ids.insert(id), "{path}");
            assert_eq!(operation.tags.unwrap().len(), 1, "{path}");
            assert!(operation.summary.unwrap().ends_with('.'), "{path}");
        }
    }

    #[test]
    fn every_answer_has_the_headers_that_all_have() {
        let description = description();
        let of_components = description["components"]["responses"].as_object().unwrap();
        let of_paths = (description["paths"].as_object().unwrap().values())
            .flat_map(|item| item.as_object().unwrap().values())
            .flat_map(|operation| operation["responses"].as_object().unwrap().values())
            .filter(|response| response.get("$ref").is_none());
        for response in of_components.values().chain(of_paths) {
            for name in [REQUEST_ID, CACHE_CONTROL, CONTENT_TYPE_OPTIONS] {
                assert!(response["headers"].get(name).is_some(), "{response}");
            }
        }
    }

    #[test]
    fn the_codes_of_refusals_are_those_of_the_problem_schema() {
        let description = description();
        let texts =
            |value: &Value| -> BTreeSet<String> { serde_json::from_value(value.clone()).unwrap() };
        let all = texts(&description["components"]["schemas"]["Code"]["enum"]);
        let responses = description["components"]["responses"].as_object().unwrap();
        let used: BTreeSet<String> = responses
            .values()
            .flat_map(|response| {
                let schema = &response["content"]["application/problem+json"]["schema"];
                texts(&schema["allOf"][1]["properties"]["code"]["enum"])
            })
            .collect();
        assert_eq!(used, all);
    }
}
