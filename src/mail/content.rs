//! A mail in words.

/// What a template set makes of a mail.
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}
