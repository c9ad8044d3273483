//! Extractors: the parts of a request that handlers take before they run, its body, its credentials, its
//! client.

pub mod administrator;
pub mod basic;
pub mod bearer;
pub mod body;
pub mod client;
