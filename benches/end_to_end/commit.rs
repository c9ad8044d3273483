//! The program as it was at another commit, to be measured beside the present one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// Builds the program of a commit, under `target/tmp`, where the next run finds it.
pub fn build(commit: &str) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(root).args(arguments);
        git
    };
    let found = git(&["rev-parse", "--verify", &format!("{commit}^{{commit}}")]).output()?;
    anyhow::ensure!(found.status.success(), "{commit} is no commit here");
    let id = String::from_utf8(found.stdout)?.trim().to_owned();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commits");
    let program = folder.join(format!("{id}.program"));
    if program.exists() {
        return Ok(program);
    }
    let source = folder.join(&id);
    if !source.exists() {
        let unpacked = folder.join(format!("{id}.new"));
        let _ = fs::remove_dir_all(&unpacked);
        fs::create_dir_all(&unpacked)?;
        let mut archive = git(&["archive", &id]).stdout(Stdio::piped()).spawn()?;
        let from = archive.stdout.take().context("its output is a pipe")?;
        // With the time of now: cargo takes what is older than the last build, of another commit, for built.
        let mut tar = Command::new("tar");
        let done = tar
            .args(["-x", "-m"])
            .current_dir(&unpacked)
            .stdin(from)
            .status()?;
        anyhow::ensure!(done.success() && archive.wait()?.success(), "{id} is read");
        fs::rename(unpacked, &source)?;
    }
    let target = folder.join("target");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bin", "backoffice-auth"])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &target)
        .env("SQLX_OFFLINE", "true")
        .status()?;
    anyhow::ensure!(built.success(), "{id} is built");
    fs::rename(target.join("release/backoffice-auth"), &program)?;
    Ok(program)
}
