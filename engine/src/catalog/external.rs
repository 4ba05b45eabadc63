//! Files as a table: what `CREATE EXTERNAL TABLE` says, completed by what the files themselves say.
//!
//! [`resolve_external`] reads the files once, when the table is made; [`open_external`] builds the provider from stored
//! facts and opens nothing.

use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::plan_err;
use datafusion::datasource::file_format::parquet::transform_schema_to_view;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::CreateExternalTable;
use futures::TryStreamExt;
use object_store::ObjectMeta;

use crate::catalog::ExternalTable;
use crate::catalog::file_table::FileTable;
use crate::catalog::glob::{Glob, Location, listing_state};
use crate::execution::result_schema;
use crate::storage::name_the_file;
use crate::{Error, Result};

/// Completes a `CREATE EXTERNAL TABLE`: lists the files, infers the columns that were not given.
///
/// # Errors
/// `NotFound` if there are no files to infer columns from; `Invalid` naming the file that cannot be read.
pub(crate) async fn resolve_external(state: &SessionState, command: &CreateExternalTable) -> Result<ExternalTable> {
    let places = Places::of(command)?;
    let state = listing_state(state, places.glob.as_ref())?;
    let declared = command.schema.inner();
    let partitions = partition_columns(&state, command, &places).await?;
    let options = listing_options(&state, command, &places, &partitions)?;
    let file_schema = if declared.fields().is_empty() {
        infer_columns(&state, &options, &places).await?
    } else {
        without_columns(declared, &partitions)
    };
    for url in &places.urls {
        options.validate_partitions(state.as_ref(), url).await?;
    }
    check_order(command, &file_schema)?;
    let sql = command.definition.clone().unwrap_or_default();
    Ok(ExternalTable { sql, file_schema, partition_columns: partitions })
}

/// The provider of a table whose facts are known.
///
/// # Errors
/// `Invalid` for a location or an option that cannot be understood.
pub(crate) fn open_external(
    state: &SessionState,
    command: &CreateExternalTable,
    table: &ExternalTable,
) -> Result<Arc<dyn TableProvider>> {
    let places = Places::of(command)?;
    let options = listing_options(state, command, &places, &table.partition_columns)?
        .with_file_sort_order(command.order_exprs.clone());
    let wants_views = state.config_options().execution.parquet.schema_force_view_types;
    let schema = if wants_views && command.file_type.eq_ignore_ascii_case("parquet") {
        Arc::new(transform_schema_to_view(&table.file_schema))
    } else {
        SchemaRef::clone(&table.file_schema)
    };
    let config =
        ListingTableConfig::new_with_multi_paths(places.urls).with_listing_options(options).with_schema(schema);
    let provider = ListingTable::try_new(config)?
        .with_cache(state.runtime_env().cache_manager.get_file_statistic_cache())
        .with_definition(command.definition.clone())
        .with_constraints(command.constraints.clone())
        .with_column_defaults(command.column_defaults.clone());
    Ok(Arc::new(FileTable::new(provider, places.glob)))
}

/// The addresses of a table.
struct Places {
    urls: Vec<ListingTableUrl>,
    /// Which files below the one address are meant.
    glob: Option<Glob>,
}

impl Places {
    /// All must lie in one store, because a scan reads from one.
    fn of(command: &CreateExternalTable) -> Result<Self> {
        let parsed = command.locations.iter().map(|text| Location::parse(text)).collect::<Result<Vec<_>>>()?;
        let is_one = parsed.len() == 1;
        let (mut urls, mut glob) = (Vec::new(), None);
        for (location, text) in parsed.into_iter().zip(&command.locations) {
            if location.glob.is_some() && !is_one {
                return Err(Error::invalid(format!(
                    "'{text}' has wildcards: a table of several locations names each of them in full"
                )));
            }
            glob = location.glob;
            urls.push(location.url.with_table_ref(command.name.clone()));
        }
        let Some(first) = urls.first() else { return Err(Error::invalid("the table has no location")) };
        match urls.iter().find(|url| url.object_store() != first.object_store()) {
            Some(other) => Err(Error::invalid(format!(
                "all locations of a table must lie in one store, but '{first}' and '{other}' do not"
            ))),
            None => Ok(Self { urls, glob }),
        }
    }
}

impl Display for Places {
    /// Local files by path, others by URL.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let paths = self.urls.iter().map(|url| url.as_str().strip_prefix("file://").unwrap_or(url.as_str()));
        f.write_str(&paths.collect::<Vec<_>>().join(", "))?;
        self.glob.as_ref().map_or(Ok(()), |glob| Display::fmt(glob, f))
    }
}

fn listing_options(
    state: &SessionState,
    command: &CreateExternalTable,
    places: &Places,
    partitions: &Schema,
) -> Result<ListingOptions> {
    let factory = state.get_file_format_factory(&command.file_type.to_lowercase()).ok_or_else(|| {
        Error::invalid(format!("unknown format {}: use PARQUET, CSV, JSON, AVRO, ARROW or DELTA", command.file_type))
    })?;
    let format = factory.create(state, &with_compression(command))?;
    // A directory may hold other things than data; a path or glob says itself what is meant.
    let whole_directory = places.glob.is_none() && places.urls.iter().all(ListingTableUrl::is_folder);
    let extension = match format.compression_type() {
        _ if !whole_directory => String::new(),
        Some(compression) => {
            format.get_ext_with_compression(&compression).unwrap_or_else(|_| command.file_type.to_lowercase())
        }
        None => command.file_type.to_lowercase(),
    };
    let columns = partitions.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    Ok(ListingOptions::new(format).with_file_extension(extension).with_table_partition_cols(columns))
}

/// The options, with the compression that the file's name tells unless one is given.
fn with_compression(command: &CreateExternalTable) -> HashMap<String, String> {
    let mut options = command.options.clone();
    let is_text = matches!(command.file_type.to_lowercase().as_str(), "csv" | "json");
    let is_told = options.keys().any(|key| key.to_lowercase().ends_with("compression"));
    let by_name = command.locations.first().and_then(|location| compression_of(location));
    if let Some(compression) = by_name.filter(|_| is_text && !is_told) {
        options.insert("format.compression".to_owned(), compression.to_string());
    }
    options
}

/// The compression that a file's name tells.
pub(crate) fn compression_of(location: &str) -> Option<CompressionTypeVariant> {
    match location.rsplit('.').next()?.to_ascii_lowercase().as_str() {
        "gz" => Some(CompressionTypeVariant::GZIP),
        "bz2" => Some(CompressionTypeVariant::BZIP2),
        "xz" => Some(CompressionTypeVariant::XZ),
        "zst" => Some(CompressionTypeVariant::ZSTD),
        _ => None,
    }
}

/// Columns that directories hold: named by the statement, or found as `name=value` in the paths.
async fn partition_columns(state: &SessionState, command: &CreateExternalTable, places: &Places) -> Result<SchemaRef> {
    let declared = command.schema.inner();
    let mut names = command.table_partition_cols.clone();
    let are_unknown = names.is_empty() && declared.fields().is_empty();
    if let Some(url) = places.urls.first().filter(|url| are_unknown && url.is_collection()) {
        let options = listing_options(state, command, places, &Schema::empty())?;
        names = match &places.glob {
            Some(glob) => glob.partition_columns(&list_files(state, &options, places, url).await?),
            None => options.infer_partitions(state, url).await?,
        };
    }
    let field = |name: &String| match declared.field_with_name(name) {
        Ok(field) => Ok(Field::new(name, field.data_type().clone(), false)),
        Err(_) if declared.fields().is_empty() => Ok(Field::new(name, DataType::Utf8, false)),
        Err(_) => Err(Error::invalid(format!("partition column \"{name}\" is not among the columns of the table"))),
    };
    Ok(Arc::new(Schema::new(names.iter().map(field).collect::<Result<Vec<_>>>()?)))
}

/// Views and dictionaries are ways to hold values in memory, and not types of a table.
async fn infer_columns(state: &SessionState, options: &ListingOptions, places: &Places) -> Result<SchemaRef> {
    let mut schemas = Vec::new();
    for url in &places.urls {
        let store = state.runtime_env().object_store(url)?;
        let files = list_files(state, options, places, url).await?;
        let inferred = options.format.infer_schema(state, &store, &files).await;
        let schema = match inferred {
            Ok(schema) => schema,
            Err(error) => return Err(name_the_file(error.into(), state, options.format.as_ref(), &store, &files).await),
        };
        schemas.push(result_schema(&schema));
    }
    let merged = Schema::try_merge(schemas)
        .map_err(|error| Error::from(DataFusionError::from(error)).context("the locations hold different columns"))?;
    if merged.fields().is_empty() {
        return Err(Error::invalid(format!("no columns found in {places}")));
    }
    Ok(Arc::new(merged))
}

/// Files with bytes in them; an empty one can be part of a table, but tells nothing of its columns.
async fn list_files(
    state: &dyn Session,
    options: &ListingOptions,
    places: &Places,
    url: &ListingTableUrl,
) -> Result<Vec<ObjectMeta>> {
    let store = state.runtime_env().object_store(url)?;
    let listed = url.list_all_files(state, store.as_ref(), &options.file_extension).await?;
    let files: Vec<ObjectMeta> = listed.try_collect().await?;
    if files.is_empty() {
        return Err(nothing_found(options, places));
    }
    let full: Vec<ObjectMeta> = files.iter().filter(|file| file.size > 0).cloned().collect();
    if full.is_empty() {
        return Err(Error::invalid(format!("/{} is empty", files[0].location)));
    }
    Ok(full)
}

fn nothing_found(options: &ListingOptions, places: &Places) -> Error {
    if options.file_extension.is_empty() {
        return Error::not_found(format!("no files at {places}"));
    }
    let extension = options.file_extension.trim_start_matches('.');
    Error::not_found(format!(
        "no files named *.{extension} in {places}; for other names use a glob, such as '{places}*.{extension}'"
    ))
}

fn without_columns(schema: &Schema, removed: &Schema) -> SchemaRef {
    let kept = schema.fields().iter().filter(|field| removed.field_with_name(field.name()).is_err()).cloned();
    Arc::new(Schema::new(kept.collect::<Vec<_>>()))
}

fn check_order(command: &CreateExternalTable, schema: &Schema) -> Result<()> {
    for sort in command.order_exprs.iter().flatten() {
        for column in sort.expr.column_refs() {
            if schema.field_with_name(&column.name).is_err() {
                let missing: Result<(), DataFusionError> =
                    plan_err!("column \"{}\" in WITH ORDER is not a column of the files", column.name);
                missing?;
            }
        }
    }
    Ok(())
}
