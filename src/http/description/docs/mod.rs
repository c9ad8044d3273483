//! `GET /docs`: the description as a page, to read and to try. Swagger UI, all of it served from
//! here.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::http::layers::fallback;
use crate::http::problem::{Code, Problem};

/// Scripts and styles are files of this server, nothing is inline, and the page contacts no other
/// server. Pictures may be written into the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The page and its files, and the way there from the root. A page that links relatively works behind a
/// proxy's prefix too.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || (StatusCode::FOUND, [(LOCATION, "docs")])))
        .route("/docs", get(page))
        .route("/docs/{file}", get(file))
        .method_not_allowed_fallback(fallback::method_not_allowed)
}

async fn page() -> Response {
    ours("text/html; charset=utf-8", include_str!("page.html"))
}

async fn file(name: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|_| Problem::new(Code::NotFound))?;
    match name.as_str() {
        "page.js" => Ok(ours(
            "text/javascript; charset=utf-8",
            include_str!("page.js"),
        )),
        "page.css" => Ok(ours("text/css; charset=utf-8", include_str!("page.css"))),
        "swagger-ui-bundle.js" | "swagger-ui.css" | "favicon-32x32.png" => vendored(&name),
        _ => Err(Problem::new(Code::NotFound)),
    }
}

fn ours(content_type: &'static str, text: &'static str) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    ([(CONTENT_TYPE, content_type), policy()], text).into_response()
}

/// A file of Swagger UI. It is there compressed alone, which every browser understands.
fn vendored(name: &str) -> Result<Response, Problem> {
    let file = utoipa_swagger_ui::serve(name, Arc::default())
        .map_err(|error| Problem::internal(error.to_string()))?
        .ok_or(Problem::new(Code::NotFound))?;
    let content_type = HeaderValue::from_str(&file.content_type).map_err(Problem::internal)?;
    let mut response = ([(CONTENT_TYPE, content_type), policy()], file.bytes).into_response();
    if file.gzpipped {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

fn policy() -> (HeaderName, HeaderValue) {
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn fetch(path: &str) -> (StatusCode, String, Vec<u8>) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (parts, body) = router().oneshot(request).await.unwrap().into_parts();
        let policy = parts.headers.get(CONTENT_SECURITY_POLICY);
        let policy = policy.map_or("", |value| value.to_str().unwrap());
        let body = to_bytes(body, 9_999_999).await.unwrap();
        (parts.status, policy.to_owned(), body.to_vec())
    }

    /// The addresses in a page's `src` and `href`.
    fn links(page: &str) -> impl Iterator<Item = &str> {
        [r#"src=""#, r#"href=""#]
            .into_iter()
            .flat_map(move |attribute| page.split(attribute).skip(1))
            .map(|rest| rest.split('"').next().unwrap())
    }

    #[tokio::test]
    async fn the_page_and_all_that_it_links_are_served_from_here() {
        let (status, policy, page) = fetch("/docs").await;
        assert_eq!((status, policy.as_str()), (StatusCode::OK, POLICY));
        let page = String::from_utf8(page).unwrap();
        assert_eq!(links(&page).count(), 5);
        for link in links(&page) {
            let (status, policy, body) = fetch(&format!("/{link}")).await;
            assert_eq!(
                (status, policy.as_str()),
                (StatusCode::OK, POLICY),
                "{link}"
            );
            assert!(!body.is_empty(), "{link}");
        }
    }

    #[tokio::test]
    async fn the_root_leads_to_the_page() {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let answer = router::<()>().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND);
        assert_eq!(answer.headers()[LOCATION], "docs");
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own() {
        let page = include_str!("page.html");
        assert!(!page.contains("style="), "an inline style");
        assert!(!page.contains("<style"), "an inline style");
        assert!(
            page.split("<script")
                .skip(1)
                .all(|tag| tag.contains("></script>"))
        );
    }

    #[tokio::test]
    async fn other_files_of_the_bundle_are_not_served() {
        for path in [
            "/docs/index.html",
            "/docs/oauth2-redirect.html",
            "/docs/x",
            "/docs/%ff",
            "/docs/",
        ] {
            assert_eq!(fetch(path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
