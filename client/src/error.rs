//! What went wrong, sorted by what the caller can do about it.

use arrow_flight::error::FlightError;
use tonic::{Code, Status};

/// Metadata key under which a Grappe coordinator sends `line:column` of a mistake in the SQL text (both from 1).
const POSITION_KEY: &str = "grappe-error-position";

/// A place in the SQL text that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The statement or its data are wrong: change them.
    Invalid,
    /// A named thing is not there.
    NotFound,
    /// A named thing is there already.
    AlreadyExists,
    /// The caller may not do this.
    Denied,
    /// The server cannot do it now: try again.
    Unavailable,
    /// A limit was reached.
    Exhausted,
    /// The statement was cancelled.
    Cancelled,
    /// No connection to the server.
    Connection,
    /// The server or this client is at fault.
    Internal,
}

/// A failed call, with the message of the server.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do about it.
    pub kind: ErrorKind,
    /// What happened, to what.
    pub message: String,
    /// Where in the statement, if the server knows.
    pub position: Option<Position>,
}

impl Error {
    /// An error of this side.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), position: None }
    }

    /// Whether the same call may succeed later without a change.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Connection)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let position = status.metadata().get(POSITION_KEY).and_then(|v| v.to_str().ok()).and_then(parse_position);
        let kind = match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented => {
                ErrorKind::Invalid
            }
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::AlreadyExists,
            Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Denied,
            // A broken transport has a source error; an answer of the server has none. A server that ends while it is asked
            // resets the call without a reason, which is `Internal`.
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                if std::error::Error::source(&status).is_some() =>
            {
                ErrorKind::Connection
            }
            Code::Unavailable | Code::Aborted => ErrorKind::Unavailable,
            Code::ResourceExhausted | Code::DeadlineExceeded => ErrorKind::Exhausted,
            Code::Cancelled => ErrorKind::Cancelled,
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => ErrorKind::Internal,
        };
        let message = match kind {
            ErrorKind::Connection => format!("the connection to the server was lost: {}", root_cause(&status)),
            _ => status.message().to_owned(),
        };
        Self { kind, message, position }
    }
}

impl From<FlightError> for Error {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => (*status).into(),
            FlightError::ExternalError(source) => match source.downcast::<Status>() {
                Ok(status) => (*status).into(),
                Err(source) => Self::new(ErrorKind::Internal, source.to_string()),
            },
            other => Self::new(ErrorKind::Internal, other.to_string()),
        }
    }
}

fn parse_position(text: &str) -> Option<Position> {
    let (line, column) = text.split_once(':')?;
    Some(Position { line: line.parse().ok()?, column: column.parse().ok()? })
}

/// The innermost message: transports wrap "connection refused" several times.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_call_that_the_transport_broke_can_be_tried_again() {
        for code in [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal] {
            let mut status = Status::new(code, "h2 protocol error: http2 error");
            assert_ne!(Error::from(status.clone()).kind, ErrorKind::Connection, "{code:?}: the server said so");
            status.set_source(Arc::new(std::io::Error::other("stream no longer needed")));
            let error = Error::from(status);
            assert!(error.is_retryable(), "{code:?}: {error}");
            assert!(error.message.ends_with("stream no longer needed"), "{error}");
        }
    }
}
