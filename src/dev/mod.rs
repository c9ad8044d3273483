//! What a first run and the tests need and production does not: a private PostgreSQL and a mailbox
//! in place of a mail server. Both listen on loopback alone and leave nothing running behind.

mod cluster;
mod demo;
mod mailbox;

pub use cluster::{Cluster, ClusterError, Durability, Programs, Version};
pub use demo::{Demo, Workshop};
pub use mailbox::{Behaviour, Mail, Mailbox, Recipients};
