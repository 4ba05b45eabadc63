//! How a long-running process talks to whoever started it: a JSON line when it is ready, signals when it is to stop.

use std::io::Write;

use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Failure;

/// Waits for SIGINT or SIGTERM, or for standard input to be closed if the parent says so that way.
///
/// # Errors
/// When signals cannot be had.
pub(crate) async fn told_to_stop(until_input_closes: bool) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::ours(format!("cannot listen to signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = input_closed(), if until_input_closes => {}
    }
    Ok(())
}

/// Reads standard input to its end; an error is an end too.
async fn input_closed() {
    let mut ignored = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut ignored).await;
}

/// One line of JSON on standard output.
///
/// # Errors
/// When nobody can read it.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|error| Failure::ours(error.to_string()))?;
    print(&format!("{line}\n"))
}

/// Text on standard output, at once.
///
/// # Errors
/// When nobody can read it.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::ours(format!("cannot write to standard output: {error}")))
}
