//! The layers that requests pass, a file for each, with its reason. [`stack`](super::stack) says in
//! which order.

pub mod access_log;
pub mod bounds;
pub mod cors;
pub mod fallback;
pub mod flood;
pub mod harden;
pub mod identify;
pub mod origin;
pub mod unreadable;
