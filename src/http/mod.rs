//! HTTP: routes, requests, answers, and the rules that hold for every request.
//!
//! [`public_router`] makes the table of routes and says what each passes. [`problem`] is the one shape
//! of a refusal, and `error` the one place where a reason becomes one. [`extract`] has what a
//! handler takes from a request, [`layers`] what requests pass on their way, and [`endpoints`] a file
//! for each endpoint: request, response, handler. [`description`] describes them to programs and
//! people. Connections are the matter of [`serve`](crate::serve).

pub mod description;
pub mod endpoints;
mod error;
pub mod extract;
pub mod layers;
pub mod problem;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower::ServiceBuilder;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::admin::Administration;
use crate::auth::Auth;
use crate::config::HttpConfig;
use crate::limits::{Flood, FloodLimit};
use description::{Rendered, docs};
use endpoints::administration::{acts, history, users};
use endpoints::metrics::MetricsSources;
use endpoints::{
    confirm, factors, health, introspect, me, passkeys, password, refresh, revocations, session,
    sessions, signin, signout, verify, well_known,
};
use extract::body::MAX_BODY_BYTES;
use extract::client::Proxies;
use layers::flood::{self, FloodGate};
use layers::origin::{self, KnownOrigins};
use layers::{access_log, bounds, cors, fallback, harden, identify};

/// The base path of the methods.
pub const API: &str = "/api/v2";

/// The use cases that the routes call.
#[derive(Debug, Clone)]
pub struct UseCases {
    /// The use cases of people who sign in, and of the services that check their tokens.
    pub auth: Auth,
    /// The use cases of administrators, on other users.
    pub administration: Administration,
}

impl FromRef<UseCases> for Auth {
    fn from_ref(use_cases: &UseCases) -> Self {
        use_cases.auth.clone()
    }
}

impl FromRef<UseCases> for Administration {
    fn from_ref(use_cases: &UseCases) -> Self {
        use_cases.administration.clone()
    }
}

/// The features that people can have beside the four methods.
#[derive(Clone, Copy)]
struct Offers {
    /// Whether people can set their passwords by mailed links.
    links: bool,
    /// Whether authenticator apps can be enrolled.
    totp: bool,
    /// Whether passkeys can be added and used.
    passkeys: bool,
}

/// The routes that browsers and services reach.
pub fn public_router(use_cases: UseCases, flood: &Arc<Flood>, config: &HttpConfig) -> Router {
    let auth = &use_cases.auth;
    let offers = Offers {
        links: auth.offers_links(),
        totp: auth.offers_totp(),
        passkeys: auth.offers_passkeys(),
    };
    let (callers, described) = callers(flood, offers).split_for_parts();
    let description = Rendered::new(described, auth.issuer());
    let description = get(description::show).with_state(description);
    let callers = callers.route("/api/openapi.json", description);
    let origins = KnownOrigins::new(
        auth.issuer(),
        &config.allowed_origins,
        config.allows_loopback_pages,
    );
    let mut router = for_callers(callers, origins, config)
        // A proxy asks here about requests of every kind, so only the token is checked: no CORS, which
        // would let preflights in, no limit on bodies, and no check of origins.
        .merge(verify::router());
    if config.docs {
        router = router.merge(docs::router());
    }
    stack(router.with_state(use_cases), config)
}

/// The routes that callers reach, each at the path that its handler names, inside its layers; without those
/// for links, for enrolling apps and for passkeys where these are not offered.
fn callers(flood: &Arc<Flood>, offers: Offers) -> OpenApiRouter<UseCases> {
    let gate = |method| {
        let flood = Arc::clone(flood);
        from_fn_with_state(FloodGate { flood, method }, flood::refuse_floods)
    };
    let methods = OpenApiRouter::new()
        .routes(routes!(signin::signin).map(|route| route.route_layer(gate("signin"))))
        .routes(routes!(confirm::confirm).map(|route| route.route_layer(gate("confirm"))))
        .routes(routes!(refresh::refresh).map(|route| route.route_layer(gate("refresh"))))
        .routes(routes!(signout::signout).map(|route| route.route_layer(gate("signout"))));
    let passwords = OpenApiRouter::new()
        .routes(routes!(password::forgot).map(|route| route.route_layer(gate("forgot"))))
        .routes(routes!(password::link).map(|route| route.route_layer(gate("link"))))
        .routes(routes!(password::set).map(|route| route.route_layer(gate("set"))));
    let sessions = OpenApiRouter::new()
        .routes(routes!(sessions::list, sessions::end_all))
        .routes(routes!(sessions::end))
        .route_layer(gate("sessions"));
    // No gate: services call these often and from one address, and a token check is no attempt.
    let checks = OpenApiRouter::new()
        .routes(routes!(session::show))
        .routes(routes!(revocations::list));
    OpenApiRouter::new()
        .nest(
            API,
            methods
                .merge(passkey_signin(offers).route_layer(gate("passkey")))
                .merge(offered(offers.links, passwords))
                .merge(account(offers).route_layer(gate("me")))
                .merge(sessions)
                .merge(administration().route_layer(gate("admin")))
                .merge(checks),
        )
        .routes(routes!(introspect::introspect))
        .routes(routes!(well_known::jwks))
        .routes(routes!(well_known::pem))
        .routes(routes!(well_known::pem_of))
        .routes(routes!(well_known::metadata))
        .routes(routes!(well_known::openid_configuration))
}

/// Routes, or none if they are not offered.
fn offered(is_offered: bool, routes: OpenApiRouter<UseCases>) -> OpenApiRouter<UseCases> {
    if is_offered {
        routes
    } else {
        OpenApiRouter::new()
    }
}

/// The routes to sign in with a passkey alone.
fn passkey_signin(offers: Offers) -> OpenApiRouter<UseCases> {
    let signin = OpenApiRouter::new().routes(routes!(passkeys::signin));
    OpenApiRouter::new()
        // Always there: a page asks here whether there are passkeys, and may read the answer.
        .routes(routes!(passkeys::ask))
        .merge(offered(offers.passkeys, signin))
}

/// The routes to a user's own account.
fn account(offers: Offers) -> OpenApiRouter<UseCases> {
    let account = OpenApiRouter::new()
        .routes(routes!(me::show))
        .routes(routes!(me::change_password))
        .routes(routes!(passkeys::remove));
    let account = if offers.totp {
        account
            .routes(routes!(factors::begin, factors::remove))
            .routes(routes!(factors::confirm))
    } else {
        account.routes(routes!(factors::remove))
    };
    let own_passkeys = OpenApiRouter::new()
        .routes(routes!(passkeys::begin))
        .routes(routes!(passkeys::add));
    account
        .merge(offered(offers.passkeys, own_passkeys))
        .routes(routes!(factors::renew_recovery_codes))
}

/// The routes of administrators.
fn administration() -> OpenApiRouter<UseCases> {
    OpenApiRouter::new()
        .routes(routes!(users::list, users::invite))
        .routes(routes!(users::show, users::delete))
        .routes(routes!(history::sessions))
        .routes(routes!(acts::end_session))
        .routes(routes!(history::events))
        .routes(routes!(acts::link))
        .routes(routes!(acts::disable))
        .routes(routes!(acts::enable))
        .routes(routes!(acts::unlock))
        .routes(routes!(acts::sign_out))
        .routes(routes!(acts::set_two_factor))
        .routes(routes!(acts::reset_factors))
        .routes(routes!(acts::change_address))
}

/// The description of the interface, as `backoffice-auth openapi` prints it.
#[must_use]
pub fn printed_description() -> String {
    description::printed(described_routes())
}

/// The description of the routes that callers reach.
fn described_routes() -> OpenApi {
    let unused = FloodLimit {
        burst: 1,
        per_second: 1,
    };
    let all = Offers {
        links: true,
        totp: true,
        passkeys: true,
    };
    callers(&Arc::new(Flood::new(unused)), all).into_openapi()
}

/// The routes that probes and scrapers reach.
pub fn management_router(sources: MetricsSources) -> Router {
    let health = Arc::clone(&sources.health);
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(health)
        .route(
            "/metrics",
            get(endpoints::metrics::show).with_state(sources),
        )
}

/// The same routes while the server starts: it is alive and not ready.
pub fn starting_router() -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::starting))
        .route("/metrics", get(endpoints::metrics::show_recorded))
}

/// Puts the layers that every request passes around a router with all its routes. From the outside in:
///
/// 1. `identify`: everything inside needs the client and the request's id, and every answer, wherever
///    it was made, must carry the id.
/// 2. `harden`: sees every response, also those that layers below it make.
/// 3. `access_log`: outside of everything that refuses, so that each refusal has its line.
/// 4. catch a panic: inside the log, so that it is logged with its request.
/// 5. refuse a request without exactly one host.
/// 6. bound the time that the request may wait for the database.
/// 7. the routes, each with the layers that it alone needs, and the answer where there is no route.
pub fn stack(router: Router, config: &HttpConfig) -> Router {
    let proxies = Arc::new(Proxies {
        networks: config.trusted_proxies.clone(),
        header: config.forwarded_header,
    });
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(proxies, identify::identify))
        .layer(from_fn(harden::harden))
        .layer(from_fn_with_state(
            Arc::new(access_log::Lines::new()),
            access_log::log,
        ))
        .layer(CatchPanicLayer::custom(fallback::refuse_panic))
        .layer(from_fn(bounds::refuse_ambiguous_host))
        .layer(from_fn(bounds::bound_database_time));
    router.fallback(fallback::not_found).layer(layers)
}

/// Puts the layers that callers pass around their routes. From the outside in:
///
/// 1. `cors`: answers preflights, which carry no token and must not count as attempts; outside
///    of the layers that refuse, because a page may read refusals too.
/// 2. refuse the requests of pages of foreign origins, before they count.
/// 3. refuse large bodies: before a route does anything. The limit for axum's own extractors goes
///    with it.
/// 4. the routes, and 405 where a route has no such method.
fn for_callers<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    origins: KnownOrigins,
    config: &HttpConfig,
) -> Router<S> {
    let layers = ServiceBuilder::new()
        .layer(option_layer(cors::cors(config)))
        .layer(from_fn_with_state(origins, origin::refuse_foreign_pages))
        .layer(from_fn(bounds::refuse_large_bodies))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    router
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(layers)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use axum::extract::{ConnectInfo, Request};
    use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH};
    use axum::http::{HeaderMap, Method, StatusCode};
    use axum::routing::{get, post};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::endpoints::signin::SigninRequest;
    use super::extract::body::ApiJson;
    use super::*;
    use crate::config::ForwardedHeader;
    use crate::domain::Client;

    fn config() -> HttpConfig {
        HttpConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            management_listen: ([127, 0, 0, 1], 0).into(),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            forwarded_header: ForwardedHeader::Either,
            allowed_origins: vec!["https://office.example".to_owned()],
            allows_loopback_pages: false,
            allowed_headers: vec!["traceparent".to_owned()],
            max_connections: 10,
            drain_delay: Duration::ZERO,
            docs: false,
        }
    }

    fn router(config: &HttpConfig) -> Router {
        let signin = |ApiJson(body): ApiJson<SigninRequest>| async move { body.email.to_string() };
        let router = Router::new()
            .route("/signin", post(signin))
            .route("/whoami", get(whoami).delete(whoami))
            .route(
                "/cached",
                get(|| async { ([(CACHE_CONTROL, "public")], "") }),
            )
            .route("/panic", get(panics));
        let origins = KnownOrigins::new(
            "https://auth.example",
            &config.allowed_origins,
            config.allows_loopback_pages,
        );
        stack(for_callers(router, origins, config), config)
    }

    async fn whoami(client: Client) -> String {
        format!("{} {}", client.network, client.request_id)
    }

    async fn panics() {
        panic!("of secrets");
    }

    struct Answer {
        status: StatusCode,
        headers: HeaderMap,
        body: String,
    }

    impl Answer {
        fn header(&self, name: &str) -> &str {
            self.headers[name].to_str().unwrap()
        }

        /// The body as a problem, after checking that it carries the header's id.
        fn problem(&self) -> Value {
            let problem: Value = serde_json::from_str(&self.body).unwrap();
            assert_eq!(self.header("content-type"), "application/problem+json");
            assert_eq!(problem["requestId"], self.header("x-request-id"));
            assert_eq!(problem["status"], self.status.as_u16());
            problem
        }
    }

    async fn send(request: axum::http::request::Builder, body: &'static str) -> Answer {
        send_to(&config(), request, body).await
    }

    async fn send_to(
        config: &HttpConfig,
        request: axum::http::request::Builder,
        body: &'static str,
    ) -> Answer {
        let request = request.header("host", "localhost");
        let mut request: Request = request.body(Body::from(body)).unwrap();
        let peer = SocketAddr::from(([10, 0, 0, 1], 443));
        request.extensions_mut().insert(ConnectInfo(peer));
        let (parts, body) = router(config).oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, 99_999).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    #[tokio::test]
    async fn the_documented_curl_call_gets_through() {
        let request = Request::post("/signin")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("user-agent", "curl/8");
        let answer = send(
            request,
            r#"{"email": "foo@bar.com", "password": "Secret123"}"#,
        )
        .await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::OK, "foo@bar.com")
        );
    }

    #[tokio::test]
    async fn every_answer_is_hardened_and_carries_an_id() {
        for (method, path, status) in [
            (Method::GET, "/whoami", 200),
            (Method::GET, "/nowhere", 404),
            (Method::GET, "/signin", 405),
            (Method::POST, "/signin", 400),
            (Method::GET, "/panic", 500),
        ] {
            let answer = send(Request::builder().method(method).uri(path), "").await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("x-request-id").len(), 36);
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("referrer-policy"), "no-referrer");
            assert_eq!(
                answer.header("content-security-policy"),
                "default-src 'none'; frame-ancestors 'none'"
            );
            assert!(!answer.headers.contains_key("server"));
            if status >= 400 {
                answer.problem();
            }
        }
    }

    #[tokio::test]
    async fn a_handler_may_allow_caching() {
        let answer = send(Request::get("/cached"), "").await;
        assert_eq!(answer.header("cache-control"), "public");
    }

    #[tokio::test]
    async fn a_handler_sees_the_client_that_the_trusted_proxy_names() {
        let request = Request::get("/whoami")
            .header("x-forwarded-for", "1.1.1.1, 203.0.113.7")
            .header("x-request-id", "edge-1");
        let answer = send(request, "").await;
        assert_eq!(answer.body, "203.0.113.7 edge-1");
        assert_eq!(answer.header("x-request-id"), "edge-1");
    }

    #[tokio::test]
    async fn a_path_without_the_method_is_a_405_that_lists_those_it_has() {
        let answer = send(Request::get("/signin"), "").await;
        assert_eq!(answer.problem()["code"], "method_not_allowed");
        assert_eq!(answer.header(ALLOW.as_str()), "POST");
        let answer = send(Request::put("/whoami"), "").await;
        assert_eq!(answer.header(ALLOW.as_str()), "GET,HEAD,DELETE");
    }

    #[tokio::test]
    async fn a_panic_is_a_500_that_does_not_say_what_panicked() {
        let answer = send(Request::get("/panic"), "").await;
        assert_eq!(answer.problem()["code"], "internal");
        assert!(!answer.body.contains("secrets"), "{}", answer.body);
    }

    #[tokio::test]
    async fn a_problem_declares_its_true_length() {
        let answer = send(Request::get("/nowhere"), "").await;
        let length = answer.header(CONTENT_LENGTH.as_str());
        assert_eq!(length, answer.body.len().to_string());
    }

    #[tokio::test]
    async fn a_body_that_declares_itself_too_long_is_refused_before_the_route() {
        for path in ["/whoami", "/signin"] {
            let answer = send(Request::get(path).header("content-length", "16385"), "").await;
            assert_eq!(answer.problem()["code"], "body_too_large", "{path}");
        }
        let answer = send(
            Request::get("/whoami").header("content-length", "16384"),
            "",
        )
        .await;
        assert_eq!(answer.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_request_names_its_host_exactly_once() {
        let answer = send(Request::get("/whoami").header("host", "other"), "").await;
        assert_eq!(answer.problem()["code"], "malformed_request");
    }

    #[tokio::test]
    async fn a_422_names_every_bad_field() {
        let answer = send(Request::post("/signin"), r#"{"email": "nobody"}"#).await;
        assert_eq!(
            answer.problem()["errors"],
            json!([
                {"field": "email", "message": "must have exactly one @ with something on both sides"},
                {"field": "password", "message": "is required"},
            ])
        );
    }

    #[tokio::test]
    async fn a_page_of_an_allowed_origin_may_call_and_read_refusals() {
        let preflight = Request::options("/signin")
            .header("origin", "https://office.example")
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,traceparent",
            );
        let answer = send(preflight, "").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "https://office.example"
        );
        let allowed = answer.header("access-control-allow-headers");
        assert_eq!(allowed, "traceparent,authorization,content-type");
        let request = Request::post("/signin").header("origin", "https://office.example");
        let answer = send(request, "").await;
        assert_eq!(answer.problem()["code"], "malformed_request");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "https://office.example"
        );
    }

    #[tokio::test]
    async fn pages_of_this_machine_may_call_a_demo_and_no_others() {
        let demo = HttpConfig {
            allows_loopback_pages: true,
            allowed_origins: Vec::new(),
            ..config()
        };
        for (config, origin, may) in [
            (&demo, "http://localhost:5173", true),
            (&demo, "http://[::1]:3000", true),
            (&demo, "https://evil.example", false),
            (&demo, "http://localhost.evil.example", false),
            (&config(), "http://localhost:5173", false),
        ] {
            let preflight = Request::options("/signin")
                .header("origin", origin)
                .header("access-control-request-method", "POST");
            let post = Request::post("/signin").header("origin", origin);
            for request in [preflight, post] {
                let answer = send_to(config, request, "").await;
                let allowed = answer.headers.get("access-control-allow-origin");
                assert_eq!(
                    allowed.is_some_and(|allowed| allowed == origin),
                    may,
                    "{origin}"
                );
                let is_refused = answer.status == StatusCode::FORBIDDEN;
                assert!(!(is_refused && may), "{origin}");
            }
        }
    }

    #[tokio::test]
    async fn a_page_of_another_origin_may_not() {
        let request = Request::get("/whoami").header("origin", "https://evil.example");
        let answer = send(request, "").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        for method in [Method::POST, Method::DELETE] {
            let request = Request::builder().method(method).uri("/whoami");
            let answer = send(request.header("origin", "https://evil.example"), "").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            assert_eq!(answer.problem()["code"], "forbidden_origin");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
}
