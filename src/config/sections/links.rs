//! `[links]`: mailed links to set a password.

use super::super::reader::{Reader, Reading};
use super::super::shape;
use super::super::types::LinksConfig;
use super::DAY;

/// A reset by mail ends within a day (NIST SP 800-63B-4, section 4.2.1.2, table 2).
pub(super) fn links(reader: &mut Reader) -> Reading<LinksConfig> {
    let password_url = reader.optional("links.password_url", shape::page);
    let reset_ttl = reader.seconds("links.reset_ttl_seconds", 60..=DAY);
    let invitation_ttl = reader.seconds("links.invitation_ttl_seconds", 60..=7 * DAY);
    Ok(LinksConfig {
        password_url: password_url?,
        reset_ttl: reset_ttl?,
        invitation_ttl: invitation_ttl?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{refused, with};

    #[test]
    fn links_are_off_until_their_page_is_named() {
        assert_eq!(with(&[]).unwrap().links.password_url, None);
        for url in [
            "https://office.example.com/password",
            "https://office.example.com/",
            "https://office.example.com",
            "https://office.example.com:8443/a/b.html",
            "http://localhost:8081/",
            "http://127.0.0.1/password",
            "http://[::1]:8081/password",
        ] {
            let config = with(&[("links.password_url", url)]).unwrap();
            assert_eq!(config.links.password_url.as_deref(), Some(url));
        }
    }

    #[test]
    fn the_page_is_https_or_on_this_machine_and_leaves_room_for_the_token() {
        for url in [
            "http://office.example.com/password",
            "http://localhost.example.com/password",
            "https://office.example.com/password?x=1",
            "https://office.example.com/password?",
            "https://office.example.com/password#x",
            "https://office.example.com/password#",
            "https://user@office.example.com/password",
            "https://office.example.com/a b",
            "https://office.example.com/<b>",
            "https://office.example.com/\"",
            "https://office.example.com/a'b",
            "HTTPS://office.example.com/",
            "https://Office.example.com/",
            "ftp://localhost/",
            "office.example.com/password",
        ] {
            let told = refused(&[("links.password_url", url)]);
            assert!(
                told.len() == 1 && told[0].starts_with("links.password_url: must be"),
                "{url}: {told:?}"
            );
        }
    }

    #[test]
    fn a_link_lives_for_a_day_or_a_week_at_most() {
        for (key, most) in [
            ("links.reset_ttl_seconds", 86_400),
            ("links.invitation_ttl_seconds", 604_800),
        ] {
            assert!(with(&[(key, &most.to_string())]).is_ok());
            assert!(with(&[(key, &(most + 1).to_string())]).is_err());
            assert!(with(&[(key, "59")]).is_err());
        }
    }
}
