//! `serve`: runs the server until it is told to stop.

use std::pin::pin;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Loaded;
use crate::domain::Clock;
use crate::telemetry;

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    // Each connection takes a file descriptor, and the usual soft limit is 1024.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    runtime()?.block_on(serve(loaded))
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
    telemetry.finish().await;
    served
}

async fn run_app(loaded: &Loaded) -> anyhow::Result<()> {
    let mut signal = pin!(told_to_stop());
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
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let signal = signal.await?;
    tracing::info!(signal, "stopping");
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
