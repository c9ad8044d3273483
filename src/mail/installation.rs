//! The facts that all mails of an installation share.

use crate::config::{LinksConfig, MailConfig};
use crate::domain::Language;

/// The facts that the words of all mails depend on, besides the subject of each.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    /// The language of all mails.
    pub(super) language: Language,
    /// The contact for questions: a line in the operator's words. Empty: the mails name nobody.
    pub(super) contact: String,
    /// Whether people can set another password by themselves.
    pub(super) is_self_service: bool,
}

impl Installation {
    pub(super) fn new(mail: &MailConfig, links: &LinksConfig) -> Self {
        Self {
            language: mail.language,
            contact: mail.contact.clone(),
            is_self_service: links.password_url.is_some(),
        }
    }

    /// One without links and without a contact.
    #[cfg(test)]
    pub(super) fn plain(language: Language) -> Self {
        Self {
            language,
            contact: String::new(),
            is_self_service: false,
        }
    }
}
