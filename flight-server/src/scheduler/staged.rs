//! The staged way to run a statement.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use engine::distributed::eligibility::can_distribute;
use engine::distributed::profile::{staged_config, staged_state};
use engine::{
    Availability, Execution, LocalExecution, Mode, ModeSetting, Result, Running, StartRequest, cannot_run,
    grappe_options,
};

use crate::scheduler::explain::stages_before;
use crate::scheduler::jobs::Jobs;
use crate::scheduler::members::Members;
use crate::scheduler::query::{NotStarted, Query, StagedRunning};
use crate::scheduler::result::ResultReader;
use crate::scheduler::sweeper::Sweeper;
use crate::scheduler::{Ballista, SchedulerOptions};

/// What every staged query needs.
pub(crate) struct Cluster {
    pub(crate) options: SchedulerOptions,
    pub(crate) ballista: Arc<Ballista>,
    pub(crate) members: Arc<Members>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) sweeper: Sweeper,
    pub(crate) reader: Arc<ResultReader>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("members", &self.members).finish_non_exhaustive()
    }
}

impl Cluster {
    pub(crate) fn new(
        options: SchedulerOptions,
        ballista: Arc<Ballista>,
        members: Arc<Members>,
        jobs: Arc<Jobs>,
        sweeper: Sweeper,
    ) -> Arc<Self> {
        let reader = ResultReader::new(&staged_config(Default::default(), &options.transport));
        Arc::new(Self { options, ballista, members, jobs, sweeper, reader })
    }

    /// The session's state as Ballista needs it, for the cluster as it is now.
    pub(crate) fn state(&self, state: &SessionState) -> SessionState {
        let SchedulerOptions { parts_per_vcore, stage_parts_max, transport, .. } = &self.options;
        let parts = self.members.vcores().saturating_mul(*parts_per_vcore);
        staged_state(state, parts.clamp(1, (*stage_parts_max).max(1)), transport)
    }
}

/// Runs statements on the executors of a cluster.
#[derive(Debug)]
pub(crate) struct StagedExecution {
    cluster: Arc<Cluster>,
    /// For what stages cannot run.
    local: LocalExecution,
}

impl StagedExecution {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, local: LocalExecution::default() }
    }
}

fn is_free_to_choose(request: &StartRequest) -> bool {
    grappe_options(request.state.config()).execution_mode == ModeSetting::Auto
}

#[async_trait]
impl Execution for StagedExecution {
    fn mode(&self) -> Mode {
        Mode::Staged
    }

    fn availability(&self) -> Availability {
        match self.cluster.members.vcores() {
            0 => Availability::Unavailable(
                "no executor is connected: start one with 'grappe executor --coordinator HOST:CLUSTER_PORT'".to_owned(),
            ),
            vcores => Availability::Ready { vcores },
        }
    }

    fn refusal(&self, plan: &LogicalPlan) -> Option<String> {
        can_distribute(plan).err()
    }

    async fn start(&self, request: StartRequest) -> Result<Arc<dyn Running>> {
        match Query::start(Arc::clone(&self.cluster), request.clone()).await {
            Ok(query) => Ok(Arc::new(StagedRunning::new(query))),
            Err(NotStarted::Error(error)) => Err(error),
            Err(NotStarted::Unsuitable(reason)) if is_free_to_choose(&request) => {
                tracing::info!(query = %request.query_id, %reason, "the query runs in the coordinator");
                self.local.start(request).await
            }
            Err(NotStarted::Unsuitable(reason)) => Err(cannot_run(Mode::Staged, &reason)),
        }
    }

    async fn explain(&self, request: StartRequest) -> Result<Vec<(String, String)>> {
        let stages = stages_before(&self.cluster.state(&request.state), &request.plan).await?;
        Ok(vec![("distributed_plan".to_owned(), stages)])
    }
}
