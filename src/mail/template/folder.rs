//! The files in an operator's folder.

use std::fs;
use std::path::Path;

use super::set::MAX_BYTES;
use crate::mail::problem::MailProblem;

/// The names in a folder, sorted. Hidden files are left out: Kubernetes and editors keep theirs there.
pub(super) fn files(folder: &Path) -> Result<Vec<String>, MailProblem> {
    let unreadable = |error: std::io::Error| MailProblem::Folder {
        folder: folder.to_owned(),
        told: error.to_string(),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The contents of a template's file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if usize::try_from(length).is_ok_and(|length| length <= MAX_BYTES) {
        fs::read_to_string(path).map_err(unreadable)
    } else {
        Err(format!("is larger than {MAX_BYTES} bytes"))
    }
}
