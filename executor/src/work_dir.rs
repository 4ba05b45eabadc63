//! The work directory: locked by one executor, emptied when it starts, cleared of a query when the query ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ballista_core::JobId;
use engine::{Error, ErrorKind, Result};
use tokio::sync::Notify;

use crate::checksums::Checksums;

/// A directory that this process holds.
///
/// Only the two directories inside it that we made are ever emptied, whatever else a mistaken path may hold.
#[derive(Debug)]
pub(crate) struct WorkDir {
    shuffle: PathBuf,
    spill: PathBuf,
    /// Of the files under `shuffle`.
    checksums: Arc<Checksums>,
    /// Tells that files of a job were removed.
    removed: Notify,
    /// Held until the executor is gone.
    _lock: File,
}

impl WorkDir {
    /// Makes, locks and empties the directory.
    ///
    /// # Errors
    /// `AlreadyExists` if another executor works there, `Denied` or `Exhausted` if nothing can be written.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| failure(path, &error);
        fs::create_dir_all(path).map_err(failed)?;
        // Shuffle readers compare absolute paths.
        let path = path.canonicalize().map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::already_exists(format!(
                "another executor works in {}: stop it or choose another --work-dir",
                path.display()
            )),
            TryLockError::Error(error) => failed(error),
        })?;
        let (shuffle, spill) = (path.join("shuffle"), path.join("spill"));
        for directory in [&shuffle, &spill] {
            remove_all(directory).map_err(failed)?;
            fs::create_dir(directory).map_err(failed)?;
        }
        let checksums = Checksums::new(&shuffle);
        Ok(Self { shuffle, spill, checksums, removed: Notify::new(), _lock: lock })
    }

    /// Where shuffle files lie, a directory for each job.
    pub(crate) fn shuffle(&self) -> &Path {
        &self.shuffle
    }

    /// Of the shuffle files.
    pub(crate) fn checksums(&self) -> &Arc<Checksums> {
        &self.checksums
    }

    /// Where operators spill.
    pub(crate) fn spill(&self) -> &Path {
        &self.spill
    }

    /// Returns when no job has files here.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let removed = self.removed.notified();
            if !self.holds_jobs() {
                return;
            }
            removed.await;
        }
    }

    /// Whether files of any job are here.
    fn holds_jobs(&self) -> bool {
        fs::read_dir(&self.shuffle).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Removes the files of a job, or of some of its stages.
    pub(crate) fn remove_job(&self, job: &JobId, stages: &[u32]) -> Result<()> {
        let directory = self.shuffle.join(checked(job.as_str())?);
        let removed = match stages {
            [] => {
                self.checksums.forget(job);
                remove_all(&directory)
            }
            stages => stages.iter().try_for_each(|stage| remove_all(&directory.join(stage.to_string()))),
        };
        self.removed.notify_waiters();
        removed.map_err(|error| failure(&directory, &error))
    }

    /// Removes the files of every job.
    pub(crate) fn remove_all_jobs(&self) -> Result<()> {
        self.checksums.forget_all();
        let failed = |error: io::Error| failure(&self.shuffle, &error);
        for entry in fs::read_dir(&self.shuffle).map_err(failed)? {
            remove_all(&entry.map_err(failed)?.path()).map_err(failed)?;
        }
        self.removed.notify_waiters();
        Ok(())
    }
}

/// The id of a job if it is one: it becomes part of a path, and it comes from the network.
pub(crate) fn checked(job: &str) -> Result<&str> {
    let is_id = job.len() == 32 && job.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_id { Ok(job) } else { Err(Error::invalid("this is not the id of a job: 32 hexadecimal digits")) }
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn failure(path: &Path, error: &io::Error) -> Error {
    use io::ErrorKind as Io;
    let (kind, way_out) = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => (ErrorKind::Denied, "choose a --work-dir that can be written"),
        Io::StorageFull | Io::QuotaExceeded => (ErrorKind::Exhausted, "free disk space or choose another --work-dir"),
        Io::NotADirectory | Io::AlreadyExists => (ErrorKind::Invalid, "choose a directory as --work-dir"),
        _ => (ErrorKind::Unavailable, "choose another --work-dir"),
    };
    Error::new(kind, format!("work directory {}: {error}; {way_out}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_second_executor_is_kept_out_until_the_first_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let first = WorkDir::open(root.path()).unwrap();
        let error = WorkDir::open(root.path()).unwrap_err();
        assert!(error.message.contains("another executor works in"), "{}", error.message);
        drop(first);
        WorkDir::open(root.path()).unwrap();
    }

    #[test]
    fn what_an_earlier_executor_left_is_removed_and_what_others_left_is_kept() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("shuffle").join(JOB)).unwrap();
        fs::write(root.path().join("thesis.txt"), "precious").unwrap();
        let dir = WorkDir::open(root.path()).unwrap();
        assert!(!dir.holds_jobs());
        assert!(root.path().join("thesis.txt").exists());
    }

    #[test]
    fn only_the_id_of_a_job_becomes_a_path() {
        for bad in ["", "..", "../../etc/passwd", "/etc", "0123456789ABCDEF0123456789abcdef", &JOB[1..]] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert_eq!(checked(JOB).unwrap(), JOB);
    }

    #[test]
    fn one_stage_goes_and_the_others_stay() {
        let root = tempfile::tempdir().unwrap();
        let dir = WorkDir::open(root.path()).unwrap();
        for stage in ["0", "1"] {
            fs::create_dir_all(dir.shuffle().join(JOB).join(stage)).unwrap();
        }
        let job = JobId::new(JOB);
        dir.remove_job(&job, &[0]).unwrap();
        assert!(!dir.shuffle().join(JOB).join("0").exists());
        assert!(dir.shuffle().join(JOB).join("1").exists());
        dir.remove_job(&job, &[]).unwrap();
        assert!(!dir.holds_jobs());
    }
}
