//! Functions that clients call when they look around.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, Weak};

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion_pg_catalog::pg_catalog as pg;
use engine::{CATALOG, SCHEMA, SchemaName, Session};

use crate::postgres::settings::{SERVER_VERSION, Settings};

/// What functions can know of their session.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) session: Weak<Session>,
    pub(super) settings: Arc<Settings>,
}

/// All of them for one session.
pub(super) fn functions(facts: &Arc<Facts>) -> Vec<Arc<ScalarUDF>> {
    let of_session = FACTS.into_iter().map(|(name, fact, data_type)| {
        let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
        Arc::new(ScalarUDF::from(OfSession { name, fact, data_type: data_type(), signature, facts: Arc::clone(facts) }))
    });
    SAME_FOR_ALL.iter().cloned().chain(of_session).collect()
}

/// A function whose answer depends on the session.
#[derive(Debug)]
struct OfSession {
    name: &'static str,
    fact: Fact,
    data_type: DataType,
    signature: Signature,
    facts: Arc<Facts>,
}

type Fact = fn(&Facts, &[ColumnarValue]) -> Result<ScalarValue>;

/// Name, answer, type.
type FactFunction = (&'static str, Fact, fn() -> DataType);

const FACTS: [FactFunction; 6] = [
    ("current_database", |facts, _| Ok(ScalarValue::from(facts.schema().catalog)), text),
    ("current_schema", |facts, _| Ok(ScalarValue::from(facts.schema().schema)), text),
    ("current_schemas", current_schemas, || DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))),
    ("session_user", |facts, _| Ok(ScalarValue::from(facts.settings.user.as_str())), text),
    ("pg_get_userbyid", |facts, _| Ok(ScalarValue::from(facts.settings.user.as_str())), text),
    ("current_setting", current_setting, text),
];

fn text() -> DataType {
    DataType::Utf8
}

impl Facts {
    fn schema(&self) -> SchemaName {
        let first = || SchemaName::new(CATALOG, SCHEMA);
        self.session.upgrade().map_or_else(first, |session| session.default_schema())
    }
}

fn current_schemas(facts: &Facts, arguments: &[ColumnarValue]) -> Result<ScalarValue> {
    let mut names = vec![facts.schema().schema];
    if let [ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))] = arguments {
        names.insert(0, "pg_catalog".to_owned());
    }
    let names = ScalarValue::iter_to_array(names.into_iter().map(ScalarValue::from))?;
    Ok(SingleRowListArrayBuilder::new(names).build_list_scalar())
}

/// `current_setting(name [, missing_ok])`.
fn current_setting(facts: &Facts, arguments: &[ColumnarValue]) -> Result<ScalarValue> {
    let Some(ColumnarValue::Scalar(name)) = arguments.first() else {
        return exec_err!("current_setting takes the name of a parameter as a constant");
    };
    let Some(Some(name)) = name.try_as_str() else { return Ok(ScalarValue::Utf8(None)) };
    let session = facts.session.upgrade();
    let value = session.and_then(|session| match facts.settings.show(&session, name) {
        Some((_, value)) => Some(value),
        None => session.option(name),
    });
    let may_miss = matches!(arguments.get(1), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
    match value {
        None if !may_miss => exec_err!("there is no setting {name}"),
        value => Ok(ScalarValue::Utf8(value)),
    }
}

impl PartialEq for OfSession {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for OfSession {}

impl Hash for OfSession {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for OfSession {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.fact)(&self.facts, &arguments.args).map(ColumnarValue::Scalar)
    }
}

/// A function that always says the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl Constant {
    fn function(name: &'static str, value: impl Into<ScalarValue>) -> Arc<ScalarUDF> {
        let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
        Arc::new(ScalarUDF::from(Self { name, value: value.into(), signature }))
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// Nothing is kept of what these ask for.
const NULL_TEXTS: [&str; 14] = [
    "obj_description",
    "col_description",
    "shobj_description",
    "pg_get_viewdef",
    "pg_get_indexdef",
    "pg_get_triggerdef",
    "pg_get_ruledef",
    "pg_get_partkeydef",
    "pg_get_serial_sequence",
    "pg_get_function_result",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_sqlbody",
    "pg_tablespace_location",
];

/// Whoever is in may see everything.
const YESES: [&str; 12] = [
    "pg_table_is_visible",
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_operator_is_visible",
    "has_schema_privilege",
    "has_database_privilege",
    "has_table_privilege",
    "has_column_privilege",
    "has_any_column_privilege",
    "has_function_privilege",
    "has_sequence_privilege",
    "has_tablespace_privilege",
];

static SAME_FOR_ALL: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let version = format!("PostgreSQL {SERVER_VERSION} (Grappe {})", env!("CARGO_PKG_VERSION"));
    let theirs = [
        pg::create_pg_relation_is_publishable_udf(),
        pg::create_pg_get_statisticsobjdef_columns_udf(),
        pg::create_pg_encoding_to_char_udf(),
        pg::create_pg_backend_pid_udf(),
        pg::create_pg_relation_size_udf(),
        pg::create_pg_total_relation_size_udf(),
        pg::create_pg_stat_get_numscans(),
        pg::create_pg_get_constraintdef(),
        pg::create_pg_get_partition_ancestors_udf(),
        pg::format_type::create_format_type_udf(),
        pg::pg_get_expr_udf::create_pg_get_expr_udf(),
        pg::quote_ident_udf::create_quote_ident_udf(),
        pg::quote_ident_udf::create_parse_ident_udf(),
        pg::array_bounds_udf::create_array_upper_udf(),
        pg::array_bounds_udf::create_array_lower_udf(),
    ];
    let constants = [
        Constant::function("version", version.as_str()),
        Constant::function("pg_is_in_recovery", false),
        Constant::function("pg_my_temp_schema", 0_i32),
        Constant::function("pg_is_other_temp_schema", false),
        Constant::function("pg_advisory_unlock_all", ScalarValue::Utf8(None)),
    ];
    let nulls = NULL_TEXTS.map(|name| Constant::function(name, ScalarValue::Utf8(None)));
    let yeses = YESES.map(|name| Constant::function(name, true));
    theirs.map(Arc::new).into_iter().chain(constants).chain(nulls).chain(yeses).collect()
});
