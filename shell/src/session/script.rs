//! Reads lines to their end and runs what they say, one piece after the other.

use super::Session;
use super::failure::{Exit, Failure};
use super::lines::{Lines, Next};
use crate::split::{Pending, Piece, Splitter, Statement};
use crate::variables::ON_ERROR_STOP;

/// Where text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody at the prompt.
    Prompt,
    /// A `-c`.
    Command,
    /// A script, by the name that errors tell.
    File(String),
    /// Standard input.
    Input,
}

/// How the reading of one text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was read to its end; with the code of the first failure.
    Complete(Exit),
    /// A failure ended it.
    Stopped(Exit),
    /// A failure ended everything.
    Exit(Exit),
}

/// What comes after a meta command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next piece.
    Continue,
    /// Nothing: this text is done.
    Quit,
}

/// A failure and its place.
struct Failed {
    failure: Failure,
    line: u64,
    statement: String,
}

impl Origin {
    /// The code of a failed statement.
    pub(crate) fn failed(&self) -> Exit {
        match self {
            Self::Prompt => Exit::Success,
            Self::Command => Exit::Fault,
            Self::File(_) | Self::Input => Exit::Script,
        }
    }
}

impl End {
    /// The code if nothing follows.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Complete(exit) | Self::Stopped(exit) | Self::Exit(exit) => exit,
        }
    }
}

impl Session {
    /// Runs everything that the lines say.
    pub(super) async fn run_lines(&mut self, mut lines: Lines, origin: &Origin) -> End {
        let mut splitter = Splitter::default();
        let mut exit = Exit::Success;
        loop {
            let read = self.read(&mut lines, &splitter).await;
            let done = matches!(read, Ok(Next::End));
            match self.run_read(read, &mut splitter, origin, &mut exit).await {
                Ok(Flow::Continue) if !done => {}
                Ok(Flow::Continue | Flow::Quit) => return End::Complete(exit),
                Err(end) => return end,
            }
        }
    }

    async fn read(&mut self, lines: &mut Lines, splitter: &Splitter) -> Result<Next, Failure> {
        self.output.flush()?;
        if let Lines::Prompt(_) = lines {
            let read = lines.next(splitter.pending()).await;
            self.interrupts.clear();
            return read;
        }
        tokio::select! {
            biased;
            () = self.interrupts.next() => Err(Failure::Interrupted),
            read = lines.next(splitter.pending()) => read,
        }
    }

    async fn run_read(
        &mut self,
        read: Result<Next, Failure>,
        splitter: &mut Splitter,
        origin: &Origin,
        exit: &mut Exit,
    ) -> Result<Flow, End> {
        match read {
            Ok(Next::Line(line)) => match word(&line, splitter, origin) {
                Some(Word::Quit) => return Ok(Flow::Quit),
                Some(Word::Help) => splitter.push("\\?\n".to_owned()),
                None => splitter.push(line),
            },
            Ok(Next::Cleared) => {
                splitter.reset();
                return Ok(Flow::Continue);
            }
            Ok(Next::End) => return self.run_rest(splitter, origin, exit).await,
            Err(failure) => {
                let failed = Failed { failure, line: splitter.line(), statement: String::new() };
                return self.react(&failed, origin, exit).map(|()| Flow::Continue);
            }
        }
        self.run_pieces(splitter, origin, exit).await
    }

    async fn run_pieces(&mut self, splitter: &mut Splitter, origin: &Origin, exit: &mut Exit) -> Result<Flow, End> {
        loop {
            let result = match splitter.next_piece(&self.variables) {
                Ok(None) => return Ok(Flow::Continue),
                Ok(Some(Piece::Statement(statement))) => self.run_placed(statement).await,
                Ok(Some(Piece::Command { text, line })) => self.run_command(&text, line, splitter).await,
                Err(error) => Err(Failed::text(error)),
            };
            match result {
                Ok(Flow::Continue) => {}
                Ok(Flow::Quit) => return Ok(Flow::Quit),
                Err(failed) => {
                    if matches!(failed.failure, Failure::Interrupted) {
                        splitter.reset();
                    }
                    self.react(&failed, origin, exit)?;
                }
            }
        }
    }

    /// Runs what has no semicolon when the input ends; what was being typed is given up.
    async fn run_rest(&mut self, splitter: &mut Splitter, origin: &Origin, exit: &mut Exit) -> Result<Flow, End> {
        if *origin == Origin::Prompt {
            return Ok(Flow::Quit);
        }
        let result = match splitter.finish() {
            Ok(None) => return Ok(Flow::Quit),
            Ok(Some(statement)) => self.run_placed(statement).await,
            Err(error) => Err(Failed::text(error)),
        };
        match result {
            Ok(flow) => Ok(flow),
            Err(failed) => self.react(&failed, origin, exit).map(|()| Flow::Quit),
        }
    }

    async fn run_placed(&mut self, statement: Statement) -> Result<Flow, Failed> {
        let line = statement.line;
        match self.run_statement(statement, None).await {
            Ok(()) => Ok(Flow::Continue),
            Err(failure) => Err(self.placed(failure, line)),
        }
    }

    async fn run_command(&mut self, text: &str, line: u64, splitter: &mut Splitter) -> Result<Flow, Failed> {
        match Box::pin(crate::meta::run(self, text, splitter)).await {
            Ok(flow) => Ok(flow),
            // `\g` runs the statement that stands before it.
            Err(failure) => Err(self.placed(failure, line)),
        }
    }

    /// What the server says of a statement is said of the last one.
    fn placed(&self, failure: Failure, line: u64) -> Failed {
        match (&failure, &self.last) {
            (Failure::Server(error), Some(last)) if error.position.is_some() => {
                Failed { failure, line: last.line, statement: last.text.clone() }
            }
            _ => Failed { failure, line, statement: String::new() },
        }
    }

    /// Says what went wrong, and decides what comes next.
    fn react(&mut self, failed: &Failed, origin: &Origin, exit: &mut Exit) -> Result<(), End> {
        let Failed { failure, line, statement } = failed;
        self.report(failure, origin, *line, statement);
        let code = failure.exit(origin);
        if *exit == Exit::Success {
            *exit = code;
        }
        let at_prompt = *origin == Origin::Prompt;
        match failure {
            Failure::Exit(exit) => Err(End::Exit(*exit)),
            _ if code == Exit::ClosedPipe => Err(End::Exit(code)),
            _ if failure.is_final() && !self.interactive => Err(End::Exit(code)),
            Failure::Input(_) => Err(End::Stopped(code)),
            _ if at_prompt => {
                *exit = Exit::Success;
                Ok(())
            }
            _ if failure.is_final() || *origin == Origin::Command => Err(End::Stopped(code)),
            _ if self.variables.is_on(ON_ERROR_STOP) => Err(End::Stopped(code)),
            _ => Ok(()),
        }
    }
}

impl Failed {
    fn text(error: crate::split::SplitError) -> Self {
        Self { line: error.line, failure: Failure::Text(error), statement: String::new() }
    }
}

enum Word {
    Quit,
    Help,
}

/// The words that psql understands at an empty prompt.
fn word(line: &str, splitter: &Splitter, origin: &Origin) -> Option<Word> {
    if *origin != Origin::Prompt || splitter.pending() != Pending::Nothing {
        return None;
    }
    match line.trim().trim_end_matches(';') {
        "quit" | "exit" => Some(Word::Quit),
        "help" => Some(Word::Help),
        _ => None,
    }
}
