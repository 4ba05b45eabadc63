//! Joins that go on with less memory: a hash join keeps one side in memory and cannot spill, a merge join sorts both, and
//! sorts can. A query whose hash joins do not fit is run again with merge joins, if none of its rows has been given yet.

use datafusion::arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use crate::execution::cast_batch;
use crate::sinks::WriteFilesExec;

/// Whether a plan can be run again with merge joins: what it has written it would write again.
pub(crate) fn can_fall_back(plan: &dyn ExecutionPlan) -> bool {
    has(plan, &|node| node.is::<HashJoinExec>()) && !has(plan, &|node| node.is::<WriteFilesExec>())
}

fn has(plan: &dyn ExecutionPlan, wanted: &dyn Fn(&dyn ExecutionPlan) -> bool) -> bool {
    wanted(plan) || plan.children().iter().any(|child| has(child.as_ref(), wanted))
}

/// `state`, whose plans sort and merge in place of hashing. With one part DataFusion always hashes.
pub(crate) fn with_merge_joins(state: &SessionState) -> SessionState {
    let mut config = state.config().clone();
    let parts = config.target_partitions().max(2);
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.prefer_hash_join = false;
    optimizer.repartition_joins = true;
    SessionStateBuilder::new_from_existing(state.clone()).with_config(config.with_target_partitions(parts)).build()
}

/// Whether a query ended because memory, and not disk, was used up.
pub(crate) fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(message) if message.contains("more memory"))
}

type Rows = BoxStream<'static, Result<RecordBatch>>;

/// The rows of `first`; those of `again` if `first` has none before memory is used up.
pub(crate) fn or_again(
    first: SendableRecordBatchStream,
    again: impl Future<Output = Result<SendableRecordBatchStream>> + Send + 'static,
) -> SendableRecordBatchStream {
    let schema = first.schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(begun(first, again)).try_flatten()))
}

async fn begun(
    mut first: SendableRecordBatchStream,
    again: impl Future<Output = Result<SendableRecordBatchStream>>,
) -> Result<Rows> {
    match first.next().await {
        Some(Err(error)) if is_out_of_memory(&error) => {
            let schema = first.schema();
            // What it holds is needed now.
            drop(first);
            Ok(again.await?.map(move |batch| cast_batch(&batch?, &schema)).boxed())
        }
        Some(batch) => Ok(stream::iter([batch]).chain(first).boxed()),
        None => Ok(stream::empty().boxed()),
    }
}
