//! What is told of a statement: where it is on its way, the line that `system.queries` has for it, and the
//! result of one that writes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use engine::{Error, Mode, Progress, Result};

use crate::admission::Place;

/// Where a statement is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryState {
    /// Its text is being turned into a plan; or it has an effect and is being carried out.
    Running,
    /// Its rows can be read.
    Ready,
    /// Its rows are being read.
    Reading,
    /// Done.
    Finished,
    /// Ended by an error.
    Failed,
    /// Ended by its user.
    Cancelled,
}

impl QueryState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running | Self::Reading => "running",
            Self::Ready => "ready",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

/// What `system.queries` shows of a statement.
#[derive(Debug, Clone)]
pub(crate) struct QuerySummary {
    pub(crate) id: String,
    pub(crate) user: Arc<str>,
    pub(crate) statement: String,
    pub(crate) mode: Option<Mode>,
    pub(crate) progress: Progress,
    pub(crate) state: QueryState,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) elapsed: Duration,
    pub(crate) rows: u64,
    pub(crate) error: Option<String>,
    /// What went wrong and was made good, oldest first.
    pub(crate) setbacks: Vec<String>,
    /// Its place in the queue, while it waits.
    pub(crate) queue: Option<Place>,
    /// For how long it waited, or has waited.
    pub(crate) queued: Duration,
}

impl QuerySummary {
    pub(crate) fn state_name(&self) -> &'static str {
        if self.queue.is_some() { "queued" } else { self.state.name() }
    }
}

/// The result of a statement that writes.
pub(crate) fn result_of_writing() -> SchemaRef {
    static COUNT: LazyLock<SchemaRef> =
        LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, false)])));
    SchemaRef::clone(&COUNT)
}

/// The row of it; none for a statement that defines.
pub(crate) fn stored_count(rows_affected: Option<u64>) -> Result<RecordBatch> {
    let Some(rows) = rows_affected else { return Ok(RecordBatch::new_empty(Arc::new(Schema::empty()))) };
    let count = Int64Array::from(vec![i64::try_from(rows).unwrap_or(i64::MAX)]);
    RecordBatch::try_new(result_of_writing(), vec![Arc::new(count)])
        .map_err(|error| Error::internal(format!("a count cannot be told: {error}")))
}
