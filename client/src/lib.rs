//! A small Flight SQL client: connect, run a statement, stream its batches, watch and cancel it.
//!
//! It knows the wire protocol and Arrow, nothing of DataFusion or of Grappe's other crates: whatever the shell and the
//! benchmarks need must be in the protocol, so that any other client can have it too.

mod connection;
mod connector;
mod credentials;
mod error;
mod query;
mod retry;

pub use connection::{Client, ConnectOptions};
pub use credentials::Credentials;
pub use error::{Error, ErrorKind, Position};
pub use query::{BatchStream, Canceller, Progress, ProgressWatch, Query};
pub use retry::{Retrying, Told, Tries};
