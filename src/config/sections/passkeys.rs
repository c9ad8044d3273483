//! `[passkeys]`: the domain and the pages that passkeys are made for.

use url::Url;

use super::super::reader::{Reader, Reading};
use super::super::shape;
use super::super::types::{PasskeyParty, PasskeysConfig};

pub(super) fn passkeys(reader: &mut Reader) -> Reading<PasskeysConfig> {
    let rp_id = reader.optional("passkeys.rp_id", shape::rp_id);
    let origins = reader.list("passkeys.origins", shape::origin);
    let rp_name = reader.parsed("passkeys.rp_name", shape::line);
    let (rp_id, origins) = (rp_id?, origins?);
    let party = match rp_id {
        None if origins.is_empty() => None,
        None => {
            return Err(reader.refuse("passkeys.origins", "must be empty without a passkeys.rp_id"));
        }
        Some(rp_id) => Some(party(reader, rp_id, origins)?),
    };
    Ok(PasskeysConfig {
        party,
        rp_name: rp_name?,
    })
}

/// Browsers let a page use passkeys of its own host and of the domains above it, and over `https` alone; but for
/// `localhost`.
fn party(reader: &mut Reader, rp_id: String, origins: Vec<String>) -> Reading<PasskeyParty> {
    const KEY: &str = "passkeys.origins";
    if origins.is_empty() {
        return Err(reader.refuse(KEY, "must name the origins of the pages that use passkeys"));
    }
    let strangers = origins.iter().filter(|origin| !may_use(origin, &rp_id));
    let strangers: Vec<_> = strangers.map(String::as_str).collect();
    if !strangers.is_empty() {
        let message = format!(
            "must be https pages of {rp_id} or of a host below it, or http ones of localhost, but holds {}",
            strangers.join(", ")
        );
        return Err(reader.problem(KEY, message));
    }
    Ok(PasskeyParty { rp_id, origins })
}

fn may_use(origin: &str, rp_id: &str) -> bool {
    let Ok(url) = Url::parse(origin) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let is_within = host == rp_id
        || host
            .strip_suffix(rp_id)
            .is_some_and(|above| above.ends_with('.'));
    let is_private = url.scheme() == "https"
        || url.scheme() == "http" && (host == "localhost" || host.ends_with(".localhost"));
    is_within && is_private
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{refused, with};

    #[test]
    fn passkeys_are_off_until_their_domain_is_named() {
        assert!(with(&[]).unwrap().passkeys.party.is_none());
        for (rp_id, origin) in [
            ("example.com", "https://example.com"),
            ("example.com", "https://office.example.com"),
            ("office.example.com", "https://office.example.com:8443"),
            ("localhost", "http://localhost:3000"),
            ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            let keys = [("passkeys.rp_id", rp_id), ("passkeys.origins", origin)];
            let party = with(&keys).unwrap().passkeys.party.unwrap();
            assert_eq!((&*party.rp_id, &*party.origins[0]), (rp_id, origin));
        }
    }

    #[test]
    fn a_page_that_no_browser_would_let_is_named() {
        for (rp_id, origin) in [
            ("example.com", "https://example.org"),
            ("example.com", "https://badexample.com"),
            ("office.example.com", "https://example.com"),
            ("example.com", "http://office.example.com"),
            ("example.com", "https://example.com.evil.example"),
        ] {
            let keys = [("passkeys.rp_id", rp_id), ("passkeys.origins", origin)];
            let told = refused(&keys);
            assert!(told.len() == 1 && told[0].ends_with(origin), "{told:?}");
        }
    }

    #[test]
    fn a_domain_without_pages_and_pages_without_a_domain_are_refused() {
        for keys in [
            ("passkeys.rp_id", "example.com"),
            ("passkeys.origins", "https://example.com"),
        ] {
            let told = refused(&[keys]);
            assert!(told[0].starts_with("passkeys.origins: must"), "{told:?}");
        }
    }

    #[test]
    fn an_address_or_a_url_is_no_domain() {
        for rp_id in [
            "https://example.com",
            "example.com:443",
            "Example.com",
            "example.com.",
            ".example.com",
            "a..b",
            "127.0.0.1",
            "[::1]",
            "b\u{fc}cher.example",
            "a b",
        ] {
            let keys = [
                ("passkeys.rp_id", rp_id),
                ("passkeys.origins", "https://example.com"),
            ];
            let told = refused(&keys);
            assert!(
                told[0].starts_with("passkeys.rp_id: must"),
                "{rp_id}: {told:?}"
            );
        }
    }
}
