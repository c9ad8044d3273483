//! The problems that the configuration of mails can have.

use std::path::PathBuf;

/// Everything that is wrong with a configuration by which no mail can be sent, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct MailConfigError(pub(super) Vec<MailProblem>);

/// One thing that is wrong, with the key that has to be changed.
#[derive(Debug, thiserror::Error)]
pub enum MailProblem {
    /// The sender is not an address that mail can come from.
    #[error("mail.from: must be `Name <address>` or an address alone, in ASCII")]
    From,
    /// The authority's certificates cannot be used.
    #[error("{section}.ca_file: names {path:?}, which {told}")]
    CaFile {
        /// The section that describes the relay.
        section: &'static str,
        /// The file that the key names.
        path: PathBuf,
        /// The reason.
        told: String,
    },
    /// TLS cannot be set up.
    #[error("{section}.tls: cannot be set up: {told}")]
    Tls {
        /// The section that describes the relay.
        section: &'static str,
        /// The reason.
        told: String,
    },
    /// The folder with templates cannot be read.
    #[error("mail.templates_dir: {folder:?} cannot be read: {told}")]
    Folder {
        /// The folder that the key names.
        folder: PathBuf,
        /// The reason.
        told: String,
    },
    /// A template cannot be used.
    #[error("mail.templates_dir: {file}: {told}")]
    Template {
        /// The name of its file.
        file: String,
        /// The reason.
        told: String,
    },
}

fn lines(problems: &[MailProblem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
