//! Ends jobs that nobody waits for and has executors remove the files of jobs that have ended.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::serde::protobuf::RemoveJobDataParams;
use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::scheduler::Ballista;
use crate::scheduler::jobs::{Job, Jobs, Phase};
use crate::scheduler::launcher::Executors;
use crate::scheduler::members::Members;
use crate::scheduler::recovery::offer;

/// How long Ballista may take to plan a job that has been cancelled, or to cancel one.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(60);

/// Where jobs are left when nobody needs them any more.
#[derive(Debug, Clone)]
pub(crate) struct Sweeper {
    queue: mpsc::UnboundedSender<JobId>,
}

struct Broom {
    ballista: Arc<Ballista>,
    members: Arc<Members>,
    jobs: Arc<Jobs>,
    executors: Arc<Executors>,
}

impl Sweeper {
    /// The sweeper and its work, which goes on as long as it is polled.
    pub(crate) fn new(
        ballista: Arc<Ballista>,
        members: Arc<Members>,
        jobs: Arc<Jobs>,
        executors: Arc<Executors>,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (queue, jobs_to_sweep) = mpsc::unbounded_channel();
        let broom = Arc::new(Broom { ballista, members, jobs, executors });
        (Self { queue }, sweep_all(broom, jobs_to_sweep))
    }

    /// Ends the job if it has not ended, and removes what it left.
    pub(crate) fn sweep(&self, job: JobId) {
        if self.queue.send(job).is_err() {
            tracing::debug!("the scheduler has stopped: a job is not swept");
        }
    }
}

async fn sweep_all(broom: Arc<Broom>, mut queue: mpsc::UnboundedReceiver<JobId>) {
    let mut sweeps = JoinSet::new();
    while let Some(job) = queue.recv().await {
        while sweeps.try_join_next().is_some() {}
        let broom = Arc::clone(&broom);
        sweeps.spawn(async move { broom.sweep(job).await });
    }
}

impl Broom {
    async fn sweep(&self, id: JobId) {
        let Some(job) = self.jobs.known(&id) else { return };
        if !job.is_closed() && timeout(CANCEL_TIMEOUT, self.cancel(&id, &job)).await.is_err() {
            tracing::warn!(job = %id, "a job could not be cancelled");
        }
        let manager = &self.ballista.state.executor_manager;
        for executor in job.executors() {
            // One that is no longer a member has removed everything itself.
            let Ok(metadata) = manager.get_executor_metadata(&executor).await else { continue };
            let address = format!("{}:{}", metadata.host, metadata.grpc_port);
            let request = RemoveJobDataParams { job_id: id.to_string(), remove_stage_ids: vec![] };
            let call = |mut client: ExecutorGrpcClient<Channel>| {
                let request = request.clone();
                async move { client.remove_job_data(request).await }
            };
            if let Err(error) = self.executors.call(&address, call).await {
                tracing::warn!(job = %id, executor = %executor, %error, "files of a job are left until the executor restarts");
            }
        }
        self.jobs.remove(&id);
        if self.members.release_unlaunched(&id).await
            && let Some(executor) = self.members.any_living()
            && let Err(status) = offer(&self.ballista, &executor).await
        {
            tracing::warn!(%status, "free virtual cores were not offered");
        }
    }

    /// Ballista forgets a cancellation that comes while it plans, so planning is waited for.
    async fn cancel(&self, id: &JobId, job: &Job) {
        // The job outlives this wait.
        let _ = job.phases().wait_for(|phase| !matches!(phase, Phase::Planning)).await;
        if job.is_closed() {
            return;
        }
        if let Err(error) = self.ballista.cancel_job(id.clone()).await {
            tracing::warn!(job = %id, %error, "a job could not be cancelled");
        }
        job.closed().await;
    }
}
