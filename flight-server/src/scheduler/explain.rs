//! Stages as text, and what their tasks have counted.

use std::fmt::Write as _;
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::ShuffleWriter;
use ballista_scheduler::display::format_stage_metrics;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner};
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use engine::{Error, Result};

/// The stages that `plan` is split into, with the shuffles between them, as far as they are known before it runs.
pub(crate) async fn stages_before(state: &SessionState, plan: &LogicalPlan) -> Result<String> {
    let physical = state.create_physical_plan(plan).await?;
    let stages = DefaultDistributedPlanner::new()
        .plan_query_stages(&JobId::new("explain"), physical, state.config_options())
        .map_err(|error| Error::internal(format!("the plan cannot be split into stages: {error}")))?;
    let last = stages.len();
    let texts = stages.iter().enumerate().map(|(index, stage)| stage_text(stage, index + 1 == last));
    let stages = texts.collect::<Vec<_>>().join("\n");
    Ok(format!("{stages}\nwhile it runs, joins and parts of later stages follow the sizes of earlier ones"))
}

fn stage_text(stage: &Arc<dyn ShuffleWriter>, is_last: bool) -> String {
    let writer: &dyn ExecutionPlan = stage.as_ref();
    let output = if is_last { "the result" } else { "shuffled" };
    let parts = stage.input_partition_count();
    let plan = displayable(writer).indent(false);
    format!("stage {}: {parts} parts, {output}\n{plan}", stage.stage_id())
}

/// The stages of a job that has run, with the metrics of their tasks.
pub(crate) fn stages_after(graph: &dyn ExecutionGraph) -> String {
    let mut stages: Vec<_> = graph.stages().iter().collect();
    stages.sort_by_key(|(id, _)| **id);
    let mut text = String::new();
    for (id, stage) in stages {
        if let ExecutionStage::Successful(stage) = stage {
            let tasks = stage.task_infos.len();
            let plan = format_stage_metrics(stage.plan.as_ref(), &stage.stage_metrics);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "stage {id}: {} parts, {tasks} tasks\n{plan}", stage.partitions);
        }
    }
    text
}

/// Rows that the scans of all stages have given so far.
pub(crate) fn rows_scanned(graph: &dyn ExecutionGraph) -> u64 {
    let rows = |stage: &ExecutionStage| match stage {
        ExecutionStage::Running(stage) => scanned(&stage.plan, stage.stage_metrics.as_deref().unwrap_or_default()),
        ExecutionStage::Successful(stage) => scanned(&stage.plan, &stage.stage_metrics),
        ExecutionStage::UnResolved(_) | ExecutionStage::Resolved(_) | ExecutionStage::Failed(_) => 0,
    };
    graph.stages().values().map(rows).sum()
}

/// Executors send the metrics of a plan's nodes from the root on, without those that have none.
fn scanned(plan: &Arc<dyn ExecutionPlan>, metrics: &[MetricsSet]) -> u64 {
    fn visit(plan: &dyn ExecutionPlan, metrics: &mut std::slice::Iter<'_, MetricsSet>) -> usize {
        let own = plan.metrics().and_then(|_| metrics.next()).and_then(MetricsSet::output_rows);
        let own = if plan.is::<DataSourceExec>() { own.unwrap_or(0) } else { 0 };
        plan.children().into_iter().map(|child| visit(child.as_ref(), metrics)).sum::<usize>() + own
    }
    visit(plan.as_ref(), &mut metrics.iter()) as u64
}
