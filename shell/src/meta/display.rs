//! How results look: `\x`, `\a`, `\t`, `\pset`, `\timing` and their like.

use super::arguments::Call;
use crate::render::Style;
use crate::session::Session;
use crate::session::failure::Failure;
use crate::variables::parse_boolean;

/// Sets one printing option.
pub(super) fn set(session: &mut Session, name: &str, value: Option<String>) -> Result<(), Failure> {
    let said = session.format.set(name, value.as_deref()).map_err(Failure::Command)?;
    session.say(&said)
}

/// Sets the option that is named, or lists all.
pub(super) fn pset(session: &mut Session, call: &mut Call) -> Result<(), Failure> {
    if let Some(name) = call.next() {
        let value = call.next();
        return set(session, &name, value);
    }
    for (name, value) in session.format.list() {
        session.output.message(&format!("{name:<24} {value}"))?;
    }
    Ok(())
}

/// Switches between aligned and unaligned.
pub(super) fn toggle_aligned(session: &mut Session) -> Result<(), Failure> {
    let style = if session.format.style == Style::Aligned { "unaligned" } else { "aligned" };
    set(session, "format", Some(style.to_owned()))
}

/// Switches the telling of time.
pub(super) fn timing(session: &mut Session, call: &mut Call) -> Result<(), Failure> {
    session.timing = match call.next() {
        None => !session.timing,
        Some(value) => parse_boolean(&value).ok_or_else(|| {
            Failure::Command(format!("unrecognized value \"{value}\" for \"\\timing\": Boolean expected"))
        })?,
    };
    let said = if session.timing { "Timing is on." } else { "Timing is off." };
    session.say(said)
}
