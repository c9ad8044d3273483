//! Rules that hold for any input, as functions that panic where they do not hold.
//!
//! Each takes bytes that anybody could have sent. libFuzzer calls them (`fuzz_targets`), and so does
//! the ordinary suite (`tests/properties.rs`): with one input of each shape (`corpus`), and with
//! random changes to them. An oracle here never repeats the code that it judges: it says the same in
//! other terms.

pub mod argon2;
pub mod authorization;
pub mod body;
pub mod email;
pub mod forwarded;
pub mod hash;
pub mod passkey;
pub mod token;

/// A property of outside input.
pub type Property = fn(&[u8]);

/// All of them. A name is that of the target and of its folder in `corpus`.
pub const PROPERTIES: [(&str, Property); 8] = [
    ("argon2", argon2::holds),
    ("authorization", authorization::holds),
    ("body", body::holds),
    ("email", email::holds),
    ("forwarded", forwarded::holds),
    ("hash", hash::holds),
    ("passkey", passkey::holds),
    ("token", token::holds),
];
