//! SQL text to rows: what all processes agree on.
//!
//! The life of a statement:
//! 1. A coordinator opens a [`Session`] on the process's [`Engine`] for each user.
//! 2. [`Session::plan`] parses the text (`sql`), takes a view of the [`catalog`] that lasts for this statement
//!    (`catalog::view`), and has DataFusion resolve names and types against it: a [`Statement`].
//! 3. Tables are built from their stored definitions when a plan asks for them (`catalog::external`), files named in
//!    FROM likewise (`catalog::files`); their bytes come from object stores made on demand ([`storage`]).
//! 4. [`Session::choose`] picks one [`Execution`] out of [`Modes`]: local, streamed or staged.
//! 5. [`Session::start`] carries out a statement with an effect at once (`sql::ddl`, `sql::settings`), or has the
//!    chosen mode plan it physically and hands back a [`Running`].
//! 6. Reading [`Running::stream`] does the work; dropping it stops the work.
//!
//! This crate opens no listening port, reads no environment variable and prints nothing. It does not know Flight.

pub mod catalog;
mod commands;
mod config;
mod copies;
mod delta;
pub mod distributed;
mod engine;
mod error;
mod execution;
mod extras;
pub mod functions;
mod ingest;
mod joins;
pub mod limits;
mod memory;
mod nearest;
mod planning;
mod schema_bytes;
mod session;
mod sinks;
mod sql;
mod start;
mod state;
pub mod storage;
mod threads;
mod writes;

pub use catalog::SchemaName;
pub use config::{CATALOG, GrappeOptions, ModeSetting, Priority, SCHEMA, grappe_options, session_config};
pub use engine::{Engine, EngineOptions, Warehouse, runtime};
pub use error::{Error, ErrorKind, Position, Result, panicked};
pub use execution::{
    Availability, Choice, Execution, LocalExecution, Mode, Modes, Progress, Running, StartRequest, Watch, Work,
    cannot_run, runnable, stand_in,
};
pub use extras::{ExtraSchema, SessionExtras, Spelling};
pub use ingest::{IfExists, IngestTarget};
pub use memory::{fit_to_memory, query_runtime};
pub use session::{Session, Started, TableFacts};
pub use sql::{Effect, HAS_SUBSTRAIT, Statement};
pub use start::Repeat;
pub use state::{StateSeed, session_state};
pub use threads::Threads;
