//! What handlers take from a request before they run: its body, its credentials, its client.

pub mod basic;
pub mod bearer;
pub mod body;
pub mod client;
