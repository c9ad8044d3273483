//! A private PostgreSQL, a mailbox in place of a mail server and, for the demo, a page to sign in on. A first
//! run and the tests need them, and production does not: they are behind the feature `dev`. All of them
//! listen on loopback alone and leave nothing running.

mod cluster;
mod demo;
mod mailbox;
mod signin_page;

pub use cluster::{Cluster, ClusterError, Durability, Programs, Version};
pub use demo::{Demo, Workshop};
pub use mailbox::{Behaviour, Mailbox, ReceivedMail, Recipients};
