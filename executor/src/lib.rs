//! An executor: runs tasks of the coordinator's queries and serves their shuffle files.
//!
//! The life of a task:
//! 1. [`Executor`] binds its port, locks its work directory and has [`coordinator`] join the cluster.
//! 2. [`service`] takes a launch and acknowledges it; [`tasks`] remembers it, so that a launch sent twice runs once.
//! 3. [`task`] decodes the plan, makes it cancellable ([`cancel`]) and runs it on the executor's own threads, within
//!    the memory budget of the process.
//! 4. The outcome goes to [`report`], which sends it until the coordinator acknowledges it.
//! 5. The files that it wrote get checksums ([`checksums`]), which every reader of them compares ([`reads`]).
//! 6. Other executors and the coordinator read the shuffle files through [`shuffle`]; the coordinator says when the
//!    query no longer needs them, and [`work_dir`] removes them.
//!
//! Stages of streamed queries come and go with their readers ([`streamed`]).
//!
//! All the while it tells the coordinator how it and its tasks are ([`pulse`]).
//!
//! Nothing here is global to the process: several executors can live in one. This crate never sees the coordinator's.

mod activity;
mod cancel;
mod checksums;
mod compact;
mod coordinator;
mod disk;
mod handle;
mod options;
mod pulse;
mod reads;
mod report;
mod service;
mod shuffle;
mod streamed;
mod task;
mod tasks;
mod work_dir;

pub use handle::{Executor, Handle};
pub use options::Options;
