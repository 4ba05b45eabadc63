//! What the shell is given: files, streams and signals.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What only the binary knows.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The server as `\conninfo` tells it, such as `grpc://localhost:5670` or `an engine in this process`.
    pub server: String,
    /// Where lines typed at the prompt are kept, if anywhere.
    pub history_file: Option<PathBuf>,
    /// A script to run at the start; it need not exist.
    pub startup_file: Option<PathBuf>,
}

/// Where statements come from and where results and errors go.
pub struct Streams {
    /// Statements, unless the options name others.
    pub input: Input,
    /// Results.
    pub output: Box<dyn Write + Send>,
    /// Errors.
    pub errors: Box<dyn Write + Send>,
    /// Whether the output is shown on the terminal of this process.
    pub output_is_terminal: bool,
    /// Whether the errors are: progress is shown only there.
    pub errors_are_terminal: bool,
    /// Ctrl-C while no line is edited.
    pub interrupts: Interrupts,
}

/// Where statements come from.
pub enum Input {
    /// The terminal of this process, with a prompt.
    Terminal,
    /// A script.
    Script(Box<dyn Read + Send>),
}

/// Ctrl-C, once for each time it was pressed.
#[derive(Debug)]
pub struct Interrupts {
    presses: mpsc::Receiver<()>,
    /// Ends when this is dropped.
    _listener: JoinSet<()>,
}

impl Streams {
    /// Those of this process.
    pub fn of_process() -> Self {
        let stdin = std::io::stdin();
        Self {
            input: if stdin.is_terminal() { Input::Terminal } else { Input::Script(Box::new(stdin)) },
            output: Box::new(std::io::stdout()),
            errors: Box::new(std::io::stderr()),
            output_is_terminal: std::io::stdout().is_terminal(),
            errors_are_terminal: std::io::stderr().is_terminal(),
            interrupts: Interrupts::of_process(),
        }
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams")
            .field("input", &self.input)
            .field("output_is_terminal", &self.output_is_terminal)
            .field("errors_are_terminal", &self.errors_are_terminal)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Terminal => "Terminal",
            Self::Script(_) => "Script",
        })
    }
}

impl Interrupts {
    /// Listens to this process: from now on Ctrl-C no longer ends it.
    ///
    /// Where signals cannot be had, Ctrl-C ends the process, as it does by default.
    pub fn of_process() -> Self {
        let (sender, presses) = mpsc::channel(1);
        let mut listener = JoinSet::new();
        if let Ok(mut signals) = signal(SignalKind::interrupt()) {
            listener.spawn(async move {
                while signals.recv().await.is_some() {
                    // A press that nobody has seen yet says as much as two.
                    let _ = sender.try_send(());
                }
            });
        }
        Self { presses, _listener: listener }
    }

    /// Takes each message for a press.
    pub fn from_channel(presses: mpsc::Receiver<()>) -> Self {
        Self { presses, _listener: JoinSet::new() }
    }

    /// Waits for the next press; forever if there can be none.
    pub(crate) async fn next(&mut self) {
        if self.presses.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets presses that came while nothing ran.
    pub(crate) fn clear(&mut self) {
        while self.presses.try_recv().is_ok() {}
    }
}
