//! The mailbox's page. A mail can hold anything: it is escaped, its HTML is shown in a sandbox, and nothing
//! that it names is loaded.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get};
use chrono::SecondsFormat;
use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::mail::ReceivedMail;
use super::shelf::Shelf;
use crate::domain::Timestamp;

/// The template, whose name ends in `.html` to have values escaped.
const TEMPLATE: (&str, &str) = ("page.html", include_str!("page.html"));

/// Headers of every answer. The frame of a mail obeys this policy as well: styles may be inline, because
/// the styles of mails are, scripts may not, and an image must be in the mail itself.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; connect-src 'self'; \
             style-src 'unsafe-inline'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Serves the page until it is told to stop.
pub(super) async fn serve(listener: TcpListener, shelf: Arc<Shelf>, stop: CancellationToken) {
    let serving = async { axum::serve(listener, router(shelf)).await };
    stop.run_until_cancelled(serving).await;
}

fn router(shelf: Arc<Shelf>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/mailbox.js", get(script))
        .route("/mails.json", get(mails))
        .route("/mails", delete(clear))
        .with_state(shelf)
        .layer(middleware::from_fn(guard))
}

/// Answers only under names of this machine. Otherwise a site could make its own name point at 127.0.0.1,
/// and its scripts could read the mails.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_for_us(request.headers(), request.uri()) {
        next.run(request).await
    } else {
        let message = "this mailbox answers to localhost alone\n";
        (StatusCode::FORBIDDEN, message).into_response()
    };
    response.headers_mut().extend(HEADERS);
    response
}

fn is_for_us(headers: &HeaderMap, uri: &Uri) -> bool {
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(Authority::as_str),
    };
    host.and_then(|host| host.parse::<Authority>().ok())
        .is_some_and(|authority| is_loopback(authority.host()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let address = bare.unwrap_or(host).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A time in RFC 3339, in whole seconds.
fn on_the_wire(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A mail as JSON shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceivedMailBody<'a> {
    id: u64,
    to: &'a [String],
    subject: &'a str,
    received_at: String,
    code: Option<&'a str>,
    text: &'a str,
    html: Option<&'a str>,
}

impl<'a> From<&'a ReceivedMail> for ReceivedMailBody<'a> {
    fn from(mail: &'a ReceivedMail) -> Self {
        Self {
            id: mail.id,
            to: &mail.to,
            subject: &mail.subject,
            received_at: on_the_wire(mail.received_at),
            code: mail.code.as_deref(),
            text: &mail.text,
            html: mail.html.as_deref(),
        }
    }
}

/// `GET /`: the mails, newest first.
async fn page(State(shelf): State<Arc<Shelf>>) -> Html<String> {
    let mails: Vec<Value> = shelf.mails().iter().map(|mail| in_template(mail)).collect();
    let (name, source) = TEMPLATE;
    let page = Environment::new().render_named_str(name, source, context! { mails });
    Html(page.expect("the template is built in, and renders any mail"))
}

fn in_template(mail: &ReceivedMail) -> Value {
    context! {
        id => mail.id,
        to => mail.to.join(", "),
        subject => mail.subject.clone(),
        received_at => on_the_wire(mail.received_at),
        code => mail.code.clone(),
        link => mail.link(),
        text => mail.text.clone(),
        html => mail.html.clone(),
    }
}

/// `GET /mailbox.js`: the script that keeps the page up to date.
async fn script() -> impl IntoResponse {
    let javascript = "text/javascript; charset=utf-8";
    (
        [(header::CONTENT_TYPE, javascript)],
        include_str!("page.js"),
    )
}

#[derive(Deserialize)]
struct MailsQuery {
    to: Option<String>,
}

/// `GET /mails.json`: the mails, or those to one address, newest first.
async fn mails(State(shelf): State<Arc<Shelf>>, Query(query): Query<MailsQuery>) -> Response {
    let mails = match query.to {
        Some(recipient) => shelf.mails_to(&recipient),
        None => shelf.mails(),
    };
    let mails: Vec<ReceivedMailBody> = mails.iter().map(|mail| (&**mail).into()).collect();
    Json(mails).into_response()
}

/// `DELETE /mails`: forgets them.
async fn clear(State(shelf): State<Arc<Shelf>>) -> StatusCode {
    shelf.clear();
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt;

    use super::super::mail::Envelope;
    use super::*;
    use crate::domain::Clock;

    fn shelf() -> Arc<Shelf> {
        let shelf = Shelf::new(Clock::new(|| Timestamp::UNIX_EPOCH));
        for (to, message) in [
            ("a@x", "Subject: plain\r\n\r\nCode 123456"),
            (
                "<script>@x",
                "Subject: <script>1</script>\r\nContent-Type: text/html\r\n\r\n\
                 <p title=\"'\">two</p><script>alert(1)</script>",
            ),
        ] {
            let envelope = Envelope {
                from: None,
                to: vec![to.to_owned()],
            };
            shelf.put(envelope, message.as_bytes().to_vec());
        }
        Arc::new(shelf)
    }

    async fn ask(shelf: &Arc<Shelf>, method: &str, host: &str, path: &str) -> (Response, String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", host).body(Body::empty()).unwrap();
        let answer = router(Arc::clone(shelf)).oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.into()).unwrap();
        (Response::from_parts(parts, Body::empty()), body)
    }

    #[tokio::test]
    async fn the_page_lists_the_newest_first_and_runs_nothing_that_a_mail_contains() {
        let (answer, page) = ask(&shelf(), "GET", "localhost:8025", "/").await;
        let place = |text| {
            page.find(text)
                .unwrap_or_else(|| panic!("no {text} in {page}"))
        };
        assert!(place("<article id=\"mail-2\"") < place("<article id=\"mail-1\""));
        assert!(place(">123456<") > place("<article id=\"mail-1\""));
        assert!(page.contains("&lt;script&gt;1&lt;"));
        let script = "<script src=\"/mailbox.js\" defer></script>";
        assert_eq!(
            page.matches("<script").count(),
            page.matches(script).count()
        );
        let frame = page.split("srcdoc=\"").nth(1).unwrap().split('"').next();
        assert!(frame.unwrap().starts_with("&lt;p title=&quot;"));
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"));
    }

    #[tokio::test]
    async fn the_mails_are_listed_as_json_and_can_be_asked_for_by_recipient() {
        let shelf = shelf();
        let (_, all) = ask(&shelf, "GET", "127.0.0.1", "/mails.json").await;
        let all: serde_json::Value = serde_json::from_str(&all).unwrap();
        assert_eq!((&all[0]["id"], &all[1]["id"]), (&2.into(), &1.into()));
        let (_, one) = ask(&shelf, "GET", "[::1]:1", "/mails.json?to=A@X").await;
        insta::assert_snapshot!(one, @r#"[{"id":1,"to":["a@x"],"subject":"plain","receivedAt":"1970-01-01T00:00:00Z","code":"123456","text":"Code 123456","html":null}]"#);
    }

    #[tokio::test]
    async fn the_mails_can_be_cleared() {
        let shelf = shelf();
        let (answer, _) = ask(&shelf, "DELETE", "localhost", "/mails").await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert!(shelf.mails().is_empty());
        let (_, page) = ask(&shelf, "GET", "localhost", "/").await;
        assert!(page.contains("No mail yet"));
    }

    #[tokio::test]
    async fn another_name_for_this_machine_gets_nothing() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
        ] {
            let (answer, body) = ask(&shelf(), "GET", host, "/mails.json").await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{host}");
            assert!(!body.contains("123456"));
        }
    }
}
