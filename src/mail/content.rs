//! A mail in words.

/// The texts that a template set makes of a mail.
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}
