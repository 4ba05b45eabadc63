//! Statements from submission to the last row, and the commands that belong to the conversation itself.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::SinkExt;
use pgwire::api::portal::Format;
use pgwire::api::results::FieldFormat;
use pgwire::messages::PgWireBackendMessage;

use crate::postgres::command::Command;
use crate::postgres::conversation::Conversation;
use crate::postgres::errors::{Failure, Refusal};
use crate::postgres::rows::{Columns, Deadline, Rows, one_text};
use crate::query::Query;
use crate::submission::Submission;
use crate::waiting::CancelOnDrop;

/// Tags of statements that change the session only, so that nothing of them could be undone.
const HARMLESS_TAGS: [&str; 6] = ["SET", "RESET", "PREPARE", "DEALLOCATE", "CANCEL QUERY", "EXECUTE"];

/// What the client believes of transactions: nothing is undone, but a driver that began one must be able to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    None,
    Open {
        /// Whether something was changed that cannot be undone.
        wrote: bool,
    },
    /// A statement failed: nothing is run until the client ends it.
    Failed {
        wrote: bool,
    },
}

impl Transaction {
    pub(super) fn failed(self) -> Self {
        match self {
            Self::Open { wrote } => Self::Failed { wrote },
            other => other,
        }
    }
}

/// What a statement came to.
pub(super) enum Outcome {
    /// It is done.
    Done(String),
    /// It has rows.
    Rows(Rows),
}

/// What a command came to.
pub(super) enum Answer {
    Tag(&'static str),
    /// The name and value of a parameter.
    Shown(&'static str, String),
}

impl Conversation {
    /// Runs a statement until its rows can be read, or to its end if it has an effect.
    ///
    /// # Errors
    /// Its own.
    pub(super) async fn start(
        &mut self,
        text: String,
        parameters: Option<RecordBatch>,
        format: &Format,
    ) -> Result<Outcome, Failure> {
        self.refuse_after_failure()?;
        let query = self.queries.submit(
            Arc::clone(&self.session),
            Submission { parameters, ..Submission::plain(&text) },
            false,
        )?;
        self.registered.current.set(&query);
        let mut guard = CancelOnDrop::new(&query);
        let deadline = self.settings.statement_timeout().map(Deadline::after);
        Deadline::limit(deadline, &query, query.settled()).await??;
        if !query.has_rows() {
            guard.keep();
            self.note_effect(query.tag());
            return Ok(Outcome::Done(tag(&query)));
        }
        let columns = Columns::new(&query.schema(), format, self.settings.format())?;
        let rows = Rows::new(query, columns, deadline)?;
        guard.keep();
        Ok(Outcome::Rows(rows))
    }

    /// Sends rows, `most` of them if that is not 0: how many, and whether there may be more.
    ///
    /// # Errors
    /// The statement's own.
    pub(super) async fn send_rows(&mut self, rows: &mut Rows, most: usize) -> Result<(usize, bool), Failure> {
        let mut sent = 0;
        while most == 0 || sent < most {
            let Some(chunk) = rows.next(most.saturating_sub(sent)).await? else { return Ok((sent, false)) };
            sent += chunk.len();
            for row in chunk {
                self.out.feed(PgWireBackendMessage::DataRow(row)).await?;
            }
        }
        Ok((sent, true))
    }

    /// A statement of a text.
    pub(super) async fn run_simple(&mut self, text: String) -> Result<(), Failure> {
        match self.start(text, None, &Format::UnifiedText).await? {
            Outcome::Done(tag) => self.complete(tag).await,
            Outcome::Rows(mut rows) => {
                let description = rows.columns().description();
                self.out.feed(PgWireBackendMessage::RowDescription(description)).await?;
                let (sent, _) = self.send_rows(&mut rows, 0).await?;
                self.complete(rows_tag(rows.query(), sent)).await
            }
        }
    }

    /// A command of a text.
    pub(super) async fn control_simple(&mut self, command: Command, text: &str) -> Result<(), Failure> {
        if let Command::Deallocate(Some(name)) = &command
            && !self.statements.contains_key(name)
        {
            return self.run_simple(text.to_owned()).await;
        }
        match self.control(command).await? {
            Answer::Tag(tag) => self.complete(tag).await,
            Answer::Shown(name, value) => {
                let (description, row) = one_text(name, &value, FieldFormat::Text)?;
                self.out.feed(PgWireBackendMessage::RowDescription(description)).await?;
                self.out.feed(PgWireBackendMessage::DataRow(row)).await?;
                self.complete("SHOW").await
            }
        }
    }

    /// Carries out a command of the conversation.
    ///
    /// # Errors
    /// What is not supported, and values that are not taken.
    pub(super) async fn control(&mut self, command: Command) -> Result<Answer, Failure> {
        if !matches!(command, Command::Commit | Command::Rollback) {
            self.refuse_after_failure()?;
        }
        match command {
            Command::Begin => self.begin().await,
            Command::Commit => self.end("COMMIT"),
            Command::Rollback => self.end("ROLLBACK"),
            Command::Set { name, value } => {
                if let Some(Some((name, value))) = self.settings.set(&self.session, &name, &value).await? {
                    self.tell(name, value).await?;
                }
                Ok(Answer::Tag("SET"))
            }
            Command::Reset(Some(name)) => {
                if let Some(Some((name, value))) = self.settings.reset(&self.session, &name)? {
                    self.tell(name, value).await?;
                }
                Ok(Answer::Tag("RESET"))
            }
            Command::Reset(None) => self.reset_all().await.map(|()| Answer::Tag("RESET")),
            Command::DiscardAll => {
                self.statements.clear();
                self.portals.clear();
                self.reset_all().await.map(|()| Answer::Tag("DISCARD ALL"))
            }
            Command::Deallocate(name) => {
                match name {
                    Some(name) => drop(self.statements.remove(&name)),
                    None => self.statements.clear(),
                }
                Ok(Answer::Tag("DEALLOCATE"))
            }
            Command::Show(name) => match self.settings.show(&self.session, &name) {
                Some((name, value)) => Ok(Answer::Shown(name, value)),
                None => Err(Refusal::new("42704", format!("there is no parameter \"{name}\"")).into()),
            },
            Command::Nothing(tag) => Ok(Answer::Tag(tag)),
            Command::Unsupported(reason) => Err(Refusal::new("0A000", reason).into()),
            Command::Statement => Err(Refusal::new("XX000", "a statement is no command").into()),
        }
    }

    async fn begin(&mut self) -> Result<Answer, Failure> {
        let notice = match self.transaction {
            Transaction::None if self.has_noticed => None,
            Transaction::None => {
                Some(("01000", "statements of a transaction are not undone together: each stands for itself"))
            }
            Transaction::Open { .. } | Transaction::Failed { .. } => {
                Some(("25001", "there is already a transaction in progress"))
            }
        };
        if let Some((code, message)) = notice {
            self.has_noticed = true;
            let notice = Refusal::notice(code, message).notice_response();
            self.out.feed(PgWireBackendMessage::NoticeResponse(notice)).await?;
        }
        if self.transaction == Transaction::None {
            self.transaction = Transaction::Open { wrote: false };
        }
        Ok(Answer::Tag("BEGIN"))
    }

    /// Ends a transaction; one that cannot be undone ends too, but the client is told that it was not.
    fn end(&mut self, tag: &'static str) -> Result<Answer, Failure> {
        let ended = std::mem::replace(&mut self.transaction, Transaction::None);
        self.portals.clear();
        match ended {
            Transaction::Failed { wrote: true } => Err(not_undone()),
            Transaction::Open { wrote: true } if tag == "ROLLBACK" => Err(not_undone()),
            Transaction::Failed { wrote: false } => Ok(Answer::Tag("ROLLBACK")),
            Transaction::None | Transaction::Open { .. } => Ok(Answer::Tag(tag)),
        }
    }

    async fn reset_all(&mut self) -> Result<(), Failure> {
        self.settings.reset_all();
        self.settings.reset(&self.session, "search_path")?;
        self.settings.reset(&self.session, "timezone")?;
        for (name, value) in self.settings.reported(&self.session) {
            self.tell(name, value).await?;
        }
        Ok(())
    }

    /// # Errors
    /// Inside a transaction of which a statement has failed.
    pub(super) fn refuse_after_failure(&self) -> Result<(), Failure> {
        match self.transaction {
            Transaction::Failed { .. } => {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                Err(Refusal::new("25P02", message).into())
            }
            Transaction::None | Transaction::Open { .. } => Ok(()),
        }
    }

    fn note_effect(&mut self, tag: &str) {
        if let Transaction::Open { wrote } = &mut self.transaction {
            *wrote |= !HARMLESS_TAGS.contains(&tag);
        }
    }
}

fn not_undone() -> Failure {
    let message = "the transaction has ended, but what its statements wrote was not undone: each stands for itself";
    Refusal::new("0A000", message).into()
}

/// The tag of a statement that is done, with the rows that it counts.
fn tag(query: &Query) -> String {
    match (query.tag(), query.rows_affected().unwrap_or(0)) {
        ("INSERT", rows) => format!("INSERT 0 {rows}"),
        (tag @ ("UPDATE" | "DELETE" | "MERGE" | "COPY"), rows) => format!("{tag} {rows}"),
        (tag, _) => tag.to_owned(),
    }
}

/// The tag of a statement whose rows have been sent.
pub(super) fn rows_tag(query: &Query, rows: usize) -> String {
    match query.tag() {
        "SELECT" => format!("SELECT {rows}"),
        tag => tag.to_owned(),
    }
}
