//! One level of the pools: so many bytes, shared by operators that can go to disk and operators that cannot.

use std::fmt::{Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryPool, MemoryReservation};

use super::MERGE_RESERVE_BYTES_MIN;

/// Names under which DataFusion's external sort reserves, without the partition's number: for the rows it holds, and for
/// merging them.
const SORT_ROWS: &str = "ExternalSorter[";
const SORT_MERGE: &str = "ExternalSorterMerge[";

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
pub(super) struct Level {
    bytes_max: usize,
    fair: FairSpillPool,
    /// Parts of sorts that gather rows now, and those that merge: a part may do one after the other has ended.
    gathering: AtomicUsize,
    merging: AtomicUsize,
}

impl Display for Level {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.fair, f)
    }
}

impl Level {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            fair: FairSpillPool::new(bytes_max),
            gathering: AtomicUsize::new(0),
            merging: AtomicUsize::new(0),
        }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    pub(super) fn free(&self) -> usize {
        self.bytes_max.saturating_sub(self.reserved())
    }

    /// What counts the parts of sorts of this kind.
    fn parts(&self, consumer: &MemoryConsumer) -> Option<&AtomicUsize> {
        match consumer.name() {
            name if name.starts_with(SORT_ROWS) => Some(&self.gathering),
            name if name.starts_with(SORT_MERGE) => Some(&self.merging),
            _ => None,
        }
    }

    pub(super) fn register(&self, consumer: &MemoryConsumer) {
        if let Some(parts) = self.parts(consumer) {
            parts.fetch_add(1, Ordering::Relaxed);
        }
        self.fair.register(consumer);
    }

    pub(super) fn unregister(&self, consumer: &MemoryConsumer) {
        if let Some(parts) = self.parts(consumer) {
            parts.fetch_sub(1, Ordering::Relaxed);
        }
        self.fair.unregister(consumer);
    }

    pub(super) fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    pub(super) fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    pub(super) fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !self.is_moderate(reservation, additional) {
            return Err(resources_datafusion_err!(
                "{} holds {} bytes and wants {additional} more, over its part of {self}",
                reservation.consumer().name(),
                reservation.size()
            ));
        }
        self.fair.try_grow(reservation, additional)
    }

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
        let parts = self.gathering.load(Ordering::Relaxed).max(self.merging.load(Ordering::Relaxed));
        let half_share = self.bytes_max / 2 / parts.max(1);
        reservation.size() + additional <= half_share
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory_pool;
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
}
