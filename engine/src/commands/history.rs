//! DESCRIBE HISTORY and DESCRIBE DETAIL.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use deltalake::kernel::CommitInfo;
use futures::TryStreamExt;

use crate::Result;
use crate::session::Session;

impl Session {
    /// The versions of a table, the latest first.
    ///
    /// # Errors
    /// `NotFound`; those of the log.
    pub(super) async fn history(
        &self,
        state: &SessionState,
        table: &TableReference,
        limit: Option<u64>,
    ) -> Result<RecordBatch> {
        let table = self.delta_table(state, table).await?;
        let handle = table.snapshot.table();
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let commits: Vec<CommitInfo> =
            handle.history(limit).try_collect().await.map_err(|error| table.snapshot.error(error))?;
        let latest = table.snapshot.version();
        let versions = (0..commits.len() as u64).map(|back| latest.checked_sub(back)).collect::<UInt64Array>();
        let times = commits.iter().map(|commit| commit.timestamp.map(|millis| millis * 1000));
        let times = times.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        let operations: StringArray = commits.iter().map(|commit| commit.operation.clone()).collect();
        let parameters: StringArray = commits.iter().map(parameters).collect();
        let info = |key: &str| -> StringArray { commits.iter().map(|commit| text(commit, key)).collect() };
        let engines: StringArray =
            commits.iter().map(|commit| text(commit, "engine").or_else(|| commit.engine_info.clone())).collect();
        named_columns(vec![
            ("version", Arc::new(versions)),
            ("timestamp", Arc::new(times)),
            ("operation", Arc::new(operations)),
            ("parameters", Arc::new(parameters)),
            ("query_id", Arc::new(info("queryId"))),
            ("engine", Arc::new(engines)),
        ])
    }

    /// Where a table lies, and how large it is.
    ///
    /// # Errors
    /// `NotFound`; those of the log.
    pub(super) async fn detail(&self, state: &SessionState, table: &TableReference) -> Result<RecordBatch> {
        let table = self.delta_table(state, table).await?;
        let snapshot = &table.snapshot;
        let files = snapshot.files()?;
        let bytes: u64 = files.iter().map(|file| file.scanned.object_meta.size).sum();
        let rows = files.iter().filter_map(|file| file.scanned.statistics.as_ref()?.num_rows.get_value().copied());
        let rows: usize = rows.sum();
        let properties: Vec<String> =
            snapshot.properties().iter().map(|(key, value)| format!("{key}={value}")).collect();
        let one = |value: String| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let count = |value: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![value as i64])) };
        let made_at = snapshot.made_at().map(|time| time.timestamp_micros());
        let made_at = TimestampMicrosecondArray::from(vec![made_at]).with_timezone("UTC");
        named_columns(vec![
            ("format", one("delta".to_owned())),
            ("name", one(table.name.to_string())),
            ("location", one(snapshot.location().to_owned())),
            ("version", Arc::new(UInt64Array::from(vec![snapshot.version()]))),
            ("changed_at", Arc::new(made_at)),
            ("partition_columns", one(snapshot.partition_columns().join(", "))),
            ("files", count(files.len())),
            ("bytes", count(bytes as usize)),
            ("rows", count(rows)),
            ("properties", one(properties.join(", "))),
        ])
    }
}

/// What the operation was asked for, as JSON; whole schemas are left out.
fn parameters(commit: &CommitInfo) -> Option<String> {
    const LONG: [&str; 2] = ["metadata", "protocol"];
    let parameters = commit.operation_parameters.as_ref()?.iter();
    let short: BTreeMap<_, _> = parameters.filter(|(key, _)| !LONG.contains(&key.as_str())).collect();
    serde_json::to_string(&short).ok()
}

fn text(commit: &CommitInfo, key: &str) -> Option<String> {
    commit.info.get(key).and_then(|value| value.as_str()).map(str::to_owned)
}

pub(super) fn named_columns(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(schema), columns).map_err(DataFusionError::from)?)
}
