//! A password hash of another service is read within its bounds, or refused without a word of it.

use backoffice_auth::config::PasswordsConfig;
use backoffice_auth::password::{outgrows_budget, read_foreign};

/// The bounds that an operator set.
const PASSWORDS: PasswordsConfig = PasswordsConfig {
    memory_kib: 64,
    iterations: 1,
    parallelism: 1,
    workers: 1,
    queue: 1,
    imported_memory_mib: 64,
};

/// Panics if a text is taken that could not be checked, is stored as something else than a part of itself, reads
/// as another kind the second time, or is repeated by a refusal.
pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match read_foreign(text, &PASSWORDS) {
        Ok(None) => assert!(text.contains(['!', '*'])),
        Ok(Some(read)) => {
            let stored = read.hash().expose();
            assert!(
                text.ends_with(stored),
                "it is stored as it came, without a label"
            );
            assert!(!outgrows_budget(read.kind(), &PASSWORDS));
            assert!(stored.is_ascii() || text.starts_with(['p', 's', '$', '{']));
            let again = read_foreign(stored, &PASSWORDS);
            let again = again.expect("it was taken").expect("it is a hash");
            assert_eq!(again.kind(), read.kind());
            assert_eq!(again.hash().expose(), stored);
        }
        Err(refusal) => {
            let told = refusal.to_string();
            // A dozen characters of a hash are in no sentence of ours.
            let pieces = text.as_bytes().windows(12);
            let mut pieces = pieces.filter_map(|piece| std::str::from_utf8(piece).ok());
            assert!(
                !pieces.any(|piece| piece.contains('$') && told.contains(piece)),
                "{told}"
            );
        }
    }
}
