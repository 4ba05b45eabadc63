//! The cluster in this process: every component with its own directories and ports, none with a process of its own.

use std::net::{Ipv4Addr, SocketAddr};

use executor::{Executor, Handle, Options};
use flight_server::{Coordinator, CoordinatorOptions, Error};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

/// What the cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The coordinator.
    pub coordinator: CoordinatorOptions,
    /// How many executors; with none, everything runs in the coordinator.
    pub executors: usize,
    /// Tasks that each of them runs at once.
    pub vcores: usize,
    /// Bytes that the tasks of one executor may hold in memory.
    pub executor_memory_bytes_max: usize,
}

impl Default for ClusterOptions {
    /// A coordinator alone.
    fn default() -> Self {
        Self {
            coordinator: CoordinatorOptions::default(),
            executors: 0,
            vcores: 1,
            executor_memory_bytes_max: 512 << 20,
        }
    }
}

/// A running cluster in this process; dropping it stops it at once.
#[derive(Debug)]
pub struct LocalCluster {
    executors: Vec<(Handle, TempDir)>,
    coordinator: Option<Coordinator>,
    options: ClusterOptions,
}

impl LocalCluster {
    /// Starts the coordinator and the executors, and waits until all have joined.
    ///
    /// # Errors
    /// Those of the components.
    pub async fn start(mut options: ClusterOptions) -> Result<Self, Error> {
        if options.executors > 0 && options.coordinator.cluster_address.is_none() {
            options.coordinator.cluster_address = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        let coordinator = Some(Coordinator::start(options.coordinator.clone()).await?);
        let mut cluster = Self { executors: Vec::new(), coordinator, options };
        for _ in 0..cluster.options.executors {
            cluster.start_executor().await?;
        }
        cluster.wait_for_executors(cluster.options.executors).await?;
        Ok(cluster)
    }

    /// Returns when `count` executors take queries.
    ///
    /// # Errors
    /// `Unavailable` without a coordinator.
    pub async fn wait_for_executors(&self, count: usize) -> Result<(), Error> {
        self.coordinator()?.wait_for_executors(count).await;
        Ok(())
    }

    /// Adds an executor and waits until it has joined.
    ///
    /// # Errors
    /// Those of the executor; `Invalid` for a coordinator without a cluster port.
    pub async fn start_executor(&mut self) -> Result<(), Error> {
        self.start_executor_with(|_| {}).await
    }

    /// As [`Self::start_executor`], with options that `change` has changed.
    ///
    /// # Errors
    /// As [`Self::start_executor`].
    pub async fn start_executor_with(&mut self, change: impl FnOnce(&mut Options)) -> Result<(), Error> {
        let Some(address) = self.coordinator()?.cluster_address() else {
            return Err(Error::invalid("this coordinator takes no executors"));
        };
        let directory = tempfile::tempdir()
            .map_err(|error| Error::unavailable(format!("cannot make a work directory: {error}")))?;
        let mut options = Options {
            vcores: self.options.vcores,
            memory_bytes_max: self.options.executor_memory_bytes_max,
            transport: self.options.coordinator.scheduler.transport.clone(),
            ..Options::new(address.to_string(), directory.path())
        };
        change(&mut options);
        let mut executor = Executor::start(options, CancellationToken::new()).await?;
        executor.joined().await?;
        self.executors.push((executor, directory));
        Ok(())
    }

    /// Ends the newest executor as a killed process ends: nothing is finished, nobody is told.
    pub fn kill_executor(&mut self) {
        self.executors.pop();
    }

    /// Has the newest executor finish its tasks and leave.
    ///
    /// # Errors
    /// Those of the executor.
    pub async fn stop_executor(&mut self) -> Result<(), Error> {
        let Some((executor, _directory)) = self.executors.pop() else { return Ok(()) };
        executor.stop();
        executor.wait().await
    }

    /// Stops the coordinator and starts another one in its place, on the same ports. Executors are left alone.
    ///
    /// # Errors
    /// Those of the coordinator.
    pub async fn restart_coordinator(&mut self) -> Result<(), Error> {
        let Some(coordinator) = self.coordinator.take() else { return Err(no_coordinator()) };
        let (flight_address, cluster_address) = (coordinator.flight_address(), coordinator.cluster_address());
        coordinator.stop().await?;
        let options = CoordinatorOptions { flight_address, cluster_address, ..self.options.coordinator.clone() };
        self.coordinator = Some(Coordinator::start(options).await?);
        Ok(())
    }

    /// A connection to the coordinator that does not leave the process.
    ///
    /// # Errors
    /// `Unavailable` when it has stopped.
    pub fn connect(&self) -> Result<DuplexStream, Error> {
        self.coordinator()?.connect()
    }

    /// The coordinator.
    ///
    /// # Errors
    /// `Unavailable` if it could not be restarted.
    pub fn coordinator(&self) -> Result<&Coordinator, Error> {
        self.coordinator.as_ref().ok_or_else(no_coordinator)
    }

    /// Stops everything and returns when it is done.
    ///
    /// # Errors
    /// `Internal` if a component failed while stopping.
    pub async fn stop(mut self) -> Result<(), Error> {
        while !self.executors.is_empty() {
            self.stop_executor().await?;
        }
        match self.coordinator.take() {
            Some(coordinator) => coordinator.stop().await,
            None => Ok(()),
        }
    }
}

fn no_coordinator() -> Error {
    Error::unavailable("the coordinator has stopped")
}
