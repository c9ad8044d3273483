//! Opening the database, which may not be there yet.

use std::time::Duration;

use tokio::time::Instant;

use super::error::StartError;
use crate::config::Config;
use crate::domain::Clock;
use crate::store::{Fitness, Store};
use crate::telemetry::causes;

/// How long to wait between two attempts to open a database that is not there yet.
const RETRY: Duration = Duration::from_millis(250);

/// Opens the database. One that is not there yet is waited for: where both are started at once, it is
/// often the slower one.
pub(super) async fn open_store(config: &Config, clock: &Clock) -> Result<Store, StartError> {
    let until = Instant::now() + config.database.wait;
    let mut is_waiting = false;
    loop {
        match try_to_open(config, clock).await {
            Err(error) if error.may_pass() && Instant::now() < until => {
                if !is_waiting {
                    is_waiting = true;
                    let (seconds, error) = (config.database.wait.as_secs(), causes(&error));
                    tracing::warn!(error, seconds, "waiting for the database");
                }
                tokio::time::sleep(RETRY).await;
            }
            opened => {
                if is_waiting && opened.is_ok() {
                    tracing::info!("the database is there");
                }
                return opened;
            }
        }
    }
}

async fn try_to_open(config: &Config, clock: &Clock) -> Result<Store, StartError> {
    let store = Store::connect(&config.database)
        .await
        .map_err(StartError::Database)?;
    if config.database.migrate {
        let state = store.server_state().await.map_err(StartError::Database)?;
        if let Some(obstacle) = state.obstacle_to_writing() {
            return Err(StartError::ReadOnly(obstacle));
        }
        store.migrate().await.map_err(StartError::Migrations)?;
    } else if store.fitness(clock).await.map_err(StartError::Database)? == Fitness::NotMigrated {
        return Err(StartError::NotMigrated);
    }
    Ok(store)
}
