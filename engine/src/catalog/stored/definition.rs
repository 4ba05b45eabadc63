//! A definition as it is stored: JSON for what only we read, an Arrow schema in its own format, and as columns what SQL
//! has to find.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::catalog::{DeltaDefinition, ExternalTable, SchemaName, TableDefinition, TableKind, TableName, View};
use crate::config::CATALOG;
use crate::schema_bytes::{schema_from_bytes, schema_to_bytes};
use crate::{Error, Result};

/// Raised when a field is added that an older binary must not overlook.
const VERSION: u32 = 1;

const TABLE: &str = "table";
const VIEW: &str = "view";

/// The columns of a table's row that its definition fills.
pub(super) struct Record {
    /// `table` or `view`.
    pub(super) kind: &'static str,
    /// `files` or `delta`.
    pub(super) format: Option<&'static str>,
    /// Where a Delta table lies.
    pub(super) location: Option<String>,
    /// Whether what lies there goes with the table.
    pub(super) is_managed: bool,
    /// JSON.
    pub(super) definition: String,
    /// Arrow schema.
    pub(super) columns: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Versioned<D> {
    version: u32,
    definition: D,
}

/// What is not in other columns of the row.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    External(StoredExternal),
    Delta(StoredDelta),
    View(StoredView),
}

#[derive(Serialize, Deserialize)]
struct StoredExternal {
    sql: String,
    /// How many of the columns are directory names: the last ones.
    partition_columns: usize,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    file_metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    partition_metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct StoredDelta {
    partition_columns: Vec<String>,
    defaults: BTreeMap<String, String>,
    primary_key: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredView {
    sql: String,
    /// The first catalog if it is not there: once there was no other.
    #[serde(default = "first_catalog", skip_serializing_if = "is_first")]
    default_catalog: String,
    default_schema: String,
}

fn first_catalog() -> String {
    CATALOG.to_owned()
}

fn is_first(catalog: &String) -> bool {
    catalog == CATALOG
}

impl Record {
    /// What is to be stored.
    ///
    /// # Errors
    /// `Invalid` for rows in memory, and for column types that Arrow cannot write.
    pub(super) fn of(name: &TableName, definition: &TableDefinition) -> Result<Self> {
        let (format, location, is_managed, stored) = match definition {
            TableDefinition::External(table) => (Some("files"), None, false, stored_external(table)),
            TableDefinition::Delta(table) => {
                (Some("delta"), Some(table.location.clone()), table.is_managed, stored_delta(table))
            }
            TableDefinition::View(view) => (None, None, false, stored_view(view)),
            TableDefinition::Memory(_) => return Err(in_memory(name)),
        };
        let definition_json = serde_json::to_string(&Versioned { version: VERSION, definition: stored })
            .map_err(|error| Error::internal(format!("the definition of \"{name}\" cannot be written: {error}")))?;
        Ok(Self {
            kind: kind_text(definition.kind()),
            format,
            location,
            is_managed,
            definition: definition_json,
            columns: encode(name, &definition.columns())?,
        })
    }
}

/// Puts a definition together again; the error is for who knows which table it is.
pub(super) fn restore(
    json: &str,
    columns: &[u8],
    location: Option<String>,
    is_managed: bool,
) -> Result<TableDefinition, String> {
    let columns = decode(columns)?;
    Ok(match parse(json)? {
        Stored::External(stored) => TableDefinition::External(Arc::new(external(stored, &columns)?)),
        Stored::Delta(stored) => TableDefinition::Delta(Arc::new(DeltaDefinition {
            location: location.ok_or("a Delta table without a location")?,
            columns,
            partition_columns: stored.partition_columns,
            defaults: stored.defaults,
            primary_key: stored.primary_key,
            is_managed,
        })),
        Stored::View(stored) => {
            let default_schema = SchemaName::new(stored.default_catalog, stored.default_schema);
            TableDefinition::View(Arc::new(View { sql: stored.sql, default_schema, columns }))
        }
    })
}

/// The statement of a view.
pub(super) fn view_sql(json: &str) -> Result<Option<String>, String> {
    Ok(match parse(json)? {
        Stored::View(stored) => Some(stored.sql),
        Stored::External(_) | Stored::Delta(_) => None,
    })
}

/// The columns of a table.
pub(super) fn decode(bytes: &[u8]) -> Result<SchemaRef, String> {
    schema_from_bytes(bytes).map(Arc::new)
}

/// What `kind_text` has written.
pub(super) fn kind(text: &str) -> Result<TableKind, String> {
    match text {
        TABLE => Ok(TableKind::Table),
        VIEW => Ok(TableKind::View),
        other => Err(format!("neither a table nor a view, but '{other}'")),
    }
}

fn kind_text(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Table => TABLE,
        TableKind::View => VIEW,
    }
}

fn in_memory(name: &TableName) -> Error {
    Error::invalid(format!("\"{name}\" holds rows in memory, which do not last: make it a temporary table"))
}

fn stored_external(table: &ExternalTable) -> Stored {
    Stored::External(StoredExternal {
        sql: table.sql.clone(),
        partition_columns: table.partition_columns.fields().len(),
        file_metadata: sorted(table.file_schema.metadata()),
        partition_metadata: sorted(table.partition_columns.metadata()),
    })
}

fn stored_delta(table: &DeltaDefinition) -> Stored {
    Stored::Delta(StoredDelta {
        partition_columns: table.partition_columns.clone(),
        defaults: table.defaults.clone(),
        primary_key: table.primary_key.clone(),
    })
}

fn stored_view(view: &View) -> Stored {
    let SchemaName { catalog, schema } = view.default_schema.clone();
    Stored::View(StoredView { sql: view.sql.clone(), default_catalog: catalog, default_schema: schema })
}

fn external(stored: StoredExternal, columns: &Schema) -> Result<ExternalTable, String> {
    let fields = columns.fields();
    let file_count = fields.len().checked_sub(stored.partition_columns).ok_or("more partition columns than columns")?;
    let (in_files, in_names) = fields.split_at(file_count);
    let schema = |fields: &[_], metadata: BTreeMap<_, _>| {
        Arc::new(Schema::new_with_metadata(fields.to_vec(), metadata.into_iter().collect()))
    };
    Ok(ExternalTable {
        sql: stored.sql,
        file_schema: schema(in_files, stored.file_metadata),
        partition_columns: schema(in_names, stored.partition_metadata),
    })
}

fn sorted(metadata: &HashMap<String, String>) -> BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn parse(json: &str) -> Result<Stored, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let parsed: serde_json::Result<Versioned<Stored>> = serde_json::from_str(json);
    match (parsed, serde_json::from_str::<Version>(json)) {
        (_, Ok(Version { version })) if version > VERSION => {
            Err(format!("version {version} of it is for a newer version of grappe"))
        }
        (Ok(parsed), _) => Ok(parsed.definition),
        (Err(error), _) => Err(error.to_string()),
    }
}

/// Reads back what it writes: a type that Arrow's format cannot hold is refused now, not when the table is asked for.
fn encode(name: &TableName, schema: &Schema) -> Result<Vec<u8>> {
    let bytes = schema_to_bytes(schema);
    match decode(&bytes) {
        Ok(read) if *read == *schema => Ok(bytes),
        _ => Err(Error::invalid(format!(
            "the catalog cannot keep the column types of \"{name}\": they are nested too deeply or are no plain types; \
             cast them"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{
        DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit, UnionFields, UnionMode,
    };

    use super::*;

    fn name() -> TableName {
        SchemaName::new(CATALOG, "s").table("t")
    }

    fn item(data_type: DataType) -> FieldRef {
        let metadata = HashMap::from([("unit".to_owned(), "\"grapes\"\n\u{1f347}".to_owned())]);
        Arc::new(Field::new("item", data_type, true).with_metadata(metadata))
    }

    fn plain_types() -> Vec<DataType> {
        use DataType::*;
        let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
        let zones = [None, Some("Europe/Paris".into()), Some("+05:30".into())];
        let mut types = vec![Null, Boolean, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float16, Float32];
        types.extend([Float64, Date32, Date64, Binary, LargeBinary, BinaryView, FixedSizeBinary(0), Utf8, LargeUtf8]);
        types.extend([Utf8View, FixedSizeBinary(16), Time32(TimeUnit::Second), Time32(TimeUnit::Millisecond)]);
        types.extend([Time64(TimeUnit::Microsecond), Time64(TimeUnit::Nanosecond), Decimal32(9, 2), Decimal64(18, -3)]);
        types.extend([Decimal128(38, 10), Decimal256(76, -5)]);
        types.extend([IntervalUnit::YearMonth, IntervalUnit::DayTime, IntervalUnit::MonthDayNano].map(Interval));
        types.extend(units.map(Duration));
        types.extend(units.iter().flat_map(|unit| zones.clone().map(|zone| Timestamp(*unit, zone))));
        types
    }

    /// Every way to nest `inner`.
    fn nested(inner: &DataType) -> Vec<DataType> {
        use DataType::*;
        let key = Arc::new(Field::new("key", Utf8, false));
        let entries = Struct(Fields::from(vec![key, item(inner.clone())]));
        let parts = UnionFields::try_new([3, 7], [Field::new("a", Int8, false), Field::new("b", inner.clone(), true)]);
        vec![
            List(item(inner.clone())),
            LargeList(item(inner.clone())),
            ListView(item(inner.clone())),
            LargeListView(item(inner.clone())),
            FixedSizeList(item(inner.clone()), 3),
            Struct(Fields::from(vec![item(inner.clone()), item(Utf8)])),
            Struct(Fields::empty()),
            Map(Arc::new(Field::new("entries", entries, false)), true),
            Union(parts.unwrap(), UnionMode::Dense),
            Dictionary(Box::new(UInt16), Box::new(Utf8)),
            RunEndEncoded(Arc::new(Field::new("run_ends", Int32, false)), item(inner.clone())),
        ]
    }

    fn all_types() -> Vec<DataType> {
        let plain = plain_types();
        let once: Vec<DataType> = plain.iter().flat_map(nested).collect();
        let twice: Vec<DataType> = nested(&plain[5]).iter().flat_map(nested).collect();
        [plain, once, twice].concat()
    }

    fn schema_of(types: &[DataType], prefix: &str) -> SchemaRef {
        let metadata = |n: usize| HashMap::from([("n".to_owned(), n.to_string()), (String::new(), String::new())]);
        let field = |(n, data_type): (usize, &DataType)| {
            Field::new(format!("{prefix} \"{n}\""), data_type.clone(), n % 2 == 0).with_metadata(metadata(n))
        };
        let fields: Vec<Field> = types.iter().enumerate().map(field).collect();
        Arc::new(Schema::new_with_metadata(fields, metadata(types.len())))
    }

    fn there_and_back(definition: TableDefinition) -> TableDefinition {
        let record = Record::of(&name(), &definition).unwrap();
        assert_eq!(decode(&record.columns).unwrap(), definition.columns());
        assert_eq!(kind(record.kind).unwrap(), definition.kind());
        assert_eq!(view_sql(&record.definition).unwrap().as_deref(), definition.view_sql());
        restore(&record.definition, &record.columns, record.location, record.is_managed).unwrap()
    }

    #[test]
    fn every_arrow_type_comes_back_equal_in_every_kind_of_table() {
        for data_type in all_types() {
            let columns = schema_of(&[data_type.clone(), DataType::Utf8, data_type], "c");
            let default_schema = SchemaName::new("Käse", "Ünï");
            let view = Arc::new(View { sql: "CREATE VIEW v".into(), default_schema, columns });
            match there_and_back(TableDefinition::View(Arc::clone(&view))) {
                TableDefinition::View(back) => assert_eq!(back, view),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_external_table_comes_back_with_its_partition_columns_apart() {
        for partitions in 0..3 {
            let names = [DataType::Utf8, DataType::Date32];
            let table = Arc::new(ExternalTable {
                sql: "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x''y'".into(),
                file_schema: schema_of(&all_types(), "f"),
                partition_columns: schema_of(&names[..partitions], "p"),
            });
            match there_and_back(TableDefinition::External(Arc::clone(&table))) {
                TableDefinition::External(back) => assert_eq!(back, table),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_delta_table_comes_back_with_all_that_is_known_of_it() {
        for is_managed in [false, true] {
            let table = Arc::new(DeltaDefinition {
                location: "s3://bucket/warehouse/t%20t/".into(),
                columns: schema_of(&plain_types(), "c"),
                partition_columns: vec!["a".into(), "B \"b\"".into()],
                defaults: BTreeMap::from([("a".into(), "'it''s'".into()), ("b".into(), "now()".into())]),
                primary_key: vec!["id".into()],
                is_managed,
            });
            match there_and_back(TableDefinition::Delta(Arc::clone(&table))) {
                TableDefinition::Delta(back) => assert_eq!(back, table),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn types_that_could_not_be_read_again_are_refused() {
        let deep = (0..100).fold(DataType::Int8, |inner, _| DataType::List(item(inner)));
        let view =
            View { sql: String::new(), default_schema: SchemaName::new(CATALOG, ""), columns: schema_of(&[deep], "c") };
        let refused = Record::of(&name(), &TableDefinition::View(Arc::new(view))).map(|_| ()).unwrap_err();
        assert!(refused.message.contains("s.t") && refused.message.contains("nested"), "{}", refused.message);
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let newer = parse(r#"{"version": 2, "definition": {"cloud": {}}}"#).map(|_| ()).unwrap_err();
        assert!(newer.contains("newer version"), "{newer}");
        let damaged = parse(r#"{"version": 1, "definition": {"view": {}}}"#).map(|_| ()).unwrap_err();
        assert!(damaged.contains("missing field"), "{damaged}");
    }
}
