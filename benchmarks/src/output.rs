//! Where findings go: lines of standard output, and files that a run writes at its end but opens before it starts: better
//! to know at once that they cannot be written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Error;

/// A file to be filled.
pub(crate) struct OutputFile {
    path: PathBuf,
    file: File,
}

impl OutputFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::file("create", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(crate) fn write(mut self, text: &str) -> Result<(), Error> {
        self.file.write_all(text.as_bytes()).map_err(Error::file("write", &self.path))
    }
}

/// Says a line on standard output.
pub(crate) fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::file("write", Path::new("standard output")))
}
