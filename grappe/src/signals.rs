//! How a long-running process talks to whoever started it: a JSON line when it is ready, signals when it is to stop.

use std::io::Write;

use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// Listens to SIGINT, SIGTERM and, if the parent says so that way, the end of standard input. One listener lives as long as
/// the process: what comes between two would be heard by nobody.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    until_input_closes: bool,
}

impl StopSignals {
    /// # Errors
    /// When signals cannot be had.
    pub(crate) fn listen(until_input_closes: bool) -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::ours(format!("cannot listen to signals: {error}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            until_input_closes,
        })
    }

    /// Returns when the process is told to stop.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = input_closed(), if self.until_input_closes => self.until_input_closes = false,
        }
    }
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
