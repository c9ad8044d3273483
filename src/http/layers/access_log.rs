//! The line of the log for each request, and the count of requests and refusals: route, status,
//! duration, and the reason of a refusal.
//!
//! A flood of refusals does not fill the disk. Past a rate for each network, and for all networks
//! together, the lines of refused requests are left out, and their number is logged.
//!
//! Everything that is logged during a request belongs to its span, which carries the request's id and,
//! once it is known, the user's. The route is logged as its template and never as the requested path,
//! and the method as one of a list: a path or a method could hold anything, a token too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Level, Span};

use crate::domain::{Client, ClientNetwork};
use crate::http::problem::Problem;
use crate::limits::AuditThrottle;
use crate::telemetry::metrics::{
    LIMIT_REFUSALS, REFUSALS_LEFT_OUT, REQUEST_DURATION, REQUESTS, REQUESTS_ABANDONED, Value,
};
use crate::telemetry::trace::{self, TraceParent};

/// The shortest time between two lines that say how many were left out.
const PAUSE: Duration = Duration::from_secs(1);

/// The throttle on the lines of refused requests.
#[derive(Debug)]
pub struct Lines {
    budget: AuditThrottle,
    told_at: Mutex<Instant>,
}

impl Lines {
    /// A throttle that has let no line through yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            budget: AuditThrottle::of_lines(),
            told_at: Mutex::new(Instant::now()),
        }
    }

    /// Takes the room of a line, and returns whether there was some. Only tests have requests without a client.
    fn take_room(&self, network: Option<ClientNetwork>) -> bool {
        network.is_none_or(|network| self.budget.take(network))
    }

    /// Logs how many lines were left out, at most once in [`PAUSE`].
    fn tell_left_out(&self) {
        if self.budget.left_out() == 0 {
            return;
        }
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.elapsed() < PAUSE {
            return;
        }
        *told_at = Instant::now();
        drop(told_at);
        let refusals = self.budget.take_left_out();
        REFUSALS_LEFT_OUT.add(refusals, ["log".into()]);
        tracing::warn!(
            refusals,
            "refusals were left out here: too many came at once"
        );
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a request inside its span and logs its outcome.
pub async fn log(State(lines): State<Arc<Lines>>, request: Request, next: Next) -> Response {
    lines.tell_left_out();
    let entry = Entry::open(&request, lines);
    let response = next.run(request).instrument(entry.span.clone()).await;
    entry.close(&response);
    response
}

/// A line that is still to be written.
struct Entry {
    span: Span,
    lines: Arc<Lines>,
    network: Option<ClientNetwork>,
    /// The method, as one of few values.
    method: &'static str,
    route: Arc<str>,
    started: Instant,
    answered: bool,
}

impl Entry {
    fn open(request: &Request, lines: Arc<Lines>) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or("-", MatchedPath::as_str);
        let client = request.extensions().get::<Client>();
        let method = known(request.method());
        let span = tracing::info_span!(
            "request",
            method,
            route,
            request_id = client.map(|c| tracing::field::display(&c.request_id)),
            network = client.map(|c| tracing::field::display(&c.network)),
            user_id = Empty,
            trace_id = Empty,
            otel.kind = cfg!(feature = "otlp").then_some("server"),
        );
        trace::join(&span, request.extensions().get::<TraceParent>().copied());
        span.in_scope(|| tracing::debug!("asked"));
        Self {
            span,
            lines,
            network: client.map(|client| client.network),
            method,
            route: route.into(),
            started: Instant::now(),
            answered: false,
        }
    }

    fn close(mut self, response: &Response) {
        self.answered = true;
        let status = response.status();
        let problem = response.extensions().get::<Problem>();
        let code = problem.map(|problem| problem.code().as_str());
        let cause = problem.and_then(Problem::cause);
        self.count(status, code.unwrap_or("ok"));
        if let Some(limit) = problem.and_then(Problem::limit) {
            LIMIT_REFUSALS.add(1, [limit.into()]);
        }
        if !self.take_line(status) {
            return;
        }
        let (status, micros) = (status.as_u16(), self.micros());
        self.span.in_scope(|| match level(response.status()) {
            Level::ERROR => tracing::error!(status, micros, code, cause, "failed"),
            Level::WARN => tracing::warn!(status, micros, code, cause, "unavailable"),
            _ => tracing::info!(status, micros, code, cause, "answered"),
        });
    }

    /// Served requests and defects are always logged; a refused request takes room for its line.
    fn take_line(&self, status: StatusCode) -> bool {
        let is_refused = status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE;
        !is_refused || self.lines.take_room(self.network)
    }

    fn count(&self, status: StatusCode, code: &'static str) {
        let class = class(status).into();
        let status = status.as_str().to_owned().into();
        REQUESTS.add(1, [self.method.into(), self.route(), status, code.into()]);
        REQUEST_DURATION.observe(self.started.elapsed(), [self.route(), class]);
    }

    fn route(&self) -> Value {
        Value::from_shared(Arc::clone(&self.route))
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The class by which answers are timed: a refusal takes less time than a success.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// The name of a known method: text that clients make up must become neither a label nor a line.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Dropped without an answer: the client, or the end of the server, cut the request short.
impl Drop for Entry {
    fn drop(&mut self) {
        if !self.answered {
            let micros = self.micros();
            REQUESTS_ABANDONED.add(1, [self.method.into(), self.route()]);
            if self.lines.take_room(self.network) {
                self.span.in_scope(|| tracing::info!(micros, "abandoned"));
            }
        }
    }
}

/// A defect is an error, unavailability a warning. A refusal is normal operation.
fn level(status: StatusCode) -> Level {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Level::WARN,
        status if status.is_server_error() => Level::ERROR,
        _ => Level::INFO,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::domain::RequestId;
    use crate::http::problem::Code;
    use crate::telemetry::testing::Written;

    /// The lines that are logged while a path is asked for, on a router where `/cut` never answers.
    async fn logged(path: &str) -> String {
        let lines = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(lines.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let broken = || async { Problem::internal("disk on fire") };
        let refused = || async { Problem::new(Code::InvalidRefreshToken).because("reused") };
        let router = Router::new()
            .route("/broken", get(broken))
            .route("/refused/{token}", get(refused))
            .route("/cut", get(std::future::pending::<()>))
            .layer(from_fn_with_state(Arc::new(Lines::new()), log));
        let request = Request::get(path).body(Body::empty()).unwrap();
        tokio::select! {
            biased;
            _ = router.oneshot(request) => {}
            () = std::future::ready(()) => {}
        }
        lines.take()
    }

    #[tokio::test]
    async fn a_defect_is_logged_once_as_an_error_with_its_cause() {
        let text = logged("/broken").await;
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.trim_start().starts_with("ERROR"), "{text}");
        assert!(
            text.contains(r#"code="internal" cause="disk on fire""#),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_refusal_is_logged_with_its_reason_and_route_but_not_its_path() {
        let text = logged("/refused/secret").await;
        assert!(text.trim_start().starts_with("INFO"), "{text}");
        assert!(text.contains("status=401"), "{text}");
        assert!(text.contains(r#"cause="reused""#), "{text}");
        assert!(text.contains("/refused/{token}"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    /// Red when each refusal has its line.
    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refusals_is_logged_in_part_and_what_was_left_out_is_counted() {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(written.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let refused = || async { Problem::new(Code::InvalidRefreshToken) };
        let router = Router::new()
            .route("/refused", get(refused))
            .route("/served", get(|| async {}))
            .layer(from_fn_with_state(Arc::new(Lines::new()), log));
        let ask = async |path: &str| {
            let client = Client {
                network: ClientNetwork::of([192, 0, 2, 1].into()),
                user_agent: None,
                request_id: RequestId::parse("r").unwrap(),
            };
            let request = Request::get(path).extension(client).body(Body::empty());
            router.clone().oneshot(request.unwrap()).await.unwrap();
        };
        for path in ["/refused", "/served"] {
            for _ in 0..1_000 {
                ask(path).await;
            }
        }
        tokio::time::advance(PAUSE).await;
        ask("/served").await;
        let text = written.take();
        let lines = |word: &str| text.lines().filter(|line| line.contains(word)).count();
        let refused = lines("status=401");
        assert!((400..600).contains(&refused), "{refused}");
        assert_eq!(lines("status=200"), 1_001);
        let told = format!("refusals={}", 1_000 - refused);
        assert_eq!(lines(&told), 1, "{told}");
    }

    #[tokio::test]
    async fn a_request_that_was_cut_short_is_logged_too() {
        let text = logged("/cut").await;
        assert!(text.contains("abandoned"), "{text}");
    }

    #[test]
    fn only_what_is_our_fault_is_an_error() {
        for (status, expected) in [
            (200, Level::INFO),
            (401, Level::INFO),
            (429, Level::INFO),
            (500, Level::ERROR),
            (503, Level::WARN),
        ] {
            assert_eq!(level(StatusCode::from_u16(status).unwrap()), expected);
        }
    }
}
