//! What nobody needs any more: tables that were dropped, and what writes left that did not end.

use std::time::Duration;

use datafusion::execution::runtime_env::RuntimeEnv;

use crate::Result;
use crate::delta::{sweep_query, sweep_table};
use crate::engine::Engine;

impl Engine {
    /// Removes locations that no table has had for so long, and files that a query wrote there and never committed; how
    /// many places were cleaned. Who is alive renews what it writes to more often than that. Only one process does this
    /// at a time.
    ///
    /// # Errors
    /// Those of the catalog. What a store refuses is tried again the next time.
    pub async fn sweep(&self, untouched_for: Duration) -> Result<usize> {
        let mut swept = 0;
        for place in self.catalog().locations_to_sweep(untouched_for).await? {
            if self.leases().lock().contains(&place) || !self.catalog().claim_location(&place, untouched_for).await? {
                continue;
            }
            match sweep_place(self.runtime(), &place).await {
                Ok(files) => {
                    tracing::info!(place, files, "swept");
                    self.delta().forget(&place);
                    self.catalog().forget_location(&place).await?;
                    swept += 1;
                }
                Err(error) => tracing::warn!(place, %error, "not swept"),
            }
        }
        Ok(swept)
    }
}

/// Removes what lies at a place of the catalog's list: all of it, or the files of one query if the place names one and the
/// query was not committed.
///
/// # Errors
/// Those of the store.
pub(super) async fn sweep_place(runtime: &RuntimeEnv, place: &str) -> Result<usize> {
    match place.split_once('#') {
        Some((location, prefix)) => sweep_query(runtime, location, prefix, &[]).await,
        None => sweep_table(runtime, place).await,
    }
}
