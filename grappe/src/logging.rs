//! Logs, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::exit::Failure;

/// What a process that serves others logs unless told otherwise.
pub(crate) const OF_A_SERVICE: &str = "info";
/// What a command logs unless told otherwise.
pub(crate) const OF_A_COMMAND: &str = "warn";

/// Starts logging what `filter` lets through; as JSON lines where no terminal reads them.
///
/// # Errors
/// A filter that cannot be understood.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| Failure::ours(format!("cannot understand --log '{filter}': {error}")))?;
    let terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    if terminal {
        logs.init()
    } else {
        logs.json().init()
    }
    Ok(())
}
