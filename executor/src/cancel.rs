//! Cancelling for real.
//!
//! Ballista aborts the future that waits for a task; the parts of the task run on as tasks of their own. So every node
//! of a task's plan is wrapped: once the token is cancelled, its stream ends with an error, and so does all above it. The
//! same wrapping counts whether the task gets anywhere.

use std::fmt::{self, Formatter};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, replace_children_if_necessary,
};
use engine::Error;
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
            let wrap = |node: Arc<dyn ExecutionPlan>| {
                let wrapped = Cancellable { inner: node, control: control.clone(), is_written: false };
                Ok(Transformed::yes(Arc::new(wrapped) as Arc<dyn ExecutionPlan>))
            };
            let inner = Arc::clone(child).map_children(|below| below.transform_up(wrap)).data()?;
            let top = Cancellable { inner, control: control.clone(), is_written: true };
            Ok(Arc::new(top) as Arc<dyn ExecutionPlan>)
        })
        .collect::<Result<Vec<_>>>()?;
    replace_children_if_necessary(plan, children)
}

/// A node that is the wrapped one in all respects, but whose streams end when the token is cancelled.
#[derive(Debug)]
struct Cancellable {
    inner: Arc<dyn ExecutionPlan>,
    control: TaskControl,
    /// Whether its batches go to a shuffle file next.
    is_written: bool,
}

impl DisplayAs for Cancellable {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(format, f)
    }
}

impl ExecutionPlan for Cancellable {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.inner.maintains_input_order()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = replace_children_if_necessary(Arc::clone(&self.inner), children)?;
        Ok(Arc::new(Self { inner, control: self.control.clone(), is_written: self.is_written }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }

    fn fetch(&self) -> Option<usize> {
        self.inner.fetch()
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut inner = self.inner.execute(partition, context)?;
        if self.is_written {
            let compacted = inner.map(|batch| compact(batch?));
            inner = Box::pin(RecordBatchStreamAdapter::new(self.inner.schema(), compacted));
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
