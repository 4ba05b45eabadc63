//! Somebody at a terminal: line editing, history, and the prompt.

use std::path::PathBuf;

use rustyline::Editor;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;

use crate::split::Pending;

/// Entries kept in the history.
const HISTORY_ENTRIES_MAX: usize = 2_000;

/// The name before the prompt.
const NAME: &str = "grappe";

type LineEditor = Editor<(), FileHistory>;

/// The editor and the lines of the statement being typed.
pub(crate) struct Prompt {
    /// Away while a line is read.
    editor: Option<LineEditor>,
    history_file: Option<PathBuf>,
    entry: String,
}

/// What somebody did.
pub(crate) enum Typed {
    /// Typed a line.
    Line(String),
    /// Pressed Ctrl-C.
    Cleared,
    /// Pressed Ctrl-D.
    End,
}

impl Prompt {
    /// A prompt that remembers lines in a file, if there is one.
    pub(crate) fn new(history_file: Option<PathBuf>) -> Self {
        Self { editor: None, history_file, entry: String::new() }
    }

    /// Reads a line; an error says why there can be none.
    pub(crate) async fn next(&mut self, pending: Pending) -> Result<Typed, String> {
        let mut editor = match self.editor.take() {
            Some(editor) => editor,
            None => self.open().map_err(|error| format!("cannot read from the terminal: {error}"))?,
        };
        if pending == Pending::Nothing {
            self.remember(&mut editor);
        }
        let prompt = prompt(pending);
        // Reading blocks until somebody types, which must not keep other tasks waiting.
        let reading = tokio::task::spawn_blocking(move || {
            let line = editor.readline(prompt.as_str());
            (editor, line)
        });
        let (editor, line) = reading.await.map_err(|error| format!("cannot read from the terminal: {error}"))?;
        self.editor = Some(editor);
        self.take(line)
    }

    fn open(&self) -> Result<LineEditor, ReadlineError> {
        let config = Config::builder()
            .max_history_size(HISTORY_ENTRIES_MAX)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .auto_add_history(false)
            .build();
        let mut editor = LineEditor::with_config(config)?;
        if let Some(path) = &self.history_file {
            // The first time there is no file; one that cannot be read must not keep anybody from working.
            let _ = editor.load_history(path);
        }
        Ok(editor)
    }

    fn take(&mut self, line: Result<String, ReadlineError>) -> Result<Typed, String> {
        match line {
            Ok(line) => {
                self.entry.push_str(&line);
                self.entry.push('\n');
                Ok(Typed::Line(format!("{line}\n")))
            }
            Err(ReadlineError::Interrupted) => {
                self.entry.clear();
                Ok(Typed::Cleared)
            }
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(error) => Err(format!("cannot read from the terminal: {error}")),
        }
    }

    /// Adds what was typed to the history, as one entry however many lines it had.
    fn remember(&mut self, editor: &mut LineEditor) {
        let entry = std::mem::take(&mut self.entry);
        let entry = entry.trim_end();
        if entry.is_empty() || is_secret(entry) {
            return;
        }
        let added = editor.add_history_entry(entry).unwrap_or(false);
        if let Some(path) = self.history_file.as_ref().filter(|_| added) {
            // A history that cannot be kept must not keep anybody from working.
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = editor.append_history(path);
        }
    }
}

fn prompt(pending: Pending) -> String {
    let mark = match pending {
        Pending::Nothing => '=',
        Pending::Statement => '-',
        Pending::Quote(quote) => quote,
    };
    format!("{NAME}{mark}> ")
}

/// Whether a statement must not be written to a file.
fn is_secret(entry: &str) -> bool {
    let entry = entry.to_ascii_lowercase();
    ["password", "secret", "token"].iter().any(|word| entry.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_shows_what_is_open() {
        let marks = [Pending::Nothing, Pending::Statement, Pending::Quote('\'')].map(prompt);
        assert_eq!(marks, ["grappe=> ", "grappe-> ", "grappe'> "]);
    }

    #[test]
    fn secrets_are_not_remembered() {
        assert!(is_secret("ALTER USER ann PASSWORD 'x'"));
        assert!(!is_secret("SELECT 1"));
    }
}
