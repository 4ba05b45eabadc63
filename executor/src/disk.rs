//! How full the work directory may be: an executor without room takes no task that would need more.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::statvfs;

/// A disk that is small keeps this part of it free, and not as many bytes as a large one.
const FREE_DIVISOR: u64 = 20;

/// The setting behind [`Room::shuffle_bytes_max`].
pub(crate) const SHUFFLE_BYTES_MAX: &str = "executor_shuffle_bytes_max";

/// What is left to others, and what is used at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes of the disk that stay free.
    pub(crate) free_bytes_min: u64,
    /// Bytes of shuffle files, if there is a limit.
    pub(crate) shuffle_bytes_max: Option<u64>,
}

impl Room {
    /// # Errors
    /// `StorageFull` if less than `free_bytes_min`, or a twentieth of a small disk, is free, or if the files in
    /// `directory` have `shuffle_bytes_max`.
    pub(crate) fn check(self, directory: &Path) -> io::Result<()> {
        let disk = statvfs(directory)?;
        let (free, total) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
        if !is_enough(free, total, self.free_bytes_min) {
            // The words by which a full disk is known, however it is noticed.
            return Err(full(format!("no space left on device: {free} bytes of {total} are free")));
        }
        let Some(most) = self.shuffle_bytes_max else { return Ok(()) };
        let used = bytes_below(directory)?;
        if used < most {
            return Ok(());
        }
        Err(full(format!("shuffle files have {used} bytes, and {SHUFFLE_BYTES_MAX} is {most}")))
    }
}

fn full(reason: String) -> io::Error {
    io::Error::new(ErrorKind::StorageFull, reason)
}

fn is_enough(free: u64, total: u64, free_bytes_min: u64) -> bool {
    free >= free_bytes_min.min(total / FREE_DIVISOR)
}

/// Bytes of the files below a directory. Files go away meanwhile.
fn bytes_below(directory: &Path) -> io::Result<u64> {
    let gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = match entry.metadata() {
            Ok(facts) if facts.is_dir() => bytes_below(&entry.path()),
            Ok(facts) => Ok(facts.len()),
            Err(error) => Err(error),
        };
        bytes += match found {
            Err(error) if gone(&error) => 0,
            found => found?,
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_keeps_room_by_its_size() {
        let gib = 1 << 30;
        assert!(is_enough(gib, 100 * gib, gib));
        assert!(!is_enough(gib - 1, 100 * gib, gib));
        assert!(is_enough(gib / 10, gib, gib));
        assert!(!is_enough(gib / 21, gib, gib));
        assert!(is_enough(0, gib, 0));
        let room = Room { free_bytes_min: 0, shuffle_bytes_max: None };
        room.check(&std::env::temp_dir()).unwrap();
        assert!(room.check(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn shuffle_files_have_a_quota() {
        let directory = tempfile::tempdir().unwrap();
        let job = directory.path().join("job").join("1");
        fs::create_dir_all(&job).unwrap();
        let room = Room { free_bytes_min: 0, shuffle_bytes_max: Some(1_000) };
        room.check(directory.path()).unwrap();
        fs::write(job.join("one"), vec![0; 600]).unwrap();
        room.check(directory.path()).unwrap();
        fs::write(job.join("two"), vec![0; 400]).unwrap();
        let refused = room.check(directory.path()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        assert!(refused.to_string().contains("1000 bytes"), "{refused}");
    }
}
