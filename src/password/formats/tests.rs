//! Each format with hashes that its own library made, and refused texts with their reasons.

use proptest::prelude::*;

use super::super::foreign::read_foreign;
use super::super::refusal::{Flaw, UnsupportedHash};
use super::super::slot::{Library, Slot};
use super::super::stored_hash::StoredHash;
use super::{FirebaseProject, read, read_keycloak};
use crate::config::PasswordsConfig;

const PASSWORD: &str = "violet-Anvil-67";

fn config() -> PasswordsConfig {
    PasswordsConfig {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
        workers: 1,
        queue: 1,
        imported_memory_mib: 128,
    }
}

fn hash(text: &str) -> Box<dyn StoredHash> {
    read(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn matches(text: &str, password: &str) -> bool {
    let mut slot = Slot::new(Library::Fast, 8);
    let is_match = hash(text).verify(password.as_bytes(), &mut slot);
    is_match.unwrap()
}

fn refusal(text: &str) -> UnsupportedHash {
    match read_foreign(text, &config()) {
        Err(refusal) => refusal,
        Ok(_) => panic!("{text} is taken"),
    }
}

const SHA512_CRYPT: &str = "$6$saltsalt12345678$w3sZA6VJtFFvAJjkdaAyvssHbt./2Brchkp1xFdUZhiR/XqFpDRaYFS4LH7lTqimlHijcvN.XldDcjzJ/EIuP1";
const SHA256_CRYPT: &str = "$5$saltsalt$bVMIEDNN87.khG4ZbmZygn0mrfe/q6JlzMpVZvnX4BD";
const SHA512_CRYPT_ROUNDS: &str = "$6$rounds=10000$saltsaltsalt$.nYpfFI0VSVCfOp0yhSHYMzkNaitQvW4GVxNYN1.Dg/D8lVDtHZNdjh4/j9CAv1btg30EQl1BfuMYwauumd8M.";
const SHA512_CRYPT_LABELLED: &str = "{SHA512-CRYPT}$6$saltsalt12345678$w3sZA6VJtFFvAJjkdaAyvssHbt./2Brchkp1xFdUZhiR/XqFpDRaYFS4LH7lTqimlHijcvN.XldDcjzJ/EIuP1";
const MEDIAWIKI: &str = ":pbkdf2:sha512:30000:64:AAECAwQFBgcICQoLDA0ODw==:MjeJrpQ/fUVk16IiBEX2zXQinjj5nz5AV3U+5XkmZhkKXA/pxVQqTXnsnRbj9sgVbgB+qMxivL4Y2wM8JcSW4A==";
const SSHA: &str = "{SSHA}Tx0avw2ggGBuiZrpSNo7P2f3ElMAAQIDBAUGBw==";
const SSHA256: &str = "{ssha256}Lx8+QmAtn2BoRMpmfBGgbrIYy7ZfrDu+P6Xov1pH4MYAAQIDBAUGBw==";
const DJANGO_SHA1: &str = "pbkdf2_sha1$5000$saltsaltsalt$GbX3kVtyTaQ2BaZJLB9kTiQ4LOU=";
const PASSLIB_SHA1: &str = "$pbkdf2$4000$AAECAwQFBgcICQoLDA0ODw$0dUp5BdgqRVHj626ytJMiGmjdTI";
const KRATOS_SCRYPT: &str = "$scrypt$ln=16384,r=8,p=1$AAECAwQFBgcICQoLDA0ODw==$IvNCglQwruHhrndevBFmNaU2qkV7DQ/WMfxIaZIivxU=";
const KRATOS_FIREBASE: &str = "$firescrypt$ln=14,r=8,p=1$AAECAwQFBgcICQoLDA0ODw==$8p8vZCOSNNK/7Oh8bbUyTmdoTSCgWvksOz8QnU05caOxeODmdSbu88/toKFXTRTOtjfnKxqs23lZB7QcRcf+dg==$Bw==$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";

/// The hashes that each library made of [`PASSWORD`], with the kind that is stored beside each.
const MADE: [(&str, &str, &str); 39] = [
    (
        "Django 5.2",
        "pbkdf2_sha256$1000000$AkJKn36CeYKRYS7xA5DVwy$kb3IRi4lVSdj+5kikDVudYotiyRa2FtLtigsMCJKlEc=",
        "$pbkdf2-sha256$1000000",
    ),
    (
        "Django, argon2",
        "argon2$argon2id$v=19$m=102400,t=2,p=8$VzVIbVQ5bFo5V2g4WExMNGZCTzE3dA$Nfo/DrAGxTvT02PfF2gU9xmysaX9am27rLIY+QfsA/k",
        "$argon2id$v=19$m=102400,t=2,p=8",
    ),
    (
        "Django, bcrypt",
        "bcrypt$$2b$12$vhoI/DASab9mlHTi3oF4uu480kDjlhft7pP1hI2aG9Y/8E73GoLk2",
        "$2b$12",
    ),
    (
        "Django, bcrypt_sha256",
        "bcrypt_sha256$$2b$12$jI91e44vcPMLgfifY1hYCeKiXYIURWJ81iC6xAo4qai5m9rrBVT..",
        "$2b$12",
    ),
    (
        "Django, scrypt",
        "scrypt$16384$ph2F8gYEo6RZUEmbd0cGSc$8$5$MfeVfts/5Wdg8rFMPEEvv9s11bN/0/pui58/b5EnNYK4g+Gm/vAU//29H5njjjX7ISZQoH5rcV8mWIBE9WJ41g==",
        "$scrypt$ln=14,r=8,p=5",
    ),
    (
        "Werkzeug 3.1",
        "scrypt:32768:8:1$7CuwsKOBtxzYrEVj$ddb5aade15c130e08dda96e94eb132c24b1f9e3441580bf06cc6fac8f69fd86e267358e18f6646bd888571c12bff7a1bf128cbe338f88e7bd71e0f3fba71aef9",
        "$scrypt$ln=15,r=8,p=1",
    ),
    (
        "Werkzeug, PBKDF2",
        "pbkdf2:sha256:1000000$w8aUe90JJvD1URql$a807ad699177e38479c3b2d667f85ebf640b758c8f3068439d010f21f9e405c9",
        "$pbkdf2-sha256$1000000",
    ),
    (
        "passlib, PBKDF2",
        "$pbkdf2-sha256$29000$JQQAIMT4H2NMac05JyQEoA$6cVhlWakSuliTHTvzKlMfd/eU7bJT3WHQ2Qu21362Hc",
        "$pbkdf2-sha256$29000",
    ),
    (
        "passlib, PBKDF2 with SHA-512",
        "$pbkdf2-sha512$25000$wpjznvNeS8mZU4oRgtAaQw$NV2xBsqG1OJL9kJWriKeKteVzvuqQ..RBYfudNdDK2oQ9Dl57rtbambnRBcQfDTN3T0CJrgWUzmGAj2OTzgJkg",
        "$pbkdf2-sha512$25000",
    ),
    (
        "passlib, argon2",
        "$argon2id$v=19$m=65536,t=3,p=4$HgOgdA4hxPhfi/Eeo9T6/w$nzWfiKJuTQTb3jyWGm4Fp3sdSFhEqFYFpoNBhx2nBX4",
        "$argon2id$v=19$m=65536,t=3,p=4",
    ),
    (
        "passlib, bcrypt_sha256",
        "$bcrypt-sha256$v=2,t=2b,r=12$KWHxnCOI0yucl1zkSasv8O$zgZD7MADKox4zEnJ0HrSjNrwx7ZJRd.",
        "$2b$12",
    ),
    (
        "passlib, scrypt",
        "$scrypt$ln=16,r=8,p=1$uzcmRMjZm/Oes9b637v3fg$F3F/I+YsAybH2htS7WqEBQoXHICNxp4/T7t3vxlv3C0",
        "$scrypt$ln=16,r=8,p=1",
    ),
    (
        "npm argon2",
        "$argon2id$v=19$m=65536,p=4,t=3$8eF3jWbFrIfPNp3SjAgB0A$s9J1g1FfHsVdIVBvPAmO06LWCt542pFIXVCf6ZvPGn4",
        "$argon2id$v=19$m=65536,t=3,p=4",
    ),
    (
        "npm argon2, associated data",
        "$argon2id$v=19$m=65536,p=4,t=3,data=Y3R4$Fm8XOy0HjXB653A2kGReGQ$gb5TOvbB5WDYmLIqAFd403oYmAoaCNcPOaBiI01/6pI",
        "$argon2id$v=19$m=65536,t=3,p=4",
    ),
    (
        "@node-rs/argon2",
        "$argon2id$v=19$m=19456,t=2,p=1$sLS9vUOzssY3Yju7zZmPpw$RvfJl5m+sb6H6SX7ysvadZt4r07+vpUeO+A0RouSeTY",
        "$argon2id$v=19$m=19456,t=2,p=1",
    ),
    (
        "Better Auth",
        "6e2a1b84a206eacf1b10e4217dc2c077:032a72c5b7ae5bab313b1653ec39ed83160781717adb4a7d9b520350cdfdf579a55b5d919f950288d90e3f8e9771b4827e6259bd94138526c49136099b1b9c6f",
        "$scrypt$ln=14,r=16,p=1",
    ),
    (
        "WordPress 6.8",
        "$wp$2y$10$5x7LKgkdiRykgZpX0xphteWgw1SKbeJszbckr6N1UP6WNQ7b/4n2O",
        "$2b$10",
    ),
    (
        "WordPress 6.1",
        "$P$B3Ez99i62EzKQGAUMCY73TqWG8fHJn.",
        "$phpass-md5$13",
    ),
    (
        "phpBB",
        "$H$B3Ez99i62EzKQGAUMCY73TqWG8fHJn.",
        "$phpass-md5$13",
    ),
    (
        "Dovecot, argon2",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$pOHXPI4h8A6R+Q06zDximA$QD5h3nc1A8MgKMGLG42zJRNvPOs4xj0FArEHbBjs1xo",
        "$argon2id$v=19$m=65536,t=3,p=1",
    ),
    (
        "Dovecot, PBKDF2",
        "{PBKDF2}$1$CY5wbilNy2ulBvyt$5000$9c94e1d1994134ffe104eece8206a5ce791e20b4",
        "$pbkdf2-sha1$5000",
    ),
    (
        "OpenLDAP, argon2",
        "{ARGON2}$argon2i$v=19$m=4096,t=3,p=1$PYbm+544zI+18DYQmgZzow$0j4uCbLSalspNtXTrs0gLQEBpyW9dLiw+mK3Gu3T3yU",
        "$argon2i$v=19$m=4096,t=3,p=1",
    ),
    (
        "OpenLDAP, salted SHA-512",
        "{SSHA512}M/G1QoT8S1hXek7JLsc1zqNVUoOcIziq0YkD4RNuWkkPXb54cnajSePQgBTm5dbHuKiOBUX+6xS/Nc9C6YOZ88hMNqnxhNYm",
        "$digest$sha512",
    ),
    (
        "Keycloak 26, rewritten",
        "$argon2id$v=19$m=7168,t=5,p=1$AAECAwQFBgcICQoLDA0ODw$70MX1lTmq5oyT5wMA6CjNuzhK8f3KRxUAS/fGb03eZ8",
        "$argon2id$v=19$m=7168,t=5,p=1",
    ),
    (
        "ASP.NET Core Identity 3, SHA-512",
        "AQAAAAIAAYagAAAAEAABAgMEBQYHCAkKCwwNDg9DEYj9mco55YooF7WwyKi2+/up0/GhQ+/Iz73jUo70Bg==",
        "$pbkdf2-sha512$100000",
    ),
    (
        "ASP.NET Core Identity 3, SHA-256",
        "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg9KgoVleUKerTaM5tDC2X7oqzRG9o1k5VF2CFEjV+en0g==",
        "$pbkdf2-sha256$10000",
    ),
    (
        "ASP.NET Core Identity 2",
        "AAABAgMEBQYHCAkKCwwNDg8DhyYaen/Se+iJdPdJm377gAa4k4I9OH8e6SmqT6EjZg==",
        "$pbkdf2-sha1$2000",
    ),
    (
        "Drupal 7",
        "$S$D12345678VipQHVpOV446dVzg163SToE5E6WD4py5YVIACqOJN2v",
        "$phpass-sha512$15",
    ),
    // Made with Python's `hashlib` and with `openssl passwd`, in the layout of each.
    ("SHA-512-crypt", SHA512_CRYPT, "$sha512-crypt$5000"),
    (
        "SHA-512-crypt, rounds",
        SHA512_CRYPT_ROUNDS,
        "$sha512-crypt$10000",
    ),
    ("SHA-256-crypt", SHA256_CRYPT, "$sha256-crypt$5000"),
    (
        "SHA-512-crypt, labelled",
        SHA512_CRYPT_LABELLED,
        "$sha512-crypt$5000",
    ),
    ("MediaWiki", MEDIAWIKI, "$pbkdf2-sha512$30000"),
    ("LDAP, salted SHA-1", SSHA, "$digest$sha1"),
    ("LDAP, salted SHA-256", SSHA256, "$digest$sha256"),
    (
        "Django, PBKDF2 with SHA-1",
        DJANGO_SHA1,
        "$pbkdf2-sha1$5000",
    ),
    (
        "passlib, PBKDF2 with SHA-1",
        PASSLIB_SHA1,
        "$pbkdf2-sha1$4000",
    ),
    ("Kratos, scrypt", KRATOS_SCRYPT, "$scrypt$ln=14,r=8,p=1"),
    ("Kratos, Firebase", KRATOS_FIREBASE, "$scrypt$ln=14,r=8,p=1"),
];

#[test]
fn a_hash_of_another_library_is_taken_and_opens_for_its_password_alone() {
    for (service, text, kind) in MADE {
        let taken = read_foreign(text, &config()).unwrap_or_else(|why| panic!("{service}: {why}"));
        let taken = taken.unwrap_or_else(|| panic!("{service}: there is a password"));
        assert_eq!(taken.kind().as_str(), kind, "{service}");
        let stored = taken.hash().expose();
        assert!(text.ends_with(stored), "{service}");
        assert!(matches(stored, PASSWORD), "{service}");
        assert!(!matches(stored, "violet-anvil-67"), "{service}");
    }
}

#[test]
fn firebases_own_vector_opens() {
    let project = FirebaseProject {
        signer_key: "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
            .to_owned(),
        salt_separator: "Bw==".to_owned(),
        rounds: 8,
        mem_cost: 14,
    };
    assert_eq!(format!("{project:?}"), "FirebaseProject(…)");
    let hash =
        "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
    let stored = project.stored(hash, "42xEC+ixf3L2lw==");
    let web_safe = project.stored(&hash.replace('/', "_").replace('+', "-"), "42xEC-ixf3L2lw");
    assert_eq!(stored, web_safe);
    assert!(matches(&stored, "user1password"));
    assert!(!matches(&stored, "user2password"));
}

#[test]
fn keycloaks_credentials_become_strings_that_are_read() {
    let argon2 = r#"{"hashIterations":5,"algorithm":"argon2","additionalParameters":{"hashLength":["32"],"memory":["7168"],"type":["id"],"version":["1.3"],"parallelism":["1"]}}"#;
    let sha512 =
        r#"{"hashIterations":210000,"algorithm":"pbkdf2-sha512","additionalParameters":{}}"#;
    let sha256 = r#"{"hashIterations":27500,"algorithm":"pbkdf2-sha256"}"#;
    for (value, data) in [
        ("70MX1lTmq5oyT5wMA6CjNuzhK8f3KRxUAS/fGb03eZ8=", argon2),
        (
            "X6tyW5oc4Pw1BZHuw5jOPX/JgRp2ChoGFS3FWZkWc7WGdqT9AHzmqA5bgROCXyBfBGM/25URnDu8ERB7UN6ojw==",
            sha512,
        ),
        (
            "KxIKYpkfQSuxq58NjAOwIQD+WqPnWVxln+kpaGWyHngAiaRrKS7snVHTiTdrqsFAEtBxc0jiBxC7n1t4wLcxaQ==",
            sha256,
        ),
    ] {
        let secret = format!(
            r#"{{"value":"{value}","salt":"AAECAwQFBgcICQoLDA0ODw==","additionalParameters":{{}}}}"#
        );
        let stored = read_keycloak(&secret, data).unwrap();
        assert!(matches(&stored, PASSWORD), "{stored}");
    }
    let refused = |secret: &str, data: &str| read_keycloak(secret, data).unwrap_err().to_string();
    let secret = r#"{"value":"AAAA","salt":"AAAA"}"#;
    for (told, secret, data) in [
        (
            "Keycloak: it is not the JSON that this service writes",
            "{}",
            sha256,
        ),
        (
            "Keycloak: its version is not known",
            secret,
            r#"{"hashIterations":1,"algorithm":"sha3"}"#,
        ),
        (
            "Keycloak: type is missing",
            secret,
            r#"{"hashIterations":1,"algorithm":"argon2"}"#,
        ),
        (
            "Keycloak: the salt is not base64 as this format has it",
            r#"{"value":"AAAA","salt":"?"}"#,
            sha256,
        ),
    ] {
        assert_eq!(refused(secret, data), told);
    }
}

/// WordPress hashes `it\'s` for a form that sends ` it's `.
#[test]
fn a_password_of_wordpress_is_taken_as_its_form_sent_it() {
    let stored = "$P$612345678DgdHF9bhPN2DI/J0kua8w/";
    assert!(matches(stored, "it's"));
    assert!(matches(stored, " it's\n"));
    assert!(!matches(stored, "its"));
    // Characters that were typed beside it do not become part of the password.
    assert!(hash(stored).cuts(b" it's"));
    assert!(!hash(stored).cuts(b"it's"));
}

#[test]
fn a_text_that_says_that_no_password_is_right_is_no_hash() {
    for text in [
        "!",
        "!!",
        "*",
        "*LK*",
        "!V9rBRpPVKfRjMZUYWGDNVZzY0p6C6aGMGRjd7Szr",
        "{CRYPT}*",
    ] {
        assert!(matches!(read_foreign(text, &config()), Ok(None)), "{text}");
    }
}

const SALT: &str = "c29tZXNhbHRzb21lc2FsdA";
const HASH: &str = "PGnVoCdKU3NrS0rdJ4bQkAFYR6pk1CuiXvOvIJ+gJFs";

/// Texts that are refused, and why.
const REFUSED: [(&str, &str); 18] = [
    ("", "is empty; null says that there is no password"),
    ("secret", "not a hash of a known format"),
    (
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "not a hash of a known format",
    ),
    ("$1$abc$def", "md5-crypt is not taken"),
    ("$y$j9T$abc$def", "yescrypt is not taken"),
    (
        "{sha}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "a digest without a salt is not taken",
    ),
    (
        "{CRYPT}$1$abc$def",
        "what stands behind {CRYPT} is not taken",
    ),
    (
        "$2x$10$abc",
        "bcrypt with the fault that $2x$ stands for is not taken",
    ),
    (
        "$2y$10$short",
        "bcrypt: bcrypt's text must be 60 to 60 bytes long, and has 12",
    ),
    (
        "$argon2id$v=19$m=64,t=1,p=1",
        "argon2: it has not the parts of this format",
    ),
    (
        "$argon2x$v=19$m=64,t=1,p=1$s$h",
        "argon2: its version is not known",
    ),
    (
        "pbkdf2:sha256$salt$00",
        "Werkzeug's PBKDF2: iterations is missing",
    ),
    (
        "pbkdf2_md5$1$salt$AAAA",
        "Django's PBKDF2: its version is not known",
    ),
    (
        "scrypt:32767:8:1$salt$00",
        "Werkzeug's scrypt: N is not a power of two",
    ),
    (
        "scrypt:32768:8:1$salt$0g",
        "Werkzeug's scrypt: the hash is not hexadecimal",
    ),
    (
        "{SSHA}AAAA",
        "LDAP's salted digest: it has not the parts of this format",
    ),
    (
        "$6$rounds=10$salt$hash",
        "SHA-crypt: rounds must be between 1000 and 999999999",
    ),
    (
        "$P$.12345678",
        "phpass: its text must be 34 to 34 bytes long, and has 12",
    ),
];

/// Why a text is refused; `None` if it is taken.
fn told(text: &str) -> Option<String> {
    read_foreign(text, &config())
        .err()
        .map(|refusal| refusal.to_string())
}

#[test]
fn each_refused_text_is_refused_for_its_reason() {
    for (text, expected) in REFUSED {
        assert_eq!(told(text).as_deref(), Some(expected), "{text}");
    }
}

/// Hashes of Argon2, and why each is refused; `None` if it is taken.
fn hashes_of_argon2() -> [(String, Option<&'static str>); 16] {
    let argon2 = |parameters: &str| format!("$argon2id$v=19${parameters}${SALT}${HASH}");
    [
        (argon2("m=64,t=1"), None),
        (argon2("t=1,p=1"), Some("argon2: m is missing")),
        (argon2("m=64,p=1"), Some("argon2: t is missing")),
        (
            argon2("m=64,t=1,p=1,m=64"),
            Some("argon2: m stands there twice"),
        ),
        (
            argon2("m=64,t=1,p=1,x=1"),
            Some("argon2: it has a parameter that is not known"),
        ),
        (argon2("m=31,t=1,p=4"), Some("argon2: m is below 8 times p")),
        (
            argon2("m=64,t=0,p=1"),
            Some("argon2: t must be between 1 and 4294967295"),
        ),
        (
            argon2("m=064,t=1,p=1"),
            Some("argon2: m is not a whole number"),
        ),
        (
            argon2("m=64,t=11,p=1"),
            Some("its cost is too high: t is 11, and at most 10 is taken"),
        ),
        (
            argon2("m=262144,t=1,p=1"),
            Some("it takes 256 MiB to check, and passwords.imported_memory_mib is 128"),
        ),
        (
            format!("{}=", argon2("m=64,t=1,p=1")),
            Some("argon2: the hash has padding (=), which this format does not have"),
        ),
        (
            format!("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ=${HASH}"),
            Some("argon2: the salt has padding (=), which this format does not have"),
        ),
        (
            format!("$argon2id$v=19$m=64,t=1,p=1${}${HASH}", "A".repeat(68)),
            Some("argon2: the salt must be 8 to 48 bytes long, and has 51"),
        ),
        (
            format!("{}\n", argon2("m=64,t=1,p=1")),
            Some("a space or a line break stands before it, in it or behind it"),
        ),
        (
            format!("$argon2id$v=18$m=64,t=1,p=1${SALT}${HASH}"),
            Some("argon2: its version is not known"),
        ),
        (format!("$argon2id$m=64,t=1${SALT}${HASH}"), None),
    ]
}

#[test]
fn a_hash_of_a_known_format_is_refused_for_what_is_wrong_with_it() {
    let others = [
        (
            "$2b$14$vhoI/DASab9mlHTi3oF4uu480kDjlhft7pP1hI2aG9Y/8E73GoLk2".to_owned(),
            Some("its cost is too high: the cost is 14, and at most 13 is taken"),
        ),
        ("x".repeat(1025), Some("longer than 1024 bytes")),
        (
            format!("pbkdf2_sha256$2000001$salt${HASH}="),
            Some("Django's PBKDF2: the iterations must be between 1 and 2000000"),
        ),
        (
            format!("$scrypt$ln=18,r=8,p=1${SALT}${HASH}"),
            Some("it takes 257 MiB to check, and passwords.imported_memory_mib is 128"),
        ),
        (
            format!("$scrypt$ln=17,r=8,p=8${SALT}${HASH}"),
            Some("its cost is too high: N·r·p is 8388608, and at most 4194304 is taken"),
        ),
    ];
    for (text, expected) in hashes_of_argon2().into_iter().chain(others) {
        assert_eq!(told(&text).as_deref(), expected, "{text}");
    }
}

#[test]
fn the_bound_on_memory_is_the_operators() {
    let text = format!("$argon2id$v=19$m=262144,t=1,p=1${SALT}${HASH}");
    let too_large = UnsupportedHash::TooLarge {
        needs_mib: 256,
        budget_mib: 128,
    };
    assert_eq!(refusal(&text), too_large);
    for (memory_kib, imported_memory_mib) in [(64, 256), (262_144, 0)] {
        let config = PasswordsConfig {
            memory_kib,
            imported_memory_mib,
            ..config()
        };
        assert!(read_foreign(&text, &config).is_ok(), "{memory_kib}");
    }
    let malformed = refusal("$argon2id$v=19$m=64,t=1,p=1$c2FsdA$");
    let flaw = Flaw::Length {
        what: "the salt",
        least: 8,
        most: 48,
        bytes: 4,
    };
    assert_eq!(
        malformed,
        UnsupportedHash::Malformed {
            format: "argon2",
            flaw
        }
    );
}

/// Hashes of [`PASSWORD`] that take no time, one of each layout.
const CHEAP: [&str; 8] = [
    "$2b$04$OsyCxeJjTYepxGvpzPwXKurZEiLg/a9R0NnrC57Ev0BhvFJYxG1Se",
    "{SSHA512}M/G1QoT8S1hXek7JLsc1zqNVUoOcIziq0YkD4RNuWkkPXb54cnajSePQgBTm5dbHuKiOBUX+6xS/Nc9C6YOZ88hMNqnxhNYm",
    "$P$B3Ez99i62EzKQGAUMCY73TqWG8fHJn.",
    DJANGO_SHA1,
    PASSLIB_SHA1,
    SHA512_CRYPT,
    "AAABAgMEBQYHCAkKCwwNDg8DhyYaen/Se+iJdPdJm377gAa4k4I9OH8e6SmqT6EjZg==",
    "{PBKDF2}$1$CY5wbilNy2ulBvyt$5000$9c94e1d1994134ffe104eece8206a5ce791e20b4",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// But for the letters that two layouts or both cases of a digit share.
    #[test]
    fn a_hash_with_one_character_changed_is_refused_or_opens_for_nobody(
        which in 0..CHEAP.len(),
        place: prop::sample::Index,
        other in "[ -~]",
    ) {
        let made = CHEAP[which];
        let place = place.index(made.len());
        let mut changed = made.to_owned();
        changed.replace_range(place..=place, &other);
        let same = changed.eq_ignore_ascii_case(made)
            || (made.starts_with("$2b$") && place == 2)
            || (made.starts_with("$P$") && place == 1);
        if let Ok(Some(read)) = read_foreign(&changed, &config()) {
            prop_assert!(same || !matches(read.hash().expose(), PASSWORD), "{changed}");
        }
    }

    #[test]
    fn a_hash_with_a_piece_missing_is_refused_or_opens_for_nobody(
        which in 0..CHEAP.len(),
        from: prop::sample::Index,
        to: prop::sample::Index,
    ) {
        let made = CHEAP[which];
        let (from, to) = (from.index(made.len()), to.index(made.len()));
        let (from, to) = (from.min(to), from.max(to));
        let mut cut = made.to_owned();
        cut.replace_range(from..=to, "");
        if let Ok(Some(read)) = read_foreign(&cut, &config()) {
            prop_assert!(!matches(read.hash().expose(), PASSWORD), "{cut}");
        }
    }

    #[test]
    fn a_pbkdf2_hash_that_is_made_as_a_library_makes_it_opens(
        iterations in 1_u32..50,
        salt in "[A-Za-z0-9]{16,64}",
        password in "\\PC{1,40}",
    ) {
        let rounds = std::num::NonZeroU32::new(iterations).unwrap();
        let mut hash = [0; 32];
        let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
        aws_lc_rs::pbkdf2::derive(algorithm, rounds, salt.as_bytes(), password.as_bytes(), &mut hash);
        let base64 = |bytes: &[u8]| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(bytes)
        };
        let adapted = |bytes: &[u8]| base64(bytes).replace('+', ".").replace('=', "");
        let hex: String = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        let salt_len = u32::try_from(salt.len()).unwrap();
        let parts = [1, iterations, salt_len].map(u32::to_be_bytes).concat();
        let identity = [&[1], &parts[..], salt.as_bytes(), &hash].concat();
        for text in [
            format!("pbkdf2_sha256${iterations}${salt}${}", base64(&hash)),
            format!("pbkdf2:sha256:{iterations}${salt}${hex}"),
            format!("$pbkdf2-sha256${iterations}${}${}", adapted(salt.as_bytes()), adapted(&hash)),
            format!(":pbkdf2:sha256:{iterations}:32:{}:{}", base64(salt.as_bytes()), base64(&hash)),
            base64(&identity),
        ] {
            let read = read_foreign(&text, &config());
            prop_assert!(matches!(&read, Ok(Some(_))), "{text} {read:?}");
            prop_assert!(matches(&text, &password), "{text}");
        }
    }

    #[test]
    fn an_argon2_hash_opens_whatever_its_parameters_are(
        (lanes, blocks, passes) in (1_u32..4, 8_u32..16, 1_u32..3),
        salt in prop::collection::vec(any::<u8>(), 8..=48),
        len in 10_usize..=64,
        order in Just(vec![0, 1, 2]).prop_shuffle(),
    ) {
        use argon2::{Algorithm, Argon2, Params, Version};
        use base64::Engine as _;
        let memory = lanes * blocks;
        let params = Params::new(memory, passes, lanes, None).unwrap();
        let mut hash = vec![0; len];
        Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
            .hash_password_into(PASSWORD.as_bytes(), &salt, &mut hash)
            .unwrap();
        let named = [format!("m={memory}"), format!("t={passes}"), format!("p={lanes}")];
        let parameters: Vec<&str> = order.iter().map(|place| named[*place].as_str()).collect();
        let [salt, hash] = [salt, hash].map(|b| base64::engine::general_purpose::STANDARD_NO_PAD.encode(b));
        let text = format!("$argon2i$v=19${}${salt}${hash}", parameters.join(","));
        let read = read_foreign(&text, &config());
        prop_assert!(matches!(&read, Ok(Some(_))), "{text} {read:?}");
        prop_assert!(matches(&text, PASSWORD), "{text}");
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,120}", which in 0..MADE.len(), at: prop::sample::Index) {
        let _ = read_foreign(&text, &config());
        let (_, made, _) = MADE[which];
        let _ = read_foreign(&format!("{}{text}", &made[..at.index(made.len())]), &config());
    }
}
