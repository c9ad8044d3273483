//! The endpoints, a file for each: request, response, handler, and the examples of its description.

pub mod administration;
pub mod confirm;
pub mod factors;
pub mod health;
pub mod introspect;
pub mod me;
pub mod metrics;
pub mod openapi;
pub mod passkeys;
pub mod password;
pub mod refresh;
pub mod revocations;
mod sample;
pub mod session;
pub mod sessions;
pub mod signin;
pub mod signout;
pub mod tokens;
pub mod verify;
pub mod well_known;
