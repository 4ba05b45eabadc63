//! The statement being typed: `\g`, `\gx`, `\p`, `\r`.

use crate::render::Expanded;
use crate::session::Session;
use crate::session::failure::Failure;
use crate::split::Splitter;

/// Runs the statement typed so far, or the last one again.
pub(super) async fn execute(
    session: &mut Session,
    splitter: &mut Splitter,
    expanded: Option<Expanded>,
) -> Result<(), Failure> {
    let Some(statement) = splitter.take_statement().or_else(|| session.last.clone()) else { return Ok(()) };
    let mut format = session.format.clone();
    if let Some(expanded) = expanded {
        format.expanded = expanded;
    }
    session.run_statement(statement, Some(format)).await
}

/// Prints the statement typed so far, or the last one.
pub(super) fn print(session: &mut Session, splitter: &Splitter) -> Result<(), Failure> {
    let typed = splitter.text().trim_end();
    let last = session.last.as_ref().map(|statement| statement.text.clone());
    match last.filter(|_| typed.is_empty()) {
        Some(last) => session.output.message(&last),
        None if typed.is_empty() => session.say("Query buffer is empty."),
        None => session.output.message(typed),
    }
}

/// Forgets the statement typed so far.
pub(super) fn reset(session: &mut Session, splitter: &mut Splitter) -> Result<(), Failure> {
    splitter.reset();
    session.say("Query buffer reset (cleared).")
}
