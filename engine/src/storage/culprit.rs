//! Finds which of a table's files is damaged, after a read of all of them has failed without saying which.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::datasource::file_format::FileFormat;
use object_store::{ObjectMeta, ObjectStore};

use crate::Error;

/// Files looked at one by one; beyond that the error names the table only.
const FILES_PROBED_MAX: usize = 1_000;

/// `error`, prefixed by the first file whose schema cannot be read.
pub(crate) async fn name_the_file(
    error: Error,
    state: &dyn Session,
    format: &dyn FileFormat,
    store: &Arc<dyn ObjectStore>,
    files: &[ObjectMeta],
) -> Error {
    for file in files.iter().take(FILES_PROBED_MAX) {
        if let Err(cause) = format.infer_schema(state, store, std::slice::from_ref(file)).await {
            return Error::from(cause).context(format!("cannot read /{}", file.location));
        }
    }
    error
}
