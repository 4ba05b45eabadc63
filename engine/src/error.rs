//! The one error of the project: few kinds, each saying what the caller can do, a message, and a place in the SQL.
//!
//! Everything a dependency reports becomes an [`Error`] here and nowhere else.

use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Diagnostic, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use parquet::errors::ParquetError;

use crate::nearest::{is_near, nearest};

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The statement, a setting or the data are wrong: change them.
    Invalid,
    /// A named thing is not there.
    NotFound,
    /// A named thing is there already.
    AlreadyExists,
    /// The caller may not do this.
    Denied,
    /// It cannot be done now: try again.
    Unavailable,
    /// A limit was reached: memory, disk, rows, time.
    Exhausted,
    /// The statement was cancelled.
    Cancelled,
    /// We are at fault.
    Internal,
}

/// A place in the SQL text of a statement, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line of the text.
    pub line: u64,
    /// Column in characters.
    pub column: u64,
}

/// What happened, to what, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// One or a few lines, lower case, no full stop.
    pub message: String,
    /// Where in the SQL text.
    pub position: Option<Position>,
    /// What a dependency said.
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a source.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), position: None, source: None }
    }

    /// [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// [`ErrorKind::AlreadyExists`].
    pub fn already_exists(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::AlreadyExists, message)
    }

    /// [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// [`ErrorKind::Cancelled`].
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the query was cancelled")
    }

    /// [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error, with `prefix: ` before the message.
    #[must_use]
    pub fn context(mut self, prefix: impl std::fmt::Display) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }
}

/// Lets an [`Error`] travel through DataFusion's streams and come out the same on the other side.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let position = error.diagnostic().and_then(position_of);
        let mut translated = translate(&error);
        translated.position = translated.position.or(position);
        if translated.source.is_none() {
            translated.source = Some(Arc::new(error));
        }
        translated
    }
}

fn position_of(diagnostic: &Diagnostic) -> Option<Position> {
    let start = diagnostic.span?.start;
    (start.line > 0).then_some(Position { line: start.line, column: start.column })
}

fn translate(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::SQL(source, _) => syntax_error(source),
        DataFusionError::SchemaError(source, _) => schema_error(source),
        DataFusionError::Plan(message) => plan_error(message),
        DataFusionError::Configuration(message) | DataFusionError::Execution(message) => plain_error(message),
        DataFusionError::NotImplemented(message) => Error::invalid(format!("not supported: {}", tidy(message))),
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::IoError(source) => io_error(source),
        DataFusionError::ObjectStore(source) => object_store_error(source),
        DataFusionError::ArrowError(source, _) => arrow_error(source),
        DataFusionError::ParquetError(source) => parquet_error(source),
        DataFusionError::External(source) => external_error(source.as_ref()),
        DataFusionError::ExecutionJoin(source) if source.is_cancelled() => Error::cancelled(),
        DataFusionError::ExecutionJoin(source) => panicked(&source.to_string()),
        DataFusionError::Diagnostic(_, inner) => translate(inner),
        DataFusionError::Context(description, inner) => in_context(description, inner),
        DataFusionError::Shared(inner) => translate(inner),
        DataFusionError::Collection(errors) => errors.first().map_or_else(|| Error::internal("no error"), translate),
        DataFusionError::Internal(message) | DataFusionError::Ffi(message) | DataFusionError::Substrait(message) => {
            Error::internal(tidy(message))
        }
    }
}

/// What a panic said, as our fault; but for arrow's only way to say that a column is too long for its offsets.
pub fn panicked(text: &str) -> Error {
    if text.contains("offset overflow") {
        let message = "a column has more than 2 GB in one batch: SET datafusion.execution.batch_size to less, or make its \
                       values shorter";
        return Error::new(ErrorKind::Exhausted, message);
    }
    Error::internal(format!("the engine failed inside: {text}"))
}

/// Optimizer rules put their name before the cause, which helps nobody; other contexts name a file or a table.
fn in_context(description: &str, inner: &DataFusionError) -> Error {
    let cause = translate(inner);
    let is_rule = !description.contains(' ') || description.starts_with("Optimizer rule");
    // A sort that runs out of memory names settings of DataFusion's that nobody has.
    let is_of_sort = description.starts_with("Not enough memory to continue external sort");
    if is_rule || is_of_sort { cause } else { cause.context(tidy(description)) }
}

/// The parser ends its messages with `at Line: 1, Column: 8`: that becomes the position.
fn syntax_error(error: &ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
        ParserError::RecursionLimitExceeded => {
            return Error::invalid(
                "the statement is nested too deeply; see SHOW datafusion.sql_parser.recursion_limit",
            );
        }
    };
    let (message, position) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (message.to_owned(), parse_place(place)),
        None => (text, None),
    };
    Error { position, ..Error::invalid(format!("syntax error: {}", tidy(&message))) }
}

fn parse_place(place: &str) -> Option<Position> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn schema_error(error: &SchemaError) -> Error {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return Error::invalid(tidy(&error.to_string()));
    };
    let wanted = field.flat_name();
    let known: Vec<String> = valid_fields.iter().map(|column| column.quoted_flat_name()).collect();
    let bare: Vec<String> = valid_fields.iter().map(|column| column.name().to_owned()).collect();
    let by_name = nearest(field.name(), bare.iter().map(String::as_str));
    let hints: Vec<&str> = by_name.iter().filter_map(|i| known.get(*i).map(String::as_str)).collect();
    let mut message = format!("column \"{wanted}\" not found");
    if !hints.is_empty() && is_near(field.name(), bare.get(by_name[0]).map_or("", String::as_str)) {
        message.push_str(&format!("; did you mean {}?", hints.join(" or ")));
    } else if !known.is_empty() {
        let shown = known.len().min(FIELDS_SHOWN_MAX);
        let more = if known.len() > shown { ", ..." } else { "" };
        message.push_str(&format!("; the columns here are {}{more}", known[..shown].join(", ")));
    }
    Error { kind: ErrorKind::Invalid, ..Error::not_found(message) }
}

/// Columns listed when none is near the unknown one.
const FIELDS_SHOWN_MAX: usize = 20;

fn plan_error(message: &str) -> Error {
    let message = tidy(message);
    if message.starts_with("table '") && message.ends_with("not found") {
        return Error::not_found(message);
    }
    Error::invalid(message)
}

/// DataFusion reports user errors and some environment errors as plain text.
fn plain_error(message: &str) -> Error {
    let message = tidy(message);
    if is_spill_limit(&message) {
        return exhausted(&message);
    }
    if message.contains("already exists") {
        return Error::already_exists(message);
    }
    if message.ends_with("doesn't exist") {
        return Error::not_found(message);
    }
    Error::invalid(message)
}

fn exhausted(message: &str) -> Error {
    let way_out = if message.contains("disk") {
        "free disk space or raise the spill limit (--spill-bytes-max, grappe.query_spill_bytes_max)"
    } else {
        "raise --memory, or lower the number of parallel parts with SET datafusion.execution.target_partitions"
    };
    Error::new(ErrorKind::Exhausted, format!("{}; {way_out}", tidy(message)))
}

/// DataFusion's spill files say it in the middle of a write, whatever becomes of the error on its way.
fn is_spill_limit(message: &str) -> bool {
    message.contains("used disk space during the spilling process")
}

fn io_error(error: &std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<DataFusionError>()) {
        return translate(inner);
    }
    let text = error.to_string();
    if is_spill_limit(&text) {
        return exhausted(&text);
    }
    let kind = match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Exhausted,
        Io::InvalidData | Io::InvalidInput | Io::UnexpectedEof => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, tidy(&error.to_string()))
}

fn object_store_error(error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    match error {
        Store::NotFound { path, .. } => Error::not_found(format!("no file or object at {}", show_path(path))),
        Store::AlreadyExists { path, .. } => Error::already_exists(format!("{} is there already", show_path(path))),
        Store::PermissionDenied { path, source } => {
            Error::new(ErrorKind::Denied, format!("not allowed to read or write {}: {source}", show_path(path)))
        }
        Store::Unauthenticated { path, .. } => {
            let message = format!("the object store wants other credentials for {}", show_path(path));
            Error::new(ErrorKind::Denied, message)
        }
        Store::InvalidPath { source } => Error::invalid(format!("bad path: {source}")),
        Store::NotSupported { source } => Error::invalid(format!("the object store cannot do this: {source}")),
        other => generic_store_error(other),
    }
}

/// A store wraps operating system errors; the innermost says what happened.
fn generic_store_error(error: &object_store::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>().filter(|io| io.get_ref().is_none()) {
            return Error::new(io_error(io).kind, tidy(&error.to_string()));
        }
        source = current.source();
    }
    Error::unavailable(tidy(&error.to_string()))
}

/// Paths in a store have no leading slash; local ones are shown as the user knows them.
fn show_path(path: &str) -> String {
    if path.starts_with('/') || path.contains("://") { path.to_owned() } else { format!("/{path}") }
}

fn arrow_error(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(source) => external_error(source.as_ref()),
        ArrowError::IoError(_, source) => io_error(source),
        ArrowError::DivideByZero => Error::invalid("division by zero"),
        ArrowError::MemoryError(message) => exhausted(message),
        ArrowError::CDataInterface(message) => Error::internal(message.clone()),
        ArrowError::CsvError(message) => Error::invalid(format!("bad CSV: {}", tidy(message))),
        ArrowError::JsonError(message) => Error::invalid(format!("bad JSON: {}", tidy(message))),
        ArrowError::AvroError(message) => Error::invalid(format!("bad Avro file: {}", tidy(message))),
        ArrowError::IpcError(message) => Error::invalid(format!("bad Arrow file: {}", tidy(message))),
        ArrowError::ParquetError(message) => Error::invalid(format!("bad Parquet file: {}", tidy(message))),
        other => {
            let text = other.to_string();
            Error::invalid(tidy(text.split_once(": ").map_or(text.as_str(), |(_, message)| message)))
        }
    }
}

fn parquet_error(error: &ParquetError) -> Error {
    match error {
        ParquetError::External(source) => external_error(source.as_ref()),
        ParquetError::ArrowError(message) => Error::invalid(format!("bad Parquet file: {}", tidy(message))),
        ParquetError::NYI(message) => Error::invalid(format!("not supported in Parquet: {}", tidy(message))),
        other => {
            let text = other.to_string();
            let message = text.split_once(": ").map_or(text.as_str(), |(_, message)| message);
            Error::invalid(format!("bad Parquet file: {}", tidy(message)))
        }
    }
}

fn external_error(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(own) = error.downcast_ref::<Error>() {
        return own.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return translate(inner);
    }
    if let Some(inner) = error.downcast_ref::<Arc<DataFusionError>>() {
        return translate(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow_error(inner);
    }
    if let Some(inner) = error.downcast_ref::<ParquetError>() {
        return parquet_error(inner);
    }
    if let Some(inner) = error.downcast_ref::<object_store::Error>() {
        return object_store_error(inner);
    }
    if let Some(inner) = error.downcast_ref::<std::io::Error>() {
        return io_error(inner);
    }
    Error::invalid(tidy(&error.to_string()))
}

/// Our style: no full stop at the end, no back trace, lower case where the first word is not a name.
fn tidy(message: &str) -> String {
    let message = message.split("\n\nbacktrace:").next().unwrap_or(message);
    let message = message.trim().trim_end_matches('.');
    let mut characters = message.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && (second.is_lowercase() || second == ' ') => {
            first.to_lowercase().chain(message.chars().skip(1)).collect()
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_syntax_error_is_taken_out_of_its_message() {
        let source = ParserError::ParserError("Expected: end of statement, found: FORM at Line: 2, Column: 10".into());
        let error = syntax_error(&source);
        assert_eq!(error.message, "syntax error: expected: end of statement, found: FORM");
        assert_eq!(error.position, Some(Position { line: 2, column: 10 }));
    }

    #[test]
    fn an_own_error_comes_back_from_datafusion_unchanged() {
        let sent = Error::new(ErrorKind::Exhausted, "too much");
        let back = Error::from(DataFusionError::from(sent).context("some rule"));
        assert_eq!((back.kind, back.message.as_str()), (ErrorKind::Exhausted, "some rule: too much"));
    }

    #[test]
    fn a_full_disk_is_a_limit_and_a_missing_file_is_not_found() {
        let full = DataFusionError::IoError(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(Error::from(full).kind, ErrorKind::Exhausted);
        let missing = DataFusionError::IoError(std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(Error::from(missing).kind, ErrorKind::NotFound);
    }
}
