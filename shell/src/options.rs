//! The command line of the shell, with psql's names.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

/// What the shell was asked for.
///
/// `-c` and `-f` may be mixed and repeated; they run in the order in which they were given. Without either, the shell
/// reads statements from standard input, with a prompt if that is a terminal.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) actions: Vec<Action>,
    pub(crate) flags: Flags,
}

/// One `-c` or `-f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Statements or meta commands.
    Command(String),
    /// A file of them.
    File(PathBuf),
    /// `-f -`: the same from standard input.
    StandardInput,
}

/// The options whose order does not matter.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Flags {
    /// Print values with a separator between them, not as a table.
    #[arg(short = 'A', long)]
    pub(crate) no_align: bool,

    /// Print rows only.
    #[arg(short, long)]
    pub(crate) tuples_only: bool,

    /// Print one value a line.
    #[arg(short = 'x', long)]
    pub(crate) expanded: bool,

    /// Print comma-separated values.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,

    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,

    /// Seconds for which a read is run again when the coordinator is lost; 0 runs it once.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) retry_seconds_max: u64,

    /// Say nothing but results and errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// What stands between values that are not aligned.
    #[arg(short = 'F', long, value_name = "STRING")]
    pub(crate) field_separator: Option<String>,

    /// Set a printing option, as `\pset` does.
    #[arg(short = 'P', long, value_name = "NAME[=VALUE]")]
    pub(crate) pset: Vec<String>,

    /// Set a variable, as `\set` does.
    #[arg(short = 'v', long = "set", visible_alias = "variable", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,

    /// Write results to a file.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Do not read the start-up file.
    #[arg(short = 'X', long)]
    pub(crate) no_psqlrc: bool,
}

const COMMAND: &str = "command";
const FILE: &str = "file";

fn command_arg() -> Arg {
    Arg::new(COMMAND)
        .short('c')
        .long("command")
        .value_name("TEXT")
        .help("Run statements or a meta command, then exit; may be repeated")
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
}

fn file_arg() -> Arg {
    Arg::new(FILE)
        .short('f')
        .long("file")
        .value_name("FILE")
        .help("Run a script, then exit; may be repeated; - is standard input")
        .action(ArgAction::Append)
        .value_parser(value_parser!(PathBuf))
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command.arg(command_arg()).arg(file_arg()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { actions: actions(matches), flags: Flags::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The actions in the order of the command line.
fn actions(matches: &ArgMatches) -> Vec<Action> {
    let commands = matches.get_many::<String>(COMMAND).into_iter().flatten();
    let commands = commands.map(|text| Action::Command(text.clone()));
    let files = matches.get_many::<PathBuf>(FILE).into_iter().flatten();
    let files = files.map(|path| match path.to_str() {
        Some("-") => Action::StandardInput,
        _ => Action::File(path.clone()),
    });
    let places = |name| matches.indices_of(name).into_iter().flatten();
    let mut actions: Vec<_> = places(COMMAND).zip(commands).chain(places(FILE).zip(files)).collect();
    actions.sort_by_key(|(place, _)| *place);
    actions.into_iter().map(|(_, action)| action).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn parse(words: &[&str]) -> Result<Options, clap::Error> {
        let program = <Program as clap::Parser>::try_parse_from([&["shell"], words].concat())?;
        Ok(program.options)
    }

    #[test]
    fn commands_and_files_keep_their_order() {
        let options = parse(&["-c", "a", "-f", "x.sql", "--command=b", "-f", "-", "-c", "-- c"]).expect("options");
        let command = |text: &str| Action::Command(text.to_owned());
        let expected =
            [command("a"), Action::File("x.sql".into()), command("b"), Action::StandardInput, command("-- c")];
        assert_eq!(options.actions, expected);
    }

    #[test]
    fn every_spelling_of_psql_is_taken() {
        let options = parse(&["-AtqX", "-F", ";", "-v", "a=1", "--set=b=2", "--variable", "c", "-P", "null=x"]);
        let flags = options.expect("options").flags;
        assert!(flags.no_align && flags.tuples_only && flags.quiet && flags.no_psqlrc);
        assert_eq!(flags.variables, ["a=1", "b=2", "c"]);
        assert_eq!(flags.field_separator.as_deref(), Some(";"));
    }

    #[test]
    fn two_formats_at_once_are_refused() {
        assert!(parse(&["--csv", "--json"]).is_err());
    }
}
