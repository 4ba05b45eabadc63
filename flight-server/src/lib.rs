//! The coordinator: who asks, what runs, where, and how the rows get back.
//!
//! `flight` and `postgres` speak the protocols and decide nothing; `authentication` and `users` find out who asks,
//! `sessions` keeps what they set; `query` takes a statement from its text to its last row, `queries` holds all of them,
//! and `tickets` are their names outside; `system` shows them as tables; `scheduler` runs stages on executors; `http` is
//! for people and probes. SQL itself is the `engine`'s.

mod admission;
mod authentication;
mod connection;
mod coordinator;
mod flight;
mod http;
mod lasting;
mod options;
mod orphans;
mod postgres;
mod queries;
mod query;
mod scheduler;
mod sessions;
mod spill;
mod standby;
mod submission;
mod summary;
mod system;
mod tickets;
mod tls;
mod turn;
mod users;
mod waiting;

pub use coordinator::Coordinator;
pub use engine::storage::{Secret, StorageOptions};
pub use engine::{EngineOptions, Error, ErrorKind};
pub use options::CoordinatorOptions;
pub use scheduler::SchedulerOptions;
pub use scheduler::simulation::{SimulationOptions, SimulationReport, simulate};
pub use tls::TlsFiles;
pub use users::hash_password;
