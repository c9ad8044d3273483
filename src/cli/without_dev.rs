//! `dev` in a program that was built without it.

use std::path::Path;

pub(super) fn run(_: bool, _: Option<&Path>) -> anyhow::Result<()> {
    anyhow::bail!(
        "this program was built without `dev`; run `cargo run -- dev` in a clone of its source"
    )
}
