//! Telemetry: log lines on standard error, metrics, and traces.
//!
//! Every module may count ([`metrics`]) and log. Neither lines nor metrics nor spans may hold a secret.

mod causes;
mod description;
mod error;
mod json;
pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod process;
mod queue;
#[cfg(test)]
pub(crate) mod testing;
pub mod trace;
mod trace_parent;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::{self, PanicHookInfo};

use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat, TelemetryConfig};

use queue::Queue;

pub use causes::causes;
pub use error::TelemetryError;

/// The telemetry that still has to be written when the program ends.
#[derive(Debug)]
pub struct Telemetry {
    log: Queue,
    #[cfg(feature = "otlp")]
    exporter: Option<otlp::Exporter>,
}

/// Lines of libraries that repeat what they were given, by target and field: the value of a parameter
/// of the database's URL that the driver does not know, and a line of `.pgpass` that it cannot read. Either
/// may hold a password, so no filter lets them through.
const TELLTALE: [(&str, &str); 2] = [
    ("sqlx_postgres::options::parse", "value"),
    ("sqlx_postgres::options::pgpass", "line"),
];

fn tells_no_secret(metadata: &Metadata<'_>) -> bool {
    !TELLTALE.iter().any(|(target, field)| {
        metadata.target() == *target && metadata.fields().field(field).is_some()
    })
}

/// Starts logging to standard error, and sending traces where that is built in and configured. Needs a
/// tokio runtime.
#[cfg_attr(
    not(feature = "otlp"),
    expect(unused_variables, reason = "without it, nothing of this is configured")
)]
pub fn start(log: &LogConfig, telemetry: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    // One filter for all layers, and not one for each: with those, sqlx's question whether it is to
    // log a statement can swallow the next line of another module (see `otlp::Exporter::layer`).
    let filter = EnvFilter::try_new(&log.filter)?;
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(tells_no_secret));
    #[cfg(feature = "otlp")]
    let exporter = otlp::Exporter::open(telemetry)?;
    #[cfg(feature = "otlp")]
    let registry = registry.with(exporter.as_ref().map(otlp::Exporter::layer));
    let queue = Queue::open(io::stderr()).map_err(TelemetryError::Thread)?;
    registry.with(lines(log.format, queue.clone())).try_init()?;
    panic::set_hook(Box::new(log_panic));
    Ok(Telemetry {
        log: queue,
        #[cfg(feature = "otlp")]
        exporter,
    })
}

/// The layer that writes the log.
fn lines<S>(format: LogFormat, to: Queue) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(to)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines
            .fmt_fields(json::Fields)
            .event_format(json::Lines)
            .boxed(),
    }
}

/// Logs a panic as any other line. The output of the standard library's hook would bypass the queue.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        location = panic.location().map(tracing::field::display),
        backtrace = is_captured.then(|| tracing::field::display(&backtrace)),
        "panicked: {}",
        panic.payload_as_str().unwrap_or_default()
    );
}

impl Telemetry {
    /// Writes the last lines and sends the last spans. Takes three seconds at most.
    #[cfg_attr(
        not(feature = "otlp"),
        expect(clippy::unused_async, reason = "without it, all is told already")
    )]
    pub async fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.flush().await;
        }
        self.log.finish();
    }
}

/// Writes the user's id into the line of the current request.
pub fn note_user(user_id: impl fmt::Display) {
    tracing::Span::current().record("user_id", tracing::field::display(user_id));
}
