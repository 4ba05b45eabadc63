//! What processes of a cluster print when they are ready, one JSON line each.

use serde::{Deserialize, Serialize};

/// What `grappe server` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CoordinatorAddresses {
    /// `grpc://HOST:PORT` of Flight SQL.
    pub flight: String,
    /// `HOST:PORT` on which executors join.
    pub cluster: String,
    /// `http://HOST:PORT`.
    pub http: String,
    /// `postgresql://HOST:PORT`, if that port is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<String>,
}

/// What `grappe executor` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecutorReady {
    /// Its name in `system.executors`.
    pub id: String,
    /// Its process.
    pub pid: u32,
    /// Tasks that it runs at once.
    pub vcores: usize,
}

/// A process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
}

/// What `grappe cluster run` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterSummary {
    /// Where clients connect, executors join, and people look.
    #[serde(flatten)]
    pub addresses: CoordinatorAddresses,
    /// The coordinator.
    pub coordinator: Process,
    /// The executors.
    pub executors: Vec<ExecutorReady>,
}
