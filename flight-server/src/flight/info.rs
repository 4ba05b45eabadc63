//! `FlightInfo` and `PollInfo` of a statement, and the tickets in them.

use arrow::datatypes::Schema;
use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, PollInfo, Ticket};
use bytes::Bytes;
use engine::{Error, Result};
use prost::Message;
use prost_types::Timestamp;
use serde::Serialize;

use crate::query::Query;
use crate::tickets::Tickets;

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

/// The encoded name of a part of a statement's result: a ticket for its rows, or a descriptor to ask again.
fn handle(tickets: &Tickets, query: &Query, part: u32) -> Bytes {
    let ticket = TicketStatementQuery { statement_handle: tickets.seal(query.id(), query.user(), part) };
    ticket.as_any().encode_to_vec().into()
}

/// The ticket in such a name, if `bytes` are one.
pub(crate) fn statement_handle(bytes: &[u8]) -> Option<Bytes> {
    let ticket: TicketStatementQuery = Any::decode(bytes).ok()?.unpack().ok()??;
    Some(ticket.statement_handle)
}

/// One endpoint for each part, without a location: the rows come over the connection that asks. A client that wants all
/// rows in order has one part.
pub(crate) fn flight_info(tickets: &Tickets, query: &Query) -> Result<FlightInfo> {
    let mut info = FlightInfo::new()
        .with_descriptor(FlightDescriptor::new_cmd(handle(tickets, query, 0)))
        .with_app_metadata(described(query)?);
    if !query.is_settled() {
        return Ok(info.with_ordered(true));
    }
    // Clients take this for the count of a statement that writes.
    if let Some(rows) = query.rows_affected() {
        info = info.with_total_records(i64::try_from(rows).unwrap_or(i64::MAX));
    }
    let parts = query.parts();
    let expires = Timestamp { seconds: tickets.expiry() as i64, nanos: 0 };
    for part in 0..parts {
        let ticket = Ticket::new(handle(tickets, query, part));
        let mut endpoint = FlightEndpoint::new().with_ticket(ticket);
        endpoint.expiration_time = Some(expires);
        info = info.with_endpoint(endpoint);
    }
    with_schema(info.with_ordered(parts == 1), &query.schema())
}

/// The present state of a statement; without a descriptor when there is nothing to wait for any more.
pub(crate) fn poll_info(tickets: &Tickets, query: &Query) -> Result<PollInfo> {
    let mut answer = PollInfo::new().with_info(flight_info(tickets, query)?);
    if !query.is_settled() {
        answer = answer.with_descriptor(FlightDescriptor::new_cmd(handle(tickets, query, 0)));
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
