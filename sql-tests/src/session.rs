//! A connection as the test runner wants it: statement in, rows of text out.

use arrow::array::RecordBatch;
use arrow::util::display::ArrayFormatter;
use async_trait::async_trait;
use client::{Client, Error, ErrorKind};
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput};

use crate::cell::{self, Letter};

/// Where the statements of a file run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where the coordinator chooses.
    Chosen,
    /// On the executors, except for what can only run in the coordinator.
    Executors,
}

/// One session of a coordinator.
#[derive(Debug)]
pub struct Session {
    client: Client,
    place: Place,
}

impl Session {
    /// A session on the connection of `client`.
    ///
    /// # Errors
    /// Those of the coordinator.
    pub async fn open(client: Client, place: Place) -> Result<Self, Error> {
        let session = Self { client, place };
        if place == Place::Executors {
            session.set_mode("staged").await?;
        }
        Ok(session)
    }

    async fn set_mode(&self, mode: &str) -> Result<(), Error> {
        self.execute(&format!("SET grappe.execution_mode = '{mode}'")).await.map(|_| ())
    }

    async fn execute(&self, sql: &str) -> Result<DBOutput<Letter>, Error> {
        let mut query = self.client.execute(sql).await?;
        let stream = query.stream().await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        match query.rows_affected() {
            Some(count) => Ok(DBOutput::StatementComplete(count)),
            None if schema.fields().is_empty() => Ok(DBOutput::StatementComplete(0)),
            None => {
                let types = schema.fields().iter().map(|field| Letter::of(field.data_type())).collect();
                Ok(DBOutput::Rows { types, rows: rows(&batches)? })
            }
        }
    }
}

#[async_trait]
impl AsyncDB for Session {
    type Error = Error;
    type ColumnType = Letter;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Letter>, Error> {
        match self.execute(sql).await {
            Err(error) if self.place == Place::Executors && error.message.contains("cannot run in staged mode") => {
                self.set_mode("local").await?;
                let output = self.execute(sql).await;
                self.set_mode("staged").await?;
                output
            }
            output => output,
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "grappe"
    }
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, Error> {
    let unreadable = |error| Error::new(ErrorKind::Internal, format!("the result cannot be shown: {error}"));
    let options = cell::format_options();
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let formatters = columns.map(|column| ArrayFormatter::try_new(column, &options));
        let formatters = formatters.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().zip(&formatters);
            rows.push(cells.map(|(column, formatter)| cell::show(column, formatter, row)).collect());
        }
    }
    Ok(rows)
}
