//! Streamed mode: stages that run at the same time on several executors and hand each other rows as they come.
//!
//! datafusion-distributed cuts a plan into stages and moves rows between its workers. What both sides of it must agree on
//! is here: how a session travels, how its nodes are encoded, and how one process reaches another.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use datafusion::arrow::ipc::CompressionType;
use datafusion::catalog::EmptyCatalogProviderList;
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, DistributedConfig, DistributedExt, DistributedLeafExec, NetworkBoundaryExt, ScaleUpLeafNodeEvent,
    ScaleUpLeafNodeEventResponse, SessionStateBuilderExt, WorkerChannel, WorkerPlanRewriteEvent,
    WorkerPlanRewriteEventResponse, WorkerQueryContext, WorkerResolver,
};
use http::{HeaderMap, HeaderValue};
use tonic::transport::Channel;
use url::Url;

use super::codec::NodeCodec;
use super::transport::Transport;
use crate::config::grappe_options;
use crate::execution::{physical_with, with_whole_sides};
use crate::functions::range::SeriesSource;
use crate::memory::{fit_to_memory, query_runtime};
use crate::{Error, Result, StartRequest, StateSeed, session_state};

/// The header with the id of a statement.
const QUERY_HEADER: &str = "grappe-query-id";
/// The header with the settings of a session that are not as they are by themselves, as JSON.
const SETTINGS_HEADER: &str = "grappe-settings";
/// Bytes that a part of a scan should have, from which on it is worth another task.
const PART_BYTES: usize = 1 << 20;

/// Parts of a task: of a plan in one part nothing is exchanged, and there is no place to cut it.
const PARTS_MIN: usize = 2;

/// Connections that are kept. Executors come and go under ever new addresses.
const CHANNELS_MAX: usize = 1024;

/// Connections to the workers, made when first needed and kept.
#[derive(Debug, Default)]
pub struct WorkerChannels {
    transport: Transport,
    channels: DashMap<String, Channel>,
}

impl WorkerChannels {
    /// None so far.
    pub fn new(transport: Transport) -> Arc<Self> {
        Arc::new(Self { transport, channels: DashMap::new() })
    }
}

/// The same for the library, which wants to own what it is given.
struct Channels(Arc<WorkerChannels>);

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> PlanResult<Box<dyn WorkerChannel>> {
        let address = url.authority().to_owned();
        let channel = match self.0.channels.get(&address) {
            Some(channel) => channel.clone(),
            None => {
                if self.0.channels.len() >= CHANNELS_MAX {
                    // Calls in progress keep theirs.
                    self.0.channels.clear();
                }
                // It connects when it is used, and again when it was lost.
                let channel = self.0.transport.endpoint(&address)?.connect_lazy();
                self.0.channels.entry(address).or_insert(channel).clone()
            }
        };
        Ok(create_worker_client(BoxCloneSyncChannel::new(channel)))
    }
}

/// Where the workers are.
struct Addresses(Vec<Url>);

impl WorkerResolver for Addresses {
    fn get_urls(&self) -> PlanResult<Vec<Url>> {
        Ok(self.0.clone())
    }
}

/// The executors that take a query, by the addresses of their cluster ports, and how to reach them.
#[derive(Debug, Clone)]
pub struct Workers {
    /// `HOST:PORT` of each.
    pub addresses: Vec<String>,
    /// Parts of a query that one of them runs at the same time.
    pub parts_each: usize,
    /// Connections to them.
    pub channels: Arc<WorkerChannels>,
}

impl Workers {
    /// `state`, which plans for them.
    fn state(&self, query_id: &str, state: &SessionState) -> Result<SessionState> {
        let urls = self.addresses.iter().map(|address| Url::parse(&format!("http://{address}")));
        let urls = urls.collect::<std::result::Result<Vec<_>, _>>();
        let urls = urls.map_err(|error| Error::internal(format!("the address of an executor: {error}")))?;
        let config = state
            .config()
            .clone()
            .with_target_partitions(self.parts_each.max(PARTS_MIN))
            .with_distributed_worker_resolver(Addresses(urls))
            .with_distributed_channel_resolver(Channels(Arc::clone(&self.channels)))
            .with_distributed_user_codec(NodeCodec::default())
            .with_distributed_passthrough_headers(headers(query_id, state.config())?)?
            .with_distributed_file_scan_config_bytes_per_partition(PART_BYTES)?
            .with_distributed_scale_up_leaf_node_handler(whole_files)
            .with_distributed_compression(Some(CompressionType::LZ4_FRAME))?;
        let builder = SessionStateBuilder::new_from_existing(state.clone()).with_config(config);
        Ok(builder.with_distributed_planner().build())
    }

    /// The plan of a statement on these executors, and the state that runs it.
    ///
    /// # Errors
    /// Those of planning.
    pub async fn plan(&self, request: &StartRequest) -> Result<(Arc<dyn ExecutionPlan>, Arc<SessionState>)> {
        let state = Arc::new(self.state(&request.query_id, &request.state)?);
        let parts = self.addresses.len() * state.config().target_partitions();
        let plan =
            physical_with(&state, &request.plan, move |state, plan| with_whole_sides(state, plan, parts)).await?;
        Ok((plan, state))
    }
}

/// A scan of files that cannot be cut, over the tasks of its stage; nothing for others, which the library cuts itself.
fn whole_files(event: ScaleUpLeafNodeEvent<'_>) -> Option<PlanResult<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    let source = scan.file_source();
    if source.supports_repartitioning() || source.is::<SeriesSource>() {
        return None;
    }
    let parts = scan.file_groups.len().max(1);
    let mut tasks = vec![vec![FileGroup::default(); parts]; event.task_count];
    if scan.output_ordering.is_empty() {
        let files = scan.file_groups.iter().flat_map(|group| group.files());
        for (number, file) in files.enumerate() {
            tasks[number % event.task_count][number / event.task_count % parts].push(file.clone());
        }
    } else {
        tasks[0].clone_from(&scan.file_groups);
    }
    let scans = tasks.into_iter().map(|file_groups| {
        let scan = FileScanConfigBuilder::from(scan.clone()).with_file_groups(file_groups).build();
        DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>
    });
    let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), scans);
    Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
}

/// Tasks that workers run for `plan`.
pub fn tasks_of(plan: &dyn ExecutionPlan) -> u64 {
    let own = plan.as_network_boundary().map_or(0, |boundary| boundary.input_stage().task_count() as u64);
    own + plan.children().into_iter().map(|child| tasks_of(child.as_ref())).sum::<u64>()
}

fn headers(query_id: &str, config: &SessionConfig) -> Result<HeaderMap> {
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|error| Error::invalid(format!("a setting cannot be sent: {error}")))
    };
    let settings = serde_json::to_string(&changed(config.options()))
        .map_err(|error| Error::internal(format!("the settings cannot be written: {error}")))?;
    let mut headers = HeaderMap::new();
    headers.insert(QUERY_HEADER, value(query_id)?);
    headers.insert(SETTINGS_HEADER, value(&ascii(&settings))?);
    Ok(headers)
}

/// JSON in which every letter beyond ASCII is escaped.
fn ascii(json: &str) -> String {
    let mut units = [0; 2];
    let mut escaped = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            escaped.push(letter);
        } else {
            escaped.extend(letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    escaped
}

/// Settings that differ from those of a new session. How stages run is each worker's own affair.
fn changed(options: &ConfigOptions) -> Vec<(String, String)> {
    let usual = crate::session_config(1).options().entries();
    let is_usual =
        |key: &str, value: &str| usual.iter().any(|entry| entry.key == key && entry.value.as_deref() == Some(value));
    let told = options.entries().into_iter().filter_map(|entry| Some((entry.key, entry.value?)));
    told.filter(|(key, value)| !key.starts_with("distributed.") && !is_usual(key, value)).collect()
}

/// What a worker needs to run its part of any statement.
#[derive(Debug, Clone)]
pub struct WorkerSeed {
    /// Settings, memory and object stores of the process.
    pub seed: StateSeed,
    /// Parts that run at the same time.
    pub vcores: usize,
    /// Connections to other workers.
    pub channels: Arc<WorkerChannels>,
}

impl WorkerSeed {
    /// The state for one task; its plan goes through `rewrite` when it has arrived.
    ///
    /// # Errors
    /// For settings that cannot be read, and those of making the statement's part of the memory.
    pub fn state(
        &self,
        mut told: WorkerQueryContext,
        rewrite: impl Fn(Arc<dyn ExecutionPlan>) -> PlanResult<Arc<dyn ExecutionPlan>> + Send + Sync + 'static,
    ) -> Result<SessionState> {
        let mut config = told.builder.config().take().unwrap_or_default();
        let distributed = config.options().extensions.get::<DistributedConfig>().cloned().unwrap_or_default();
        *config.options_mut() = self.seed.config.options().as_ref().clone();
        config.options_mut().extensions.insert(distributed);
        let settings = told.headers.get(SETTINGS_HEADER).map_or(&b"[]"[..], HeaderValue::as_bytes);
        let settings: Vec<(String, String)> = serde_json::from_slice(settings)
            .map_err(|error| Error::internal(format!("the settings of a task cannot be read: {error}")))?;
        for (key, value) in settings {
            config.options_mut().set(&key, &value)?;
        }
        let query_id = told.headers.get(QUERY_HEADER).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let limits = grappe_options(&config).limits;
        let runtime = query_runtime(&self.seed.runtime, query_id, &limits)?;
        fit_to_memory(&mut config, runtime.memory_pool.as_ref(), self.vcores);
        let config = config
            .with_distributed_user_codec(NodeCodec::default())
            .with_distributed_channel_resolver(Channels(Arc::clone(&self.channels)))
            .with_distributed_worker_plan_rewrite_handler(move |event: WorkerPlanRewriteEvent<'_>| {
                Ok(WorkerPlanRewriteEventResponse::new(rewrite(event.plan)?))
            });
        Ok(session_state(&StateSeed { config, runtime }, Arc::new(EmptyCatalogProviderList)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_session_travel_and_no_others() {
        let mut config = crate::session_config(4);
        assert!(changed(config.options()).iter().all(|(key, _)| key == "datafusion.execution.target_partitions"));
        config.options_mut().set("datafusion.execution.time_zone", "Europe/Zürich").unwrap();
        config.options_mut().set("grappe.query_memory_bytes_max", "1000000").unwrap();
        let told = headers("q1", &config).unwrap();
        let worker = WorkerSeed {
            seed: StateSeed { config: crate::session_config(2), runtime: Arc::default() },
            vcores: 2,
            channels: WorkerChannels::new(Transport::default()),
        };
        let context = WorkerQueryContext { headers: told, ..WorkerQueryContext::default() };
        let state = worker.state(context, Ok).unwrap();
        let options = state.config().options();
        assert_eq!(options.execution.time_zone.as_deref(), Some("Europe/Zürich"));
        assert!(
            changed(options).iter().any(|(key, value)| key == "grappe.query_memory_bytes_max" && value == "1000000")
        );
    }

    #[test]
    fn broken_settings_are_refused() {
        let worker = WorkerSeed {
            seed: StateSeed { config: crate::session_config(2), runtime: Arc::default() },
            vcores: 2,
            channels: WorkerChannels::new(Transport::default()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(SETTINGS_HEADER, HeaderValue::from_static("{"));
        let context = WorkerQueryContext { headers, ..WorkerQueryContext::default() };
        let error = worker.state(context, Ok).unwrap_err();
        assert!(error.message.contains("settings of a task"), "{error}");
    }
}
