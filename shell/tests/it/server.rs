//! A Flight SQL server in this process that knows a few statements by heart.
//!
//! | statement | answer |
//! |---|---|
//! | `SELECT n` | one row, `n` |
//! | `ROWS n` | `n` rows in batches of 400: a number and a text |
//! | `CREATE ...`, `SET ...` | their tag |
//! | `INSERT ...` | 5 rows written |
//! | `COUNT ROWS WRITTEN` | a tag of its own and a count |
//! | contains `nope` | an error that points at it |
//! | `UNAVAILABLE` | an error that may pass |
//! | `HANG PLANNING`, `HANG READY`, `HANG STREAM` | nothing more, in that phase |
//! | `BREAK PLANNING`, `BREAK STREAM` | the connection is lost in that phase |
//! | reads `information_schema` | a few tables |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{Any, CommandStatementQuery};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint,
    FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use client::Client;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// Rows of one batch.
const BATCH_ROWS: i32 = 400;

/// What the server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    events: Mutex<Vec<String>>,
    changed: Notify,
    broken: Notify,
}

impl Seen {
    /// Everything so far: `run SQL`, `read SQL`, `cancel SQL`.
    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for an event.
    pub(crate) async fn wait_for(&self, event: &str) {
        loop {
            let changed = self.changed.notified();
            if self.events().iter().any(|seen| seen == event) {
                return;
            }
            changed.await;
        }
    }

    fn add(&self, event: String) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.changed.notify_waiters();
    }
}

/// A running server; gone when dropped.
pub(crate) struct FakeServer {
    pub(crate) seen: Arc<Seen>,
    pub(crate) client: Client,
    _tasks: JoinSet<()>,
}

impl FakeServer {
    /// Starts a server and connects to it.
    pub(crate) async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let (here, mut near) = tokio::io::duplex(1 << 20);
        let (mut far, there) = tokio::io::duplex(1 << 20);
        let incoming = futures::stream::iter([Ok::<_, std::io::Error>(there)]).chain(futures::stream::pending());
        let service = FlightServiceServer::new(Fake { seen: Arc::clone(&seen) });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            Server::builder().add_service(service).serve_with_incoming(incoming).await.expect("served");
        });
        // The wire, which can be cut.
        let wire = Arc::clone(&seen);
        tasks.spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                () = wire.broken.notified() => {}
            }
        });
        let client = Client::connect_stream(here).await.expect("a connection");
        Self { seen, client, _tasks: tasks }
    }
}

struct Fake {
    seen: Arc<Seen>,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn table(rows: std::ops::Range<i32>) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.clone()));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.map(|n| format!("row {n}"))));
    RecordBatch::try_from_iter([("n", numbers), ("text", texts)]).expect("a batch")
}

fn text_table(names: &[&str], rows: &[&[&str]]) -> RecordBatch {
    let column = |index: usize| -> ArrayRef {
        let values = rows.iter().map(|row| Some(row[index]).filter(|value| !value.is_empty()));
        Arc::new(values.collect::<StringArray>())
    };
    RecordBatch::try_from_iter(names.iter().enumerate().map(|(index, name)| (*name, column(index)))).expect("a batch")
}

/// The rows of a statement.
fn batches(sql: &str) -> Vec<RecordBatch> {
    if let Some(count) = sql.strip_prefix("ROWS ").and_then(|count| count.parse::<i32>().ok()) {
        let starts = (0..count.max(1)).step_by(usize::try_from(BATCH_ROWS).expect("small"));
        return starts.map(|start| table(start..count.min(start + BATCH_ROWS))).collect();
    }
    let word = sql.split_whitespace().last().unwrap_or_default();
    match word.parse::<i32>() {
        Ok(number) if sql.starts_with("SELECT") => {
            let column: ArrayRef = Arc::new(Int32Array::from_iter_values([number]));
            vec![RecordBatch::try_from_iter([("n", column)]).expect("a batch")]
        }
        _ if sql.contains("information_schema.tables") => vec![tables(sql)],
        _ if sql.contains("information_schema.columns") => {
            vec![text_table(&["c", "t", "n"], &[&["id", "Int64", "not null"], &["a name", "Utf8", ""]])]
        }
        _ if sql.contains("information_schema.catalogs") => vec![text_table(&["c"], &[&["grappe"], &["lake"]])],
        _ if sql.contains("information_schema.schemata") => {
            vec![text_table(&["c", "s"], &[&["grappe", "public"], &["grappe", "sales"]])]
        }
        _ if sql.contains("STREAM") => vec![table(0..3)],
        _ if sql.starts_with("TEXT ") => vec![text_table(&["text"], &[&[&sql[5..]]])],
        _ => vec![RecordBatch::new_empty(Arc::new(Schema::empty()))],
    }
}

fn tables(sql: &str) -> RecordBatch {
    let all: [&[&str]; 3] = [
        &["grappe", "public", "orders", "BASE TABLE"],
        &["grappe", "public", "recent orders", "VIEW"],
        &["lake", "sales", "lines", "BASE TABLE"],
    ];
    let fits = |row: &&&[&str]| {
        let kind = (!sql.contains("table_type = 'VIEW'") || row[3] == "VIEW")
            && (!sql.contains("table_type <> 'VIEW'") || row[3] != "VIEW");
        kind && (!sql.contains("table_name = ") || sql.contains(&format!("table_name = '{}'", row[2])))
    };
    text_table(&["catalog", "schema", "name", "type"], &all.iter().filter(fits).copied().collect::<Vec<_>>())
}

/// Tag and rows affected.
fn described(sql: &str) -> HashMap<&'static str, serde_json::Value> {
    let (tag, rows_affected) = match sql.split_whitespace().next().unwrap_or_default() {
        "CREATE" => ("CREATE TABLE", None),
        "SET" => ("SET", None),
        "INSERT" => ("INSERT", Some(5)),
        "COUNT" => ("COPY", Some(7)),
        _ => ("SELECT", None),
    };
    HashMap::from([("tag", tag.into()), ("rows_affected", rows_affected.into())])
}

fn refusal(sql: &str) -> Option<Status> {
    if sql == "UNAVAILABLE" {
        return Some(Status::unavailable("no executor has a free slot, try again later"));
    }
    let before = &sql[..sql.find("nope")?];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let mut status = Status::invalid_argument("column \"nope\" not found");
    let position = format!("{line}:{}", before[line_start..].chars().count() + 1);
    status.metadata_mut().insert("grappe-error-position", MetadataValue::try_from(position).expect("digits"));
    Some(status)
}

/// The statement in a descriptor: sent as a command at first, by its text later.
fn statement(descriptor: &FlightDescriptor) -> Result<(String, bool), Status> {
    let first =
        Any::decode(descriptor.cmd.as_ref()).ok().and_then(|any| any.unpack::<CommandStatementQuery>().ok().flatten());
    match first {
        Some(command) => Ok((command.query, true)),
        None => Ok((String::from_utf8(descriptor.cmd.to_vec()).map_err(|e| Status::internal(e.to_string()))?, false)),
    }
}

fn info(sql: &str, ready: bool) -> FlightInfo {
    let schema = batches(sql)[0].schema();
    let described = serde_json::to_vec(&described(sql)).expect("JSON");
    let info = FlightInfo::new()
        .try_with_schema(&schema)
        .expect("a schema")
        .with_descriptor(FlightDescriptor::new_cmd(sql.to_owned()))
        .with_app_metadata(described);
    if !ready {
        return info;
    }
    info.with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(sql.to_owned())))
}

#[tonic::async_trait]
impl FlightService for Fake {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let (sql, first) = statement(request.get_ref())?;
        if first {
            self.seen.add(format!("run {sql}"));
        }
        match refusal(&sql) {
            Some(status) => return Err(status),
            None if sql == "BREAK PLANNING" => {
                self.seen.broken.notify_one();
                return std::future::pending().await;
            }
            None if sql == "HANG PLANNING" || !first => return std::future::pending().await,
            None => {}
        }
        let ready = sql != "HANG READY";
        let answer = PollInfo::new().with_info(info(&sql, ready));
        let again = FlightDescriptor::new_cmd(sql);
        Ok(Response::new(if ready { answer } else { answer.with_descriptor(again) }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let sql =
            String::from_utf8(request.into_inner().ticket.to_vec()).map_err(|e| Status::internal(e.to_string()))?;
        self.seen.add(format!("read {sql}"));
        let batches = batches(&sql);
        let schema = batches[0].schema();
        let rows = futures::stream::iter(batches.into_iter().map(Ok::<_, FlightError>));
        let seen = Arc::clone(&self.seen);
        let end = match sql.as_str() {
            "HANG STREAM" => futures::stream::pending().boxed(),
            "BREAK STREAM" => futures::stream::once(async move {
                seen.broken.notify_one();
                std::future::pending().await
            })
            .boxed(),
            _ => futures::stream::empty().boxed(),
        };
        let data = FlightDataEncoderBuilder::new().with_schema(schema).build(rows.chain(end));
        Ok(Response::new(data.map_err(Status::from).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let action = request.into_inner();
        let request = CancelFlightInfoRequest::decode(action.body).map_err(|e| Status::internal(e.to_string()))?;
        let descriptor = request.info.and_then(|info| info.flight_descriptor).unwrap_or_default();
        self.seen.add(format!("cancel {}", statement(&descriptor)?.0));
        let answer = arrow_flight::Result { body: bytes_of_cancelled().into() };
        Ok(Response::new(futures::stream::iter([Ok(answer)]).boxed()))
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn bytes_of_cancelled() -> Vec<u8> {
    arrow_flight::CancelFlightInfoResult::new(arrow_flight::CancelStatus::Cancelled).encode_to_vec()
}
