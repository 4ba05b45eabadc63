//! The right to write to a place that no table has yet. It is renewed for as long as somebody writes: what nobody renews
//! is swept, and who wakes up after that must not make files rows that may be gone.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::runtime_env::RuntimeEnv;

use super::sweeper::sweep_place;
use crate::Result;
use crate::catalog::Catalog;
use crate::engine::{Engine, Leases};

/// Times that a lease is renewed before it would end.
const RENEWALS: u32 = 4;
/// When a place is looked at again that was given up: a task that is being stopped may still end a file.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

/// A place in the catalog's list of what is to be swept.
pub(crate) struct Lease {
    runtime: Arc<RuntimeEnv>,
    catalog: Arc<dyn Catalog>,
    place: String,
    /// Nobody of this process sweeps it, however late a renewal comes.
    held: Leases,
    _renewing: SpawnedTask<()>,
}

impl Lease {
    /// Takes it, for a place that nobody else writes to.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(crate) async fn take(engine: &Engine, place: String) -> Result<Self> {
        let (catalog, held) = (Arc::clone(engine.catalog()), engine.leases().clone());
        held.lock().insert(place.clone());
        let renewing = renew_always(Arc::clone(&catalog), place.clone(), engine.sweep_after() / RENEWALS);
        let runtime = Arc::clone(engine.runtime());
        let lease = Self { runtime, catalog, place, held, _renewing: SpawnedTask::spawn(renewing) };
        lease.catalog.reserve_location(&lease.place).await?;
        Ok(lease)
    }

    /// Makes sure of it, before what was written is made to last.
    ///
    /// # Errors
    /// `Unavailable` if it has ended.
    pub(crate) async fn renew(&self) -> Result<()> {
        self.catalog.renew_location(&self.place).await
    }

    /// Ends it: there is nothing to sweep.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(crate) async fn end(&self) -> Result<()> {
        self.catalog.forget_location(&self.place).await
    }

    /// Removes what lies there, and ends it: nobody writes there any more.
    ///
    /// # Errors
    /// Those of the store and the catalog.
    pub(crate) async fn clear(&self) -> Result<()> {
        sweep_place(&self.runtime, &self.place).await?;
        self.end().await
    }

    /// Removes what lies there now, and a few times more once this has returned. The catalog goes on to list it, so that
    /// whoever sweeps looks again much later.
    pub(crate) async fn give_up(self) {
        self.sweep().await;
        #[expect(clippy::disallowed_methods, reason = "nobody waits for it, and the sweeper does what it does not")]
        tokio::spawn(async move {
            for after in LOOKS {
                tokio::time::sleep(after).await;
                self.sweep().await;
            }
        });
    }

    async fn sweep(&self) {
        if let Err(error) = sweep_place(&self.runtime, &self.place).await {
            tracing::warn!(place = self.place, %error, "what a statement has left will be swept later");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.lock().remove(&self.place);
    }
}

async fn renew_always(catalog: Arc<dyn Catalog>, place: String, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if let Err(error) = catalog.renew_location(&place).await {
            tracing::warn!(place, %error, "the right to write could not be renewed");
        }
    }
}
