//! A cluster on one machine: in this process, for tests and embedding, or as child processes.
//!
//! It starts, watches and stops components and processes; it knows nothing of SQL.

mod in_process;
mod processes;
mod wire;

pub use in_process::{ClusterOptions, LocalCluster};
pub use processes::{ProcessCluster, ProcessClusterOptions};
pub use wire::{ClusterSummary, CoordinatorAddresses, ExecutorReady, Process};
