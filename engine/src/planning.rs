//! Planning has an end: a statement is refused that would become too large a plan, or take too long to plan; and while a
//! large one is planned, others go on.
//!
//! DataFusion plans without pausing. So its rules are asked at every step whether there is time left and somebody still
//! wants the plan; what is small by its text and its plan is planned where it is asked for, while another thread takes over
//! what this one serves, and what is large on a thread of its own, which nobody waits for beyond the limit.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion::common::config::ConfigOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::config::grappe_options;
use crate::limits::{LayeredLimits, Limit};
use crate::{Error, ErrorKind, Result};

/// Bytes of text from which a statement is large.
const LARGE_TEXT_BYTES: usize = 4 << 10;
/// Nodes of a plan from which it is large.
const LARGE_PLAN_NODES: u64 = 200;

/// Large statements that are planned at once: others wait for these, and not for each other.
static LARGE: Semaphore = Semaphore::const_new(2);

tokio::task_local! {
    /// Until when the planning that goes on makes sense.
    static ENDS: Ends;
}

#[derive(Debug, Clone)]
struct Ends {
    /// When it must have ended, and the limit that says so.
    at: Option<(Instant, Duration)>,
    /// Nobody waits for it any more.
    is_abandoned: Arc<AtomicBool>,
}

impl Ends {
    fn of(limit: Option<Duration>) -> Self {
        Self { at: limit.map(|limit| (Instant::now() + limit, limit)), is_abandoned: Arc::default() }
    }

    fn check(&self) -> PlanResult<()> {
        if self.is_abandoned.load(Ordering::Relaxed) {
            return Err(Error::cancelled().into());
        }
        match self.at {
            Some((at, limit)) if Instant::now() > at => Err(too_long(limit).into()),
            _ => Ok(()),
        }
    }
}

/// # Errors
/// `Exhausted` or `Cancelled` if the planning that goes on has no time left, or nobody wants it.
fn check_time() -> PlanResult<()> {
    ENDS.try_with(Ends::check).unwrap_or(Ok(()))
}

/// Somebody who waits for planning on another thread.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How much planning there is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// It is planned where it is asked for.
    Small,
    /// It has a thread of its own.
    Large,
}

impl Size {
    /// By the text of a statement.
    pub(crate) fn of_text(text: &str) -> Self {
        if text.len() >= LARGE_TEXT_BYTES { Self::Large } else { Self::Small }
    }

    /// By the plan that is to be optimised.
    pub(crate) fn of_plan(plan: &LogicalPlan) -> Self {
        if count(plan, LARGE_PLAN_NODES) > LARGE_PLAN_NODES { Self::Large } else { Self::Small }
    }
}

/// Does `work`, which plans, within the limit.
///
/// # Errors
/// `Exhausted` if it takes too long, and those of `work`.
pub(crate) async fn planned<T: Send + 'static>(
    limits: &LayeredLimits,
    size: Size,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let limit = limits.limit(Limit::QueryPlanning).map(Duration::from_secs);
    let work = Box::pin(work);
    match shared_runtime() {
        None => timed(limit, ENDS.scope(Ends::of(limit), work)).await,
        Some(runtime) if size == Size::Small => {
            block_in_place(|| runtime.block_on(timed(limit, ENDS.scope(Ends::of(limit), work))))
        }
        Some(runtime) => {
            let _permit = LARGE.acquire().await.map_err(|_| Error::internal("planning has been closed"))?;
            let ends = Ends::of(limit);
            let _waiting = Waiting(Arc::clone(&ends.is_abandoned));
            timed(limit, elsewhere(runtime, ENDS.scope(ends, work))).await
        }
    }
}

/// Does `work` on a thread that serves nobody else. It goes on when this is dropped, until it looks at the time.
async fn elsewhere<T: Send + 'static>(
    runtime: Handle,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match SpawnedTask::spawn_blocking(move || runtime.block_on(work)).join().await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => Err(Error::cancelled()),
    }
}

async fn timed<T>(limit: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match limit {
        None => work.await,
        Some(limit) => timeout(limit, work).await.unwrap_or_else(|_| Err(too_long(limit))),
    }
}

/// The runtime that this thread serves, if another thread can take over from it.
fn shared_runtime() -> Option<Handle> {
    Handle::try_current().ok().filter(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

fn too_long(limit: Duration) -> Error {
    let (name, seconds) = (Limit::QueryPlanning, limit.as_secs());
    Error::new(
        ErrorKind::Exhausted,
        format!("planning the statement took longer than {name} = {seconds}: make the statement smaller"),
    )
}

/// # Errors
/// `Exhausted` if the plan of a statement has more nodes than it may.
pub(crate) fn check_nodes(state: &SessionState, plan: &LogicalPlan) -> Result<()> {
    let Some(most) = grappe_options(state.config()).limits.limit(Limit::PlanNodes) else { return Ok(()) };
    if count(plan, most) <= most {
        return Ok(());
    }
    let message =
        format!("the plan of the statement has more nodes than {} = {most}: make it smaller", Limit::PlanNodes);
    Err(Error::new(ErrorKind::Exhausted, message))
}

/// Nodes of expressions that are as much work as one of the plan.
const EXPRESSION_NODES: u64 = 20;

/// Nodes of a plan with its expressions and subqueries; counting ends beyond `most`. Parts that occur twice count twice:
/// rules walk them twice. An AND is as much as a node of the plan: rules take conditions apart and put them together again
/// as deep as there are of them, and whoever walks that needs stack for each.
fn count(plan: &LogicalPlan, most: u64) -> u64 {
    let (mut nodes, most) = (0, most.saturating_mul(EXPRESSION_NODES));
    let stop_at = |nodes: u64| if nodes > most { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue };
    // Counting fails nowhere.
    let _ = plan.apply_with_subqueries(|node| {
        nodes += EXPRESSION_NODES;
        node.apply_expressions(|expr| {
            expr.apply(|expr: &Expr| {
                let is_and = matches!(expr, Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }));
                nodes += if is_and { EXPRESSION_NODES } else { 1 };
                Ok(stop_at(nodes))
            })
        })?;
        Ok(stop_at(nodes))
    });
    nodes.div_ceil(EXPRESSION_NODES)
}

/// `rules`, which stop when there is no time left.
pub(crate) fn timed_rules(
    rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    rules.into_iter().map(|rule| Arc::new(Timed(rule)) as _).collect()
}

/// The same for the rules that come before them.
pub(crate) fn timed_analyzer_rules(
    rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>>,
) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    rules.into_iter().map(|rule| Arc::new(Timed(rule)) as _).collect()
}

#[derive(Debug)]
struct Timed<R>(R);

impl OptimizerRule for Timed<Arc<dyn OptimizerRule + Send + Sync>> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> PlanResult<Transformed<LogicalPlan>> {
        check_time()?;
        self.0.rewrite(plan, config)
    }
}

impl AnalyzerRule for Timed<Arc<dyn AnalyzerRule + Send + Sync>> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> PlanResult<LogicalPlan> {
        check_time()?;
        self.0.analyze(plan, config)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{LogicalPlanBuilder, lit};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn nobody_waits_for_what_does_not_pause() {
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let mut limits = LayeredLimits::default();
        limits.session.set(Limit::QueryPlanning, Some(1));
        let stuck = async move {
            let _ = gate.recv();
            Ok(())
        };
        let refused = planned(&limits, Size::Large, stuck).await.unwrap_err();
        assert!(refused.message.contains("query_planning_seconds_max = 1"), "{}", refused.message);
        drop(release);
        let free = planned(&limits, Size::Large, async { Ok(LARGE.available_permits()) }).await;
        assert_eq!(free.unwrap(), 1);
    }

    #[tokio::test]
    async fn rules_stop_when_the_time_is_over() {
        #[derive(Debug)]
        struct Idle;
        impl OptimizerRule for Idle {
            fn name(&self) -> &str {
                "idle"
            }

            fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> PlanResult<Transformed<LogicalPlan>> {
                Ok(Transformed::no(plan))
            }
        }
        let rule = timed_rules(vec![Arc::new(Idle)]).remove(0);
        let plan = LogicalPlanBuilder::empty(true).build().unwrap();
        let config = datafusion::optimizer::OptimizerContext::new();
        let over = Ends { at: Some((Instant::now(), Duration::from_secs(3))), is_abandoned: Arc::default() };
        let refused = ENDS.sync_scope(over, || rule.rewrite(plan.clone(), &config)).unwrap_err();
        assert!(Error::from(refused).message.contains("query_planning_seconds_max = 3"));
        let unwanted = Ends::of(None);
        drop(Waiting(Arc::clone(&unwanted.is_abandoned)));
        let refused = ENDS.sync_scope(unwanted, || rule.rewrite(plan.clone(), &config)).unwrap_err();
        assert_eq!(Error::from(refused).kind, ErrorKind::Cancelled);
        assert!(rule.rewrite(plan, &config).is_ok());
    }

    #[test]
    fn expressions_count_and_counting_ends() {
        let plan = LogicalPlanBuilder::empty(true).filter(lit(1).eq(lit(2)).or(lit(3).eq(lit(4)))).unwrap();
        let plan = plan.build().unwrap();
        // Two nodes, and a condition of seven.
        assert_eq!(count(&plan, 100), 3);
        assert_eq!(count(&plan, 1), 2);
    }

    #[test]
    fn what_can_become_deep_counts_for_more() {
        let all = (0..100).map(|n| lit(n).eq(lit(0))).reduce(Expr::and).unwrap();
        let any = (0..100).map(|n| lit(n).eq(lit(0))).reduce(Expr::or).unwrap();
        let nodes = |expr| count(&LogicalPlanBuilder::empty(true).filter(expr).unwrap().build().unwrap(), 1_000);
        assert_eq!((nodes(all), nodes(any)), (2 + 15 + 99, 2 + 20));
    }
}
