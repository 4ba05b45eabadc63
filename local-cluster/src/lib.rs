//! A cluster on one machine: in this process, for tests and embedding, as child processes, or simulated to see how the
//! scheduler fares with more executors than a machine holds.
//!
//! It starts, watches and stops components and processes; it knows nothing of SQL.

mod in_process;
mod processes;
mod wire;

pub use flight_server::{SimulationOptions, SimulationReport, simulate};
pub use in_process::{ClusterOptions, LocalCluster};
pub use processes::{ProcessCluster, ProcessClusterOptions};
pub use wire::{ClusterSummary, CoordinatorAddresses, ExecutorReady, Process};
