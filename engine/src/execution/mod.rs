//! Running a planned statement: the seam between what a statement means and where it runs.
//!
//! [`Execution`] is one way to run a plan. Local is here; streamed and staged are the coordinator's, because they need
//! executors. Nothing above this module asks whether a query is distributed.

mod cooperative;
mod counted;
mod explain;
mod fallback;
mod local;
mod mode;
mod paced;
mod selective;
mod spillable;
mod stand_in;
mod views;
mod whole_sides;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

pub(crate) use cooperative::cooperative;
pub(crate) use explain::Explained;
pub(crate) use fallback::{can_fall_back, or_again, with_merge_joins};
pub use local::LocalExecution;
pub(crate) use local::run_to_end;
pub use mode::{Choice, Mode, Modes, cannot_run};
pub(crate) use mode::{check_scan, scan_bytes};
pub use stand_in::{Work, stand_in};
pub(crate) use views::{PlainResult, cast_batch, result_schema, result_stream};
pub(crate) use whole_sides::with_whole_sides;

use crate::Result;
use crate::config::grappe_options;
use crate::planning::{Size, planned};

/// `plan`, which is about to run and is not planned again, so that it keeps to its memory, can be stopped, and reads what
/// its joins need.
///
/// # Errors
/// Those of building plans: none for a plan that DataFusion made.
pub fn runnable(plan: Arc<dyn ExecutionPlan>) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    spillable::spillable(counted::counted(paced::paced(selective::selective(plan)?)?)?)
}

/// The physical plan, made within the limits of planning.
///
/// # Errors
/// Those of planning.
pub(crate) async fn physical(state: &Arc<SessionState>, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    physical_with(state, plan, |state, _| Ok(state)).await
}

/// The same, by what `fit` makes of the state for the plan.
pub(crate) async fn physical_with(
    state: &Arc<SessionState>,
    plan: &LogicalPlan,
    fit: impl FnOnce(Arc<SessionState>, &LogicalPlan) -> datafusion::error::Result<Arc<SessionState>> + Send + 'static,
) -> Result<Arc<dyn ExecutionPlan>> {
    let limits = grappe_options(state.config()).limits;
    let (state, plan, size) = (Arc::clone(state), plan.clone(), Size::of_plan(plan));
    planned(&limits, size, async move { Ok(fit(state, &plan)?.create_physical_plan(&plan).await?) }).await
}

/// A statement to run.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Id of the statement, unique in the cluster.
    pub query_id: String,
    /// SQL text, for names and logs.
    pub text: Arc<str>,
    /// State of the session that planned it.
    pub state: Arc<SessionState>,
    /// Analysed plan, not optimised.
    pub plan: LogicalPlan,
}

/// How far a running statement is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Share of the work that is done, 0 to 1, if it can be told.
    pub fraction: Option<f64>,
    /// Rows read from tables so far.
    pub rows_scanned: u64,
    /// Tasks on executors that have ended.
    pub tasks_done: u64,
    /// Tasks on executors known so far.
    pub tasks_total: u64,
}

/// Is told of every plan that a statement runs: one that writes may run several.
pub trait Watch: std::fmt::Debug + Send + Sync {
    /// A plan has been started.
    fn runs(&self, mode: Mode, plan: &Arc<dyn Running>);
}

/// Whether a mode can run something now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It can, on so many virtual cores.
    Ready {
        /// Virtual cores of all executors together.
        vcores: usize,
    },
    /// It cannot: why, and what to run so that it can.
    Unavailable(String),
}

/// One way to run plans.
#[async_trait]
pub trait Execution: std::fmt::Debug + Send + Sync {
    /// Which way.
    fn mode(&self) -> Mode;

    /// Whether it can run something now.
    fn availability(&self) -> Availability;

    /// Why this plan cannot run this way, if it cannot.
    fn refusal(&self, plan: &LogicalPlan) -> Option<String>;

    /// Plans for this mode and gets ready; the work begins now or when the stream is first read.
    ///
    /// # Errors
    /// Those of planning, and of the executors.
    async fn start(&self, request: StartRequest) -> Result<Arc<dyn Running>>;

    /// Lines that `EXPLAIN` shows besides DataFusion's plans: pairs of a title and a text.
    ///
    /// # Errors
    /// Those of planning.
    async fn explain(&self, request: StartRequest) -> Result<Vec<(String, String)>>;
}

/// A statement that has been started.
pub trait Running: std::fmt::Debug + Send + Sync {
    /// Columns of the result, exactly as they will be streamed.
    fn schema(&self) -> SchemaRef;

    /// The result; it can be taken once. Dropping it stops the work.
    ///
    /// # Errors
    /// `Invalid` if it has been taken.
    fn stream(&self) -> Result<SendableRecordBatchStream>;

    /// The result in at most `parts_max` parts that can be read at once, in place of [`Self::stream`]; one if its order
    /// matters, or it cannot be split.
    ///
    /// # Errors
    /// As [`Self::stream`].
    fn streams(&self, _parts_max: usize) -> Result<Vec<SendableRecordBatchStream>> {
        Ok(vec![self.stream()?])
    }

    /// How far it is.
    fn progress(&self) -> Progress;

    /// Whether it is known to read much.
    fn is_large(&self) -> bool {
        false
    }

    /// What went wrong on the way and was made good, oldest first.
    fn setbacks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Stops the work wherever it is done.
    fn cancel(&self);
}
