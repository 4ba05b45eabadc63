//! Which files a scale has, which parts of a table are in each, and whether a directory holds them all.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::suite::{Suite, TablePart};
use crate::Error;

/// Row groups a large table is split into at least: work for a few cores at scale 1.
const ROW_GROUPS_MIN: u64 = 8;
/// Rows of the smallest row group, so that small scales do not fall to crumbs.
const ROW_GROUP_ROWS_MIN: u64 = 120_000;
/// Rows of the largest row group, about 40 MiB of `lineitem`.
const ROW_GROUP_ROWS_MAX: u64 = 1_000_000;
/// Row groups in one file: `lineitem` is one file at scale 1 and then one a scale step of about 320 MiB, large enough
/// for a bucket, small enough to spread over executors.
const FILE_ROW_GROUPS_MAX: u64 = 8;

/// The file that says what a directory holds.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Counts up when the files of a scale change, so that older directories are made anew.
const LAYOUT_VERSION: u32 = 1;

/// One Parquet file to be: its parts become its row groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePlan {
    /// `lineitem/part-0001.parquet`
    pub(crate) path: PathBuf,
    pub(crate) parts: Vec<TablePart>,
}

/// What a data directory holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    benchmark: String,
    layout_version: u32,
    scale: f64,
    /// False while the files are being made.
    complete: bool,
    files: Vec<FileEntry>,
}

/// One file of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) path: PathBuf,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What is in a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// All files of the scale.
    Complete,
    /// Nothing, or what an interrupted or older run left, which may be replaced.
    Replaceable,
}

/// The files of all tables at this scale.
pub(crate) fn plan(suite: Suite, scale: f64) -> Vec<FilePlan> {
    suite.tables().iter().flat_map(|table| plan_table(suite, table, scale)).collect()
}

fn plan_table(suite: Suite, table: &'static str, scale: f64) -> Vec<FilePlan> {
    let rows = suite.rows(table, scale).max(1);
    let group_rows = (rows / ROW_GROUPS_MIN).clamp(ROW_GROUP_ROWS_MIN, ROW_GROUP_ROWS_MAX);
    let count = i32::try_from(rows.div_ceil(group_rows)).unwrap_or(i32::MAX);
    let parts: Vec<_> = (1..=count).map(|number| TablePart { suite, table, number, count }).collect();
    let files = parts.chunks(FILE_ROW_GROUPS_MAX as usize).enumerate();
    files
        .map(|(index, parts)| FilePlan {
            path: Path::new(table).join(format!("part-{:04}.parquet", index + 1)),
            parts: parts.to_vec(),
        })
        .collect()
}

impl Manifest {
    pub(crate) fn started(suite: Suite, scale: f64) -> Self {
        let benchmark = suite.name().to_owned();
        Self { benchmark, layout_version: LAYOUT_VERSION, scale, complete: false, files: Vec::new() }
    }

    pub(crate) fn completed(suite: Suite, scale: f64, files: Vec<FileEntry>) -> Self {
        Self { complete: true, files, ..Self::started(suite, scale) }
    }

    /// Writes the manifest in one step: a reader sees the old one or the new one.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(MANIFEST);
        let partial = directory.join(format!("{MANIFEST}.partial"));
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))?;
        fs::write(&partial, text).map_err(Error::file("write", &partial))?;
        fs::rename(&partial, &path).map_err(Error::file("write", &path))
    }

    fn holds_all_files(&self, directory: &Path) -> bool {
        let is_there = |file: &FileEntry| fs::metadata(directory.join(&file.path)).is_ok_and(|m| m.len() == file.bytes);
        self.complete && self.layout_version == LAYOUT_VERSION && self.files.iter().all(is_there)
    }
}

/// Looks what `directory` holds, and refuses to touch what this benchmark did not make.
pub(crate) fn inspect(suite: Suite, directory: &Path, scale: f64) -> Result<Found, Error> {
    let path = directory.join(MANIFEST);
    let manifest = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str::<Manifest>(&text).map_err(Error::file("understand", &path))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return inspect_unmarked(directory),
        Err(error) => return Err(Error::file("read", &path)(error)),
    };
    if (manifest.benchmark.as_str(), manifest.scale) != (suite.name(), scale) {
        return Err(Error::Invalid(format!(
            "{} holds {} at scale {}, not {} at scale {scale}: name another directory with --data",
            directory.display(),
            manifest.benchmark,
            manifest.scale,
            suite.name()
        )));
    }
    Ok(if manifest.holds_all_files(directory) { Found::Complete } else { Found::Replaceable })
}

fn inspect_unmarked(directory: &Path) -> Result<Found, Error> {
    let is_ours = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with(MANIFEST) || name == LOCK);
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Replaceable),
        Err(error) => return Err(Error::file("read", directory)(error)),
    };
    if entries.any(|entry| entry.is_ok_and(|entry| !is_ours(&entry.file_name()))) {
        return Err(Error::Invalid(format!(
            "{} is not empty and has no {MANIFEST} of this benchmark: name another directory with --data",
            directory.display()
        )));
    }
    Ok(Found::Replaceable)
}

/// The file that a run holds locked while it makes the data, so that a second run waits for it.
pub(crate) const LOCK: &str = ".lock";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, bytes: u64) -> FileEntry {
        FileEntry { path: path.into(), rows: 1, bytes }
    }

    #[test]
    fn parts_of_a_table_are_each_in_one_file_in_order() {
        for scale in [0.001, 0.1, 1.0, 30.0] {
            let files = plan(Suite::Tpch, scale);
            for table in Suite::Tpch.tables() {
                let parts: Vec<_> =
                    files.iter().flat_map(|file| &file.parts).filter(|part| part.table == *table).collect();
                let numbers: Vec<_> = parts.iter().map(|part| part.number).collect();
                assert_eq!(numbers, (1..=parts[0].count).collect::<Vec<_>>(), "{table:?} at {scale}");
            }
        }
    }

    #[test]
    fn files_grow_in_number_with_the_scale() {
        let lineitem = |scale| plan(Suite::Tpch, scale).iter().filter(|file| file.path.starts_with("lineitem")).count();
        assert_eq!((lineitem(0.01), lineitem(1.0), lineitem(10.0), lineitem(100.0)), (1, 1, 8, 75));
    }

    #[test]
    fn a_directory_is_complete_only_with_every_file_at_its_full_size() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!(inspect(Suite::Tpch, at, 1.0).unwrap(), Found::Replaceable);
        fs::write(at.join("a.parquet"), b"1234").unwrap();
        Manifest::completed(Suite::Tpch, 1.0, vec![entry("a.parquet", 4)]).write(at).unwrap();
        assert_eq!(inspect(Suite::Tpch, at, 1.0).unwrap(), Found::Complete);
        fs::write(at.join("a.parquet"), b"123").unwrap();
        assert_eq!(inspect(Suite::Tpch, at, 1.0).unwrap(), Found::Replaceable);
        Manifest::started(Suite::Tpch, 1.0).write(at).unwrap();
        assert_eq!(inspect(Suite::Tpch, at, 1.0).unwrap(), Found::Replaceable);
    }

    #[test]
    fn foreign_directories_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mine.txt"), "x").unwrap();
        let error = inspect(Suite::Tpch, directory.path(), 1.0).unwrap_err().to_string();
        assert!(error.contains("is not empty") && error.contains("--data"), "{error}");
    }

    #[test]
    fn another_scale_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        Manifest::started(Suite::Tpch, 10.0).write(directory.path()).unwrap();
        let error = inspect(Suite::Tpch, directory.path(), 1.0).unwrap_err().to_string();
        assert!(error.contains("tpch at scale 10, not tpch at scale 1"), "{error}");
        let error = inspect(Suite::H2o, directory.path(), 10.0).unwrap_err().to_string();
        assert!(error.contains("not h2o"), "{error}");
    }
}
