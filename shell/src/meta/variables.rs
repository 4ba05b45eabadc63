//! Variables and text: `\set`, `\unset`, `\echo`, `\qecho`, `\warn`.

use super::arguments::Call;
use crate::session::Session;
use crate::session::failure::Failure;

/// Where `\echo` and its like write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Standard output.
    Output,
    /// Where results go.
    Results,
    /// Standard error.
    Errors,
}

/// Writes the arguments.
pub(super) fn echo(session: &mut Session, call: &mut Call, target: Target) -> Result<(), Failure> {
    let no_newline = call.arguments.front().is_some_and(|argument| argument == "-n");
    if no_newline {
        call.next();
    }
    let mut text = call.arguments.drain(..).collect::<Vec<_>>().join(" ");
    if !no_newline {
        text.push('\n');
    }
    match target {
        Target::Output => session.output.message_text(&text),
        Target::Results => session.output.result_text(&text),
        Target::Errors => {
            session.complain(&text);
            Ok(())
        }
    }
}

/// Sets a variable to its arguments, one after the other, or lists all.
pub(super) fn set(session: &mut Session, call: &mut Call) -> Result<(), Failure> {
    if let Some(name) = call.next() {
        let value: String = call.arguments.drain(..).collect();
        return session.variables.set(&name, &value).map_err(Failure::Command);
    }
    let lines: Vec<_> = session.variables.iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
    lines.iter().try_for_each(|line| session.output.message(line))
}

/// Removes a variable.
pub(super) fn unset(session: &mut Session, call: &mut Call) -> Result<(), Failure> {
    let name = call.required().map_err(Failure::Command)?;
    session.variables.unset(&name);
    Ok(())
}
