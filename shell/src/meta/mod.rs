//! The commands that start with a backslash: they speak to the shell, not to the server.

mod arguments;
mod buffer;
mod describe;
mod display;
mod files;
mod pattern;
mod variables;

use self::arguments::Call;
use self::describe::Request;
use crate::session::Session;
use crate::session::failure::Failure;
use crate::session::script::Flow;
use crate::split::Splitter;

/// What `\?` prints.
const HELP: &str = include_str!("help.txt");

/// Runs the meta command that `text` starts with and gives the rest of the line back to the splitter.
pub(crate) async fn run(session: &mut Session, text: &str, splitter: &mut Splitter) -> Result<Flow, Failure> {
    let mut call = Call::parse(text, &session.variables).map_err(Failure::Command)?;
    let flow = dispatch(session, &mut call, splitter).await?;
    for argument in call.arguments.drain(..) {
        session.warn(&format!("\\{}: extra argument \"{argument}\" ignored", call.name));
    }
    splitter.unread(&call.rest);
    Ok(flow)
}

async fn dispatch(session: &mut Session, call: &mut Call, splitter: &mut Splitter) -> Result<Flow, Failure> {
    match call.name.as_str() {
        "q" | "quit" => return Ok(Flow::Quit),
        "?" => session.output.message(HELP.trim_end())?,
        "conninfo" => {
            let line = format!("You are connected to {}.", session.environment.server);
            session.output.message(&line)?;
        }
        "g" => buffer::execute(session, splitter, None).await?,
        "gx" => buffer::execute(session, splitter, Some(crate::render::Expanded::On)).await?,
        "p" | "print" => buffer::print(session, splitter)?,
        "r" | "reset" => buffer::reset(session, splitter)?,
        "a" => display::toggle_aligned(session)?,
        "t" => display::set(session, "tuples_only", call.next())?,
        "x" => display::set(session, "expanded", call.next())?,
        "f" => display::set(session, "fieldsep", call.next())?,
        "C" => display::set(session, "title", call.next())?,
        "pset" => display::pset(session, call)?,
        "timing" => display::timing(session, call)?,
        "i" | "include" => files::include(session, call, files::Base::Working).await?,
        "ir" | "include_relative" => files::include(session, call, files::Base::Script).await?,
        "o" | "out" => files::output(session, call)?,
        "echo" => variables::echo(session, call, variables::Target::Output)?,
        "qecho" => variables::echo(session, call, variables::Target::Results)?,
        "warn" => variables::echo(session, call, variables::Target::Errors)?,
        "set" => variables::set(session, call)?,
        "unset" => variables::unset(session, call)?,
        name => match Request::parse(name) {
            Some(request) => describe::run(session, request, call.next()).await?,
            None => return Err(Failure::Command(format!("invalid command \\{name}\nTry \\? for help."))),
        },
    }
    Ok(Flow::Continue)
}
