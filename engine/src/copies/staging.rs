//! The place beside a destination where files are written before they are published. What remains there is removed.

use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use uuid::Uuid;

use crate::Result;
use crate::copies::destination::Destination;
use crate::delta::sweep_table;
use crate::engine::Engine;
use crate::writes::Lease;

/// A directory that is removed when this is dropped, or the destination itself if that needs none.
pub(super) struct Staging {
    location: String,
    /// Nothing once what remains has been seen to.
    open: Option<OpenStaging>,
}

struct OpenStaging {
    runtime: Arc<RuntimeEnv>,
    lease: Lease,
    location: String,
}

impl Staging {
    /// A place for the files of a query.
    ///
    /// # Errors
    /// Those of the catalog, which remembers it in case this process ends.
    pub(super) async fn begin(engine: &Engine, query_id: &str, destination: &Destination) -> Result<Self> {
        if destination.is_in_place() {
            return Ok(Self { location: destination.url.to_string(), open: None });
        }
        let mut url = destination.url.clone();
        let (parent, name) = url.path().rsplit_once('/').unwrap_or(("", url.path()));
        let path = format!("{parent}/.{name}.{query_id}-{}/", &Uuid::new_v4().simple().to_string()[..8]);
        url.set_path(&path);
        let location = url.to_string();
        let lease = Lease::take(engine, location.clone()).await?;
        let open = OpenStaging { runtime: Arc::clone(engine.runtime()), lease, location: location.clone() };
        Ok(Self { location, open: Some(open) })
    }

    /// URL of the directory, with a slash at the end; of the file if it is written in place.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// Makes sure that what was written is there still.
    ///
    /// # Errors
    /// `Unavailable` if it may have been swept.
    pub(super) async fn renew(&self) -> Result<()> {
        match &self.open {
            Some(open) => open.lease.renew().await,
            None => Ok(()),
        }
    }

    /// What is needed has been moved away. `has_strays` says that a task may have been run twice, and may write still.
    pub(super) async fn end(mut self, has_strays: bool) {
        let Some(open) = self.open.take() else { return };
        if has_strays {
            return open.give_up().await;
        }
        let ended = async {
            sweep_table(&open.runtime, &open.location).await?;
            open.lease.end().await
        };
        if let Err(error) = ended.await {
            tracing::warn!(place = open.location, %error, "what a COPY has left will be swept later");
        }
    }

    /// Nothing is needed.
    pub(super) async fn give_up(mut self) {
        if let Some(open) = self.open.take() {
            open.give_up().await;
        }
    }
}

impl OpenStaging {
    async fn give_up(self) {
        let place = Arc::new((self.runtime, self.location));
        let sweep = move || {
            let place = Arc::clone(&place);
            async move { sweep_table(&place.0, &place.1).await }
        };
        self.lease.give_up(sweep).await;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(open.give_up());
        }
    }
}
