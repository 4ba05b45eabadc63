//! The coordinator: who asks, what runs, where, and how the rows get back.
//!
//! `flight` speaks the protocol and decides nothing; `sessions` knows who asks; `queries` holds every statement from its
//! text to its last row; `system` shows both as tables; `scheduler` runs stages on executors; `http` is for people and
//! probes. SQL itself is the `engine`'s.

mod connection;
mod coordinator;
mod flight;
mod http;
mod options;
mod queries;
mod scheduler;
mod sessions;
mod spill;
mod system;

pub use coordinator::Coordinator;
pub use engine::storage::{Secret, StorageOptions};
pub use engine::{EngineOptions, Error, ErrorKind};
pub use options::CoordinatorOptions;
pub use scheduler::SchedulerOptions;
