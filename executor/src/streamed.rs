//! Stages of streamed queries: their rows are made while another executor, or the coordinator, reads them.
//!
//! datafusion-distributed's worker does the work; here it gets this executor's session, memory and threads. The coordinator
//! keeps one call open for each task, for as long as it wants its rows. The library drops a task some time after that
//! call has ended, and until then it would go on: so its plan is cancelled when the call ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_distributed::{Worker, WorkerQueryContext};
use engine::distributed::streamed::{WorkerChannels, WorkerSeed};
use engine::distributed::wire::write_error;
use engine::storage::{Listed, pinned};
use engine::{Error, StateSeed, Work, runnable, stand_in};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use crate::cancel::{TaskControl, all_cancellable};
use crate::options::Options;

/// The call that is open as long as a task is wanted.
const CALL: &str = "/CoordinatorChannel";
/// The header that names such a call within this process.
const CALL_HEADER: &str = "grappe-call";

/// The streamed tasks of an executor.
pub(crate) struct Streams {
    worker: Worker,
    threads: Handle,
    calls: Arc<Calls>,
}

impl Streams {
    /// Tasks that `threads` compute.
    pub(crate) fn new(seed: StateSeed, options: &Options, threads: Handle) -> Self {
        let channels = WorkerChannels::new(options.transport.clone());
        let process = Arc::clone(&seed.runtime);
        let seed = WorkerSeed { seed, vcores: options.vcores, channels };
        let calls = Arc::new(Calls::default());
        let (runtime, open) = (Arc::clone(&process), Arc::clone(&calls));
        let session = move |told: WorkerQueryContext| {
            let (runtime, control) = (Arc::clone(&runtime), open.control(&told.headers));
            let state = seed.state(told, move |plan| prepared(plan, &runtime, &control));
            async move { Ok(state?) }
        };
        Self { worker: Worker::from_session_builder(session).with_runtime_env(process), threads, calls }
    }

    /// Their service of the cluster port.
    pub(crate) fn service(&self) -> OnThreads<impl WorkerService> {
        let service = self.worker.clone().into_worker_server();
        OnThreads { service, threads: self.threads.clone(), calls: Arc::clone(&self.calls) }
    }

    /// Returns when nobody wants any.
    pub(crate) async fn wait_until_read(&self) {
        // Others may come nevertheless.
        self.calls.tracker.close();
        self.calls.tracker.wait().await;
    }

    /// Whether nobody wants any.
    pub(crate) fn are_read(&self) -> bool {
        self.calls.tracker.is_empty()
    }
}

/// A service of a gRPC server.
pub(crate) trait WorkerService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> WorkerService for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The calls that are open, and what holds on to their tasks.
#[derive(Debug, Default)]
struct Calls {
    open: Mutex<HashMap<HeaderValue, TaskControl>>,
    tracker: TaskTracker,
}

impl Calls {
    /// Names a call in its headers; it is open until the guard is dropped.
    fn begin(self: &Arc<Self>, headers: &mut HeaderMap) -> Option<OpenCall> {
        let name = HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string()).ok()?;
        headers.insert(CALL_HEADER, name.clone());
        let control = TaskControl::default();
        self.open.lock().insert(name.clone(), control.clone());
        Some(OpenCall { name, control, _open: self.tracker.token(), calls: Arc::clone(self) })
    }

    /// The hold on the task of the call with these headers: on one that is over, if it is over.
    fn control(&self, headers: &HeaderMap) -> TaskControl {
        let open = headers.get(CALL_HEADER).and_then(|name| self.open.lock().get(name).cloned());
        open.unwrap_or_else(|| {
            let control = TaskControl::default();
            control.token.cancel();
            control
        })
    }
}

/// Cancels the task of its call when it is dropped.
struct OpenCall {
    name: HeaderValue,
    control: TaskControl,
    calls: Arc<Calls>,
    _open: TaskTrackerToken,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.control.token.cancel();
        self.calls.open.lock().remove(&self.name);
    }
}

/// `plan` as it runs here: its files as they were listed, within its memory, and cancellable.
fn prepared(
    plan: Arc<dyn ExecutionPlan>,
    process: &Arc<RuntimeEnv>,
    control: &TaskControl,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let (plan, pinned) = pinned(plan, process, Listed::Elsewhere)?;
    let plan = all_cancellable(runnable(plan)?, control)?;
    Ok(stand_in(plan, Streamed { pinned }))
}

/// The root of a task's plan.
#[derive(Debug, Clone)]
struct Streamed {
    /// Its object stores have the files as they were listed.
    pinned: Arc<RuntimeEnv>,
}

impl Work for Streamed {
    fn execute(
        &self,
        node: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let mut runtime = context.runtime_env().as_ref().clone();
        runtime.object_store_registry = Arc::clone(&self.pinned.object_store_registry);
        let context = TaskContext::new(
            context.task_id(),
            context.session_id(),
            context.session_config().clone(),
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            Arc::new(runtime),
        );
        let rows = node.execute(partition, Arc::new(context)).map_err(sent)?.map_err(sent);
        Ok(Box::pin(RecordBatchStreamAdapter::new(node.schema(), rows)))
    }
}

/// An error of ours in the words that the coordinator finds again; the way there keeps no others of us.
fn sent(error: DataFusionError) -> DataFusionError {
    let is_own = matches!(error.find_root(), DataFusionError::External(cause) if cause.is::<Error>());
    if is_own { DataFusionError::Execution(write_error(&Error::from(error))) } else { error }
}

/// A service whose work is done on other threads than those that serve it.
#[derive(Debug, Clone)]
pub(crate) struct OnThreads<S> {
    service: S,
    threads: Handle,
    calls: Arc<Calls>,
}

impl<S: NamedService> NamedService for OnThreads<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: WorkerService> Service<Request<Body>> for OnThreads<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let is_call = request.uri().path().ends_with(CALL);
        let call = if is_call { self.calls.begin(request.headers_mut()) } else { None };
        let work = AbortOnDropHandle::new(self.threads.spawn(self.service.call(request)));
        Box::pin(async move {
            match work.await {
                // The call is open until its answer has been read or given up.
                Ok(response) => response.map(|answer| {
                    answer.map(|body| {
                        Body::new(body.map_frame(move |frame| {
                            let _ = &call;
                            frame
                        }))
                    })
                }),
                Err(_) => Ok(tonic::Status::internal("the executor failed at a task").into_http()),
            }
        })
    }
}
