//! Rows to the data files of a Delta Lake table. They become rows of the table by a commit.

use std::num::NonZeroU64;
use std::sync::Arc;

use buoyant_kernel::table_properties::DataSkippingNumIndexedCols;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake::kernel::Add;
use futures::StreamExt;
use object_store::prefix::PrefixStore;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::node::{WrittenFile, damaged};
use super::target::WriteTarget;
use crate::delta::{NamedStore, delta_error, parse, path_of};

/// Rows and bytes of a row group: what a writer holds in memory at most, and what a reader can skip at least.
const ROW_GROUP_ROWS: usize = 1 << 20;
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Rows after which a writer looks whether its file is large enough.
const ROWS_BETWEEN_LOOKS: usize = 64 << 10;
/// Columns of which the log keeps bounds and nulls: Delta Lake's own default.
const STATISTICS_COLUMNS: u64 = 32;
/// What other writers of Delta Lake use, and every reader has. Files are a third larger than with zstd, whose decompression
/// was 29 % of the time of a scan.
const COMPRESSION: Compression = Compression::SNAPPY;

/// Writes the rows to files whose names begin with `prefix`; each is reported as its action of the log.
///
/// # Errors
/// Those of `input` and of the store; what was begun is given up.
pub(super) async fn write(
    target: &WriteTarget,
    prefix: &str,
    file_bytes_target: u64,
    mut input: SendableRecordBatchStream,
    runtime: &RuntimeEnv,
) -> Result<Vec<WrittenFile>> {
    let mut writer = open(target, prefix, file_bytes_target, runtime)?;
    let written = async {
        while let Some(batch) = input.next().await.transpose()? {
            writer.write(&stored_batch(&batch, &target.columns)?).await.map_err(unwritten)?;
            // Neither a series nor the writer ever waits: others would have no turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    match written.await {
        Ok(()) => {
            let files = writer.close().await.map_err(unwritten)?;
            files.into_iter().map(|file| report(file, prefix)).collect()
        }
        Err(error) => {
            // The first error is the one to tell.
            if let Err(also) = writer.abort().await {
                tracing::warn!(error = %also, "a half-written file could not be given up");
            }
            Err(error)
        }
    }
}

/// The files of a report, and how many rows they hold.
///
/// # Errors
/// `Internal` if they are not files of a table.
pub(crate) fn added(files: &[WrittenFile]) -> crate::Result<(Vec<Add>, u64)> {
    let adds = files.iter().map(|file| serde_json::from_str(&file.file).map_err(|_| damaged()));
    Ok((adds.collect::<crate::Result<_>>()?, files.iter().map(|file| file.rows).sum()))
}

fn open(target: &WriteTarget, prefix: &str, file_bytes_target: u64, runtime: &RuntimeEnv) -> Result<DeltaWriter> {
    let url = parse(&target.location)?;
    let root = runtime.object_store_registry.get_store(&url)?;
    let table = PrefixStore::new(root, path_of(&url)?);
    let store = Arc::new(NamedStore::new(Arc::new(table), prefix.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(COMPRESSION)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_created_by(format!("grappe {}", env!("CARGO_PKG_VERSION")))
        .build();
    let config = WriterConfig::new(
        SchemaRef::clone(&target.columns),
        target.partition_columns.clone(),
        Some(properties),
        NonZeroU64::new(file_bytes_target),
        Some(ROWS_BETWEEN_LOOKS),
        DataSkippingNumIndexedCols::NumColumns(STATISTICS_COLUMNS),
        None,
    );
    Ok(DeltaWriter::new(store, config))
}

/// The rows in the types that are kept. What cannot be kept is an error, and not a null.
fn stored_batch(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let arrays = batch.columns().iter().zip(columns.fields()).map(|(array, field)| {
        match array.data_type() == field.data_type() {
            true => Ok(Arc::clone(array)),
            false => cast_with_options(array, field.data_type(), &strict),
        }
    });
    let arrays = arrays.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(columns), arrays, &options)?)
}

fn report(mut file: Add, prefix: &str) -> Result<WrittenFile> {
    file.path = NamedStore::named(&file.path, prefix);
    let rows = rows_of(&file);
    let text = serde_json::to_string(&file).map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(WrittenFile { file: text, rows })
}

/// How many rows a file has; every writer of ours counts them.
fn rows_of(file: &Add) -> u64 {
    let facts: Option<serde_json::Value> = file.stats.as_ref().and_then(|text| serde_json::from_str(text).ok());
    facts.and_then(|facts| facts.get("numRecords")?.as_u64()).unwrap_or_default()
}

fn unwritten(error: deltalake::DeltaTableError) -> DataFusionError {
    DataFusionError::from(delta_error(error, "the rows cannot be written"))
}
