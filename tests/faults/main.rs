//! Everything around the server breaks, and nothing may be lost: two instances of the built program
//! on a real PostgreSQL and a real mail relay, under load, while one fault after the other is made.
//!
//! Every request and its answer goes into a [`history`], which is judged afterwards by the pure
//! functions of [`check`]: a request of whose outcome a client cannot be sure (no answer, 503) may
//! have happened or not; every other answer must hold.
//!
//! `cargo test --test faults` is the short form, in which every fault happens once or a few times;
//! `FAULTS=full cargo test --test faults` is the long one. Each test prints a row of figures. The
//! soak is by itself: `cargo test --test faults -- --ignored soak` (`SOAK_MINUTES`, 30). `tests/ha/run` plays
//! [`ha`] in a cluster under Patroni.
//!
//! Where seconds are promised, only those count in which the machine was ours: see [`metronome`].
//!
//! The lengths of faults are the only pauses here; every other wait is for an event with a time limit.
//! Two scenarios run at a time, each with instances, a PostgreSQL and a relay of its own.

#![cfg(feature = "dev")]
#![expect(unreachable_pub, reason = "a test has no outside to hide from")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod actors;
mod check;
mod client;
mod clock;
#[expect(
    dead_code,
    reason = "these tests want a PostgreSQL that keeps its data"
)]
#[path = "../api/support/cluster.rs"]
mod cluster;
mod crashes;
mod exhaustion;
mod failover;
mod figures;
mod form;
mod ha;
mod history;
mod instance;
mod mail;
mod metronome;
mod network;
mod outages;
mod post;
mod postgres;
mod proxy;
mod soak;
mod stalls;
mod watch;
mod world;
