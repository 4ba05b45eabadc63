//! One version of a table: its columns, files and rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion_datasource::compute_all_files_statistics;
use deltalake::kernel::{EagerSnapshot, LogicalFileView};
use deltalake::logstore::LogStoreRef;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::ObjectMeta;
use object_store::path::Path;
use serde_json::Value;
use url::Url;

use super::error::delta_error;
use super::store::{parse, path_of};
use super::types::{file_schema, meant_schema};
use crate::{Error, Result};

/// What the keys of CHECK constraints begin with among a table's properties.
pub(crate) const CONSTRAINT_PREFIX: &str = "delta.constraints.";

/// A version of a table that does not change any more.
#[derive(Debug)]
pub(crate) struct Snapshot {
    location: String,
    url: Url,
    prefix: Path,
    table: DeltaTable,
    stored: SchemaRef,
    columns: SchemaRef,
    files: OnceLock<Result<Arc<Vec<DataFile>>>>,
    statistics: OnceLock<Result<Statistics>>,
}

/// A file of a table.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// Its path in the log.
    pub(crate) path: Arc<str>,
    /// It as DataFusion reads it: its values of the partition columns, and what the log knows of its columns.
    pub(crate) scanned: PartitionedFile,
}

impl Snapshot {
    /// The version that `table` has loaded.
    ///
    /// # Errors
    /// `Invalid` for a location that is none.
    pub(crate) fn new(location: &str, table: DeltaTable) -> Result<Self> {
        let url = parse(location)?;
        let prefix = path_of(&url)?;
        let state = table.snapshot().map_err(|error| delta_error(error, location))?;
        let stored = state.snapshot().arrow_schema();
        let columns = meant_schema(&stored);
        let (files, statistics) = (OnceLock::new(), OnceLock::new());
        Ok(Self { location: location.to_owned(), url, prefix, table, stored, columns, files, statistics })
    }

    /// The log's view of it.
    ///
    /// # Errors
    /// `Internal`: it has always been loaded.
    pub(crate) fn log(&self) -> Result<&EagerSnapshot> {
        let state = self.table.snapshot().map_err(|error| self.error(error))?;
        Ok(state.snapshot())
    }

    /// A handle for Delta Lake's own operations.
    pub(crate) fn table(&self) -> DeltaTable {
        self.table.clone()
    }

    /// Its log.
    pub(crate) fn log_store(&self) -> LogStoreRef {
        self.table.log_store()
    }

    /// URL of its directory, with a slash at the end.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// Number of the version, from 0.
    pub(crate) fn version(&self) -> u64 {
        self.table.version().unwrap_or_default()
    }

    /// When the version was made, if the log says so.
    pub(crate) fn made_at(&self) -> Option<DateTime<Utc>> {
        let state = self.table.snapshot().ok()?;
        state.version_timestamp(self.version()).and_then(DateTime::from_timestamp_millis)
    }

    /// Columns as they were declared.
    pub(crate) fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Columns as the log keeps them.
    pub(crate) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    /// Names of the columns that are directories, in their order.
    pub(crate) fn partition_columns(&self) -> Vec<String> {
        self.log().map_or_else(|_| Vec::new(), |log| log.metadata().partition_columns().to_vec())
    }

    /// Properties of the table.
    pub(crate) fn properties(&self) -> BTreeMap<String, String> {
        let properties = self.log().map(|log| log.metadata().configuration().clone()).unwrap_or_default();
        properties.into_iter().collect()
    }

    /// CHECK constraints: name and SQL.
    pub(crate) fn checks(&self) -> Vec<(String, String)> {
        let properties = self.properties().into_iter();
        properties.filter_map(|(key, sql)| Some((key.strip_prefix(CONSTRAINT_PREFIX)?.to_owned(), sql))).collect()
    }

    /// The store of its files.
    ///
    /// # Errors
    /// `Invalid` for a location that is none.
    pub(crate) fn store_url(&self) -> Result<ObjectStoreUrl> {
        Ok(ObjectStoreUrl::parse(&self.url[..url::Position::BeforePath])?)
    }

    /// The columns of files, with strings as views if `wants_views`, then those of directories.
    pub(crate) fn table_schema(&self, wants_views: bool) -> TableSchema {
        let partition = self.partition_columns();
        let is_partition = |field: &&FieldRef| partition.contains(field.name());
        let fields = self.columns.fields().iter().filter(|field| !is_partition(field));
        let fields: Vec<FieldRef> = match wants_views {
            true => fields.map(as_view).collect(),
            false => fields.cloned().collect(),
        };
        let directories = partition.iter().filter_map(|name| self.columns.field_with_name(name).ok());
        let directories: Vec<FieldRef> = directories.map(|field| Arc::new(field.clone())).collect();
        TableSchema::builder(Arc::new(Schema::new(fields))).with_table_partition_cols(directories).build()
    }

    /// Why its files cannot be read as plain Parquet files, if they cannot.
    pub(crate) fn is_special(&self) -> Option<&'static str> {
        let mapping = self.properties().get("delta.columnMapping.mode").is_some_and(|mode| mode != "none");
        if mapping {
            return Some("it maps columns");
        }
        let log = self.log().ok()?;
        let has_vectors = log.log_data().iter().any(|file| file.deletion_vector_descriptor().is_some());
        if has_vectors {
            return Some("it has deletion vectors");
        }
        let has_guests = log.log_data().iter().any(|file| file.path().contains("://"));
        has_guests.then_some("some of its files lie elsewhere")
    }

    /// Its files, in the order of the log.
    ///
    /// # Errors
    /// `Invalid` for a log that does not make sense.
    pub(crate) fn files(&self) -> Result<Arc<Vec<DataFile>>> {
        self.files.get_or_init(|| self.read_files()).clone()
    }

    /// What the log says of all files together, by the columns of [`Snapshot::table_schema`].
    ///
    /// # Errors
    /// `Invalid` for a log that does not make sense.
    pub(crate) fn statistics(&self) -> Result<Statistics> {
        self.statistics.get_or_init(|| self.sum_statistics()).clone()
    }

    fn sum_statistics(&self) -> Result<Statistics> {
        let columns = SchemaRef::clone(self.table_schema(false).table_schema());
        let files: Vec<PartitionedFile> = self.files()?.iter().map(|file| file.scanned.clone()).collect();
        if files.is_empty() {
            return Ok(Statistics { num_rows: Precision::Exact(0), ..Statistics::new_unknown(&columns) });
        }
        let (_, statistics) = compute_all_files_statistics(vec![FileGroup::new(files)], columns, true, false)?;
        Ok(statistics)
    }

    fn read_files(&self) -> Result<Arc<Vec<DataFile>>> {
        let schema = self.table_schema(false);
        let stored = file_schema(&self.stored);
        let files = self.log()?.log_data();
        let files = files.iter().map(|file| self.data_file(&file, &schema, &stored));
        Ok(Arc::new(files.collect::<Result<Vec<_>>>()?))
    }

    fn data_file(&self, file: &LogicalFileView, schema: &TableSchema, stored: &Schema) -> Result<DataFile> {
        let path = file.path();
        let meta = ObjectMeta {
            location: self.prefix.parts().chain(file.object_store_path().parts()).collect(),
            // Files of a table are never changed, and its log and the store tell different times.
            last_modified: DateTime::UNIX_EPOCH,
            size: file.size().unsigned_abs(),
            e_tag: None,
            version: None,
        };
        let values = file.partition_values_map();
        let partition = schema.table_partition_cols().iter().map(|field| self.partition_value(field, stored, &values));
        let partition = partition.collect::<Result<Vec<_>>>()?;
        let statistics = file_statistics(file, schema.file_schema(), stored);
        let scanned =
            PartitionedFile::new_from_meta(meta).with_partition_values(partition).with_statistics(Arc::new(statistics));
        Ok(DataFile { path: path.into(), scanned })
    }

    fn partition_value(
        &self,
        field: &Field,
        stored: &Schema,
        values: &HashMap<String, Option<String>>,
    ) -> Result<ScalarValue> {
        let kept = stored.field_with_name(field.name()).map_or(field.data_type(), |field| field.data_type());
        let value = match values.get(field.name()).and_then(Option::as_ref) {
            Some(text) => ScalarValue::try_from_string(text.clone(), kept)?,
            None => ScalarValue::try_from(kept)?,
        };
        Ok(value.cast_to(field.data_type())?)
    }

    /// What happened to this table.
    pub(crate) fn error(&self, error: DeltaTableError) -> Error {
        delta_error(error, &self.location)
    }
}

/// Parquet's strings are read as views, as those of other files are.
fn as_view(field: &FieldRef) -> FieldRef {
    let view = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(view))
}

/// What the log says about the columns of a file. Bounds are for estimates: texts are cut off, and times are rounded.
fn file_statistics(file: &LogicalFileView, columns: &Schema, stored: &Schema) -> Statistics {
    let mut statistics = Statistics::new_unknown(columns);
    statistics.total_byte_size = Precision::Inexact(file.size().unsigned_abs() as usize);
    let Some(facts) = file.stats().and_then(|text| serde_json::from_str::<Value>(&text).ok()) else {
        return statistics;
    };
    if let Some(rows) = facts.get("numRecords").and_then(Value::as_u64) {
        statistics.num_rows = Precision::Exact(rows as usize);
    }
    let plain = |field: &Field| stored.field_with_name(field.name()).is_ok_and(|s| s.data_type() == field.data_type());
    for (field, column) in columns.fields().iter().zip(&mut statistics.column_statistics) {
        if plain(field) {
            *column = column_statistics(&facts, field);
        }
    }
    statistics
}

fn column_statistics(facts: &Value, field: &Field) -> ColumnStatistics {
    let fact = |kind: &str| facts.get(kind).and_then(|columns| columns.get(field.name()));
    let bound = |kind: &str| {
        let value = match fact(kind)? {
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) | Value::Null => return None,
            other => other.to_string(),
        };
        ScalarValue::try_from_string(value, field.data_type()).ok()
    };
    let nulls = fact("nullCount").and_then(Value::as_u64);
    ColumnStatistics {
        null_count: nulls.map_or(Precision::Absent, |nulls| Precision::Exact(nulls as usize)),
        min_value: bound("minValues").map_or(Precision::Absent, Precision::Inexact),
        max_value: bound("maxValues").map_or(Precision::Absent, Precision::Inexact),
        ..ColumnStatistics::new_unknown()
    }
}
