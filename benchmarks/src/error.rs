//! Why a benchmark could not run. A query that fails or answers wrongly is a finding of the run, not an error of it.

use std::path::{Path, PathBuf};

/// Why a benchmark could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for does not fit what is there: change the options.
    #[error("{0}")]
    Invalid(String),
    /// A file or directory is at fault: a full disk, a missing permission.
    #[error("could not {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in "could not write".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The coordinator refused a statement that prepares the run.
    #[error("the server refused `{statement}`: {source}")]
    Server {
        /// The statement.
        statement: String,
        /// What it said.
        source: client::Error,
    },
    /// The fault is ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Makes an error of `path` out of whatever the system or a file format said.
    pub(crate) fn file<E>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = path.to_owned();
        move |source| Self::File { action, path, source: source.into() }
    }
}
