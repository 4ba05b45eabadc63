//! The heartbeats and pulses of all executors, as often as real ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::serde::protobuf::HeartBeatParams;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use engine::distributed::pulse::{PULSE_INTERVAL, Pulse};
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Request;

use super::fleet::Fleet;
use crate::scheduler::pulses::Pulses;
use crate::scheduler::service::ClusterService;

/// Pulses to a heartbeat: executors pulse twice a second, and their heart beats every other second.
const HEARTBEAT_ROUNDS: usize = 4;

/// Rounds, and what the slowest took.
pub(super) type Rounds = Arc<Mutex<(usize, Duration)>>;

/// Beats as long as it is polled.
pub(super) async fn beat(fleet: Arc<Fleet>, service: ClusterService, pulses: Arc<Pulses>, rounds: Rounds) {
    let mut ticks = interval(PULSE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_usize.. {
        ticks.tick().await;
        let begun = Instant::now();
        for (place, executor) in fleet.executors.iter().enumerate() {
            if round.is_multiple_of(HEARTBEAT_ROUNDS) {
                let heartbeat = HeartBeatParams { executor_id: executor.id.clone(), ..HeartBeatParams::default() };
                if let Err(status) = service.heart_beat_from_executor(Request::new(heartbeat)).await {
                    tracing::warn!(executor = %executor.id, %status, "a heartbeat was not taken");
                }
            }
            pulses.take(&executor.id, &Pulse { tasks: fleet.pulses(place), memory_percent: 50 });
            // As other connections would have their turn.
            tokio::task::yield_now().await;
        }
        let (count, slowest) = &mut *rounds.lock();
        (*count, *slowest) = (*count + 1, (*slowest).max(begun.elapsed()));
    }
}
