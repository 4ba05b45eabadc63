//! The spill directory of this process, and those that dead processes left behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use engine::{Error, ErrorKind, Result};
use uuid::Uuid;

/// Held locked by its owner: whoever can lock it may remove the directory.
const LOCK_FILE: &str = "owner.lock";

/// A directory that is removed with its owner.
#[derive(Debug)]
pub(crate) struct SpillDir {
    path: PathBuf,
    _lock: File,
}

impl SpillDir {
    /// Makes one under `data_dir` and removes those whose owners are dead.
    ///
    /// # Errors
    /// `Denied`, `Exhausted` or `Invalid`, naming the directory and the way out.
    pub(crate) fn create(data_dir: &Path) -> Result<Self> {
        let parent = data_dir.join("spill");
        let path = parent.join(Uuid::new_v4().to_string());
        let lock = make_locked(&path).map_err(|error| unusable(data_dir, &error))?;
        remove_abandoned(&parent);
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the spill directory could not be removed");
        }
    }
}

fn make_locked(path: &Path) -> std::io::Result<File> {
    fs::create_dir_all(path)?;
    let lock = File::create(path.join(LOCK_FILE))?;
    lock.lock()?;
    Ok(lock)
}

fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_abandoned = File::open(entry.path().join(LOCK_FILE)).is_ok_and(|lock| lock.try_lock().is_ok());
        if is_abandoned {
            tracing::info!(path = %entry.path().display(), "removing what a dead process spilled");
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "could not remove it");
            }
        }
    }
}

fn unusable(data_dir: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        _ => ErrorKind::Invalid,
    };
    let message = format!(
        "cannot write to the data directory {}: {error}; choose another with --data-dir, or keep nothing with \
         --data-dir :memory:",
        data_dir.display()
    );
    Error::new(kind, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_has_stays() {
        let data = std::env::temp_dir().join(Uuid::new_v4().to_string());
        let dead = data.join("spill/dead");
        fs::create_dir_all(&dead).unwrap();
        File::create(dead.join(LOCK_FILE)).unwrap();
        let living = SpillDir::create(&data).unwrap();
        let other = SpillDir::create(&data).unwrap();
        assert!(!dead.exists());
        assert!(living.path().exists() && other.path().exists());
        drop((living, other));
        assert_eq!(fs::read_dir(data.join("spill")).unwrap().count(), 0);
        fs::remove_dir_all(data).unwrap();
    }
}
