//! The part of a process's memory that one statement has: all that is free, but not what keeps others going.
//!
//! While one statement runs it may have nearly everything. With several, one that has more than an equal share is refused
//! before the last part of the pool is gone: that part is for those that have less, so that a small statement ends beside
//! any number of large ones.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytesize::ByteSize;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use parking_lot::Mutex;

use super::level::Level;
use super::{Process, ProcessPool};
use crate::limits::{LayeredLimits, Limit};

/// This part of the pool is for statements that have less than their share.
const RESERVE_DIVISOR: usize = 16;

/// Operators named in an out-of-memory error: enough to see who holds what.
const NAMED: usize = 4;

/// The pools of statements that run, by their ids.
#[derive(Debug, Default)]
pub(super) struct Queries(Mutex<HashMap<String, Weak<QueryPool>>>);

impl Queries {
    /// Statements that have memory, or may have.
    fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// `runtime` for the statement `id`: its part of the memory, and of the disk if that is limited. All plans of one statement
/// have the same.
///
/// # Errors
/// Those of making a directory to spill to.
pub fn query_runtime(runtime: &Arc<RuntimeEnv>, id: &str, limits: &LayeredLimits) -> Result<Arc<RuntimeEnv>> {
    let Some(ProcessPool(process)) = runtime.memory_pool.downcast_ref::<ProcessPool>() else {
        return Ok(Arc::clone(runtime));
    };
    let mut own = runtime.as_ref().clone();
    own.memory_pool = QueryPool::of(process, id, limits.limit(Limit::Memory)) as _;
    if let Some(bytes_max) = limits.limit(Limit::Spill) {
        let disk = &runtime.disk_manager;
        let left = disk.max_temp_directory_size().saturating_sub(disk.used_disk_space());
        let mode = match disk.temp_dir_paths() {
            paths if paths.is_empty() => DiskManagerMode::OsTmpDirectory,
            paths => DiskManagerMode::Directories(paths),
        };
        let builder = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(bytes_max.min(left));
        own.disk_manager = Arc::new(builder.build()?);
    }
    Ok(Arc::new(own))
}

/// The pool of one statement in this process.
#[derive(Debug)]
struct QueryPool {
    id: String,
    process: Arc<Process>,
    /// What a limit leaves of it.
    own: Option<Level>,
    used: AtomicUsize,
    /// Names of operators with what they hold, by the ids of their consumers.
    consumers: Mutex<HashMap<usize, (String, usize)>>,
}

impl QueryPool {
    fn of(process: &Arc<Process>, id: &str, bytes_max: Option<u64>) -> Arc<Self> {
        let mut queries = process.queries.0.lock();
        if let Some(pool) = queries.get(id).and_then(Weak::upgrade) {
            return pool;
        }
        let bytes_max = bytes_max.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let pool = Arc::new(Self {
            id: id.to_owned(),
            process: Arc::clone(process),
            own: bytes_max.filter(|bytes| *bytes < process.level.bytes_max()).map(Level::new),
            used: AtomicUsize::new(0),
            consumers: Mutex::default(),
        });
        queries.insert(id.to_owned(), Arc::downgrade(&pool));
        pool
    }

    /// Whether others would have nothing left.
    fn is_greedy(&self, additional: usize) -> bool {
        if additional == 0 {
            return false;
        }
        let level = &self.process.level;
        let reserve = level.bytes_max() / RESERVE_DIVISOR;
        let share = (level.bytes_max() - reserve) / self.process.queries.count().max(1);
        self.used.load(Ordering::Relaxed) + additional > share && level.free() < reserve.saturating_add(additional)
    }

    fn refusal(&self, reservation: &MemoryReservation, additional: usize, why: &str) -> DataFusionError {
        let size = |bytes: usize| ByteSize::b(bytes as u64).to_string();
        let mut holders: Vec<_> = self.consumers.lock().values().filter(|(_, bytes)| *bytes > 0).cloned().collect();
        holders.sort_by_key(|(name, bytes)| (Reverse(*bytes), name.clone()));
        holders.truncate(NAMED);
        let holders: Vec<_> = holders.into_iter().map(|(name, bytes)| format!("{name} {}", size(bytes))).collect();
        let holders =
            if holders.is_empty() { String::new() } else { format!("; it holds most in {}", holders.join(", ")) };
        DataFusionError::ResourcesExhausted(format!(
            "{} needs {} more memory, and has {}: {why}{holders}",
            reservation.consumer().name(),
            size(additional),
            size(reservation.size()),
        ))
    }

    fn count(&self, reservation: &MemoryReservation, change: impl FnOnce(usize) -> usize) {
        if let Some((_, bytes)) = self.consumers.lock().get_mut(&reservation.consumer().id()) {
            *bytes = change(*bytes);
        }
    }
}

impl Display for QueryPool {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "query {} ({} bytes)", self.id, self.used.load(Ordering::Relaxed))
    }
}

impl Drop for QueryPool {
    fn drop(&mut self) {
        let mut queries = self.process.queries.0.lock();
        // Another of the same id may have been made meanwhile.
        if queries.get(&self.id).is_some_and(|pool| pool.strong_count() == 0) {
            queries.remove(&self.id);
        }
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.consumers.lock().insert(consumer.id(), (consumer.name().to_owned(), 0));
        self.own.iter().for_each(|own| own.register(consumer));
        self.process.level.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.consumers.lock().remove(&consumer.id());
        self.own.iter().for_each(|own| own.unregister(consumer));
        self.process.level.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.count(reservation, |bytes| bytes + additional);
        self.own.iter().for_each(|own| own.grow(reservation, additional));
        self.process.level.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.count(reservation, |bytes| bytes.saturating_sub(shrink));
        self.own.iter().for_each(|own| own.shrink(reservation, shrink));
        self.process.level.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if let Some(own) = &self.own
            && own.try_grow(reservation, additional).is_err()
        {
            let limit =
                format!("the query may have {} = {} in a process", Limit::Memory, ByteSize::b(own.bytes_max() as u64));
            return Err(self.refusal(reservation, additional, &limit));
        }
        let is_granted = !self.is_greedy(additional) && self.process.level.try_grow(reservation, additional).is_ok();
        if !is_granted {
            self.own.iter().for_each(|own| own.shrink(reservation, additional));
            let (all, queries) = (self.process.level.bytes_max() as u64, self.process.queries.count());
            let shared = format!("the process has --memory {} for {queries} queries", ByteSize::b(all));
            return Err(self.refusal(reservation, additional, &shared));
        }
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.count(reservation, |bytes| bytes + additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.own.as_ref().unwrap_or(&self.process.level).bytes_max())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    use super::super::memory_pool;
    use super::*;

    const MIB: usize = 1 << 20;

    fn runtime(bytes_max: usize) -> Arc<RuntimeEnv> {
        RuntimeEnvBuilder::new().with_memory_pool(memory_pool(bytes_max)).build_arc().unwrap()
    }

    fn reservation(runtime: &RuntimeEnv, name: &str) -> MemoryReservation {
        MemoryConsumer::new(name).register(&runtime.memory_pool)
    }

    #[test]
    fn a_small_statement_has_room_beside_a_hog() {
        let runtime = runtime(64 * MIB);
        let of = |id: &str| query_runtime(&runtime, id, &LayeredLimits::default()).unwrap();
        let (hog, small) = (of("hog"), of("small"));
        let held = reservation(&hog, "HashJoinInput[0]");
        while held.try_grow(MIB).is_ok() {}
        assert_eq!(held.size(), 60 * MIB);
        reservation(&small, "RepartitionExec[0]").try_grow(3 * MIB).unwrap();
        drop(small);
        // Alone it may still not take what the next one needs.
        assert!(held.try_grow(MIB).is_err());
        drop((held, hog));
        assert_eq!(runtime.memory_pool.reserved(), 0);
    }

    #[test]
    fn a_limited_statement_is_told_which_limit_and_which_operator() {
        let runtime = runtime(64 * MIB);
        let mut limits = LayeredLimits::default();
        limits.session.set(Limit::Memory, Some(10 * MIB as u64));
        let own = query_runtime(&runtime, "q", &limits).unwrap();
        let held = reservation(&own, "HashJoinInput[3]");
        held.try_grow(10 * MIB).unwrap();
        let refused = held.try_grow(MIB).unwrap_err().to_string();
        for part in ["HashJoinInput[3] needs 1.0 MiB", "query_memory_bytes_max = 10.0 MiB", "HashJoinInput[3] 10.0 MiB"]
        {
            assert!(refused.contains(part), "{refused}");
        }
        // Plans of one statement share what it has.
        let again = query_runtime(&runtime, "q", &limits).unwrap();
        assert!(reservation(&again, "GroupedHashAggregateStream[0]").try_grow(1).is_err());
        held.free();
        assert_eq!(runtime.memory_pool.reserved(), 0);
    }
}
