//! What the coordinator asks of an executor.

use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpc;
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams,
    LaunchTaskResult, RemoveJobDataParams, RemoveJobDataResult, StopExecutorParams, StopExecutorResult,
};
use engine::distributed::wire::membership_of;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::coordinator::Coordinator;
use crate::tasks::Tasks;
use crate::work_dir::{WorkDir, checked};

/// The control service of an executor.
#[derive(Clone)]
pub(crate) struct ControlService {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) work_dir: Arc<WorkDir>,
    pub(crate) coordinator: Arc<Coordinator>,
    /// Removals that wait for the tasks of their job.
    pub(crate) removals: TaskTracker,
}

#[tonic::async_trait]
impl ExecutorGrpc for ControlService {
    async fn launch_task(&self, _: Request<LaunchTaskParams>) -> Result<Response<LaunchTaskResult>, Status> {
        Err(Status::unimplemented("tasks are launched by launch_multi_task"))
    }

    /// Takes tasks. What is wrong with one is found when it runs, and reported as its outcome.
    async fn launch_multi_task(
        &self,
        request: Request<LaunchMultiTaskParams>,
    ) -> Result<Response<LaunchMultiTaskResult>, Status> {
        let executor_id = membership_of(request.metadata()).map_err(|error| Status::invalid_argument(error.message))?;
        if !self.coordinator.is_member(&executor_id) {
            return Err(Status::not_found("the executor has joined again since"));
        }
        let tasks = request.into_inner().multi_tasks;
        for task in &tasks {
            checked(&task.job_id).map_err(|error| Status::invalid_argument(error.message))?;
        }
        tasks.into_iter().for_each(|task| self.tasks.launch(task, executor_id.clone()));
        Ok(Response::new(LaunchMultiTaskResult { failed_jobs: vec![] }))
    }

    /// The coordinator has given this executor up: what it runs is nobody's any more.
    async fn stop_executor(
        &self,
        request: Request<StopExecutorParams>,
    ) -> Result<Response<StopExecutorResult>, Status> {
        self.coordinator.membership_lost(&request.get_ref().executor_id);
        Ok(Response::new(StopExecutorResult {}))
    }

    async fn cancel_tasks(&self, request: Request<CancelTasksParams>) -> Result<Response<CancelTasksResult>, Status> {
        for task in request.into_inner().task_infos {
            self.tasks.cancel(&JobId::new(task.job_id), task.stage_id, task.task_id);
        }
        Ok(Response::new(CancelTasksResult { cancelled: true }))
    }

    /// Removes files of a job. Without stages the job has ended: its tasks end first, or they would write new files.
    async fn remove_job_data(
        &self,
        request: Request<RemoveJobDataParams>,
    ) -> Result<Response<RemoveJobDataResult>, Status> {
        let RemoveJobDataParams { job_id, remove_stage_ids: stages } = request.into_inner();
        checked(&job_id).map_err(|error| Status::invalid_argument(error.message))?;
        let (tasks, work_dir, job) = (Arc::clone(&self.tasks), Arc::clone(&self.work_dir), JobId::new(job_id));
        self.removals.spawn(async move {
            if stages.is_empty() {
                tasks.end_job(&job).await;
            }
            let removed = tokio::task::spawn_blocking(move || work_dir.remove_job(&job, &stages)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "shuffle files could not be removed");
            }
        });
        Ok(Response::new(RemoveJobDataResult {}))
    }
}
