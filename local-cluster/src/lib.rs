//! A cluster on one machine: a coordinator, and as many executors as asked for.
//!
//! It starts, watches and stops processes and components; it knows nothing of SQL.

use flight_server::{Coordinator, CoordinatorOptions, Error};
use tokio::io::DuplexStream;

/// What the cluster is made of.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// The coordinator.
    pub coordinator: CoordinatorOptions,
}

/// A running cluster in this process; dropping it stops it at once.
#[derive(Debug)]
pub struct LocalCluster {
    coordinator: Coordinator,
}

impl LocalCluster {
    /// Starts the coordinator and waits until it serves.
    ///
    /// # Errors
    /// Those of the coordinator.
    pub async fn start(options: ClusterOptions) -> Result<Self, Error> {
        Ok(Self { coordinator: Coordinator::start(options.coordinator).await? })
    }

    /// A connection to the coordinator that does not leave the process.
    ///
    /// # Errors
    /// `Unavailable` when it has stopped.
    pub fn connect(&self) -> Result<DuplexStream, Error> {
        self.coordinator.connect()
    }

    /// The coordinator.
    pub fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// Stops everything and returns when it is done.
    ///
    /// # Errors
    /// `Internal` if a component failed while stopping.
    pub async fn stop(self) -> Result<(), Error> {
        self.coordinator.stop().await
    }
}
