//! The one translation of errors to gRPC status.

use engine::{Error, ErrorKind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Metadata key of `line:column` in the SQL text, both from 1.
const POSITION_KEY: &str = "grappe-error-position";

/// Characters of a message: gRPC carries it in a header.
const MESSAGE_CHARS_MAX: usize = 4_000;

/// The status that clients see.
pub(crate) fn status(error: Error) -> Status {
    if error.kind == ErrorKind::Internal {
        tracing::error!(message = %error.message, source = ?error.source, "internal error");
    }
    let code = match error.kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Exhausted => Code::ResourceExhausted,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Internal => Code::Internal,
    };
    let mut message = error.message;
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(end);
        message.push_str("...");
    }
    let mut status = Status::new(code, message);
    let position = error.position.map(|position| format!("{}:{}", position.line, position.column));
    if let Some(Ok(value)) = position.map(MetadataValue::try_from) {
        status.metadata_mut().insert(POSITION_KEY, value);
    }
    status
}
