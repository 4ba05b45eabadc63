//! The state of a shell, and the order in which it does what it was asked for.
//!
//! A script is read piece by piece in [`script`]; a statement is run, watched and printed in [`statement`]; what goes
//! wrong is sorted by what the shell does about it in [`failure`].

pub(crate) mod failure;
mod lines;
pub(crate) mod output;
pub(crate) mod script;
pub(crate) mod statement;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Client, Error, Told};

use self::failure::{Exit, Failure};
use self::lines::Lines;
use self::output::Output;
use self::script::{End, Origin};
use crate::environment::{Environment, Input, Interrupts, Streams};
use crate::options::{Action, Flags, Options};
use crate::prompt::Prompt;
use crate::render::{Expanded, Format, Style};
use crate::split::Statement;
use crate::variables::{ON_ERROR_STOP, QUIET, Variables};

/// One run of the shell.
pub(crate) struct Session {
    pub(crate) environment: Environment,
    pub(crate) format: Format,
    pub(crate) variables: Variables,
    pub(crate) timing: bool,
    pub(crate) output: Output,
    /// The statement that `\g` repeats.
    pub(crate) last: Option<Statement>,
    client: Client,
    /// What the session on the server has been told.
    told: Told,
    retry_time_max: Duration,
    errors: Box<dyn Write + Send>,
    errors_are_terminal: bool,
    interrupts: Interrupts,
    /// Whether somebody is at the prompt.
    interactive: bool,
    /// The scripts being read, the innermost last.
    files: Vec<PathBuf>,
}

/// Runs the shell to its end.
pub(crate) async fn run(
    options: Options,
    connection: Result<Client, Error>,
    environment: Environment,
    streams: Streams,
) -> Exit {
    let Streams { input, output, mut errors, output_is_terminal, errors_are_terminal, interrupts } = streams;
    let client = match connection {
        Ok(client) => client,
        Err(error) => {
            // Nobody is left to be told that the message was not written.
            let _ = writeln!(errors, "grappe: error: {error}");
            return Exit::Connection;
        }
    };
    let mut session = Session {
        environment,
        format: Format::default(),
        variables: Variables::default(),
        timing: false,
        output: Output::new(output, output_is_terminal),
        last: None,
        client,
        told: Told::default(),
        retry_time_max: Duration::from_secs(options.flags.retry_seconds_max),
        errors,
        errors_are_terminal,
        interrupts,
        interactive: options.actions.is_empty() && matches!(input, Input::Terminal),
        files: Vec::new(),
    };
    let exit = session.run(&options, input).await;
    match session.output.flush() {
        Err(failure) if exit == Exit::Success => session.give_up(&failure),
        Ok(()) | Err(_) => exit,
    }
}

impl Session {
    async fn run(&mut self, options: &Options, input: Input) -> Exit {
        if let Err(failure) = self.configure(&options.flags) {
            return self.give_up(&failure);
        }
        let startup_file = self.environment.startup_file.clone();
        if let Some(path) = startup_file.filter(|path| !options.flags.no_psqlrc && path.exists())
            && let End::Exit(exit) = self.run_named_file(&path).await
        {
            return exit;
        }
        self.run_actions(&options.actions, input).await
    }

    fn configure(&mut self, flags: &Flags) -> Result<(), Failure> {
        let format = &mut self.format;
        format.style = match flags {
            Flags { csv: true, .. } => Style::Csv,
            Flags { json: true, .. } => Style::Json,
            Flags { no_align: true, .. } => Style::Unaligned,
            Flags { .. } => Style::Aligned,
        };
        format.tuples_only = flags.tuples_only;
        if flags.expanded {
            format.expanded = Expanded::On;
        }
        if let Some(separator) = &flags.field_separator {
            format.field_separator.clone_from(separator);
        }
        for option in &flags.pset {
            let (name, value) = option.split_once('=').map_or((option.as_str(), None), |(n, v)| (n, Some(v)));
            format.set(name, value).map_err(Failure::Command)?;
        }
        for variable in &flags.variables {
            match variable.split_once('=') {
                Some((name, value)) => self.variables.set(name, value).map_err(Failure::Command)?,
                None => self.variables.unset(variable),
            }
        }
        if flags.quiet {
            self.variables.set(QUIET, "on").map_err(Failure::Command)?;
        }
        match &flags.output {
            Some(path) => self.output.redirect(path),
            None => Ok(()),
        }
    }

    async fn run_actions(&mut self, actions: &[Action], input: Input) -> Exit {
        let mut input = Some(input);
        if actions.is_empty() {
            return self.run_input(input.take(), Origin::Input).await.exit();
        }
        let mut exit = Exit::Success;
        for action in actions {
            let end = match action {
                Action::Command(text) => self.run_lines(Lines::text(text), &Origin::Command).await,
                Action::File(path) => self.run_named_file(path).await,
                Action::StandardInput => self.run_input(input.take(), Origin::File("<stdin>".to_owned())).await,
            };
            if let End::Exit(exit) = end {
                return exit;
            }
            exit = if exit == Exit::Success { end.exit() } else { exit };
            if exit != Exit::Success && self.variables.is_on(ON_ERROR_STOP) {
                break;
            }
        }
        exit
    }

    /// Reads what the process was given; a second time there is nothing left to read.
    async fn run_input(&mut self, input: Option<Input>, origin: Origin) -> End {
        let lines = match input {
            None => return End::Complete(Exit::Success),
            Some(Input::Script(script)) => Lines::reader(script),
            Some(Input::Terminal) if self.interactive => {
                self.greet();
                Lines::Prompt(Box::new(Prompt::new(self.environment.history_file.clone())))
            }
            Some(Input::Terminal) => Lines::reader(Box::new(std::io::stdin())),
        };
        let origin = if self.interactive { Origin::Prompt } else { origin };
        self.run_lines(lines, &origin).await
    }

    /// Runs a script that the command line names.
    async fn run_named_file(&mut self, path: &Path) -> End {
        match self.run_file(path).await {
            Ok(end) => end,
            Err(failure) => End::Stopped(self.give_up(&failure)),
        }
    }

    /// Runs a script; fails if it cannot be opened.
    pub(crate) async fn run_file(&mut self, path: &Path) -> Result<End, Failure> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::Input(format!("{name}: {}", failure::reason(&error))))?;
        self.files.push(path.to_owned());
        let lines = Lines::reader(Box::new(file));
        let end = Box::pin(self.run_lines(lines, &Origin::File(name))).await;
        self.files.pop();
        Ok(end)
    }

    /// The scripts being read, the innermost last.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether the shell may say more than results and errors.
    pub(crate) fn is_quiet(&self) -> bool {
        self.variables.is_on(QUIET)
    }

    /// Writes a line that is neither a result nor an error, unless the shell is quiet.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        if self.is_quiet() {
            return Ok(());
        }
        self.output.message(line)
    }

    fn greet(&mut self) {
        let greeting = concat!("Grappe ", env!("CARGO_PKG_VERSION"), ". Type \\? for help, \\q or Ctrl-D to leave.\n");
        // A terminal that is gone shows at the first line that is read.
        let _ = self.say(greeting);
    }
}
