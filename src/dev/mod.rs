//! What a first run and the tests need and production does not: a private PostgreSQL and a mailbox
//! in place of a mail server; and, for the demo, a page to sign in on. All listen on loopback alone
//! and leave nothing running behind.

mod cluster;
mod demo;
mod mailbox;
mod signin_page;

pub use cluster::{Cluster, ClusterError, Durability, Programs, Version};
pub use demo::{Demo, Workshop};
pub use mailbox::{Behaviour, Mail, Mailbox, Recipients};
