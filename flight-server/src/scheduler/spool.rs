//! Rows of a result between the executors that hold them and the reader who wants them.
//!
//! A result whose first row has been delivered cannot be made again: the next try may put rows in another order. So rows
//! are gathered here first, in memory and then on disk, and delivered when all are here. Then the executors are free,
//! whatever the pace of the reader. Of a result that is larger than the limit the rest is delivered as it comes.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::spill_pool::{SpillPoolSink, spsc_channel};
use engine::{Error, Result};
use futures::{Stream, StreamExt, TryStreamExt, stream};

/// Bytes of a result that are kept in memory.
const MEMORY_BYTES_MAX: usize = 8 << 20;
/// Bytes of a file on disk: read ones are removed.
const FILE_BYTES_MAX: usize = 64 << 20;

/// Gathered rows.
pub(crate) struct Spool {
    schema: SchemaRef,
    runtime: Arc<RuntimeEnv>,
    bytes_max: u64,
    bytes: u64,
    memory: Vec<RecordBatch>,
    reservation: MemoryReservation,
    disk: Option<(Arc<SpillPoolSink>, SendableRecordBatchStream)>,
    /// The batch for which there was no room.
    overflow: Option<RecordBatch>,
}

/// Whether rows are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gathered {
    /// All are here.
    All,
    /// There is no room for more.
    Part,
}

impl Spool {
    /// Room for `bytes_max` bytes under the limits of `runtime`.
    pub(crate) fn new(schema: SchemaRef, runtime: &Arc<RuntimeEnv>, bytes_max: u64) -> Self {
        let reservation = MemoryConsumer::new("result").register(&runtime.memory_pool);
        let runtime = Arc::clone(runtime);
        Self { schema, runtime, bytes_max, bytes: 0, memory: Vec::new(), reservation, disk: None, overflow: None }
    }

    /// Takes rows until there are no more, or no more room.
    ///
    /// # Errors
    /// Those of `rows`.
    pub(crate) async fn gather(
        &mut self,
        rows: &mut (impl Stream<Item = Result<RecordBatch>> + Unpin),
    ) -> Result<Gathered> {
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let has_room = self.put(&batch).await;
            if !has_room {
                self.overflow = Some(batch);
                return Ok(Gathered::Part);
            }
        }
        Ok(Gathered::All)
    }

    /// Whether there was room.
    async fn put(&mut self, batch: &RecordBatch) -> bool {
        let bytes = batch.get_array_memory_size();
        if self.bytes.saturating_add(bytes as u64) > self.bytes_max {
            return false;
        }
        self.bytes += bytes as u64;
        let fits = self.disk.is_none() && self.bytes <= MEMORY_BYTES_MAX as u64;
        if fits && self.reservation.try_grow(bytes).is_ok() {
            self.memory.push(batch.clone());
            return true;
        }
        let (sink, _) = self.disk.get_or_insert_with(|| {
            let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
            let manager = SpillManager::new(Arc::clone(&self.runtime), metrics, SchemaRef::clone(&self.schema));
            let (sink, stream) = spsc_channel(FILE_BYTES_MAX, Arc::new(manager));
            (Arc::new(sink), stream)
        });
        let (sink, batch) = (Arc::clone(sink), batch.clone());
        match tokio::task::spawn_blocking(move || sink.push_batch(&batch)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::info!(%error, "a result is delivered as it comes: it cannot be kept");
                false
            }
            Err(_) => false,
        }
    }

    /// The rows in the order in which they came.
    pub(crate) fn rows(self) -> impl Stream<Item = Result<RecordBatch>> + Send {
        let Self { memory, reservation, disk, overflow, .. } = self;
        let of_memory = stream::iter(memory).map(move |batch| {
            reservation.try_shrink(batch.get_array_memory_size()).ok();
            Ok(batch)
        });
        // Without its writer the stream has an end.
        let of_disk = stream::iter(disk).flat_map(|(sink, stream)| {
            drop(sink);
            stream.map_err(|error: DataFusionError| Error::from(error))
        });
        of_memory.chain(of_disk).chain(stream::iter(overflow.map(Ok)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn batches(count: i64) -> Vec<RecordBatch> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = |first: i64| {
            let column = Int64Array::from_iter_values(first * 100_000..(first + 1) * 100_000);
            RecordBatch::try_new(SchemaRef::clone(&schema), vec![Arc::new(column)]).unwrap()
        };
        (0..count).map(batch).collect()
    }

    async fn through(count: i64, bytes_max: u64) -> (Gathered, Vec<i64>, usize) {
        let batches = batches(count);
        let schema = batches[0].schema();
        let mut rows = stream::iter(batches).map(Ok);
        let mut spool = Spool::new(schema, &Arc::new(RuntimeEnv::default()), bytes_max);
        let gathered = spool.gather(&mut rows).await.unwrap();
        let read: Vec<RecordBatch> = spool.rows().try_collect().await.unwrap();
        let values = read.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        (gathered, values.collect(), rows.count().await)
    }

    #[tokio::test]
    async fn rows_keep_their_order_in_memory_and_on_disk() {
        for count in [1, 9, 60] {
            let (gathered, values, left) = through(count, 1 << 30).await;
            assert_eq!((gathered, left), (Gathered::All, 0));
            assert!(values.into_iter().eq(0..count * 100_000), "{count} batches");
        }
    }

    #[tokio::test]
    async fn what_has_no_room_is_left_where_it_is() {
        let (gathered, values, left) = through(60, 20_000_000).await;
        assert_eq!(gathered, Gathered::Part);
        let read = values.len() as i64 / 100_000;
        assert!(values.into_iter().eq(0..read * 100_000));
        assert_eq!(read + left as i64, 60);
        assert!((20..30).contains(&read), "{read}");
    }

    #[tokio::test]
    async fn an_error_is_told_before_any_row() {
        let mut rows = stream::iter([Ok(batches(1).remove(0)), Err(Error::unavailable("gone"))]);
        let mut spool = Spool::new(batches(1)[0].schema(), &Arc::new(RuntimeEnv::default()), 1 << 30);
        assert_eq!(spool.gather(&mut rows).await.unwrap_err().message, "gone");
    }
}
