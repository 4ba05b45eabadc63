//! The cluster port: what executors ask of the coordinator.
//!
//! Ballista's own service would also take plans from anybody who reaches the port; ours takes executors only.

use std::collections::BTreeMap;
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult, CreateUpdateSessionParams,
    CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult, ExecutorRegistration, ExecutorStatus,
    ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams, GetJobMetricsResult, GetJobStatusParams,
    GetJobStatusResult, HeartBeatParams, HeartBeatResult, PollWorkParams, PollWorkResult, RegisterExecutorParams,
    RegisterExecutorResult, RemoveSessionParams, RemoveSessionResult, TaskStatus, UpdateTaskStatusParams,
    UpdateTaskStatusResult, executor_status, task_status,
};
use ballista_core::serde::scheduler::ExecutorMetadata;
use engine::distributed::wire::Hello;
use engine::{Error, ErrorKind};
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use crate::scheduler::held::TaskName;
use crate::scheduler::jobs::Jobs;
use crate::scheduler::members::{Joining, Members};
use crate::scheduler::pulses::Pulses;
use crate::scheduler::recovery::offer;
use crate::scheduler::{Ballista, SchedulerOptions};

/// The service of the cluster port.
#[derive(Clone)]
pub(crate) struct ClusterService {
    ballista: Arc<Ballista>,
    members: Arc<Members>,
    jobs: Arc<Jobs>,
    pulses: Arc<Pulses>,
    version: Arc<str>,
}

type Reply<T> = Result<Response<T>, Status>;

impl ClusterService {
    pub(crate) fn new(
        ballista: Arc<Ballista>,
        members: Arc<Members>,
        jobs: Arc<Jobs>,
        pulses: Arc<Pulses>,
        options: &SchedulerOptions,
    ) -> Self {
        Self { ballista, members, jobs, pulses, version: options.version.as_str().into() }
    }

    fn check_version(&self, hello: &Hello) -> Result<(), Status> {
        if *hello.version == *self.version {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "the executor {} has version {} and the coordinator {}: install the same version on both",
            hello.name, hello.version, self.version
        )))
    }
}

fn status(error: &Error) -> Status {
    let message = error.message.clone();
    match error.kind {
        ErrorKind::AlreadyExists => Status::already_exists(message),
        ErrorKind::Invalid => Status::invalid_argument(message),
        _ => Status::internal(message),
    }
}

/// The executor that is to blame for the failure of a task of `executor`, if one is: it cannot keep results, or cannot be
/// read from.
fn unwell<'r>(report: &'r TaskStatus, executor: &'r str) -> Option<&'r str> {
    let Some(task_status::Status::Failed(failure)) = &report.status else { return None };
    match &failure.failed_reason {
        Some(FailedReason::ResultLost(_)) => Some(executor),
        Some(FailedReason::FetchPartitionError(lost)) => Some(&lost.executor_id),
        _ => None,
    }
}

fn refused<T>() -> Reply<T> {
    Err(Status::unimplemented("the cluster port is for executors: send SQL to the Flight port"))
}

/// What a registration says, completed by where it comes from.
fn metadata_of(
    registration: Option<ExecutorRegistration>,
    peer: Option<std::net::SocketAddr>,
) -> Result<ExecutorMetadata, Status> {
    let missing = |what: &str| Status::invalid_argument(format!("the registration lacks its {what}"));
    let registration = registration.ok_or_else(|| missing("contents"))?;
    let host = registration.host.or_else(|| peer.map(|peer| peer.ip().to_string())).ok_or_else(|| missing("host"))?;
    let port = |port: u32| u16::try_from(port).map_err(|_| missing("port"));
    Ok(ExecutorMetadata {
        id: registration.id,
        host,
        port: port(registration.port)?,
        grpc_port: port(registration.grpc_port)?,
        specification: registration.specification.ok_or_else(|| missing("specification"))?.into(),
        os_info: registration.os_info.unwrap_or_default().into(),
    })
}

#[tonic::async_trait]
impl SchedulerGrpc for ClusterService {
    type ExecuteQueryPushStream = BoxStream<'static, Result<GetJobStatusResult, Status>>;

    async fn register_executor(&self, request: Request<RegisterExecutorParams>) -> Reply<RegisterExecutorResult> {
        let hello = Hello::read(request.metadata()).map_err(|error| status(&error))?;
        self.check_version(&hello)?;
        let peer = request.remote_addr();
        let metadata = metadata_of(request.into_inner().metadata, peer)?;
        let (id, address) = (metadata.id.clone(), format!("{}:{}", metadata.host, metadata.grpc_port));
        let is_new = self.members.join(Joining { hello, metadata }).await.map_err(|error| status(&error))?;
        if is_new {
            self.pulses.listen(id.clone(), address);
        }
        offer(&self.ballista, &id).await?;
        Ok(Response::new(RegisterExecutorResult { success: true }))
    }

    async fn heart_beat_from_executor(&self, request: Request<HeartBeatParams>) -> Reply<HeartBeatResult> {
        let HeartBeatParams { executor_id, status, .. } = request.into_inner();
        let is_draining =
            matches!(status, Some(ExecutorStatus { status: Some(executor_status::Status::Terminating(_)) }));
        let is_member = self.members.heartbeat(&executor_id, is_draining);
        Ok(Response::new(HeartBeatResult { reregister: !is_member }))
    }

    async fn update_task_status(&self, request: Request<UpdateTaskStatusParams>) -> Reply<UpdateTaskStatusResult> {
        let UpdateTaskStatusParams { executor_id, task_status } = request.into_inner();
        if !self.members.is_member(&executor_id) {
            return Err(Status::not_found(format!("{executor_id} is no member: join again")));
        }
        for report in &task_status {
            let name = TaskName {
                job: JobId::new(report.job_id.clone()),
                stage: report.stage_id,
                stage_attempt: report.stage_attempt_num,
                task: report.task_id,
            };
            self.members.release(&name).await;
        }
        let mut jobs: BTreeMap<String, Vec<TaskStatus>> = BTreeMap::new();
        for report in self.jobs.news(task_status) {
            if let Some(unwell) = unwell(&report, &executor_id) {
                self.members.rest(unwell);
            }
            jobs.entry(report.job_id.clone()).or_default().push(report);
        }
        if jobs.is_empty() {
            offer(&self.ballista, &executor_id).await?;
        }
        // Of reports that come together Ballista forgets those of all jobs when it stumbles over one.
        for (job, task_status) in jobs {
            let news = UpdateTaskStatusParams { executor_id: executor_id.clone(), task_status };
            let taken = SchedulerGrpc::update_task_status(self.ballista.as_ref(), Request::new(news)).await;
            if let Err(status) = taken {
                self.jobs.job(&JobId::new(job)).give_up(format!("a report was not taken: {}", status.message()));
            }
        }
        Ok(Response::new(UpdateTaskStatusResult { success: true }))
    }

    async fn executor_stopped(&self, request: Request<ExecutorStoppedParams>) -> Reply<ExecutorStoppedResult> {
        self.members.leave(&request.get_ref().executor_id);
        Ok(Response::new(ExecutorStoppedResult {}))
    }

    async fn poll_work(&self, _: Request<PollWorkParams>) -> Reply<PollWorkResult> {
        refused()
    }

    async fn create_update_session(&self, _: Request<CreateUpdateSessionParams>) -> Reply<CreateUpdateSessionResult> {
        refused()
    }

    async fn remove_session(&self, _: Request<RemoveSessionParams>) -> Reply<RemoveSessionResult> {
        refused()
    }

    async fn execute_query_push(&self, _: Request<ExecuteQueryParams>) -> Reply<Self::ExecuteQueryPushStream> {
        refused()
    }

    async fn execute_query(&self, _: Request<ExecuteQueryParams>) -> Reply<ExecuteQueryResult> {
        refused()
    }

    async fn get_job_status(&self, _: Request<GetJobStatusParams>) -> Reply<GetJobStatusResult> {
        refused()
    }

    async fn get_job_metrics(&self, _: Request<GetJobMetricsParams>) -> Reply<GetJobMetricsResult> {
        refused()
    }

    async fn cancel_job(&self, _: Request<CancelJobParams>) -> Reply<CancelJobResult> {
        refused()
    }

    async fn clean_job_data(&self, _: Request<CleanJobDataParams>) -> Reply<CleanJobDataResult> {
        refused()
    }
}
