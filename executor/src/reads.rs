//! Shuffle reads whose local files are checked first.
//!
//! What comes from other executors is checked there ([`crate::shuffle`]).

use std::sync::Arc;

use ballista_core::client_pool::BallistaClientPool;
use ballista_core::error::BallistaError;
use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
use ballista_core::serde::protobuf::FailedTask;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::scheduler::PartitionLocation;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use engine::{Error, Work, stand_in};
use futures::TryStreamExt;

use crate::checksums::{Checksums, ShufflePart};

/// What shuffle reads need from their executor.
pub(crate) struct Reads {
    pub(crate) checksums: Arc<Checksums>,
    pub(crate) clients: Arc<dyn BallistaClientPool>,
    pub(crate) shuffle_dir: String,
}

impl Reads {
    /// `plan` with every shuffle read checked.
    ///
    /// # Errors
    /// None for a plan that is well formed.
    pub(crate) fn checked(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let (reader, locations, is_broadcast): (Arc<dyn ExecutionPlan>, _, _) = if let Some(reader) =
                node.downcast_ref::<ShuffleReaderExec>()
            {
                let ready = reader.with_work_dir(self.shuffle_dir.clone()).with_client_pool(Arc::clone(&self.clients));
                (Arc::new(ready), reader.partition.clone(), reader.broadcast)
            } else if let Some(reader) = node.downcast_ref::<RangeShuffleReaderExec>() {
                let ready = reader.with_work_dir(self.shuffle_dir.clone()).with_client_pool(Arc::clone(&self.clients));
                (Arc::new(ready), reader.partition.clone(), false)
            } else {
                return Ok(Transformed::no(node));
            };
            let checksums = Arc::clone(&self.checksums);
            Ok(Transformed::yes(stand_in(reader, CheckedRead { locations, is_broadcast, checksums })))
        })
        .data()
    }
}

/// Lets a shuffle reader read only what its writer wrote.
#[derive(Debug, Clone)]
struct CheckedRead {
    /// Of each partition.
    locations: Vec<Vec<PartitionLocation>>,
    /// Whether every partition reads the first one's locations.
    is_broadcast: bool,
    checksums: Arc<Checksums>,
}

impl Work for CheckedRead {
    /// Ballista would take a reader that it finds out and put it in place of this.
    const SHOWS_NODE: bool = false;

    fn execute(
        &self,
        reader: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let index = if self.is_broadcast { 0 } else { partition };
        let locations = self.locations.get(index).cloned().unwrap_or_default();
        let (schema, reader, checksums) = (reader.schema(), Arc::clone(reader), Arc::clone(&self.checksums));
        let batches = futures::stream::once(async move {
            tokio::task::spawn_blocking(move || check_all(&checksums, &locations))
                .await
                .map_err(|error| DataFusionError::Execution(format!("shuffle files were not checked: {error}")))??;
            reader.execute(partition, context)
        });
        let batches = batches.try_flatten().map_err(unread);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// Whatever goes wrong between executors is no fault of the statement's. Ballista says so of files that cannot be opened,
/// and not of a connection that ends in the middle of one.
fn unread(error: DataFusionError) -> DataFusionError {
    let error = Arc::new(error);
    let judged = FailedTask::from(BallistaError::from(DataFusionError::Shared(Arc::clone(&error))));
    match judged.failed_reason {
        Some(FailedReason::FetchPartitionError(_)) => DataFusionError::Shared(error),
        _ => Error::unavailable(format!("shuffle files could not be read: {error}")).into(),
    }
}

/// # Errors
/// The first local file that is not as it was written, as Ballista tells of lost files.
fn check_all(checksums: &Checksums, locations: &[PartitionLocation]) -> Result<()> {
    for location in locations {
        let part = ShufflePart::from(location);
        if checksums.is_here(&part)
            && let Err(reason) = checksums.check(&part)
        {
            tracing::error!(job = %part.job, stage = part.stage, %reason, "a shuffle file is lost");
            let (executor, stage) = (location.executor_meta.id.clone(), location.partition_id.stage_id);
            let partition = location.partition_id.partition_id;
            return Err(BallistaError::FetchFailed(executor, stage, partition, reason).into_datafusion());
        }
    }
    Ok(())
}

impl From<&PartitionLocation> for ShufflePart {
    fn from(location: &PartitionLocation) -> Self {
        Self {
            job: location.partition_id.job_id.clone(),
            stage: location.partition_id.stage_id,
            partition: location.partition_id.partition_id,
            file: location.file_id,
            is_sorted: location.is_sort_shuffle,
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::error::ArrowError;
    use engine::ErrorKind;

    use super::*;

    #[test]
    fn a_connection_that_ends_in_the_middle_of_a_file_can_be_tried_again() {
        let cut = ArrowError::IpcError("h2 protocol error: error reading a body from connection".to_owned());
        assert_eq!(Error::from(unread(cut.into())).kind, ErrorKind::Unavailable);
        let lost = BallistaError::FetchFailed("one".to_owned(), 1, 2, "gone".to_owned()).into_datafusion();
        let judged = FailedTask::from(BallistaError::from(unread(lost)));
        assert!(matches!(judged.failed_reason, Some(FailedReason::FetchPartitionError(_))), "{judged:?}");
    }
}
