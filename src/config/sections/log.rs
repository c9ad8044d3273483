//! `[log]` and `[telemetry]`: the log and the traces.

use super::super::reader::{Reader, Reading};
use super::super::shape;
use super::super::types::{LogConfig, LogFormat, TelemetryConfig};

pub(super) fn log(reader: &mut Reader) -> Reading<LogConfig> {
    let format = reader.parsed("log.format", |text| match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err("must be json or text"),
    });
    let filter = reader.parsed("log.filter", shape::log_filter);
    Ok(LogConfig {
        format: format?,
        filter: filter?,
    })
}

pub(super) fn telemetry(reader: &mut Reader) -> Reading<TelemetryConfig> {
    const ENDPOINT: &str = "telemetry.otlp_endpoint";
    let otlp_endpoint = reader.optional(ENDPOINT, shape::collector);
    if matches!(otlp_endpoint, Ok(Some(_))) && !cfg!(feature = "otlp") {
        let message = "needs a program that was built with `--features otlp`; this one was not";
        reader.problem(ENDPOINT, message);
    }
    let sample_percent = reader.number("telemetry.sample_percent", 0..=100);
    Ok(TelemetryConfig {
        otlp_endpoint: otlp_endpoint?,
        sample_percent: sample_percent?,
    })
}
