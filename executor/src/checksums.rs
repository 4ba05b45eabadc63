//! Checksums of the shuffle files of this executor: taken when a task has written them, compared before each read.
//!
//! Ballista's files have none, and its readers take a truncated file for a short one. The checksums are kept in memory:
//! a work directory is emptied whenever its executor starts, so that no file outlives them. A file that was changed, cut,
//! swapped with another or removed counts as lost, and the query that needs it is run again.
//!
//! What is not covered: the few moments between writing a file and reading it back for its checksum, and spill files.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::create_shuffle_path;
use ballista_core::execution_plans::sort_shuffle::{ShuffleIndex, get_index_path};
use ballista_core::serde::protobuf::ShuffleWritePartition;
use parking_lot::Mutex;
use twox_hash::XxHash64;

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A part of the output of a stage, as readers ask for it.
#[derive(Debug, Clone)]
pub(crate) struct ShufflePart {
    pub(crate) job: JobId,
    pub(crate) stage: usize,
    /// Partition of the output.
    pub(crate) partition: usize,
    /// The task that wrote it, if files are numbered.
    pub(crate) file: Option<u64>,
    /// Whether one file holds all partitions, with an index beside it.
    pub(crate) is_sorted: bool,
}

impl ShufflePart {
    fn path(&self, shuffle_dir: &Path) -> io::Result<PathBuf> {
        create_shuffle_path(shuffle_dir, &self.job, self.stage, self.partition, self.file, self.is_sorted)
            .map_err(io::Error::other)
    }
}

/// Checksums of all files under a directory.
#[derive(Debug)]
pub(crate) struct Checksums {
    shuffle_dir: PathBuf,
    jobs: Mutex<HashMap<JobId, HashMap<PathBuf, Arc<Recorded>>>>,
}

/// What a file was when it had been written.
#[derive(Debug)]
struct Recorded {
    bytes: u64,
    /// Of the whole index file, if there is one.
    index: Option<u64>,
    /// What comes before the first partition, and then each partition.
    sections: Vec<Section>,
}

#[derive(Debug, Clone)]
struct Section {
    range: Range<u64>,
    hash: u64,
}

impl Checksums {
    /// Of the files under `shuffle_dir`, none of which has been written yet.
    pub(crate) fn new(shuffle_dir: &Path) -> Arc<Self> {
        Arc::new(Self { shuffle_dir: shuffle_dir.to_owned(), jobs: Mutex::default() })
    }

    /// Reads the files that a task has written, each once.
    ///
    /// # Errors
    /// For a file that cannot be read.
    pub(crate) fn record(&self, job: &JobId, stage: usize, written: &[ShuffleWritePartition]) -> io::Result<()> {
        let mut files = HashMap::new();
        for output in written {
            let part = ShufflePart {
                job: job.clone(),
                stage,
                partition: output.partition_id as usize,
                file: output.file_id,
                is_sorted: output.is_sort_shuffle,
            };
            let path = part.path(&self.shuffle_dir)?;
            if let Entry::Vacant(vacant) = files.entry(path) {
                let recorded = Recorded::of(vacant.key(), part.is_sorted)?;
                vacant.insert(Arc::new(recorded));
            }
        }
        self.jobs.lock().entry(job.clone()).or_default().extend(files);
        Ok(())
    }

    /// Whether the file of `part` is here, in whatever state.
    pub(crate) fn is_here(&self, part: &ShufflePart) -> bool {
        part.path(&self.shuffle_dir).is_ok_and(|path| path.exists())
    }

    /// Compares what a reader of `part` will read with what was written.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn check(&self, part: &ShufflePart) -> Result<(), String> {
        let path = part.path(&self.shuffle_dir).map_err(|error| error.to_string())?;
        let recorded = self.jobs.lock().get(&part.job).and_then(|files| files.get(&path).map(Arc::clone));
        let recorded = recorded.ok_or_else(|| format!("{} is not a file that this executor wrote", path.display()))?;
        let section = if part.is_sorted { part.partition + 1 } else { 0 };
        recorded.check(&path, section).map_err(|reason| format!("{} {reason}", path.display()))
    }

    /// Forgets the files of a job that has ended.
    pub(crate) fn forget(&self, job: &JobId) {
        self.jobs.lock().remove(job);
    }

    /// Forgets all files.
    pub(crate) fn forget_all(&self) {
        self.jobs.lock().clear();
    }
}

impl Recorded {
    fn of(path: &Path, is_sorted: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let index = is_sorted.then(|| hash_of_index(path)).transpose()?;
        let whole = Range { start: 0, end: bytes };
        let ranges = if is_sorted { ranges_of(path)? } else { vec![whole] };
        let sections = ranges.into_iter().map(|range| {
            let hash = hash(&mut file, &range)?;
            Ok(Section { range, hash })
        });
        Ok(Self { bytes, index, sections: sections.collect::<io::Result<_>>()? })
    }

    /// The header, which every reader reads, and one more section.
    fn check(&self, path: &Path, section: usize) -> Result<(), String> {
        let unreadable = |error: io::Error| format!("cannot be read: {error}");
        let mut file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        if bytes != self.bytes {
            return Err(format!("has {bytes} bytes and had {} when it was written", self.bytes));
        }
        if let Some(written) = self.index
            && hash_of_index(path).map_err(|error| format!("has an index that cannot be read: {error}"))? != written
        {
            return Err("has an index that was changed after it was written".to_owned());
        }
        let sections = [self.sections.first(), self.sections.get(section).filter(|_| section > 0)];
        for section in sections.into_iter().flatten() {
            if hash(&mut file, &section.range).map_err(unreadable)? != section.hash {
                return Err("was changed after it was written: its checksum is another".to_owned());
            }
        }
        Ok(())
    }
}

/// The header and the partitions of a file with an index.
fn ranges_of(path: &Path) -> io::Result<Vec<Range<u64>>> {
    let index = ShuffleIndex::read_from_file(&get_index_path(path)).map_err(io::Error::other)?;
    let range = |(start, end): (i64, i64)| start.unsigned_abs()..end.unsigned_abs();
    let header = (0, index.header_end_offset());
    let partitions = (0..index.partition_count()).map(|partition| index.get_partition_range(partition));
    Ok(std::iter::once(header).chain(partitions).map(range).collect())
}

fn hash_of_index(path: &Path) -> io::Result<u64> {
    let mut hasher = XxHash64::default();
    hasher.write(&std::fs::read(get_index_path(path))?);
    Ok(hasher.finish())
}

fn hash(file: &mut File, range: &Range<u64>) -> io::Result<u64> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut hasher = XxHash64::default();
    let mut left = range.end - range.start;
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
    while left > 0 {
        let wanted = chunk.len().min(usize::try_from(left).unwrap_or(chunk.len()));
        file.read_exact(&mut chunk[..wanted])?;
        hasher.write(&chunk[..wanted]);
        left -= wanted as u64;
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "0123456789abcdef0123456789abcdef";

    /// A file of one partition, and one of three partitions with its index.
    fn files(root: &Path) -> (Arc<Checksums>, Vec<ShufflePart>, Vec<PathBuf>) {
        let job = JobId::new(JOB);
        let part =
            |partition, is_sorted| ShufflePart { job: job.clone(), stage: 1, partition, file: Some(9), is_sorted };
        let parts = vec![part(4, false), part(0, true), part(1, true), part(2, true)];
        let plain = parts[0].path(root).unwrap();
        let sorted = parts[1].path(root).unwrap();
        for path in [&plain, &sorted] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        std::fs::write(&plain, vec![7; 600_000]).unwrap();
        std::fs::write(&sorted, (0..1000).map(|byte| byte as u8).collect::<Vec<_>>()).unwrap();
        let mut index = ShuffleIndex::new(3);
        [100, 400, 400].into_iter().enumerate().for_each(|(partition, offset)| index.set_offset(partition, offset));
        index.set_total_length(1000);
        index.write_to_file(&get_index_path(&sorted)).unwrap();
        let written = parts.iter().map(|part| ShuffleWritePartition {
            partition_id: part.partition as u64,
            file_id: part.file,
            is_sort_shuffle: part.is_sorted,
            ..ShuffleWritePartition::default()
        });
        let checksums = Checksums::new(root);
        checksums.record(&job, 1, &written.collect::<Vec<_>>()).unwrap();
        let index = get_index_path(&sorted);
        (checksums, parts, vec![plain, sorted, index])
    }

    fn states(checksums: &Checksums, parts: &[ShufflePart]) -> Vec<bool> {
        parts.iter().map(|part| checksums.check(part).is_ok()).collect()
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn every_bit_that_a_reader_would_read_is_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let (checksums, parts, paths) = files(root.path());
        assert_eq!(states(&checksums, &parts), [true; 4]);
        for (path, at, expected) in [
            (0, 599_999, [false, true, true, true]),
            (1, 50, [true, false, false, false]),
            (1, 100, [true, false, true, true]),
            (1, 999, [true, true, true, false]),
            (2, 8, [true, false, false, false]),
        ] {
            flip(&paths[path], at);
            assert_eq!(states(&checksums, &parts), expected, "byte {at} of file {path}");
            flip(&paths[path], at);
        }
        assert_eq!(states(&checksums, &parts), [true; 4]);
    }

    #[test]
    fn a_file_that_was_cut_swapped_or_removed_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let (checksums, parts, paths) = files(root.path());
        let whole = std::fs::read(&paths[0]).unwrap();
        std::fs::write(&paths[0], &whole[..whole.len() - 1]).unwrap();
        assert!(checksums.check(&parts[0]).unwrap_err().contains("has 599999 bytes and had 600000"));
        std::fs::copy(&paths[1], &paths[0]).unwrap();
        assert!(checksums.check(&parts[0]).is_err());
        std::fs::remove_file(&paths[2]).unwrap();
        assert!(checksums.check(&parts[1]).unwrap_err().contains("index"));
        checksums.forget(&JobId::new(JOB));
        assert!(checksums.check(&parts[2]).unwrap_err().contains("is not a file that this executor wrote"));
    }
}
