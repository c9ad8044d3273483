//! The rules of this code base, kept by reading it: which module may use which, where each outside
//! library lives, the form of a migration, that the shipped configuration loads, and that the tests
//! which `docs/security.md` names are there.

#![cfg(feature = "dev")]
#![expect(unreachable_pub, reason = "a test has no outside to hide from")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[path = "../api/support/cluster.rs"]
mod cluster;
mod config;
mod layers;
mod libraries;
mod migrations;
mod promises;
mod source;
mod ui;
