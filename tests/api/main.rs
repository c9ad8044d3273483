//! The server from the outside: real HTTP, a real PostgreSQL with a database for each test, real
//! SMTP to a mailbox. Each test is a sentence that clients may rely on.
//!
//! Nothing here sleeps to let things happen: time passes because the rows in the database are made
//! older ([`support::TestApp::age`]) or the process clock is moved, and a test waits only for
//! events, with a time limit.

#![cfg(feature = "dev")]
#![expect(unreachable_pub, reason = "a test has no outside to hide from")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod support;

#[path = "../authenticator/mod.rs"]
mod authenticator;

mod abuse;
mod account;
mod administration;
mod agreement;
mod ceilings;
mod cli;
mod confirm;
mod connections;
mod doctor;
mod explain;
mod factors;
mod feed;
mod forgeries;
mod grace;
mod import;
mod keys;
mod late;
mod legacy;
mod lifecycle;
mod limits;
mod links;
mod log;
mod mail;
mod metrics;
mod notices;
mod operators;
mod outage;
mod page;
mod passkeys;
mod purge;
mod races;
mod refresh;
mod refusals;
mod requests;
mod roles;
mod secrets;
mod services;
mod signin;
mod signout;
mod supervisor;
mod tokens;
