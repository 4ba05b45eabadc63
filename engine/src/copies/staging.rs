//! The place beside a destination where files are written before they are published. What remains there is removed.

use uuid::Uuid;

use crate::Result;
use crate::copies::destination::Destination;
use crate::engine::Engine;
use crate::writes::Lease;

/// A directory that is removed when this is dropped, or the destination itself if that needs none.
pub(super) struct Staging {
    location: String,
    /// Nothing once what remains has been seen to.
    lease: Option<Lease>,
}

impl Staging {
    /// A place for the files of a query.
    ///
    /// # Errors
    /// Those of the catalog, which remembers it in case this process ends.
    pub(super) async fn begin(engine: &Engine, query_id: &str, destination: &Destination) -> Result<Self> {
        if destination.is_in_place() {
            return Ok(Self { location: destination.url.to_string(), lease: None });
        }
        let mut url = destination.url.clone();
        let (parent, name) = url.path().rsplit_once('/').unwrap_or(("", url.path()));
        let path = format!("{parent}/.{name}.{query_id}-{}/", &Uuid::new_v4().simple().to_string()[..8]);
        url.set_path(&path);
        let location = url.to_string();
        let lease = Lease::take(engine, location.clone()).await?;
        Ok(Self { location, lease: Some(lease) })
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
        match &self.lease {
            Some(lease) => lease.renew().await,
            None => Ok(()),
        }
    }

    /// What is needed has been moved away. `has_strays` says that a task may have been run twice, and may write still.
    pub(super) async fn end(mut self, has_strays: bool) {
        match self.lease.take() {
            Some(lease) if has_strays => lease.give_up().await,
            Some(lease) => {
                if let Err(error) = lease.clear().await {
                    tracing::warn!(place = self.location, %error, "what a COPY has left will be swept later");
                }
            }
            None => {}
        }
    }

    /// Nothing is needed.
    pub(super) async fn give_up(mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_up().await;
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(lease.give_up());
        }
    }
}
