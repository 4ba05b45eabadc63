//! The Flight SQL protocol: verbs to calls, calls to messages. No decision about a query is taken here.

mod door;
mod info;
mod metadata;
mod prepared;
mod results;
mod service;
mod status;

pub(crate) use door::Door;
pub(crate) use service::Service;
