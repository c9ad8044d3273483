//! The kinds of mails.

use super::words::words;

words! {
    /// What a mail is about. The kind decides its templates, and when nobody wants the mail any more.
    pub enum MailKind {
        /// The code that confirms a sign-in.
        SignInCode = "sign_in_code",
    }
}
