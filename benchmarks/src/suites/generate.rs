//! Makes the data: parts are generated and encoded on all cores, and appended to their files in order.
//!
//! A part becomes one row group, so at most one encoded row group a core is in memory. A file appears under its name
//! when it is whole, and the manifest says that the directory is complete when all files are: an interrupted run leaves
//! nothing that a later one could take for data.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, compute_leaves};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::Place;
use super::layout::{self, FileEntry, FilePlan, Found, LOCK, Manifest};
use super::suite::{Suite, TablePart};
use crate::Error;

/// Makes the data of this scale if their place is a directory, unless they are there already.
pub(crate) async fn ensure_at(suite: Suite, place: &Place, scale: f64) -> Result<(), Error> {
    match place {
        Place::Directory { path, .. } => ensure(suite, scale, path).await,
        Place::Url(_) => Ok(()),
    }
}

/// Makes the data of this scale in `directory`, unless they are there already.
pub(crate) async fn ensure(suite: Suite, scale: f64, directory: &Path) -> Result<(), Error> {
    if layout::inspect(suite, directory, scale)? == Found::Complete {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    let _lock = lock(directory).await?;
    // Another run may have made them while this one waited.
    if layout::inspect(suite, directory, scale)? == Found::Complete {
        return Ok(());
    }
    clear(suite, directory)?;
    Manifest::started(suite, scale).write(directory)?;
    let files = write_files(suite, scale, directory).await?;
    Manifest::completed(suite, scale, files).write(directory)
}

async fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK);
    blocking(move || {
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        file.lock().map_err(Error::file("lock", &path))?;
        Ok(file)
    })
    .await
}

/// Removes what an interrupted run left: only the directories of the tables, whose manifest has been seen.
fn clear(suite: Suite, directory: &Path) -> Result<(), Error> {
    for table in suite.tables() {
        let path = directory.join(table);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
        }
        fs::create_dir(&path).map_err(Error::file("create", &path))?;
    }
    Ok(())
}

async fn write_files(suite: Suite, scale: f64, directory: &Path) -> Result<Vec<FileEntry>, Error> {
    let plans = layout::plan(suite, scale);
    let bar = progress_bar(&plans);
    // One more than there are cores: they go on encoding while the oldest part is written.
    let parallel = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let parts: Vec<_> = plans.iter().flat_map(|plan| plan.parts.clone()).collect();
    let encoded = parts.into_iter().map(|part| blocking(move || encode(part, scale)));
    let mut encoded = futures::stream::iter(encoded).buffered(parallel);
    let mut entries = Vec::with_capacity(plans.len());
    for plan in plans {
        let mut file = PartialFile::create(directory, &plan, scale)?;
        bar.set_message(plan.path.display().to_string());
        for _ in &plan.parts {
            let group = encoded.next().await.unwrap_or_else(|| Err(Error::Internal("a part is missing".into())))?;
            file = blocking(move || file.append(group)).await?;
            bar.inc(1);
        }
        entries.push(blocking(move || file.finish()).await?);
    }
    bar.finish_and_clear();
    Ok(entries)
}

/// Draws on standard error, and nothing when that is not a terminal.
fn progress_bar(plans: &[FilePlan]) -> ProgressBar {
    let parts = plans.iter().map(|plan| plan.parts.len() as u64).sum();
    let style = ProgressStyle::with_template("generating [{bar:30}] {pos}/{len} parts, {eta} left  {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(parts).with_style(style.progress_chars("=> "))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Internal(format!("the data generator stopped: {error}"))))
}

/// One row group in its encoded form.
struct EncodedGroup {
    columns: Vec<ArrowColumnChunk>,
    rows: u64,
}

fn encode(part: TablePart, scale: f64) -> Result<EncodedGroup, Error> {
    try_encode(part, scale)
        .map_err(|error| Error::Internal(format!("could not encode {} part {}: {error}", part.table, part.number)))
}

fn try_encode(part: TablePart, scale: f64) -> Result<EncodedGroup, ParquetError> {
    let batches = part.read(scale);
    let schema = batches.schema();
    // This writer writes nowhere: it only tells how its columns are encoded.
    let (_, columns) = file_writer(std::io::sink(), &schema)?.into_serialized_writer()?;
    let mut columns = columns.create_column_writers(0)?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        for ((field, values), column) in schema.fields().iter().zip(batch.columns()).zip(&mut columns) {
            // The tables are flat: a column has one leaf.
            for leaf in compute_leaves(field, values)? {
                column.write(&leaf)?;
            }
        }
    }
    let columns = columns.into_iter().map(|column| column.close()).collect::<Result<_, _>>()?;
    Ok(EncodedGroup { columns, rows })
}

fn file_writer<W: std::io::Write + Send>(to: W, schema: &SchemaRef) -> Result<ArrowWriter<W>, ParquetError> {
    // Snappy rather than zstd: reading it back costs less than half the time, and a benchmark of a query engine shall
    // measure queries. It is also what other engines' published TPC-H figures were taken on.
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    ArrowWriter::try_new(to, SchemaRef::clone(schema), Some(properties))
}

/// What the system said, such as that the disk is full, is inside the format's error.
fn not_written(path: &Path) -> impl FnOnce(ParquetError) -> Error {
    let path = path.to_owned();
    move |error| match error {
        ParquetError::External(source) => Error::File { action: "write", path, source },
        other => Error::file("write", &path)(other),
    }
}

/// A file under a temporary name.
struct PartialFile {
    writer: SerializedFileWriter<BufWriter<File>>,
    partial: PathBuf,
    path: PathBuf,
    /// The name in the manifest.
    name: PathBuf,
    rows: u64,
}

impl PartialFile {
    fn create(directory: &Path, plan: &FilePlan, scale: f64) -> Result<Self, Error> {
        let path = directory.join(&plan.path);
        let partial = path.with_extension("parquet.partial");
        let Some(part) = plan.parts.first() else {
            return Err(Error::Internal(format!("no parts for {}", path.display())));
        };
        let schema = part.read(scale).schema();
        let file = File::create(&partial).map_err(Error::file("create", &partial))?;
        let writer = file_writer(BufWriter::with_capacity(1 << 20, file), &schema)
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(not_written(&partial))?;
        Ok(Self { writer: writer.0, partial, path, name: plan.path.clone(), rows: 0 })
    }

    fn append(mut self, group: EncodedGroup) -> Result<Self, Error> {
        let append = || {
            let mut to = self.writer.next_row_group()?;
            group.columns.into_iter().try_for_each(|column| column.append_to_row_group(&mut to))?;
            to.close()
        };
        append().map_err(not_written(&self.partial))?;
        self.rows += group.rows;
        Ok(self)
    }

    fn finish(self) -> Result<FileEntry, Error> {
        let buffer = self.writer.into_inner().map_err(not_written(&self.partial))?;
        let file = buffer.into_inner().map_err(|error| Error::file("write", &self.partial)(error.into_error()))?;
        file.sync_all().map_err(Error::file("write", &self.partial))?;
        let bytes = file.metadata().map_err(Error::file("read", &self.partial))?.len();
        fs::rename(&self.partial, &self.path).map_err(Error::file("write", &self.path))?;
        Ok(FileEntry { path: self.name, rows: self.rows, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: f64 = 0.001;

    fn file(directory: &Path) -> PathBuf {
        directory.join("lineitem/part-0001.parquet")
    }

    #[tokio::test]
    async fn complete_data_are_used_again_and_incomplete_ones_are_made_again() {
        let directory = tempfile::tempdir().unwrap();
        ensure(Suite::Tpch, SCALE, directory.path()).await.unwrap();
        let path = file(directory.path());
        let (made, whole) = (fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap());
        ensure(Suite::Tpch, SCALE, directory.path()).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), made);

        fs::write(&path, "interrupted").unwrap();
        fs::write(directory.path().join("lineitem/part-0002.parquet.partial"), "interrupted").unwrap();
        ensure(Suite::Tpch, SCALE, directory.path()).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(fs::read_dir(directory.path().join("lineitem")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn two_runs_at_once_leave_one_whole_set() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) =
            tokio::join!(ensure(Suite::Tpch, SCALE, directory.path()), ensure(Suite::Tpch, SCALE, directory.path()));
        a.and(b).unwrap();
        assert_eq!(layout::inspect(Suite::Tpch, directory.path(), SCALE).unwrap(), Found::Complete);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = ensure(Suite::Tpch, SCALE, &file.path().join("data")).await.unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
