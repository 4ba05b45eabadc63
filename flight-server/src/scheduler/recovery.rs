//! Whether a job gets over the loss of an executor by itself.
//!
//! Ballista's adaptive planner runs the tasks of a stage again as long as the stage runs. What it cannot do is make the
//! output of a finished stage once more: it waits for it for ever. So a job goes on if the executor held nothing that is
//! still needed, and is started again if it did.

use ballista_core::JobId;
use ballista_core::serde::protobuf::UpdateTaskStatusParams;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::task_status::Status as Outcome;
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::{ExecutionStage, StageOutput};

use tonic::{Request, Status};

use crate::scheduler::Ballista;

/// What becomes of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its lost tasks run again.
    GoesOn,
    /// It waits for something that will not happen.
    Wrecked(String),
    /// It has ended, or has not begun.
    Unknown,
}

/// What the loss of `executor` means for a job. Ask again as long as the job runs: a report that was on its way can still
/// add output of the lost executor.
pub(crate) async fn verdict(ballista: &Ballista, job: &JobId, executor: &str) -> Verdict {
    let running = ballista.state.task_manager.get_running_job_cache();
    let Some(info) = running.get(job) else { return Verdict::Unknown };
    let graph = info.execution_graph.read().await;
    match needs(graph.as_ref(), executor) {
        Some(reason) => Verdict::Wrecked(reason),
        None => Verdict::GoesOn,
    }
}

/// Has the tasks of `executor` run elsewhere, `another` among them. Ballista does so too, unless it stumbles over another
/// job first.
///
/// # Errors
/// Why the job cannot go on.
pub(crate) async fn reset(ballista: &Ballista, job: &JobId, executor: &str, another: &str) -> Result<(), String> {
    let running = ballista.state.task_manager.get_running_job_cache();
    let Some(info) = running.get(job) else { return Ok(()) };
    let reset = info.execution_graph.write().await.reset_stages_on_lost_executor(executor);
    reset.map_err(|error| error.to_string())?;
    offer(ballista, another).await.map_err(|status| status.message().to_owned())
}

/// Free virtual cores are offered again: an update without reports makes Ballista look for tasks.
pub(crate) async fn offer(ballista: &Ballista, executor: &str) -> Result<(), Status> {
    let nothing = UpdateTaskStatusParams { executor_id: executor.to_owned(), task_status: vec![] };
    SchedulerGrpc::update_task_status(ballista, Request::new(nothing)).await.map(|_| ())
}

/// What `executor` holds that the job still needs.
fn needs(graph: &dyn ExecutionGraph, executor: &str) -> Option<String> {
    let stages = graph.stages();
    for (id, stage) in stages {
        let needed = match stage {
            ExecutionStage::UnResolved(_) => Some(format!("stage {id} was taken back")),
            ExecutionStage::Resolved(stage) => {
                reads_from(stage.inputs.values(), executor).then(|| format!("stage {id} reads its output"))
            }
            ExecutionStage::Running(stage) => {
                reads_from(stage.inputs.values(), executor).then(|| format!("stage {id} reads its output"))
            }
            ExecutionStage::Successful(_) if wrote(stage, executor) && !is_read(graph, *id) => {
                Some(format!("it held output of stage {id}"))
            }
            ExecutionStage::Successful(_) | ExecutionStage::Failed(_) => None,
        };
        if needed.is_some() {
            return needed;
        }
    }
    None
}

fn reads_from<'a>(mut inputs: impl Iterator<Item = &'a StageOutput>, executor: &str) -> bool {
    inputs
        .any(|input| input.partition_locations.values().flatten().any(|location| location.executor_meta.id == executor))
}

fn wrote(stage: &ExecutionStage, executor: &str) -> bool {
    stage.task_infos().unwrap_or_default().iter().any(|task| {
        matches!(&task.task_status, Outcome::Successful(task) if task.executor_id == executor && !task.partitions.is_empty())
    })
}

/// Whether every stage that reads `stage` has ended, and there is one.
fn is_read(graph: &dyn ExecutionGraph, stage: usize) -> bool {
    let inputs = |reader: &ExecutionStage| match reader {
        ExecutionStage::UnResolved(reader) => reader.inputs.contains_key(&stage),
        ExecutionStage::Resolved(reader) => reader.inputs.contains_key(&stage),
        ExecutionStage::Running(reader) => reader.inputs.contains_key(&stage),
        ExecutionStage::Successful(reader) => reader.inputs.contains_key(&stage),
        ExecutionStage::Failed(_) => false,
    };
    let mut readers = graph.stages().values().filter(|reader| inputs(reader)).peekable();
    readers.peek().is_some() && readers.all(|reader| matches!(reader, ExecutionStage::Successful(_)))
}
