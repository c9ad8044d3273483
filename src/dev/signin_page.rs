//! The reference pages of `docs/browser`, in the demo alone: one to sign in on, the one that mailed links open,
//! and one for administrators. They have an origin of their own, as the pages of a real Back Office have, so that their calls go
//! through CORS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
const PASSWORD_PAGE: &str = include_str!("../../docs/browser/password.html");
const ADMIN_PAGE: &str = include_str!("../../docs/browser/admin.html");
const STYLE: &str = include_str!("../../docs/browser/page.css");
const SCRIPTS: [(&str, &str); 11] = [
    ("/admin.js", include_str!("../../docs/browser/admin.js")),
    (
        "/administration.js",
        include_str!("../../docs/browser/administration.js"),
    ),
    (
        "/authenticator.js",
        include_str!("../../docs/browser/authenticator.js"),
    ),
    (
        "/backoffice-auth.js",
        include_str!("../../docs/browser/backoffice-auth.js"),
    ),
    ("/page.js", include_str!("../../docs/browser/page.js")),
    (
        "/passkeys.js",
        include_str!("../../docs/browser/passkeys.js"),
    ),
    (
        "/password.js",
        include_str!("../../docs/browser/password.js"),
    ),
    ("/person.js", include_str!("../../docs/browser/person.js")),
    ("/proof.js", include_str!("../../docs/browser/proof.js")),
    ("/ui.js", include_str!("../../docs/browser/ui.js")),
    ("/words.js", include_str!("../../docs/browser/words.js")),
];

/// The placeholder in the pages for the address of the server.
const SERVER: &str = r#"content="http://127.0.0.1:8080""#;
/// The placeholder in the pages for a note about the demo.
const PLACE: &str = "<!-- demo -->";

/// The port of the pages, unless another program has it.
const PORT: u16 = 8081;

/// The listeners of the pages. Browsers that come before they are served wait in their queues.
#[derive(Debug)]
pub(super) struct SigninPage {
    listeners: Vec<TcpListener>,
    port: u16,
}

impl SigninPage {
    /// Takes a port on loopback.
    pub(super) async fn bind() -> io::Result<Self> {
        match Self::bind_to(PORT).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Self::bind_to(0).await,
            bound => bound,
        }
    }

    /// Browsers try both addresses of `localhost`, so no other program may have the port on one of them.
    async fn bind_to(port: u16) -> io::Result<Self> {
        let listen = |ip: IpAddr, port| TcpListener::bind((ip, port));
        let first = listen(Ipv4Addr::LOCALHOST.into(), port).await?;
        let port = first.local_addr()?.port();
        let listeners = match listen(Ipv6Addr::LOCALHOST.into(), port).await {
            Ok(second) => vec![first, second],
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // A machine without IPv6.
            Err(_) => vec![first],
        };
        Ok(Self { listeners, port })
    }

    /// The origin to show. By name: an address would be no domain, which passkeys need.
    pub(super) fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The page that mailed links open.
    pub(super) fn password_url(&self) -> String {
        format!("{}/password.html", self.origin())
    }

    /// Serves the pages for a server and a mailbox, until the guard is dropped.
    pub(super) fn serve(self, server: SocketAddr, mailbox: Option<SocketAddr>) -> DropGuard {
        let stop = CancellationToken::new();
        let router = router(server, mailbox);
        for listener in self.listeners {
            let router = router.clone();
            let serving = async move { axum::serve(listener, router).await };
            tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        }
        stop.drop_guard()
    }
}

fn router(server: SocketAddr, mailbox: Option<SocketAddr>) -> Router {
    // The pages may run their own scripts and talk to the server, and nothing else. No text becomes markup
    // or code in them.
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
    let pages = [
        ("/", PAGE),
        ("/password.html", PASSWORD_PAGE),
        ("/admin.html", ADMIN_PAGE),
    ]
    .map(|(path, text)| (path, "text/html", page(text, server, mailbox)));
    let scripts = SCRIPTS.map(|(path, text)| (path, "text/javascript", text.to_owned()));
    let style = [("/page.css", "text/css", STYLE.to_owned())];
    pages
        .into_iter()
        .chain(scripts)
        .chain(style)
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, file(kind, text))
        })
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

/// A page with the address of its server and the note about the demo filled in.
fn page(text: &str, server: SocketAddr, mailbox: Option<SocketAddr>) -> String {
    let mailbox = mailbox.map_or_else(String::new, |mailbox| {
        format!(r#" Mails arrive in the <a href="http://{mailbox}">mailbox</a>."#)
    });
    let hint = format!(
        "<footer lang=\"en\">Demo: <code>foo@bar.com</code> gets a code by mail, <code>ops@bar.com</code> does not; \
         the password is <code>Secret123</code>.{mailbox}</footer>"
    );
    text.replace(SERVER, &format!(r#"content="http://{server}""#))
        .replace(PLACE, &hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_names_the_server_and_the_mailbox_of_the_demo() {
        let (server, mailbox) = ("127.0.0.1:1", "127.0.0.1:2");
        for text in [PAGE, PASSWORD_PAGE, ADMIN_PAGE] {
            let page = page(
                text,
                server.parse().unwrap(),
                Some(mailbox.parse().unwrap()),
            );
            assert!(page.contains(r#"<meta name="auth-server" content="http://127.0.0.1:1" />"#));
            assert!(page.contains(r#"<a href="http://127.0.0.1:2">"#));
            assert!(!page.contains(PLACE) && !page.contains("8080"));
        }
    }

    #[test]
    fn no_page_has_a_script_or_style_of_its_own_or_loads_anything_from_elsewhere() {
        for page in [PAGE, PASSWORD_PAGE, ADMIN_PAGE] {
            assert!(!page.contains("style=") && !page.contains("<style"));
            let mut scripts = page.split("<script").skip(1);
            assert!(scripts.all(|tag| tag.contains("></script>")));
            for attribute in [r#"src=""#, r#"href=""#] {
                for link in page.split(attribute).skip(1) {
                    assert!(!link.starts_with("http"), "{link}");
                }
            }
            assert!(page.contains(r#"<meta name="referrer" content="no-referrer" />"#));
        }
        for (path, text) in SCRIPTS {
            assert!(
                !text.contains("innerHTML"),
                "text may become markup: {path}"
            );
        }
    }
}
