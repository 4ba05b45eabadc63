//! Where a table lies: a directory in an object store, with the log in `_delta_log`.

use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use crate::{Error, Result};

/// The log of the table at `location`, a URL that ends with a slash. Stores that cannot put a file only if it is not
/// there are refused by themselves when something is committed.
///
/// # Errors
/// `Invalid` for a location that is none.
pub(crate) fn log_store(runtime: &RuntimeEnv, location: &str) -> Result<LogStoreRef> {
    let url = parse(location)?;
    let root = runtime.object_store_registry.get_store(&url)?;
    let prefix = path_of(&url)?;
    let prefixed = Arc::new(PrefixStore::new(Arc::clone(&root), prefix));
    Ok(default_logstore(prefixed, root, &url, &StorageConfig::default()))
}

/// The URL of a location.
///
/// # Errors
/// `Invalid`.
pub(crate) fn parse(location: &str) -> Result<Url> {
    Url::parse(location).map_err(|error| Error::invalid(format!("bad location '{location}': {error}")))
}

/// The path of a location in its store.
///
/// # Errors
/// `Invalid` for a path that a store cannot have.
pub(crate) fn path_of(url: &Url) -> Result<Path> {
    Path::from_url_path(url.path()).map_err(|error| Error::invalid(format!("bad location '{url}': {error}")))
}
