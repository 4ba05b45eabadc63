//! Reads a result from the executors that hold it.

use std::sync::Arc;

use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::BallistaError;
use ballista_core::extension::{BallistaConfigGrpcEndpoint, SessionConfigExt};
use ballista_core::serde::protobuf;
use ballista_core::serde::scheduler::{PartitionLocation, ShuffleLayout};
use ballista_core::utils::GrpcClientConfig;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionConfig;
use engine::distributed::clients::ShuffleClients;
use engine::{Error, Result};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};

/// Parts opened before they are read: the next part is on its way while one is sent on.
const PARTS_AHEAD: usize = 2;

/// Opens parts of results.
pub(crate) struct ResultReader {
    clients: ShuffleClients,
    config: GrpcClientConfig,
    endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
}

impl ResultReader {
    /// Connects as the staged profile says.
    pub(crate) fn new(config: &SessionConfig) -> Arc<Self> {
        Arc::new(Self {
            clients: ShuffleClients::default(),
            config: GrpcClientConfig::from(&config.ballista_config()),
            endpoint: config.ballista_override_create_grpc_client_endpoint(),
        })
    }

    /// All rows, part after part: a sorted result has one part, and others have a fixed order at least.
    pub(crate) fn read(
        self: Arc<Self>,
        locations: Vec<protobuf::PartitionLocation>,
        schema: SchemaRef,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send {
        let parts = stream::iter(locations).map(move |location| {
            let (reader, schema) = (Arc::clone(&self), SchemaRef::clone(&schema));
            async move { reader.open(location, schema).await }
        });
        parts.buffered(PARTS_AHEAD).try_flatten()
    }

    async fn open(
        &self,
        location: protobuf::PartitionLocation,
        schema: SchemaRef,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let location: PartitionLocation = location.try_into().map_err(lost)?;
        let executor = &location.executor_meta;
        let mut client = self
            .clients
            .acquire(&executor.host, executor.port, &self.config, self.endpoint.clone())
            .await
            .map_err(lost)?;
        let layout = if location.is_sort_shuffle { ShuffleLayout::Sort } else { ShuffleLayout::Passthrough };
        let opened =
            client.fetch_partition(&executor.id, &location.partition_id, location.file_id, layout, false).await;
        match opened {
            Ok(batches) => {
                let batches = batches.map(move |batch| labelled(batch.map_err(unread)?, &schema));
                Ok(holding(client, batches).boxed())
            }
            Err(error) => {
                client.discard();
                Err(lost(error))
            }
        }
    }
}

/// The connection goes back when the part has been read, and is given up when it has not.
fn holding(
    client: PooledClient,
    batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let state = (Some(client), Box::pin(batches));
    stream::unfold(state, |(mut client, mut batches)| async move {
        match batches.next().await {
            Some(batch) => {
                if let Some(client) = client.take_if(|_| batch.is_err()) {
                    client.discard();
                }
                Some((batch, (client, batches)))
            }
            None => None,
        }
    })
}

/// The file says less about its columns than the plan.
fn labelled(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
        .map_err(|error| Error::from(DataFusionError::from(error)))
}

/// Whatever keeps a part from being opened, the rows are gone with their executor.
fn lost(error: BallistaError) -> Error {
    Error::unavailable(format!("a part of the result was lost: {error}; run the statement again"))
}

fn unread(error: DataFusionError) -> Error {
    Error::unavailable(format!("a part of the result was lost while it was read: {error}; run the statement again"))
}
