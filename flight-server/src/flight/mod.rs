//! The Flight SQL protocol: verbs to calls, calls to messages. No decision about a query is taken here.

mod actions;
mod door;
mod guard;
mod incoming;
mod info;
mod ingest;
mod keys;
mod metadata;
mod parameters;
mod prepared;
mod results;
mod service;
mod sql_info;
mod status;
mod types;

pub(crate) use door::Door;
pub(crate) use guard::Guarded;
pub(crate) use results::watched;
pub(crate) use service::Service;
