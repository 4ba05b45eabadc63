//! Settings of an executor: data only.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine::distributed::transport::Transport;
use engine::storage::StorageOptions;

/// Settings of one executor.
#[derive(Debug, Clone)]
pub struct Options {
    /// Id that the operator sees, unique in the cluster; made up if none is given.
    pub name: Option<String>,
    /// The coordinator's cluster port, `HOST:PORT`; several, separated by commas, if one stands by for another.
    pub coordinator: String,
    /// Where to listen for tasks and shuffle reads; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host under which the others reach this executor; if none is given, the one it listens on, and for a wildcard
    /// address the one from which the coordinator sees it come.
    pub advertised_host: Option<String>,
    /// Parts of queries that run at the same time.
    pub vcores: usize,
    /// Bytes that all tasks together may hold in memory.
    pub memory_bytes_max: usize,
    /// Bytes that all tasks together may spill to disk.
    pub spill_bytes_max: u64,
    /// Bytes that stay free on the disk of the work directory: below, the executor's tasks go elsewhere. A twentieth of a
    /// disk that is small.
    pub disk_free_bytes_min: u64,
    /// Bytes of shuffle files: an executor that has so many takes no tasks; as many as the disk has if there is no limit.
    pub shuffle_bytes_max: Option<u64>,
    /// Directory for shuffle and spill files. One executor at a time; what an earlier one left is removed.
    pub work_dir: PathBuf,
    /// Object stores.
    pub storage: StorageOptions,
    /// How long the first join may take before the executor gives up; afterwards it rejoins for as long as it lives.
    pub join_timeout: Duration,
    /// How long tasks and readers of results may hold up a stop.
    pub drain_timeout: Duration,
    /// How often the executor tells the coordinator that it is alive.
    pub heartbeat_interval: Duration,
    /// How the processes of the cluster talk to each other.
    pub transport: Transport,
    /// Version that the coordinator compares with its own.
    pub version: String,
}

impl Options {
    /// Defaults for an executor of the coordinator at `coordinator` that works in `work_dir`.
    pub fn new(coordinator: impl Into<String>, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: None,
            coordinator: coordinator.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertised_host: None,
            vcores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes_max: 2 << 30,
            spill_bytes_max: 100 << 30,
            disk_free_bytes_min: 1 << 30,
            shuffle_bytes_max: None,
            work_dir: work_dir.into(),
            storage: StorageOptions::new(),
            join_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(2),
            transport: Transport::default(),
            version: engine::distributed::VERSION.to_owned(),
        }
    }
}
