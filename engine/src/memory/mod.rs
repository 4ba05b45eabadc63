//! The memory pools of a process: one for all, in it one for each statement; and the settings that follow from their
//! size.
//!
//! Knows operators by the names under which they reserve; must not know statements or users.

mod level;
mod query;

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::prelude::SessionConfig;

use level::Level;
use query::Queries;
pub use query::query_runtime;

/// All parts of a sort together set this part of the pool aside for merging before they read any row: little, because a
/// hundred users may sort a few rows each.
const MERGE_RESERVE_DIVISOR: usize = 512;
pub(super) const MERGE_RESERVE_BYTES_MIN: usize = 256 << 10;

/// The pool of a process that may hold `bytes_max`.
pub(crate) fn memory_pool(bytes_max: usize) -> Arc<dyn MemoryPool> {
    Arc::new(ProcessPool(Arc::new(Process { level: Level::new(bytes_max), queries: Queries::default() })))
}

/// Settings of `config` that take memory before there is work for it, made to fit the pool that `partitions` parts
/// share. What is already lower stays.
pub fn fit_to_memory(config: &mut SessionConfig, pool: &dyn MemoryPool, partitions: usize) {
    let MemoryLimit::Finite(bytes_max) = pool.memory_limit() else { return };
    let reserve = (bytes_max / MERGE_RESERVE_DIVISOR / partitions.max(1)).max(MERGE_RESERVE_BYTES_MIN);
    if config.options().execution.sort_spill_reservation_bytes > reserve {
        config.options_mut().execution.sort_spill_reservation_bytes = reserve;
    }
}

/// The pool of a process.
#[derive(Debug)]
struct ProcessPool(Arc<Process>);

#[derive(Debug)]
struct Process {
    level: Level,
    queries: Queries,
}

impl Display for ProcessPool {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0.level, f)
    }
}

/// For what belongs to no statement.
impl MemoryPool for ProcessPool {
    fn name(&self) -> &str {
        "process"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.0.level.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.0.level.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.0.level.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.0.level.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.0.level.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.0.level.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.0.level.bytes_max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sorts_set_aside_follows_the_pool_and_never_rises() {
        let reserve = |config: &SessionConfig| config.options().execution.sort_spill_reservation_bytes;
        let mut config = SessionConfig::new();
        fit_to_memory(&mut config, memory_pool(4 << 30).as_ref(), 4);
        assert_eq!(reserve(&config), 2 << 20);
        fit_to_memory(&mut config, memory_pool(64 << 20).as_ref(), 4);
        assert_eq!(reserve(&config), MERGE_RESERVE_BYTES_MIN);
        fit_to_memory(&mut config, memory_pool(64 << 30).as_ref(), 1);
        assert_eq!(reserve(&config), MERGE_RESERVE_BYTES_MIN);
    }
}
