//! The one translation of errors to SQLSTATE codes.

use std::io;

use engine::{Error, ErrorKind, Position};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

/// What a client is told when something went wrong, or is worth a word.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Where in the statement's text.
    pub(super) place: Option<Position>,
    /// The same in characters of all that was sent, from 1.
    at: Option<usize>,
    severity: &'static str,
}

/// Why something sent by a client was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The statement failed; the connection goes on.
    Statement(Refusal),
    /// The client is gone.
    Client(io::Error),
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place: None, at: None, severity: "ERROR" }
    }

    /// A word to the client that is no error.
    pub(super) fn notice(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: "NOTICE", ..Self::new(code, message) }
    }

    /// The same, as the last word of a connection.
    pub(super) fn fatal(self) -> Self {
        Self { severity: "FATAL", ..self }
    }

    /// Finds its place in `sent`, whose statement begins at byte `offset`.
    pub(super) fn locate(&mut self, sent: &str, offset: usize) {
        let (Some(place), Some(statement)) = (self.place, sent.get(offset..)) else { return };
        let lines = statement.split_inclusive('\n').take(place.line.saturating_sub(1) as usize);
        let before = lines.map(|line| line.chars().count()).sum::<usize>();
        let skipped = sent.get(..offset).unwrap_or_default().chars().count();
        self.at = Some(skipped + before + place.column as usize);
    }

    fn info(&self) -> ErrorInfo {
        let mut info = ErrorInfo::new(self.severity.to_owned(), self.code.to_owned(), self.message.clone());
        info.severity_nonlocalized = Some(self.severity.to_owned());
        info.position = self.at.map(|at| at.to_string());
        info
    }

    pub(super) fn response(&self) -> ErrorResponse {
        self.info().into()
    }

    pub(super) fn notice_response(&self) -> NoticeResponse {
        self.info().into()
    }
}

/// The last word to a client that cannot stay.
pub(super) fn fatal(error: &Error) -> Refusal {
    let code = match error.kind {
        ErrorKind::Denied => "28P01",
        ErrorKind::Exhausted => "53300",
        ErrorKind::Invalid => "08P01",
        _ => code(error),
    };
    Refusal::new(code, error.message.clone()).fatal()
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        if error.kind == ErrorKind::Internal {
            tracing::error!(message = %error.message, source = ?error.source, "internal error");
        }
        Self { place: error.position, ..Self::new(code(&error), error.message) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Statement(error.into())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Statement(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Client(error)
    }
}

/// What `pgwire` reports: a value that cannot be written, or a message that cannot be read.
impl From<PgWireError> for Failure {
    fn from(error: PgWireError) -> Self {
        match error {
            PgWireError::IoError(error) => Self::Client(error),
            PgWireError::UserError(info) => Refusal::new("22000", info.message).into(),
            PgWireError::ApiError(error) => Refusal::new("22000", error.to_string()).into(),
            other => Refusal::new("08P01", other.to_string()).into(),
        }
    }
}

fn code(error: &Error) -> &'static str {
    let message = error.message.as_str();
    match error.kind {
        ErrorKind::Invalid => invalid(message),
        ErrorKind::NotFound => not_found(message),
        ErrorKind::AlreadyExists if message.starts_with("schema") => "42P06",
        ErrorKind::AlreadyExists if message.starts_with("prepared statement") => "42P05",
        ErrorKind::AlreadyExists => "42P07",
        ErrorKind::Denied => "42501",
        ErrorKind::Unavailable => "57P03",
        ErrorKind::Exhausted => exhausted(message),
        ErrorKind::Cancelled => "57014",
        ErrorKind::Internal => "XX000",
    }
}

/// The class of a mistake, by the words of our own messages and of DataFusion's: drivers tell users by it.
fn invalid(message: &str) -> &'static str {
    let has = |words: &str| message.contains(words);
    if message.starts_with("syntax error") {
        "42601"
    } else if message.starts_with("column \"") && has("not found") {
        "42703"
    } else if has("division by zero") || has("divide by zero") {
        "22012"
    } else if has("invalid function") || has("unknown function") {
        "42883"
    } else if has("not supported") || has("unsupported") {
        "0A000"
    } else if has("cannot cast") || has("cannot parse") || has("error parsing") || has("to value of") {
        "22P02"
    } else if has("overflow") || has("can't cast value") || has("out of range") || has("too large") {
        "22003"
    } else if message.starts_with("there is no setting") || has("is not a variable") {
        "42704"
    } else if has("ambiguous") {
        "42702"
    } else if has("group by") || has("GROUP BY") {
        "42803"
    } else if has("type") || has("coerce") {
        "42804"
    } else if has("null") && has("not nullable") {
        "23502"
    } else {
        // Of the class "syntax error or access rule violation", without saying which.
        "42000"
    }
}

fn not_found(message: &str) -> &'static str {
    if message.starts_with("schema") {
        "3F000"
    } else if message.starts_with("prepared statement") {
        "26000"
    } else if message.starts_with("no file") {
        "58P01"
    } else if message.starts_with("no query") || message.starts_with("there is no catalog") {
        "42704"
    } else {
        "42P01"
    }
}

fn exhausted(message: &str) -> &'static str {
    if message.contains("disk") {
        "53100"
    } else if message.contains("sessions are open") {
        "53300"
    } else if message.contains("statement_bytes_max") {
        "54000"
    } else if message.contains("memory") || message.contains("Memory") {
        "53200"
    } else {
        "53000"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_of_all_that_was_sent() {
        let sent = "SELECT 'é';\nSELECT\n  nothing";
        let mut refusal = Refusal::new("42703", "no");
        refusal.place = Some(Position { line: 2, column: 3 });
        refusal.locate(sent, sent.find("SELECT\n").unwrap());
        let characters: Vec<char> = sent.chars().collect();
        assert_eq!(characters[refusal.at.unwrap() - 1..].iter().collect::<String>(), "nothing");
    }

    #[test]
    fn only_our_own_faults_are_internal() {
        let codes = ErrorKind::Invalid;
        assert_ne!(code(&Error::new(codes, "whatever")), "XX000");
        assert_eq!(code(&Error::internal("whatever")), "XX000");
    }
}
