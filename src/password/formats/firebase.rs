//! Firebase: a hash together with the parameters of its project, so that it can be checked by itself.

use std::fmt;

/// The hash parameters of a Firebase project, as its console shows them.
#[derive(Clone)]
pub struct FirebaseProject {
    /// `base64_signer_key`: a secret of the project. It goes into each stored hash.
    pub signer_key: String,
    /// `base64_salt_separator`.
    pub salt_separator: String,
    /// `rounds`: scrypt's r.
    pub rounds: u32,
    /// `mem_cost`: the logarithm of scrypt's N.
    pub mem_cost: u32,
}

impl FirebaseProject {
    /// The stored form, which is Kratos', of a `passwordHash` and its `salt` from an export, both in base64 of either
    /// alphabet.
    #[must_use]
    pub fn stored(&self, password_hash: &str, salt: &str) -> String {
        let [salt, hash, separator, key] =
            [salt, password_hash, &self.salt_separator, &self.signer_key].map(padded);
        let (log_n, r) = (self.mem_cost, self.rounds);
        format!("$firescrypt$ln={log_n},r={r},p=1${salt}${hash}${separator}${key}")
    }
}

/// Base64 of either alphabet, in the standard one with its padding.
fn padded(text: &str) -> String {
    let text = text
        .trim_end_matches('=')
        .replace('-', "+")
        .replace('_', "/");
    let missing = text.len().next_multiple_of(4) - text.len();
    text + &"=".repeat(missing)
}

impl fmt::Debug for FirebaseProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FirebaseProject(…)")
    }
}
