//! The extended protocol: statements that are prepared, described, bound to parameters, and run, each at its own message.

use std::sync::Arc;
use std::sync::OnceLock;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use engine::{Effect, Statement};
use futures::SinkExt;
use pgwire::api::portal::Format;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use postgres_types::Type;

use crate::postgres::command::{Command, Piece, only_piece};
use crate::postgres::conversation::{Conversation, located};
use crate::postgres::errors::{Failure, Refusal};
use crate::postgres::parameters::{Sent, nulls, read_parameters};
use crate::postgres::rows::{Columns, Rows, one_text, one_text_schema};
use crate::postgres::statements::{Answer, Outcome, rows_tag};
use crate::postgres::types::pg_type;
use crate::queries::is_order;

/// Most prepared statements of one connection, and most portals.
const PREPARED_MAX: usize = 1_000;

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    /// All that was sent, for places of errors.
    sent: String,
    /// The statement in it; none in an empty text.
    piece: Option<Piece>,
    /// Types of its parameters as the client sends them.
    types: Vec<Type>,
    /// Its parameters as the statement needs them.
    wanted: Schema,
    /// Columns that a client has been told; none for a statement without rows.
    described: OnceLock<Option<SchemaRef>>,
}

/// A prepared statement with its plan.
#[derive(Debug)]
pub(super) struct Planned {
    prepared: Arc<Prepared>,
    statement: Statement,
}

/// A statement with its parameters.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    parameters: Option<RecordBatch>,
    format: Format,
    state: State,
}

/// How far a portal is.
enum State {
    New,
    Reading(Box<Rows>),
    /// All rows have been sent; without rows it cannot be run again.
    Done {
        had_rows: bool,
    },
}

impl Conversation {
    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Failure> {
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Refusal::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        if self.statements.len() >= PREPARED_MAX {
            let message = format!("a connection keeps at most {PREPARED_MAX} prepared statements; close some");
            return Err(Refusal::new("53000", message).into());
        }
        let piece =
            only_piece(&parse.query)?.map(|piece| Piece { command: self.settings.known(piece.command), ..piece });
        let offset = piece.as_ref().map_or(0, |piece| piece.offset);
        let planned = match &piece {
            Some(Piece { command: Command::Statement, text, .. }) if !is_order(text) => {
                self.refuse_after_failure()?;
                let planned = self.session.plan(text).await.map_err(Failure::from);
                Some(planned.map_err(|failure| located(failure, &parse.query, offset))?)
            }
            _ => None,
        };
        let wanted = planned.as_ref().map_or_else(|| Ok(Schema::empty()), Statement::parameters)?;
        let types = types(&parse.type_oids, &wanted);
        let prepared = Prepared { sent: parse.query, piece, types, wanted, described: OnceLock::new() };
        let prepared = Arc::new(prepared);
        self.planned = planned.map(|statement| Planned { prepared: Arc::clone(&prepared), statement });
        self.statements.insert(name, prepared);
        Ok(self.out.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?)
    }

    pub(super) async fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self.prepared(bind.statement_name.as_deref().unwrap_or_default())?;
        let (given, wanted) = (bind.parameters.len(), prepared.types.len());
        if given != wanted {
            let message = format!("the statement takes {wanted} parameters, and {given} are given");
            return Err(Refusal::new("08P01", message).into());
        }
        let formats = &bind.parameter_format_codes;
        if formats.len() > 1 && formats.len() != given {
            let message = format!("{} parameter formats are given for {given} parameters", formats.len());
            return Err(Refusal::new("08P01", message).into());
        }
        let is_binary =
            |index: usize| formats.get(index).or(formats.first().filter(|_| formats.len() == 1)) == Some(&1);
        let sent = bind.parameters.iter().enumerate();
        let sent: Vec<_> =
            sent.map(|(index, bytes)| Sent { bytes: bytes.as_deref(), is_binary: is_binary(index) }).collect();
        let parameters = match sent.is_empty() {
            true => None,
            false => Some(read_parameters(&sent, &prepared.types, &prepared.wanted)?),
        };
        if self.portals.len() >= PREPARED_MAX {
            return Err(Refusal::new("53000", format!("a connection keeps at most {PREPARED_MAX} portals")).into());
        }
        let format = match bind.result_column_format_codes.as_slice() {
            [] => Format::UnifiedText,
            [code] => Format::from(*code),
            codes => Format::Individual(codes.to_vec()),
        };
        let portal = Portal { prepared, parameters, format, state: State::New };
        self.portals.insert(bind.portal_name.unwrap_or_default(), portal);
        Ok(self.out.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?)
    }

    pub(super) async fn describe(&mut self, describe: Describe) -> Result<(), Failure> {
        let name = describe.name.unwrap_or_default();
        let (prepared, format) = if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let prepared = self.prepared(&name)?;
            let types = ParameterDescription::new(prepared.types.iter().map(Type::oid).collect());
            self.out.feed(PgWireBackendMessage::ParameterDescription(types)).await?;
            (prepared, Format::UnifiedText)
        } else {
            let portal = self.portals.get(&name).ok_or_else(|| no_portal(&name))?;
            (Arc::clone(&portal.prepared), portal.format.clone())
        };
        let message = match self.schema(&prepared).await? {
            Some(schema) => {
                let columns = Columns::new(&schema, &format, self.settings.format())?;
                PgWireBackendMessage::RowDescription(columns.description())
            }
            None => PgWireBackendMessage::NoData(NoData::new()),
        };
        Ok(self.out.feed(message).await?)
    }

    pub(super) async fn execute(&mut self, execute: Execute) -> Result<(), Failure> {
        let name = execute.name.unwrap_or_default();
        let most = usize::try_from(execute.max_rows).unwrap_or(0);
        // Taken out: it is gone if it fails.
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        let prepared = Arc::clone(&portal.prepared);
        let offset = prepared.piece.as_ref().map_or(0, |piece| piece.offset);
        let executed = self.run_portal(&mut portal, most).await;
        executed.map_err(|failure| located(failure, &prepared.sent, offset))?;
        self.portals.insert(name, portal);
        Ok(())
    }

    pub(super) async fn close(&mut self, close: Close) -> Result<(), Failure> {
        let name = close.name.unwrap_or_default();
        if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.statements.remove(&name);
        } else {
            self.portals.remove(&name);
        }
        Ok(self.out.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?)
    }

    /// Ends what the client sent in one go, and with it portals outside of a transaction.
    pub(super) async fn sync(&mut self) -> Result<(), Failure> {
        self.skips = false;
        if self.transaction == crate::postgres::statements::Transaction::None {
            self.portals.clear();
        }
        self.ready().await
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>, Refusal> {
        let found = self.statements.get(name).map(Arc::clone);
        found.ok_or_else(|| Refusal::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    /// Columns of the rows that a statement will have, found without running it.
    async fn schema(&mut self, prepared: &Arc<Prepared>) -> Result<Option<SchemaRef>, Failure> {
        if let Some(described) = prepared.described.get() {
            return Ok(described.clone());
        }
        let schema = match &prepared.piece {
            Some(Piece { command: Command::Show(name), .. }) => {
                self.settings.show(&self.session, name).map(|(name, _)| Arc::new(one_text_schema(name)))
            }
            Some(Piece { command: Command::Statement, text, .. }) if !is_order(text) => {
                self.result_schema(prepared, text).await?
            }
            _ => None,
        };
        Ok(prepared.described.get_or_init(|| schema).clone())
    }

    async fn result_schema(&mut self, prepared: &Arc<Prepared>, text: &str) -> Result<Option<SchemaRef>, Failure> {
        let planned = self.planned.take().filter(|planned| Arc::ptr_eq(&planned.prepared, prepared));
        let mut statement = match planned {
            Some(planned) => planned.statement,
            None => self.session.plan(text).await?,
        };
        if statement.effect() != Effect::None {
            return Ok(None);
        }
        if !prepared.types.is_empty() {
            statement = statement.bound(&nulls(&prepared.types)?)?;
        }
        Ok(Some(self.session.result_schema(statement).await?))
    }

    async fn run_portal(&mut self, portal: &mut Portal, most: usize) -> Result<(), Failure> {
        let Some(piece) = &portal.prepared.piece else {
            return Ok(self.out.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?);
        };
        match &portal.state {
            State::New => {}
            State::Reading(rows) => {
                self.registered.current.set(rows.query());
                return self.read_portal(portal, most).await;
            }
            State::Done { had_rows: true } => return self.complete("SELECT 0").await,
            State::Done { had_rows: false } => {
                return Err(Refusal::new("55000", "the portal has been run already").into());
            }
        }
        if let Some(command) = self.own_command(piece) {
            portal.state = State::Done { had_rows: false };
            return match self.control(command).await? {
                Answer::Tag(tag) => self.complete(tag).await,
                Answer::Shown(name, value) => {
                    let (_, row) = one_text(name, &value, portal.format.format_for(0))?;
                    self.out.feed(PgWireBackendMessage::DataRow(row)).await?;
                    self.complete("SHOW").await
                }
            };
        }
        match self.start(piece.text.clone(), portal.parameters.take(), &portal.format).await? {
            Outcome::Done(tag) => {
                portal.state = State::Done { had_rows: false };
                self.complete(tag).await
            }
            Outcome::Rows(rows) => {
                self.refuse_other_columns(portal, &rows)?;
                portal.state = State::Reading(Box::new(rows));
                self.read_portal(portal, most).await
            }
        }
    }

    /// What the conversation does itself.
    fn own_command(&self, piece: &Piece) -> Option<Command> {
        match &piece.command {
            Command::Statement => None,
            // A statement that was prepared by `PREPARE` is the engine's.
            Command::Deallocate(Some(name)) if !self.statements.contains_key(name) => None,
            command => Some(command.clone()),
        }
    }

    /// A client reads rows by what it was told of them, and tables change.
    fn refuse_other_columns(&self, portal: &Portal, rows: &Rows) -> Result<(), Failure> {
        let Some(Some(schema)) = portal.prepared.described.get() else { return Ok(()) };
        if rows.columns().are_as(&Columns::new(schema, &portal.format, self.settings.format())?) {
            return Ok(());
        }
        Err(Refusal::new("0A000", "the columns have changed since the statement was described; prepare it again")
            .into())
    }

    async fn read_portal(&mut self, portal: &mut Portal, most: usize) -> Result<(), Failure> {
        let State::Reading(rows) = &mut portal.state else { return Ok(()) };
        let (sent, has_more) = self.send_rows(rows, most).await?;
        if has_more {
            return Ok(self.out.feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await?);
        }
        let tag = rows_tag(rows.query(), sent);
        portal.state = State::Done { had_rows: true };
        self.complete(tag).await
    }
}

/// The types that the client said, or else those that the statement needs.
fn types(said: &[u32], wanted: &Schema) -> Vec<Type> {
    let needed = wanted.fields().iter().map(|field| pg_type(field.data_type()));
    let said =
        |index: usize| said.get(index).and_then(|oid| Type::from_oid(*oid)).filter(|said| *said != Type::UNKNOWN);
    needed.enumerate().map(|(index, needed)| said(index).unwrap_or(needed)).collect()
}

fn no_portal(name: &str) -> Failure {
    Refusal::new("34000", format!("portal \"{name}\" does not exist")).into()
}
