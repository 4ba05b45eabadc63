//! Cancelling for real.
//!
//! Ballista aborts the future that waits for a task; the parts of the task run on as tasks of their own. So every node
//! of a task's plan is wrapped: once the token is cancelled, its stream ends with an error, and so does all above it. The
//! same wrapping counts whether the task gets anywhere.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use engine::{Error, Work, stand_in};
use futures::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::activity::Activity;
use crate::compact::compact;

/// The hold on a task: it can be stopped, and be seen working.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskControl {
    pub(crate) token: CancellationToken,
    pub(crate) activity: Arc<Activity>,
}

/// Wraps every node of `plan` except its root, the shuffle writer, which only moves what comes from below; what it is
/// given is made compact.
pub(crate) fn cancellable(plan: Arc<dyn ExecutionPlan>, control: &TaskControl) -> Result<Arc<dyn ExecutionPlan>> {
    let children = plan
        .children()
        .into_iter()
        .map(|child| {
            let work = |is_written| Cancellable { control: control.clone(), is_written };
            let wrap = |node| Ok(Transformed::yes(stand_in(node, work(false))));
            let top = Arc::clone(child).map_children(|below| below.transform_up(wrap)).data()?;
            Ok(stand_in(top, work(true)))
        })
        .collect::<Result<Vec<_>>>()?;
    replace_children_if_necessary(plan, children)
}

/// Wraps every node of `plan`.
pub(crate) fn all_cancellable(plan: Arc<dyn ExecutionPlan>, control: &TaskControl) -> Result<Arc<dyn ExecutionPlan>> {
    let work = Cancellable { control: control.clone(), is_written: false };
    plan.transform_up(|node| Ok(Transformed::yes(stand_in(node, work.clone())))).data()
}

/// Ends the streams of its node when the token is cancelled.
#[derive(Debug, Clone)]
struct Cancellable {
    control: TaskControl,
    /// Whether the batches go to a shuffle file next.
    is_written: bool,
}

impl Work for Cancellable {
    fn execute(
        &self,
        node: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let mut inner = node.execute(partition, context)?;
        if self.is_written {
            let compacted = inner.map(|batch| compact(batch?));
            inner = Box::pin(RecordBatchStreamAdapter::new(node.schema(), compacted));
        }
        let cancelled = Box::pin(self.control.token.clone().cancelled_owned());
        let activity = Arc::clone(&self.control.activity);
        Ok(Box::pin(CancellableStream { inner, cancelled, activity, is_ended: false }))
    }
}

struct CancellableStream {
    inner: SendableRecordBatchStream,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    activity: Arc<Activity>,
    is_ended: bool,
}

impl Stream for CancellableStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        if self.cancelled.as_mut().poll(context).is_ready() {
            self.is_ended = true;
            return Poll::Ready(Some(Err(Error::cancelled().into())));
        }
        let Self { inner, activity, .. } = &mut *self;
        activity.count(|| inner.poll_next_unpin(context))
    }
}

impl RecordBatchStream for CancellableStream {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}
