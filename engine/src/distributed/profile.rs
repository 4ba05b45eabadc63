//! The session settings under which Ballista plans and runs stages.

use ballista_core::config::{
    BALLISTA_BROADCAST_JOIN_THRESHOLD_BYTES, BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE,
    BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS, BALLISTA_HASH_JOIN_MAX_BUILD_PARTITION_BYTES,
    BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK,
};
use ballista_core::extension::{SessionConfigExt, SessionConfigHelperExt};
use ballista_core::optimizer::with_ballista_optimizer_rules;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use super::transport::{MESSAGE_BYTES_MAX, Transport};

/// How long a shuffle read waits before it tries again.
const SHUFFLE_RETRY_WAIT_MS: u64 = 200;

/// `state` as Ballista's planners need it: the same catalog, functions and settings, but
/// `partitions` parts, no plan shapes that reach across stages, and Ballista's rewrite of `NOT IN`.
pub fn staged_state(state: &SessionState, partitions: usize, transport: &Transport) -> SessionState {
    let config = staged_config(state.config().clone(), transport).with_target_partitions(partitions.max(1));
    let rules = with_ballista_optimizer_rules(state.optimizers());
    SessionStateBuilder::new_from_existing(state.clone()).with_config(config).with_optimizer_rules(rules).build()
}

/// `state`, a staged one, in which no join keeps a side in memory: Ballista chooses by the sizes that it finds, and none is
/// small enough.
pub fn without_hash_joins(state: &SessionState) -> SessionState {
    let config = state
        .config()
        .clone()
        .set_u64(BALLISTA_BROADCAST_JOIN_THRESHOLD_BYTES, 0)
        .set_u64(BALLISTA_HASH_JOIN_MAX_BUILD_PARTITION_BYTES, 1);
    SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build()
}

/// `config` with what coordinator and executors must agree on, and with what is wrong on executors turned off: dynamic
/// filters and scalar subqueries reach from one stage into another, round robin moves rows for nothing.
pub fn staged_config(config: SessionConfig, transport: &Transport) -> SessionConfig {
    config
        .upgrade_for_ballista()
        .ballista_restricted_configuration()
        .with_ballista_use_tls(transport.is_tls())
        .with_ballista_override_create_grpc_client_endpoint(transport.endpoint_override())
        .set_usize(BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE, MESSAGE_BYTES_MAX)
        .set_u64(BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS, SHUFFLE_RETRY_WAIT_MS)
        // One part a task: tasks spread over all executors, and a slow part holds up itself alone.
        .set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1)
}
