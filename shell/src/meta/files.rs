//! Scripts and files: `\i`, `\ir`, `\o`.

use std::path::{Path, PathBuf};

use super::arguments::Call;
use crate::session::Session;
use crate::session::failure::{Exit, Failure};
use crate::session::script::End;

/// Scripts that may include each other.
const DEPTH_MAX: usize = 16;

/// Where a relative path starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// The working directory.
    Working,
    /// The folder of the present script.
    Script,
}

/// Runs a script.
pub(super) async fn include(session: &mut Session, call: &mut Call, base: Base) -> Result<(), Failure> {
    let name = call.required().map_err(Failure::Command)?;
    let folder = session.files().last().and_then(|path| path.parent()).filter(|_| base == Base::Script);
    let path = folder.unwrap_or(Path::new("")).join(&name);
    if session.files().len() >= DEPTH_MAX {
        return Err(Failure::Command(format!("{name}: scripts include each other more than {DEPTH_MAX} levels deep")));
    }
    let end = session.run_file(&path).await.map_err(|failure| match failure {
        Failure::Input(message) => Failure::Command(message),
        other => other,
    })?;
    match end {
        End::Complete(Exit::Success) => Ok(()),
        End::Complete(_) | End::Stopped(_) => Err(Failure::Included),
        End::Exit(exit) => Err(Failure::Exit(exit)),
    }
}

/// Sends results to a file, or to standard output again.
pub(super) fn output(session: &mut Session, call: &mut Call) -> Result<(), Failure> {
    match call.next() {
        None => session.output.restore(),
        Some(name) if name.starts_with('|') => {
            Err(Failure::Command("\\o: this shell runs no other programs, name a file".to_owned()))
        }
        Some(name) => session.output.redirect(&PathBuf::from(name)),
    }
}
