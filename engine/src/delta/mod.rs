//! Delta Lake tables: what we keep rows in, and what any other Delta reader can read.
//!
//! The log of a table says which files it consists of. Reading and writing go through plans like any other's, so that
//! they run in every mode; the coordinator alone reads and writes the log.
//!
//! | module | what it does |
//! |---|---|
//! | [`store`] | where a table lies: its object store and its log |
//! | [`tables`] | the newest version of each table, kept from one statement to the next |
//! | [`snapshot`] | one version of a table: columns, files, constraints |
//! | [`provider`] | that version as DataFusion's table |
//! | [`commit`] | what was written becomes the next version, once |
//! | [`create`] | new tables |
//! | [`sweep`] | files that no version names |
//! | [`alter`] | columns, constraints and properties |
//!
//! This module does not know names of tables, users or sessions: it is given locations.

mod alter;
mod commit;
mod create;
mod error;
mod named;
mod provider;
mod snapshot;
mod special;
mod store;
mod sweep;
mod tables;
mod types;

pub(crate) use alter::altered;
pub(crate) use commit::{NotCommitted, commit, properties as commit_properties};
pub(crate) use create::NewTable;
pub(crate) use error::delta_error;
pub(crate) use named::NamedStore;
pub(crate) use provider::{DeltaProvider, FILE_COLUMN};
pub(crate) use snapshot::Snapshot;
pub(crate) use store::{parse, path_of};
pub(crate) use sweep::{sweep_query, sweep_table};
pub(crate) use tables::{DeltaTables, VersionAt};
pub(crate) use types::{file_schema, meant_schema, stored_schema};
