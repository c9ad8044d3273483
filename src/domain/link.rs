//! Links by which a person sets a password: ids, purposes, and the token that a mail carries.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use super::words::words;
use super::{DerivedKey, LinkId, MailKind, TAG_BYTES};

words! {
    /// The occasion for a link.
    pub enum LinkPurpose {
        /// The person has a password and forgot it.
        Reset = "reset",
        /// The person has no password yet.
        Invitation = "invitation",
    }
}

impl LinkPurpose {
    /// The purpose of a link for a user who has a password, or has none.
    #[must_use]
    pub fn of_user(has_password: bool) -> Self {
        if has_password {
            Self::Reset
        } else {
            Self::Invitation
        }
    }

    /// The kind of mail that carries such a link.
    #[must_use]
    pub fn mail_kind(self) -> MailKind {
        match self {
            Self::Reset => MailKind::ResetLink,
            Self::Invitation => MailKind::InvitationLink,
        }
    }
}

/// The part of a link that opens something: the link's id and a MAC of it, in base64url. It follows from
/// the id under a key that the database does not hold, so a copy of the database opens nothing.
#[derive(Debug, Clone)]
pub struct LinkToken(SecretString);

impl LinkToken {
    /// The token of a link.
    #[must_use]
    pub fn derive(key: &DerivedKey, purpose: LinkPurpose, link_id: LinkId) -> Self {
        let id = link_id.0.as_bytes();
        let bytes = [&id[..], &key.tag(&[purpose.as_str().as_bytes(), id])].concat();
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// A token that opens nothing, to try templates with.
    #[must_use]
    pub fn sample() -> Self {
        Self(URL_SAFE_NO_PAD.encode([0; 16 + TAG_BYTES]).into())
    }

    /// The text, for the mail.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Reads the token that a client sent: the link that it names, if we made it. Whether the link is still
/// good is another question. A token has one form: base64 that decodes to the same bytes is refused.
#[must_use]
pub fn read_link_token(key: &DerivedKey, text: &str) -> Option<(LinkId, LinkPurpose)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (id, sent) = bytes.split_first_chunk::<16>()?;
    let link_id = LinkId(uuid::Uuid::from_bytes(*id));
    let mut purposes = LinkPurpose::ALL.iter().copied();
    let purpose = purposes.find(|purpose| key.is_tag(&[purpose.as_str().as_bytes(), id], sent));
    Some((link_id, purpose?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{MasterKey, Purpose};

    fn key(purpose: Purpose) -> DerivedKey {
        MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .unwrap()
            .derive(purpose)
    }

    #[test]
    fn a_token_names_its_link_and_purpose() {
        let key = key(Purpose::Links);
        for purpose in LinkPurpose::ALL {
            let link_id = LinkId::random();
            let token = LinkToken::derive(&key, *purpose, link_id);
            assert_eq!(token.expose().len(), 43);
            assert_eq!(
                read_link_token(&key, token.expose()),
                Some((link_id, *purpose))
            );
        }
    }

    /// Red without the comparison of the MAC, and with a lenient base64.
    #[test]
    fn a_token_that_differs_in_anything_names_nothing() {
        let (ours, other) = (key(Purpose::Links), key(Purpose::OneTimeCodes));
        let token = LinkToken::derive(&ours, LinkPurpose::Reset, LinkId::random());
        let good = token.expose();
        assert!(read_link_token(&other, good).is_none());
        for at in 0..good.len() {
            for letter in ['A', 'B', 'Q', 'g', '-'] {
                let mut bad = good.to_owned();
                bad.replace_range(at..=at, &letter.to_string());
                let read = read_link_token(&ours, &bad);
                assert_eq!(read.is_some(), bad == good, "{bad}");
            }
        }
        for bad in [
            "",
            "x",
            &good[..42],
            &format!("{good}="),
            &format!("{good}A"),
            &format!(" {good}"),
            LinkToken::sample().expose(),
        ] {
            assert!(read_link_token(&ours, bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_cannot_be_printed() {
        let token = LinkToken::derive(&key(Purpose::Links), LinkPurpose::Reset, LinkId::random());
        assert!(!format!("{token:?}").contains(token.expose()));
    }
}
