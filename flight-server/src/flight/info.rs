//! `FlightInfo` and `PollInfo` of a statement, and the tickets in them.

use arrow::datatypes::Schema;
use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, PollInfo, Ticket};
use bytes::Bytes;
use engine::{Error, Result};
use prost::Message;
use serde::Serialize;

use crate::queries::Query;

/// What clients of ours read in `app_metadata`, as JSON.
#[derive(Debug, Serialize)]
struct Described<'a> {
    query_id: &'a str,
    tag: &'static str,
    rows_affected: Option<u64>,
    rows_scanned: u64,
    tasks_done: u64,
    tasks_total: u64,
}

/// The encoded name of a statement: a ticket for its rows, or a descriptor to ask again.
fn handle(query: &Query) -> Bytes {
    let ticket = TicketStatementQuery { statement_handle: Bytes::from(query.id().to_owned()) };
    ticket.as_any().encode_to_vec().into()
}

/// The id in such a name, if `bytes` are one.
pub(crate) fn query_id(bytes: &[u8]) -> Option<String> {
    let ticket: TicketStatementQuery = Any::decode(bytes).ok()?.unpack().ok()??;
    String::from_utf8(ticket.statement_handle.to_vec()).ok()
}

/// One endpoint without a location: the rows come over the connection that asked.
pub(crate) fn flight_info(query: &Query) -> Result<FlightInfo> {
    let mut info = FlightInfo::new()
        .with_descriptor(FlightDescriptor::new_cmd(handle(query)))
        .with_app_metadata(described(query)?)
        .with_ordered(true);
    if query.is_settled() {
        info = with_schema(info, &query.schema())?;
        info = info.with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(handle(query))));
    }
    Ok(info)
}

/// The present state of a statement; without a descriptor when there is nothing to wait for any more.
pub(crate) fn poll_info(query: &Query) -> Result<PollInfo> {
    let mut answer = PollInfo::new().with_info(flight_info(query)?);
    if !query.is_settled() {
        answer = answer.with_descriptor(FlightDescriptor::new_cmd(handle(query)));
    }
    match query.progress().fraction {
        Some(fraction) => answer.try_with_progress(fraction).map_err(|error| Error::internal(error.to_string())),
        None => Ok(answer),
    }
}

/// Metadata results are small: one endpoint, whose ticket is the command itself.
pub(crate) fn metadata_info(command: &impl ProstMessageExt, schema: &Schema) -> Result<FlightInfo> {
    let command = command.as_any().encode_to_vec();
    let info = with_schema(FlightInfo::new(), schema)?.with_descriptor(FlightDescriptor::new_cmd(command.clone()));
    Ok(info.with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(command))))
}

fn with_schema(info: FlightInfo, schema: &Schema) -> Result<FlightInfo> {
    info.try_with_schema(schema).map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))
}

fn described(query: &Query) -> Result<Vec<u8>> {
    let progress = query.progress();
    let described = Described {
        query_id: query.id(),
        tag: query.tag(),
        rows_affected: query.rows_affected(),
        rows_scanned: progress.rows_scanned,
        tasks_done: progress.tasks_done,
        tasks_total: progress.tasks_total,
    };
    serde_json::to_vec(&described).map_err(|error| Error::internal(error.to_string()))
}
