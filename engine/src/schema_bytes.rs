//! An Arrow schema as bytes, for whoever keeps or sends one: the flatbuffer of Arrow's IPC format.

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::convert::{IpcSchemaEncoder, fb_to_schema};
use datafusion::arrow::ipc::root_as_schema;
use datafusion::arrow::ipc::writer::DictionaryTracker;

/// A schema message of Arrow's IPC format.
pub(crate) fn schema_to_bytes(schema: &Schema) -> Vec<u8> {
    let mut dictionaries = DictionaryTracker::new(true);
    IpcSchemaEncoder::new().with_dictionary_tracker(&mut dictionaries).schema_to_fb(schema).finished_data().to_vec()
}

/// What [`schema_to_bytes`] wrote.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn schema_from_bytes(bytes: &[u8]) -> Result<Schema, String> {
    root_as_schema(bytes).map(fb_to_schema).map_err(|error| error.to_string())
}
