//! The memory pool of a process, and the settings that follow from its size.
//!
//! Knows operators by the names under which they reserve; must not know statements or users.

use std::fmt::{Display, Formatter};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, TrackConsumersPool,
};
use datafusion::prelude::SessionConfig;

/// Consumers named in an out-of-memory error: enough to see who holds what.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

/// Names under which DataFusion's external sort reserves, without the partition's number: for the rows it holds, and for
/// merging them.
const SORT_ROWS: &str = "ExternalSorter[";
const SORT_MERGE: &str = "ExternalSorterMerge[";

/// All parts of a sort together set this part of the pool aside for merging before they read any row: little, because a
/// hundred users may sort a few rows each.
const MERGE_RESERVE_DIVISOR: usize = 512;
const MERGE_RESERVE_BYTES_MIN: usize = 256 << 10;

/// The pool of a process that may hold `bytes_max`.
pub(crate) fn memory_pool(bytes_max: usize) -> Arc<dyn MemoryPool> {
    let pool = SharedPool { bytes_max, fair: FairSpillPool::new(bytes_max), sorts: AtomicUsize::new(0) };
    Arc::new(TrackConsumersPool::new(pool, CONSUMERS_NAMED))
}

/// Settings of `config` that take memory before there is work for it, made to fit the pool that `partitions` parts
/// share. What is already lower stays.
pub fn fit_to_memory(config: &mut SessionConfig, pool: &dyn MemoryPool, partitions: usize) {
    let MemoryLimit::Finite(bytes_max) = pool.memory_limit() else { return };
    let reserve = (bytes_max / MERGE_RESERVE_DIVISOR / partitions.max(1)).max(MERGE_RESERVE_BYTES_MIN);
    let execution = &mut config.options_mut().execution;
    execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(reserve);
}

/// [`FairSpillPool`], except that a sort leaves room for its own end.
///
/// DataFusion's external sort fills its share with rows and then needs about as much again to merge them into a file; and
/// in its last phase it reserves room for as many files as it can get
/// (`MultiLevelMergeBuilder::get_sorted_spill_files_to_merge`, which says itself that a shared pool needs a limit there).
/// Either way a part of the sort that is still spilling fails for want of a megabyte. So a part may fill half of its share
/// of the pool with rows, and reserve half of it at once for merging: refused, it spills, or merges in several passes. A
/// part that holds nothing yet has nothing to spill: it gets its first rows, and its first reserve, as long as the pool has
/// them.
#[derive(Debug)]
struct SharedPool {
    bytes_max: usize,
    fair: FairSpillPool,
    /// Parts of sorts that there are now.
    sorts: AtomicUsize,
}

impl SharedPool {
    /// Whether a sort may have so much more.
    fn is_moderate(&self, reservation: &MemoryReservation, additional: usize) -> bool {
        let name = reservation.consumer().name();
        if !name.starts_with(SORT_ROWS) && !name.starts_with(SORT_MERGE) {
            return true;
        }
        let is_first = reservation.size() == 0;
        if is_first && (name.starts_with(SORT_ROWS) || additional <= MERGE_RESERVE_BYTES_MIN) {
            return true;
        }
        let half_share = self.bytes_max / 2 / self.sorts.load(Ordering::Relaxed).max(1);
        reservation.size() + additional <= half_share
    }
}

impl Display for SharedPool {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.fair, f)
    }
}

impl MemoryPool for SharedPool {
    fn name(&self) -> &str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.name().starts_with(SORT_ROWS) {
            self.sorts.fetch_add(1, Ordering::Relaxed);
        }
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.name().starts_with(SORT_ROWS) {
            self.sorts.fetch_sub(1, Ordering::Relaxed);
        }
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !self.is_moderate(reservation, additional) {
            return Err(resources_datafusion_err!(
                "{} holds {} bytes and wants {additional} more, over its part of {self}",
                reservation.consumer().name(),
                reservation.size()
            ));
        }
        self.fair.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.fair.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_sort_has_half_of_its_share_for_rows_and_half_for_merging() {
        let pool = memory_pool(16 << 20);
        let consumer = |name: &str, can_spill| MemoryConsumer::new(name).with_can_spill(can_spill).register(&pool);
        let (rows, merge) = (consumer("ExternalSorter[0]", true), consumer("ExternalSorterMerge[0]", false));
        rows.try_grow(8 << 20).unwrap();
        assert!(rows.try_grow(1).is_err());
        rows.free();
        let others = (consumer("ExternalSorter[1]", true), consumer("ExternalSorterMerge[1]", false));
        merge.try_grow(4 << 20).unwrap();
        assert!(merge.try_grow(1).is_err());
        // Merging asks for rows that it reads in further reservations.
        merge.new_empty().try_grow(1 << 20).unwrap();
        others.0.try_grow(4 << 20).unwrap();
        assert!(others.0.try_grow(1).is_err());
        consumer("HashJoinInput", false).try_grow(8 << 20).unwrap();
    }

    #[test]
    fn a_hundred_sorts_of_a_few_rows_have_room() {
        let pool = memory_pool(64 << 20);
        let consumer = |name: &str, can_spill| MemoryConsumer::new(name).with_can_spill(can_spill).register(&pool);
        let sorts: Vec<_> = (0..100).map(|_| consumer("ExternalSorter[0]", true)).collect();
        let merges: Vec<_> = (0..100).map(|_| consumer("ExternalSorterMerge[0]", false)).collect();
        merges.iter().for_each(|merge| merge.try_grow(MERGE_RESERVE_BYTES_MIN).unwrap());
        sorts.iter().for_each(|rows| rows.try_grow(1 << 10).unwrap());
    }

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
