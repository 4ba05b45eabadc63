//! Of the coordinators that stand by for each other one serves: the one that holds the lease in their catalog.
//!
//! The lease ends by itself unless it is renewed, on the clock of the catalog's database. Who cannot renew it must stop
//! before it ends: then another one serves, and two would not know of each other's queries and executors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::Result;
use engine::catalog::StoredCatalog;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Name of the lease.
const LEASE: &str = "coordinator";
/// How long a lease lasts.
const LEASE_TIME: Duration = Duration::from_secs(6);
/// How often it is renewed.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(2);
/// How often those ask for it that stand by.
const QUESTION_INTERVAL: Duration = Duration::from_millis(500);

/// The right to serve.
#[derive(Debug)]
pub(crate) struct Lead {
    catalog: Arc<StoredCatalog>,
    holder: String,
    lost: CancellationToken,
    renewal: AbortOnDropHandle<()>,
}

impl Lead {
    /// Returns when nobody else serves.
    ///
    /// # Errors
    /// Those of the catalog, unless it comes back.
    pub(crate) async fn take(catalog: Arc<StoredCatalog>) -> Result<Self> {
        let holder = uuid::Uuid::new_v4().to_string();
        let mut questions = interval(QUESTION_INTERVAL);
        questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_told = false;
        loop {
            questions.tick().await;
            match catalog.hold_lease(LEASE, &holder, LEASE_TIME).await {
                Ok(true) => break,
                Ok(false) if !is_told => tracing::info!("standing by: another coordinator serves this catalog"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "standing by: the catalog cannot be asked"),
            }
            is_told = true;
        }
        tracing::info!("this coordinator serves the catalog now");
        let lost = CancellationToken::new();
        let work = renew(Arc::clone(&catalog), holder.clone(), lost.clone());
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborts with the lease")]
        let renewal = AbortOnDropHandle::new(tokio::spawn(work));
        Ok(Self { catalog, holder, lost, renewal })
    }

    /// Fires when the lease is lost.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Gives the lease up, so that another coordinator need not wait for its end.
    pub(crate) async fn release(self) {
        drop(self.renewal);
        if let Err(error) = self.catalog.release_lease(LEASE, &self.holder).await {
            tracing::warn!(%error, "the lease was not given up: it ends by itself");
        }
    }
}

/// Renews until that fails for so long that the lease may be over.
async fn renew(catalog: Arc<StoredCatalog>, holder: String, lost: CancellationToken) {
    let mut ticks = interval(RENEWAL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let left = LEASE_TIME.saturating_sub(renewed.elapsed());
        let answer = tokio::time::timeout(left, catalog.hold_lease(LEASE, &holder, LEASE_TIME)).await;
        match answer {
            Ok(Ok(true)) if !left.is_zero() => renewed = asked,
            Ok(Ok(_)) => break tracing::error!("another coordinator has taken over"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease on the catalog was not renewed"),
            Err(_) => break tracing::error!("the lease on the catalog is over and could not be renewed"),
        }
    }
    lost.cancel();
}
