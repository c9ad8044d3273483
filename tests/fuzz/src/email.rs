//! An address has one canonical form, and every mail server on the way reads it as one mailbox.

use backoffice_auth::domain::EmailAddress;
use lettre::transport::smtp::commands::Rcpt;
use lettre::{Address, Message};

/// The characters that mean something to one mail server or another: RFC 5322's specials, and the two signs by
/// which an address names a route (`user%host@relay`, `relay!user`).
const SYNTAX: &str = "\"(),:;<>[\\]%!";

/// Takes the text of an address.
pub fn holds(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(address) = text.parse::<EmailAddress>() else {
        return;
    };
    let canonical = address.as_str();
    // Nothing but the case goes: no two texts that differ in more become one address.
    assert_eq!(canonical, text.to_ascii_lowercase());
    assert_eq!(canonical.parse().as_ref(), Ok(&address));
    assert!(canonical.len() <= 254);
    let is_plain = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase();
    assert!(canonical.bytes().all(is_plain) && !canonical.contains(|c| SYNTAX.contains(c)));
    assert!(!format!("{address:?}").contains(canonical));

    let (local, domain) = canonical.split_once('@').expect("an address has an @");
    assert!(!domain.contains('@'));
    assert!(local.split('.').all(|atom| !atom.is_empty()));
    // An option, a file or a pipe to programs that hand an address on.
    assert!(!local.starts_with(['-', '/', '|']));
    let is_label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    assert!(domain.split('.').all(is_label));
    assert_mailed_as_it_is(canonical, local, domain);
}

/// Asserts that the recipient that lettre makes of it is that mailbox and no other.
fn assert_mailed_as_it_is(canonical: &str, local: &str, domain: &str) {
    let Ok(recipient) = canonical.parse::<Address>() else {
        let is_short = local.len() <= 64 && domain.split('.').all(|label| label.len() <= 63);
        assert!(!is_short || domain.contains('_'), "{canonical}");
        return;
    };
    let command = Rcpt::new(recipient.clone(), Vec::new()).to_string();
    assert_eq!(command, format!("RCPT TO:<{canonical}>\r\n"));
    let sender = Address::new("no-reply", "example.com").expect("an address");
    let message = Message::builder()
        .from(sender.into())
        .to(recipient.into())
        .body(String::new())
        .expect("a message");
    let envelope: Vec<_> = message
        .envelope()
        .to()
        .iter()
        .map(AsRef::<str>::as_ref)
        .collect();
    assert_eq!(envelope, [canonical]);
    let formatted = String::from_utf8(message.formatted()).expect("ASCII");
    let unfolded = formatted.replace("\r\n ", " ");
    let mut lines = unfolded.lines().filter_map(|line| line.strip_prefix("To:"));
    assert_eq!(
        (lines.next().map(str::trim), lines.next()),
        (Some(canonical), None)
    );
}
