//! How a connection to a relay is protected.

use std::fs;
use std::path::Path;

use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};

use crate::config::{SmtpConfig, SmtpTls};
use crate::mail::problem::MailProblem;

/// Lettre takes a file without this line for a good file that holds no certificate.
const PEM_HEAD: &[u8] = b"-----BEGIN CERTIFICATE-----";

pub(super) enum Tls {
    /// TLS from the first byte.
    Wrapped(TlsParameters),
    /// TLS after STARTTLS.
    Upgraded(TlsParameters),
    /// In the clear.
    None,
}

impl Tls {
    /// Reads the certificates that the configuration names.
    pub(super) fn new(section: &'static str, config: &SmtpConfig) -> Result<Self, MailProblem> {
        Ok(match config.tls {
            SmtpTls::Required => Self::Wrapped(parameters(section, config)?),
            SmtpTls::StartTls => Self::Upgraded(parameters(section, config)?),
            SmtpTls::None => Self::None,
        })
    }

    /// The parameters for a connection that begins with TLS.
    pub(super) fn for_wrapping(&self) -> Option<TlsParameters> {
        match self {
            Self::Wrapped(parameters) => Some(parameters.clone()),
            Self::Upgraded(_) | Self::None => None,
        }
    }

    /// The parameters for STARTTLS.
    pub(super) fn for_upgrade(&self) -> Option<TlsParameters> {
        match self {
            Self::Upgraded(parameters) => Some(parameters.clone()),
            Self::Wrapped(_) | Self::None => None,
        }
    }
}

/// Trusts the public authorities, or those in the configured file instead.
fn parameters(section: &'static str, config: &SmtpConfig) -> Result<TlsParameters, MailProblem> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca_file {
        let authority = authority(path).map_err(|told| MailProblem::CaFile {
            section,
            path: path.clone(),
            told,
        })?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(authority);
    }
    builder.build().map_err(|error| MailProblem::Tls {
        section,
        told: error.to_string(),
    })
}

fn authority(path: &Path) -> Result<Certificate, String> {
    let pem = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !pem.windows(PEM_HEAD.len()).any(|window| window == PEM_HEAD) {
        return Err("holds no certificate in PEM".to_owned());
    }
    Certificate::from_pem(&pem).map_err(|_| "holds no certificate that can be read".to_owned())
}
