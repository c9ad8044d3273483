//! Two libraries compute Argon2, and both compute the same.

use backoffice_auth::password::libraries_agree;

/// Takes the parameters as pairs of bytes (variant, version, lanes, memory, passes, and the lengths of hash, salt and data),
/// then the salt, the data and the password. Missing bytes are zero.
pub fn holds(input: &[u8]) {
    assert!(
        libraries_agree(input),
        "the fast library computes another hash than the reference"
    );
}
