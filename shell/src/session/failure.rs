//! What goes wrong, what the shell says of it, and what it does next.

use std::io;

use client::{ErrorKind, Position};

use super::Session;
use super::script::Origin;
use crate::render::display_width;
use crate::split::SplitError;

/// How the shell ends; see the crate's overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Fault,
    Connection,
    Script,
    ClosedPipe,
}

impl Exit {
    /// The code for the caller of the process.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Fault => 1,
            Self::Connection => 2,
            Self::Script => 3,
            // What a shell reports of a program that SIGPIPE ended.
            Self::ClosedPipe => 141,
        }
    }
}

/// Why a statement or a meta command did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused it, or is gone.
    Server(client::Error),
    /// A meta command cannot be done.
    Command(String),
    /// The text is no statement.
    Text(SplitError),
    /// A value cannot be shown.
    Value(String),
    /// Ctrl-C was pressed.
    Interrupted,
    /// The input cannot be read.
    Input(String),
    /// The output takes no more.
    Output {
        /// The file, if it is not standard output.
        to: Option<String>,
        /// What the system says.
        error: io::Error,
    },
    /// An included script failed, and has said so.
    Included,
    /// An included script ended the shell.
    Exit(Exit),
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Server(error)
    }
}

impl Failure {
    /// Whether whoever read the output has closed it.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The code with which the shell ends because of this.
    pub(crate) fn exit(&self, origin: &Origin) -> Exit {
        match self {
            Self::Server(error) if error.kind == ErrorKind::Connection => Exit::Connection,
            Self::Output { .. } if self.is_closed_pipe() => Exit::ClosedPipe,
            Self::Output { .. } | Self::Input(_) => Exit::Fault,
            Self::Exit(exit) => *exit,
            Self::Server(_)
            | Self::Command(_)
            | Self::Text(_)
            | Self::Value(_)
            | Self::Interrupted
            | Self::Included => origin.failed(),
        }
    }

    /// Whether no later statement can go better.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Server(error) => error.kind == ErrorKind::Connection,
            Self::Interrupted | Self::Output { .. } | Self::Exit(_) => true,
            Self::Command(_) | Self::Text(_) | Self::Value(_) | Self::Input(_) | Self::Included => false,
        }
    }

    /// What is written to standard error; nothing if enough was said.
    fn message(&self) -> Option<String> {
        Some(match self {
            Self::Server(error) => format!("ERROR:  {}", printable(&error.message)),
            Self::Command(message) => printable(message),
            Self::Text(error) => format!("ERROR:  {error}"),
            Self::Value(message) => format!("ERROR:  {}", printable(message)),
            Self::Interrupted => "ERROR:  the statement was cancelled".to_owned(),
            Self::Input(message) => format!("error: {}", printable(message)),
            Self::Output { .. } if self.is_closed_pipe() => return None,
            Self::Output { to, error } => {
                let to = to.as_deref().unwrap_or("standard output");
                format!("error: cannot write to {to}: {}", reason(error))
            }
            Self::Included | Self::Exit(_) => return None,
        })
    }

    /// Where in the statement the mistake is.
    fn position(&self) -> Option<Position> {
        match self {
            Self::Server(error) => error.position,
            _ => None,
        }
    }
}

impl Session {
    /// Says what went wrong at `line` of `origin`, in `statement` if it was one.
    pub(crate) fn report(&mut self, failure: &Failure, origin: &Origin, line: u64, statement: &str) {
        let Some(message) = failure.message() else { return };
        let position = failure.position();
        let line = line + position.map_or(0, |position| position.line.saturating_sub(1));
        let place = match origin {
            Origin::File(name) => format!("{name}:{line}: "),
            Origin::Prompt | Origin::Command | Origin::Input => String::new(),
        };
        // The terminal has written `^C`.
        let start = if matches!(failure, Failure::Interrupted) && self.errors_are_terminal { "\n" } else { "" };
        let pointer = position.and_then(|position| pointer(statement, position)).unwrap_or_default();
        self.complain(&format!("{start}{place}{message}\n{pointer}"));
    }

    /// Says why nothing more is done.
    pub(crate) fn give_up(&mut self, failure: &Failure) -> Exit {
        if let Some(message) = failure.message() {
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            self.complain(&format!("grappe: error: {message}\n"));
        }
        match failure.exit(&Origin::Command) {
            Exit::Success => Exit::Fault,
            exit => exit,
        }
    }

    /// Warns of something that does no harm.
    pub(crate) fn warn(&mut self, message: &str) {
        self.complain(&format!("{}\n", printable(message)));
    }

    /// Writes to standard error, after what was written to the output before.
    pub(crate) fn complain(&mut self, text: &str) {
        // If either is closed, nobody is left to be told; the next result shows it.
        let _ = self.output.flush();
        let _ = self.errors.write_all(text.as_bytes());
        let _ = self.errors.flush();
    }
}

/// What the system says, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Shows control characters instead of sending them to the terminal.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Columns of a statement shown with an error, and how many of them must be right of the mistake.
const SHOWN_COLUMNS_MAX: usize = 60;
const SHOWN_COLUMNS_RIGHT_MIN: usize = 10;

/// The line of the mistake with a caret below it, cut around the mistake if it is long.
fn pointer(statement: &str, position: Position) -> Option<String> {
    let index = usize::try_from(position.line.checked_sub(1)?).ok()?;
    let line = statement.lines().nth(index)?;
    let characters: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = usize::try_from(position.column.checked_sub(1)?).ok()?;
    if at > characters.len() {
        return None;
    }
    let columns = columns(&characters);
    let (start, end) = window(&columns, at);
    let dots = |cut: bool| if cut { "..." } else { "" };
    let prefix = format!("LINE {}: {}", position.line, dots(start > 0));
    let before = prefix.len() + columns[at] - columns[start];
    let shown: String = characters[start..end].iter().collect();
    let end_dots = dots(end < characters.len());
    Some(format!("{prefix}{shown}{end_dots}\n{:before$}^\n", ""))
}

/// The column at which each character starts, and the one after the last; each takes one at least, as in psql.
fn columns(characters: &[char]) -> Vec<usize> {
    let mut columns = vec![0];
    let mut column = 0;
    for character in characters {
        column += display_width(character.encode_utf8(&mut [0; 4])).max(1);
        columns.push(column);
    }
    columns
}

/// The characters to show: cut at the right if that is enough, else on both sides.
fn window(columns: &[usize], at: usize) -> (usize, usize) {
    let (mut start, mut end) = (0, columns.len() - 1);
    let too_wide = |start: usize, end: usize| columns[end] - columns[start] > SHOWN_COLUMNS_MAX;
    if !too_wide(start, end) {
        return (start, end);
    }
    if columns[at] + SHOWN_COLUMNS_RIGHT_MIN <= SHOWN_COLUMNS_MAX {
        while too_wide(start, end) {
            end -= 1;
        }
        return (start, end);
    }
    while columns[at] + SHOWN_COLUMNS_RIGHT_MIN < columns[end] {
        end -= 1;
    }
    while too_wide(start, end) {
        start += 1;
    }
    (start, end)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn mistakes_are_pointed_at_as_in_psql() {
        let folder = Path::new("tests/pointing");
        let mut compared = 0;
        for entry in fs::read_dir(folder).expect("files") {
            let path = entry.expect("a file").path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let statement = fs::read_to_string(&path).expect("a statement");
            let expected = fs::read_to_string(path.with_extension("txt")).expect("what psql printed");
            let actual = pointer(&statement, place_of_mistake(&statement));
            assert_eq!(actual.as_deref(), Some(expected.as_str()), "{}", path.display());
            compared += 1;
        }
        assert!(compared >= 8, "only {compared} statements were compared");
    }

    /// Where `nope` stands.
    fn place_of_mistake(statement: &str) -> Position {
        let before = statement.split("nope").next().unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() as u64 + 1;
        Position { line, column: before[line_start..].chars().count() as u64 + 1 }
    }

    #[test]
    fn places_outside_of_the_statement_point_nowhere() {
        for (line, column) in [(0, 1), (1, 0), (2, 1), (1, 10), (u64::MAX, u64::MAX)] {
            assert_eq!(pointer("SELECT 1", Position { line, column }), None, "{line}:{column}");
        }
        assert!(pointer("SELECT 1", Position { line: 1, column: 9 }).is_some());
    }

    #[test]
    fn a_long_line_costs_no_more_than_its_length() {
        let statement = format!("SELECT '{}', nope, '{}'", "x".repeat(4_000_000), "y".repeat(4_000_000));
        let shown = pointer(&statement, place_of_mistake(&statement)).expect("a line");
        assert!(shown.len() < 200 && shown.contains("nope"), "{shown}");
    }

    #[test]
    fn messages_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc\td\u{7}"), "a\\u{1b}[31mb\nc\td\\u{7}");
    }
}
