//! The watermark of the work directory: an executor whose disk is nearly full takes no task that would fill it.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;

/// A disk that is small keeps this part of it free, and not as many bytes as a large one.
const FREE_DIVISOR: u64 = 20;

/// # Errors
/// `StorageFull` if less than `free_bytes_min`, or a twentieth of a small disk, is free.
pub(crate) fn check_free(directory: &Path, free_bytes_min: u64) -> io::Result<()> {
    let disk = statvfs(directory)?;
    let (free, total) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    if is_enough(free, total, free_bytes_min) {
        return Ok(());
    }
    // The words by which a full disk is known, however it is noticed.
    Err(io::Error::new(
        io::ErrorKind::StorageFull,
        format!("no space left on device: {free} bytes of {total} are free"),
    ))
}

fn is_enough(free: u64, total: u64, free_bytes_min: u64) -> bool {
    free >= free_bytes_min.min(total / FREE_DIVISOR)
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
        check_free(&std::env::temp_dir(), 0).unwrap();
        assert!(check_free(Path::new("/nowhere"), 0).is_err());
    }
}
