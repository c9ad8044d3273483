//! The `backoffice-auth` program.

fn main() {}
