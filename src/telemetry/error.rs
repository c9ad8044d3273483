//! Why telemetry cannot be started.

use std::io;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

/// Why telemetry cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Another logger is installed already.
    #[error("logging cannot be started")]
    Log(#[from] TryInitError),
    /// The filter cannot be read.
    #[error("log.filter cannot be used")]
    Filter(#[from] ParseError),
    /// The system gives no thread.
    #[error("the log cannot be written")]
    Thread(#[source] io::Error),
    /// The collector's address or its TLS cannot be used.
    #[error("traces cannot be sent to telemetry.otlp_endpoint")]
    Traces(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TelemetryError {
    /// Whether a setting is the reason, so that every start with it fails.
    #[must_use]
    pub fn is_bad_setting(&self) -> bool {
        match self {
            Self::Filter(_) | Self::Traces(_) => true,
            Self::Log(_) | Self::Thread(_) => false,
        }
    }
}
