//! HTTP Basic (RFC 7617), by which services authenticate.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::auth::Auth;
use crate::http::problem::{Code, Problem};

/// A service of the configuration, authenticated by its secret.
#[derive(Debug)]
pub struct ServiceClient;

impl<S: Send + Sync> FromRequestParts<S> for ServiceClient
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let credentials = credentials(&parts.headers)
            .ok_or_else(|| Problem::new(Code::InvalidClient).because("no credentials"))?;
        let (id, secret) = credentials.split_once(':').unwrap_or((&credentials, ""));
        Auth::from_ref(state)
            .authenticate_client(id, secret)
            .map_err(|error| Problem::new(Code::InvalidClient).because(error))?;
        Ok(Self)
    }
}

/// The text `id:secret`, from exactly one header.
#[must_use]
pub fn credentials(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_start_matches(' ')).ok()?;
    String::from_utf8(decoded).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        credentials(&headers).map(|text| text.to_string())
    }

    #[test]
    fn credentials_come_from_exactly_one_basic_header() {
        assert_eq!(read(&["Basic b3JkZXJzOng6eQ=="]).unwrap(), "orders:x:y");
        assert_eq!(read(&["bASIC  b3JkZXJzOng6eQ=="]).unwrap(), "orders:x:y");
        for bad in [
            &[][..],
            &["Basic"],
            &["Basic !"],
            &["Basic \tb3JkZXJzOng6eQ=="],
            &["Basic b3JkZXJzOng6eR=="],
            &["Bearer b3JkZXJzOng6eQ=="],
            &["Basic b3JkZXJzOng6eQ==", "Basic b3JkZXJzOng6eQ=="],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
