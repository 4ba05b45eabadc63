//! How the allocator of glibc keeps memory. It is told at the start of a process alone, in a variable of its environment.
//!
//! Must not know what the process is for.

use std::os::unix::process::CommandExt;
use std::process::Command;

const VARIABLE: &str = "GLIBC_TUNABLES";

/// The largest size that is taken from the heap. What is larger is asked from the system, and given back, each time: the
/// pages are cleared again, one by one. glibc takes no more than half of one of its heaps, 64 MiB.
const HEAPED_BYTES_MAX: usize = 32 << 20;

/// Free memory at the end of the heap that is kept.
const KEPT_BYTES_MAX: usize = 1 << 30;

/// Starts this program again if its environment has not said how memory is kept: with huge pages, with few heaps (each
/// keeps what it once had, and there would be eight for every core), and with what the last batch needed kept for the
/// next. On TPC-H at scale 10 the queries with large hash tables (q09, q18, q21) take 0.75 of the time.
///
/// Where that cannot be done the process goes on as it is, and is slower.
pub(crate) fn settle() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
    // It comes back only if it has failed.
    let _ = Command::new(program).arg0(name).args(arguments).env(VARIABLE, tunables()).exec();
}

fn tunables() -> String {
    let heaps = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    [("hugetlb", 1), ("arena_max", heaps), ("mmap_threshold", HEAPED_BYTES_MAX), ("trim_threshold", KEPT_BYTES_MAX)]
        .map(|(name, value)| format!("glibc.malloc.{name}={value}"))
        .join(":")
}
