//! `serve`: runs the server until it is told to stop.

use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::supervisor::{self, Stage};
use crate::app::{App, StartError};
use crate::config::{ConfigError, Loaded};
use crate::domain::Clock;
use crate::telemetry::{self, TelemetryError};

/// The exit status for settings with which no start succeeds: `EX_CONFIG` of sysexits.h. Only a supervisor sees it,
/// which has to know whether another start may help; for all others, a start is refused as any command is.
const BAD_SETTINGS: u8 = 78;

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    // Each connection takes a file descriptor, and the usual soft limit is 1024.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    runtime()?.block_on(serve(loaded))
}

/// The exit status of a server that did not start, or failed.
pub(super) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let is_bad_setting = error.is::<ConfigError>()
        || error.downcast_ref().is_some_and(StartError::is_bad_setting)
        || error
            .downcast_ref()
            .is_some_and(TelemetryError::is_bad_setting);
    if is_bad_setting && supervisor::is_there() {
        ExitCode::from(BAD_SETTINGS)
    } else {
        ExitCode::FAILURE
    }
}

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}

async fn serve(loaded: &Loaded) -> anyhow::Result<()> {
    let telemetry = telemetry::start(&loaded.config.log, &loaded.config.telemetry)?;
    let served = run_app(loaded).await;
    if let Err(error) = &served {
        supervisor::tell(Stage::Failed(error));
    }
    telemetry.finish().await;
    served
}

async fn run_app(loaded: &Loaded) -> anyhow::Result<()> {
    let mut signal = pin!(told_to_stop());
    supervisor::tell(Stage::Starting);
    // A start may wait for its database, and is given up for a signal, also by the first process of a
    // container, which the system would spare.
    let app = tokio::select! {
        started = App::start(&loaded.config, Clock::system()) => started?,
        signal = &mut signal => {
            tracing::info!(signal = signal?, "stopped before it was ready");
            return Ok(());
        }
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public = %app.public_addr(),
        management = %app.management_addr(),
        "ready"
    );
    // Requests are served from here on. Readiness is not asked: it may change at any time, and `READY=1` cannot
    // be taken back.
    supervisor::tell(Stage::Ready {
        public: app.public_addr(),
        management: app.management_addr(),
    });
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let signal = signal.await?;
    tracing::info!(signal, "stopping");
    supervisor::tell(Stage::Stopping);
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C, and tells which it was.
pub(super) async fn told_to_stop() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
