//! Where results and messages go: standard output, or the file of `-o` and `\o`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use terminal_size::{Width, terminal_size};

use super::failure::{Failure, reason};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// The two places.
pub(crate) struct Output {
    stdout: BufWriter<Box<dyn Write + Send>>,
    is_terminal: bool,
    file: Option<(String, BufWriter<File>)>,
}

impl Output {
    /// Writes to `stdout` until told otherwise.
    pub(crate) fn new(stdout: Box<dyn Write + Send>, is_terminal: bool) -> Self {
        Self { stdout: BufWriter::with_capacity(BUFFER_BYTES, stdout), is_terminal, file: None }
    }

    /// Where results go.
    pub(crate) fn results(&mut self) -> &mut (dyn Write + Send) {
        match &mut self.file {
            Some((_, file)) => file,
            None => &mut self.stdout,
        }
    }

    /// Whether results are shown on a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal && self.file.is_none()
    }

    /// The width of the terminal that shows the results, if one does.
    pub(crate) fn columns_max(&self) -> Option<usize> {
        let (Width(columns), _) = self.is_terminal().then(terminal_size)??;
        Some(usize::from(columns))
    }

    /// Writes a line where results go.
    pub(crate) fn result(&mut self, line: &str) -> Result<(), Failure> {
        self.result_text(&format!("{line}\n"))
    }

    /// Writes text where results go.
    pub(crate) fn result_text(&mut self, text: &str) -> Result<(), Failure> {
        self.results().write_all(text.as_bytes()).map_err(|error| self.failure(error))
    }

    /// Writes a line to standard output, wherever results go.
    pub(crate) fn message(&mut self, line: &str) -> Result<(), Failure> {
        self.message_text(&format!("{line}\n"))
    }

    /// Writes text to standard output, wherever results go.
    pub(crate) fn message_text(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes()).map_err(|error| Failure::Output { to: None, error })
    }

    /// Writes what is held back.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.results().flush().map_err(|error| self.failure(error))?;
        self.stdout.flush().map_err(|error| Failure::Output { to: None, error })
    }

    /// Sends results to a file from now on.
    pub(crate) fn redirect(&mut self, path: &Path) -> Result<(), Failure> {
        self.restore()?;
        let to = path.display().to_string();
        let file = File::create(path).map_err(|error| Failure::Command(format!("{to}: {}", reason(&error))))?;
        self.file = Some((to, BufWriter::with_capacity(BUFFER_BYTES, file)));
        Ok(())
    }

    /// Sends results to standard output again.
    pub(crate) fn restore(&mut self) -> Result<(), Failure> {
        let flushed = self.flush();
        self.file = None;
        flushed
    }

    /// A failure to write results.
    pub(crate) fn failure(&self, error: io::Error) -> Failure {
        Failure::Output { to: self.file.as_ref().map(|(to, _)| to.clone()), error }
    }
}
