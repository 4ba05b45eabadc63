//! Files directly in FROM: `SELECT * FROM 'dir/*.parquet'`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::CreateExternalTable;
use futures::TryStreamExt;

use crate::catalog::external::{compression_of, open_external, resolve_external};
use crate::catalog::glob::{Location, listing_state};
use crate::{Error, Result};

/// Whether a name that is no table can only mean a file.
pub(crate) fn looks_like_a_file(name: &str) -> bool {
    name.contains('/') || format_of(name).is_some()
}

/// Opens the file, directory or glob that `path` names.
///
/// # Errors
/// `NotFound` if nothing is there; `Invalid` if the format cannot be told or read.
pub(crate) async fn open_path(state: &SessionState, path: &str) -> Result<Arc<dyn TableProvider>> {
    let (file_type, options) = match format_of(path) {
        Some(format) => format,
        None => format_of_contents(state, path).await?,
    };
    let command = CreateExternalTable::builder(
        TableReference::bare(path),
        path.to_owned(),
        file_type.to_owned(),
        Arc::new(DFSchema::empty()),
    )
    .with_options(options)
    .build();
    let table = resolve_external(state, &command).await?;
    open_external(state, &command, &table)
}

type Format = (&'static str, HashMap<String, String>);

/// Format and options by the end of a name, such as `.csv.gz`.
fn format_of(path: &str) -> Option<Format> {
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split('?').next().unwrap_or(rest));
    let name = path.rsplit('/').next()?.to_ascii_lowercase();
    let compression = compression_of(&name);
    let name = if compression.is_some() { name.rsplit_once('.')?.0 } else { name.as_str() };
    let (_, extension) = name.rsplit_once('.')?;
    let mut options = HashMap::new();
    let file_type = match extension {
        "parquet" | "pq" | "parq" if compression.is_none() => "parquet",
        "csv" => "csv",
        "tsv" => {
            options.insert("format.delimiter".to_owned(), "\t".to_owned());
            "csv"
        }
        "json" | "ndjson" | "jsonl" => "json",
        "avro" if compression.is_none() => "avro",
        "arrow" | "ipc" | "feather" if compression.is_none() => "arrow",
        _ => return None,
    };
    if let Some(compression) = compression {
        options.insert("format.compression".to_owned(), compression.to_string());
    }
    Some((file_type, options))
}

/// The format of the first file of a directory or glob that has one.
async fn format_of_contents(state: &SessionState, path: &str) -> Result<Format> {
    let Location { url, glob } = Location::parse(path)?;
    let state = listing_state(state, glob.as_ref())?;
    let store = state.runtime_env().object_store(&url)?;
    let listed = url.list_all_files(state.as_ref(), store.as_ref(), "").await?;
    let formats = listed.try_filter_map(|file| std::future::ready(Ok(format_of(file.location.as_ref()))));
    match std::pin::pin!(formats).try_next().await? {
        Some(format) => Ok(format),
        None => Err(Error::not_found(format!(
            "no data files at {path}: names must end in .parquet, .csv, .tsv, .json, .ndjson, .avro or .arrow"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_tells_format_and_compression() {
        assert_eq!(format_of("a/b.parquet").unwrap().0, "parquet");
        let (file_type, options) = format_of("s3://x/y.TSV.gz").unwrap();
        assert_eq!(file_type, "csv");
        assert_eq!(options["format.compression"], "GZIP");
        assert_eq!(options["format.delimiter"], "\t");
        assert!(format_of("orders").is_none());
        assert!(format_of("x.parquet.gz").is_none());
    }

    #[test]
    fn only_paths_and_known_endings_are_files() {
        assert!(looks_like_a_file("lineitem.parquet"));
        assert!(looks_like_a_file("data/"));
        assert!(!looks_like_a_file("my.table"));
    }
}
