//! The engines that a run measures: Grappe through its client, and a peer in this process.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::names;
use super::options::{Peer, Place};
use crate::Error;

/// An engine with the tables at hand.
pub(crate) enum Engine {
    Grappe(client::Client),
    Datafusion(SessionContext),
}

/// What an engine returned.
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

impl Engine {
    /// Starts a peer on the files of this place.
    pub(crate) async fn peer(peer: Peer, place: &Place) -> Result<Self, Error> {
        match peer {
            Peer::Datafusion => {
                let context = SessionContext::new();
                for statement in names::create_tables("", place) {
                    let done = context.sql(&statement).await;
                    done.map_err(|error| Error::Invalid(format!("datafusion refused `{statement}`: {error}")))?;
                }
                Ok(Self::Datafusion(context))
            }
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Grappe(_) => "grappe",
            Self::Datafusion(_) => "datafusion",
        }
    }

    pub(crate) fn version(&self) -> &'static str {
        match self {
            Self::Grappe(_) => env!("CARGO_PKG_VERSION"),
            Self::Datafusion(_) => datafusion::DATAFUSION_VERSION,
        }
    }

    /// Runs a query to its last row.
    pub(crate) async fn answer(&self, sql: &str) -> Result<Answer, String> {
        match self {
            Self::Grappe(client) => answer_of_client(client, sql).await.map_err(|error| error.to_string()),
            Self::Datafusion(context) => answer_of_datafusion(context, sql).await.map_err(|error| error.to_string()),
        }
    }
}

async fn answer_of_client(client: &client::Client, sql: &str) -> Result<Answer, client::Error> {
    let mut query = client.execute(sql).await?;
    let stream = query.stream().await?;
    Ok(Answer { schema: stream.schema(), batches: stream.try_collect().await? })
}

async fn answer_of_datafusion(context: &SessionContext, sql: &str) -> datafusion::error::Result<Answer> {
    let stream = context.sql(sql).await?.execute_stream().await?;
    Ok(Answer { schema: stream.schema(), batches: stream.try_collect().await? })
}
