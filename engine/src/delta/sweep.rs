//! Files that no version of a table names: what failed writes leave, and tables that were dropped.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::DeltaTable;
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::error::delta_error;
use super::named::NamedStore;
use super::store::{log_store, parse, path_of};
use crate::Result;

/// Removes the files that a query has written below `location`, but for `kept`, whose paths are relative to it. Nothing is
/// removed if the query has been committed after all and `kept` does not say what belongs.
///
/// # Errors
/// Those of the store.
pub(crate) async fn sweep_query(runtime: &RuntimeEnv, location: &str, prefix: &str, kept: &[Add]) -> Result<usize> {
    if kept.is_empty() && is_committed(runtime, location, prefix).await? {
        return Ok(0);
    }
    let url = parse(location)?;
    let directory = path_of(&url)?;
    let kept: HashSet<Path> =
        kept.iter().filter_map(|add| Path::parse(format!("{directory}/{}", add.path)).ok()).collect();
    let is_swept = |path: &Path| NamedStore::is_named(path, prefix) && !kept.contains(path);
    let store = runtime.object_store_registry.get_store(&url)?;
    let removed = remove(&store, &directory, is_swept).await?;
    if let Ok(path) = url.to_file_path() {
        remove_half_written(&path, prefix);
    }
    Ok(removed)
}

/// The local store writes under a name with a number sign, which it does not list, until a file is whole.
fn remove_half_written(directory: &std::path::Path, prefix: &str) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            remove_half_written(&path, prefix);
        } else if name.starts_with(prefix)
            && name.contains('#')
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a half-written file stays");
        }
    }
}

/// Whether the log of a table knows the query as a transaction: a commit may have been made although it seemed to fail.
async fn is_committed(runtime: &RuntimeEnv, location: &str, query_id: &str) -> Result<bool> {
    let log = log_store(runtime, location)?;
    if !log.is_delta_table_location().await.map_err(|error| delta_error(error, location))? {
        return Ok(false);
    }
    let mut table = DeltaTable::new(log);
    table.load().await.map_err(|error| delta_error(error, location))?;
    let state = table.snapshot().map_err(|error| delta_error(error, location))?;
    let known = state.transaction_version(table.log_store().as_ref(), query_id).await;
    Ok(known.map_err(|error| delta_error(error, location))?.is_some())
}

/// Removes everything below `location`.
///
/// # Errors
/// Those of the store.
pub(crate) async fn sweep_table(runtime: &RuntimeEnv, location: &str) -> Result<usize> {
    let url = parse(location)?;
    let directory = path_of(&url)?;
    let store = runtime.object_store_registry.get_store(&url)?;
    let removed = remove(&store, &directory, |_| true).await?;
    if let Ok(path) = url.to_file_path() {
        // Directories are no objects: a store leaves them.
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a directory of a dropped table stays");
            }
            _ => {}
        }
    }
    Ok(removed)
}

async fn remove(store: &Arc<dyn ObjectStore>, directory: &Path, is_swept: impl Fn(&Path) -> bool) -> Result<usize> {
    let listed = store.list(Some(directory)).try_filter_map(|file: ObjectMeta| {
        let swept = is_swept(&file.location).then_some(file.location);
        async move { Ok(swept) }
    });
    let found: Vec<Path> = listed.try_collect().await.map_err(store_error)?;
    let count = found.len();
    let mut removed = store.delete_stream(futures::stream::iter(found).map(Ok).boxed());
    while let Some(result) = removed.next().await {
        match result {
            Err(object_store::Error::NotFound { .. }) | Ok(_) => {}
            Err(error) => return Err(store_error(error)),
        }
    }
    Ok(count)
}

fn store_error(error: object_store::Error) -> crate::Error {
    datafusion::error::DataFusionError::ObjectStore(Box::new(error)).into()
}
