//! The reference sign-in page of `docs/browser`, in the demo alone. It has an origin of its own, as the
//! page of a real Back Office has, so that its calls go through CORS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const PAGE: &str = include_str!("../../docs/browser/index.html");
const SCRIPT: &str = include_str!("../../docs/browser/page.js");
const MODULE: &str = include_str!("../../docs/browser/backoffice-auth.js");
const STYLE: &str = include_str!("../../docs/browser/page.css");

/// The placeholder in the page for the address of the server.
const SERVER: &str = r#"content="http://127.0.0.1:8080""#;
/// The placeholder in the page for a note about the demo.
const PLACE: &str = "<!-- demo -->";

/// The port of the page, unless another program has it.
const PORT: u16 = 8081;

/// The page's listener. Browsers that come before it is served wait in its queue.
#[derive(Debug)]
pub(super) struct SigninPage {
    listener: TcpListener,
    port: u16,
}

impl SigninPage {
    /// Takes a port on loopback.
    pub(super) async fn bind() -> io::Result<Self> {
        let listen = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let listener = match listen(PORT).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => listen(0).await?,
            listener => listener?,
        };
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The origins under which a browser may open the page; the first is the one to show.
    pub(super) fn origins(&self) -> [String; 2] {
        ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{}", self.port))
    }

    /// Serves the page for a server and a mailbox, until the guard is dropped.
    pub(super) fn serve(self, server: SocketAddr, mailbox: Option<SocketAddr>) -> DropGuard {
        let stop = CancellationToken::new();
        let (listener, router) = (self.listener, router(server, mailbox));
        let serving = async move { axum::serve(listener, router).await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        stop.drop_guard()
    }
}

fn router(server: SocketAddr, mailbox: Option<SocketAddr>) -> Router {
    // The page may run its own scripts and talk to the server, and nothing else. No text becomes markup
    // or code in it.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
         connect-src http://{server}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let policy = HeaderValue::try_from(policy).expect("an address is plain ASCII");
    let file = |kind: &'static str, text: String| {
        let policy = policy.clone();
        get(async move || answer(kind, policy, text))
    };
    Router::new()
        .route("/", file("text/html", page(server, mailbox)))
        .route("/page.js", file("text/javascript", SCRIPT.to_owned()))
        .route(
            "/backoffice-auth.js",
            file("text/javascript", MODULE.to_owned()),
        )
        .route("/page.css", file("text/css", STYLE.to_owned()))
        .fallback(async || StatusCode::NOT_FOUND)
}

fn answer(kind: &'static str, policy: HeaderValue, text: String) -> Response {
    let fixed: [(HeaderName, &str); 3] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // The next demo may have another program behind the same port.
        (CACHE_CONTROL, "no-store"),
    ];
    let kind = format!("{kind}; charset=utf-8");
    let own = [(CONTENT_TYPE, kind)];
    let policy = [(CONTENT_SECURITY_POLICY, policy)];
    (fixed, own, policy, text).into_response()
}

/// The page with the address of its server and the note about the demo filled in.
fn page(server: SocketAddr, mailbox: Option<SocketAddr>) -> String {
    let mailbox = mailbox.map_or_else(String::new, |mailbox| {
        format!(r#" Mails arrive in the <a href="http://{mailbox}">mailbox</a>."#)
    });
    let hint = format!(
        "<footer>Demo: <code>foo@bar.com</code> gets a code by mail, <code>ops@bar.com</code> does not; \
         the password is <code>Secret123</code>.{mailbox}</footer>"
    );
    PAGE.replace(SERVER, &format!(r#"content="http://{server}""#))
        .replace(PLACE, &hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_server_and_the_mailbox_of_the_demo() {
        let (server, mailbox) = ("127.0.0.1:1", "127.0.0.1:2");
        let page = page(server.parse().unwrap(), Some(mailbox.parse().unwrap()));
        assert!(page.contains(r#"<meta name="auth-server" content="http://127.0.0.1:1" />"#));
        assert!(page.contains(r#"<a href="http://127.0.0.1:2">"#));
        assert!(!page.contains(PLACE) && !page.contains("8080"));
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own_and_loads_nothing_from_elsewhere() {
        assert!(!PAGE.contains("style=") && !PAGE.contains("<style"));
        let mut scripts = PAGE.split("<script").skip(1);
        assert!(scripts.all(|tag| tag.contains("></script>")));
        for attribute in [r#"src=""#, r#"href=""#] {
            for link in PAGE.split(attribute).skip(1) {
                assert!(!link.starts_with("http"), "{link}");
            }
        }
        for text in [SCRIPT, MODULE] {
            assert!(!text.contains("innerHTML"), "text may become markup");
        }
    }
}
