//! The engines that a run measures: Grappe through its client, and peers in this process or beside it.

use std::fmt::Display;
use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::names;
use super::options::{Peer, Place, SuiteOptions};
use super::python::{self, PythonPeer};
use super::suite::Suite;
use super::table::Table;
use crate::Error;

/// An engine with the tables at hand.
pub(crate) enum Engine {
    Grappe(client::Client),
    Datafusion(SessionContext),
    Python(Box<PythonPeer>),
}

/// What an engine returned.
pub(crate) struct Answer {
    /// From the text of the query to its last row in memory.
    pub(crate) seconds: f64,
    pub(crate) table: Table,
}

/// Why an engine returned nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not know this SQL.
    Unsupported(String),
    /// It tried and failed.
    Failed(String),
}

/// Record batches with their schema.
type Batches = (SchemaRef, Vec<RecordBatch>);

impl Engine {
    /// Starts the peers that were asked for, in that order.
    pub(crate) async fn peers(suite: Suite, options: &SuiteOptions, place: &Place) -> Result<Vec<Self>, Error> {
        let mut peers = Vec::new();
        for &peer in &options.peers {
            peers.push(match peer {
                Peer::Datafusion => Self::datafusion(suite, place).await?,
                Peer::Duckdb | Peer::Polars | Peer::Spark => {
                    let python = python::find(options)?;
                    let started = PythonPeer::start(peer.name(), &python, suite, directory(peer, place)?).await?;
                    Self::Python(Box::new(started))
                }
            });
        }
        Ok(peers)
    }

    /// Starts DataFusion in this process.
    pub(crate) async fn datafusion(suite: Suite, place: &Place) -> Result<Self, Error> {
        let context = SessionContext::new();
        for statement in names::create_tables(suite, "", place) {
            let done = context.sql(&statement).await;
            done.map_err(|error| Error::Invalid(format!("datafusion refused `{statement}`: {error}")))?;
        }
        Ok(Self::Datafusion(context))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Grappe(_) => "grappe",
            Self::Datafusion(_) => Peer::Datafusion.name(),
            Self::Python(peer) => peer.name(),
        }
    }

    /// Whether its answers can be trusted to verify Grappe's.
    pub(crate) fn is_independent(&self) -> bool {
        matches!(self, Self::Python(_))
    }

    pub(crate) fn version(&self) -> &str {
        match self {
            Self::Grappe(_) => env!("CARGO_PKG_VERSION"),
            Self::Datafusion(_) => datafusion::DATAFUSION_VERSION,
            Self::Python(peer) => peer.version(),
        }
    }

    /// Runs query `number`, whose text is `sql`, to its last row.
    pub(crate) async fn answer(&mut self, number: usize, sql: &str) -> Result<Answer, Refusal> {
        match self {
            Self::Grappe(client) => timed(batches_of_client(client, sql)).await,
            Self::Datafusion(context) => timed(batches_of_datafusion(context, sql)).await,
            Self::Python(peer) => peer.answer(number, sql).await,
        }
    }
}

/// Refuses peers that could not be started, before anything is made.
pub(crate) fn check_peers(options: &SuiteOptions, place: &Place) -> Result<(), Error> {
    for &peer in options.peers.iter().filter(|peer| peer.is_python()) {
        python::find(options)?;
        directory(peer, place)?;
    }
    Ok(())
}

fn directory(peer: Peer, place: &Place) -> Result<&Path, Error> {
    match place {
        Place::Directory { path, .. } => Ok(path),
        Place::Url(url) => Err(Error::Invalid(format!(
            "the peer {} reads files of this machine, not {url}: name a directory with --data",
            peer.name()
        ))),
    }
}

/// Waits for the batches and takes the time; making a table of them is not timed.
async fn timed<E: Display>(batches: impl Future<Output = Result<Batches, E>>) -> Result<Answer, Refusal> {
    let start = Instant::now();
    let (schema, batches) = batches.await.map_err(|error| Refusal::Failed(error.to_string()))?;
    let seconds = start.elapsed().as_secs_f64();
    let table = Table::from_batches(&schema, &batches);
    let table = table.map_err(|error| Refusal::Failed(format!("the result cannot be read: {error}")))?;
    Ok(Answer { seconds, table })
}

async fn batches_of_client(client: &client::Client, sql: &str) -> Result<Batches, client::Error> {
    let mut query = client.execute(sql).await?;
    let stream = query.stream().await?;
    Ok((stream.schema(), stream.try_collect().await?))
}

async fn batches_of_datafusion(context: &SessionContext, sql: &str) -> datafusion::error::Result<Batches> {
    let stream = context.sql(sql).await?.execute_stream().await?;
    Ok((stream.schema(), stream.try_collect().await?))
}
