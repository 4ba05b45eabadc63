//! Other columns, constraints and properties for a table: the actions that say so.

use std::collections::BTreeMap;

use buoyant_kernel::schema::StructType;
use datafusion::arrow::datatypes::{DataType, Schema};
use deltalake::kernel::Action;
use serde_json::{Map, Value, json};

use super::create::kernel_fields;
use super::snapshot::{CONSTRAINT_PREFIX, Snapshot};
use crate::{Error, Result};

/// The version of the protocol since which writers must heed constraints, and the one since which features have names.
const WRITER_WITH_CONSTRAINTS: u64 = 3;
const WRITER_WITH_FEATURES: u64 = 7;

/// Actions that give the table of `snapshot` these columns, as the log keeps them, and exactly these `checks`; and sets
/// `properties` beside those that it has.
///
/// # Errors
/// `Invalid` for a column that Delta Lake cannot keep.
pub(crate) fn altered(
    snapshot: &Snapshot,
    columns: &Schema,
    checks: &[(String, String)],
    properties: &BTreeMap<String, String>,
) -> Result<Vec<Action>> {
    let log = snapshot.log()?;
    let schema = StructType::try_new(kernel_fields(columns)?).map_err(not_kept)?;
    let mut configuration = snapshot.properties();
    configuration.retain(|key, _| !key.starts_with(CONSTRAINT_PREFIX));
    configuration.extend(properties.clone());
    configuration.extend(checks.iter().map(|(name, sql)| (format!("{CONSTRAINT_PREFIX}{name}"), sql.clone())));
    let mut metadata = object(log.metadata())?;
    metadata.insert("schemaString".to_owned(), json!(serde_json::to_string(&schema).map_err(not_kept)?));
    metadata.insert("configuration".to_owned(), json!(configuration));
    let metadata = serde_json::from_value(Value::Object(metadata)).map_err(not_kept)?;
    let mut actions = vec![Action::Metadata(metadata)];
    let mut protocol = object(log.protocol())?;
    if require_all(&mut protocol, columns, checks) {
        actions.push(Action::Protocol(serde_json::from_value(Value::Object(protocol)).map_err(not_kept)?));
    }
    Ok(actions)
}

/// The protocol of a new table with these columns, as the log keeps them, and these `checks`.
///
/// # Errors
/// `Internal`: it is always well made.
pub(crate) fn new_protocol(columns: &Schema, checks: &[(String, String)]) -> Result<Action> {
    let mut protocol = Map::new();
    protocol.insert("minReaderVersion".to_owned(), json!(1));
    protocol.insert("minWriterVersion".to_owned(), json!(2));
    require_all(&mut protocol, columns, checks);
    Ok(Action::Protocol(serde_json::from_value(Value::Object(protocol)).map_err(not_kept)?))
}

/// Adds what columns and constraints need; false if nothing had to be added.
fn require_all(protocol: &mut Map<String, Value>, columns: &Schema, checks: &[(String, String)]) -> bool {
    let is_local = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, None));
    let has_local_times = columns.fields().iter().any(|field| contains(field.data_type(), &is_local));
    let times = has_local_times && require(protocol, "timestampNtz", true);
    let rules = !checks.is_empty() && require(protocol, "checkConstraints", false);
    times || rules
}

fn contains(data_type: &DataType, wanted: &impl Fn(&DataType) -> bool) -> bool {
    wanted(data_type)
        || match data_type {
            DataType::List(item) | DataType::Map(item, _) => contains(item.data_type(), wanted),
            DataType::Struct(fields) => fields.iter().any(|field| contains(field.data_type(), wanted)),
            _ => false,
        }
}

/// Adds a feature to a protocol; false if nothing had to be added.
fn require(protocol: &mut Map<String, Value>, feature: &str, is_for_readers: bool) -> bool {
    let version = protocol.get("minWriterVersion").and_then(Value::as_u64).unwrap_or_default();
    if version < WRITER_WITH_FEATURES && !is_for_readers {
        let is_new = version < WRITER_WITH_CONSTRAINTS;
        protocol.insert("minWriterVersion".to_owned(), json!(version.max(WRITER_WITH_CONSTRAINTS)));
        return is_new;
    }
    if version < WRITER_WITH_FEATURES {
        // What older versions of the protocol imply must be named from now on.
        protocol.insert("minWriterVersion".to_owned(), json!(WRITER_WITH_FEATURES));
        protocol.insert("minReaderVersion".to_owned(), json!(3));
        protocol.insert("readerFeatures".to_owned(), json!([]));
        let implied = if version < WRITER_WITH_CONSTRAINTS {
            json!(["appendOnly", "invariants"])
        } else {
            json!(["appendOnly", "invariants", "checkConstraints"])
        };
        protocol.insert("writerFeatures".to_owned(), implied);
    }
    let mut is_new = add_to(protocol, "writerFeatures", feature);
    if is_for_readers {
        is_new |= add_to(protocol, "readerFeatures", feature);
    }
    is_new
}

fn add_to(protocol: &mut Map<String, Value>, list: &str, feature: &str) -> bool {
    let features = protocol.entry(list).or_insert_with(|| json!([]));
    let Some(features) = features.as_array_mut() else { return false };
    let is_new = !features.iter().any(|known| known == feature);
    if is_new {
        features.push(json!(feature));
    }
    is_new
}

fn object(action: &impl serde::Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(action).map_err(not_kept)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::internal("an action of a log is no object")),
    }
}

fn not_kept(error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("the table cannot be changed so: {error}"))
}
