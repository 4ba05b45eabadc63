//! How the process ends, by the exit codes of psql.

use std::io::Write;
use std::process::ExitCode;

/// An end that is not the end of the work.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Our fault, or that of the settings: 1.
    pub(crate) fn ours(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// No connection: 2.
    pub(crate) fn connection(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// Tells the user, on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(std::io::stderr(), "grappe: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl From<flight_server::Error> for Failure {
    fn from(error: flight_server::Error) -> Self {
        Self::ours(error.message)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match error.kind {
            client::ErrorKind::Connection => Self::connection(error.message),
            _ => Self::ours(error.message),
        }
    }
}
