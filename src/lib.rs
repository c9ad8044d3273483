//! The Back Office auth server: passwords, mailed codes, sessions and RS256 tokens.
//!
//! This page is the map. `README.md` says how to run it, `docs/design.md` why it is built so.
//!
//! # Layers
//!
//! ```text
//! main -> cli -> app -> { http  workers } -> { admin  serve } -> auth -> { store  mail  token  password  passkey  limits } -> config -> domain
//! ```
//!
//! A module uses the modules to its right and never those to its left. Modules in braces do
//! not know each other. [`telemetry`] stands beside [`config`]: every module to the left of it may
//! log and count. [`cli`], [`app`] and [`dev`] put things together and may use everything.
//! `tests/policy` reads the sources and keeps this true.
//!
//! | module | purpose | the library that lives there and nowhere else |
//! |---|---|---|
//! | [`cli`] | one file per family of commands: parse, call, print | `clap` |
//! | [`app`] | from a configuration to a running server, and back to nothing | |
//! | [`dev`] | a private PostgreSQL, a mailbox and demo users, for a first run and for tests | |
//! | [`http`] | routes, layers, refusals; a file per endpoint | `axum`, `tower` |
//! | [`workers`] | loops beside the requests: mail, ended sessions, keys, kinds of hashes, the heartbeat, measuring, purging | |
//! | [`serve`] | connections and sockets: accepting, clocks, draining; no route | `hyper` |
//! | [`admin`] | the acts of operators: users, imports, keys, explanations; one facade, the actor in each call | |
//! | [`auth`] | the use cases of people who sign in; they know neither HTTP nor SQL | |
//! | [`store`] | the database: a file per table, a statement per function | `sqlx` |
//! | [`mail`] | the text of a mail, and its delivery | `lettre` |
//! | [`token`] | issuing and verifying tokens, the key ring | `jsonwebtoken` |
//! | [`password`] | the hashing pool and the hash formats | `argon2`, `argon2-rust`, `bcrypt`, `scrypt`, `sha_crypt`, `md5` |
//! | [`passkey`] | verifying passkeys | `ciborium` |
//! | [`limits`] | the keys by which attempts are counted, the flood limiter | `governor` |
//! | [`config`] | reading and checking the settings | |
//! | [`domain`] | the vocabulary: types and rules without input, output or waiting | |
//! | [`telemetry`] | log lines, metrics and traces | `metrics`, `opentelemetry` |
//!
//! # The life of a request
//!
//! 1. [`serve`] accepts a connection, and makes room for it if all places are taken. The
//!    clocks of that connection (head, idle, write, answer) are in the same room.
//! 2. [`http::stack`] has the layers that every request passes. From the outside in: the client is recognised
//!    and the request gets its id ([`http::extract::client`]), the answer's headers are hardened, the line
//!    for the log is opened ([`http::layers::access_log`]), panics are caught, a request without exactly one
//!    host is refused, and its time with the database is bounded. All routes but `/auth/verify` also
//!    pass CORS, the look at the origin of a page ([`http::layers::origin`]) and the bound on bodies.
//! 3. The router of [`http::public_router`] picks the endpoint. A route that needs no token has a flood
//!    gate in front ([`http::layers::flood`]); it refuses before the body is read.
//! 4. The endpoint's handler extracts ([`http::extract::body`], [`http::extract::bearer`]), calls one method of
//!    [`auth::Auth`], and converts what comes back. That is all that a handler does.
//! 5. The use case reserves an attempt in [`store`] before it looks at anything, then checks: a
//!    password in the [`password`] pool, a code by its HMAC, a token with [`token`]. Changes
//!    that belong together are made in one [`store::Tx`], their line in the audit log included. A race is decided
//!    by the `WHERE` of a statement. A mail is put into the outbox; a worker sends it later.
//! 6. A success becomes JSON in the handler. A refusal is a variant of the use case's own error
//!    enum, and `http/error.rs` alone turns it into a [`http::problem::Problem`]: the part
//!    that the caller may know goes into the body, the cause goes to the log.
//! 7. On the way out the layers of step 2 add their headers, write the body of a problem with the
//!    request's id in it, and close the line in the log.
//!
//! # How to add an endpoint
//!
//! 1. The words: types and pure rules in [`domain`], with their table of cases beside them.
//! 2. The data: a migration (forward only) and one function per statement in the table's file in
//!    [`store`]. Run `.ci/sqlx` and commit what it writes into `.sqlx`.
//! 3. The use case: a file in [`auth`] with a method on [`auth::Auth`] and an error enum whose
//!    variants name reasons, not statuses. An operator's act is a method on [`admin::Admin`] instead.
//! 4. The wire: a file in [`http::endpoints`] with request, response and handler, and the route in
//!    [`http::public_router`], with a flood gate if a stranger can call it.
//! 5. The refusals: a `From<…Error> for Problem` in `http/error.rs`. It has no `_` arm: each reason
//!    is decided on. A new code is a variant of [`http::problem::Code`].
//! 6. The tests: a file in `tests/api`, on the real router and a real PostgreSQL.
//! 7. The words for others: the API reference in `README.md`, and `docs/security.md` if something
//!    new is promised. Then `.ci/run`.

pub mod admin;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod domain;
pub mod http;
pub mod limits;
pub mod mail;
pub mod passkey;
pub mod password;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod token;
pub mod workers;
