//! Removes from time to time what dropped tables and broken writes have left; one coordinator does it for all.

use std::sync::Arc;
use std::time::Duration;

use engine::catalog::StoredCatalog;
use engine::{Engine, Result};

/// How often it looks, at most; less often if files are kept for longer than that anyway.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(600);

/// Sweeps until it is dropped.
pub(crate) async fn sweep_orphans(engine: Arc<Engine>, catalog: Option<Arc<StoredCatalog>>, untouched_for: Duration) {
    let mut looks = tokio::time::interval(untouched_for.min(LOOK_INTERVAL_MAX).max(Duration::from_secs(1)));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Err(error) = sweep_once(&engine, catalog.as_deref(), untouched_for).await {
            tracing::warn!(%error, "nothing could be swept");
        }
    }
}

async fn sweep_once(engine: &Engine, catalog: Option<&StoredCatalog>, untouched_for: Duration) -> Result<()> {
    let _lock = match catalog {
        Some(catalog) => match catalog.try_sweep_lock().await? {
            Some(lock) => Some(lock),
            // Another coordinator does it.
            None => return Ok(()),
        },
        None => None,
    };
    engine.sweep(untouched_for).await?;
    Ok(())
}
