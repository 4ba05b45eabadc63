//! Actions of Flight that arrow-flight has no messages for: options and the end of a session.
//!
//! The messages are those of `Flight.proto`, by hand.

use std::collections::HashMap;

use engine::{Error, Result, SchemaName, Session};
use prost::Message;

/// Option names that every client knows.
const CATALOG_OPTION: &str = "catalog";
const SCHEMA_OPTION: &str = "schema";

/// Every action that is answered, with what it does.
pub(crate) const ACTIONS: [(&str, &str); 8] = [
    ("CreatePreparedStatement", "Plans a statement and gives it a handle"),
    (
        "CreatePreparedSubstraitPlan",
        "Plans a Substrait plan and gives it a handle, if the server was built with Substrait",
    ),
    ("ClosePreparedStatement", "Forgets a prepared statement"),
    ("CancelFlightInfo", "Stops a statement by its FlightInfo"),
    ("CancelQuery", "Stops a statement by its FlightInfo, as older clients do"),
    ("SetSessionOptions", "Sets options of the session: catalog, schema, or any setting"),
    ("GetSessionOptions", "Tells the options of the session"),
    ("CloseSession", "Ends the session"),
];

#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    List(TextList),
}

#[derive(Clone, PartialEq, Message)]
struct TextList {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

/// Both the request to set options and the answer that tells them.
#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionErrors {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionError {
    #[prost(enumeration = "Refusal", tag = "1")]
    value: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Refusal {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
}

#[derive(Clone, PartialEq, Message)]
struct Closed {
    /// 1: closed.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Sets the options in `body`; the encoded answer says which were refused.
///
/// # Errors
/// `Invalid` for a body that is not a request.
pub(crate) async fn set_options(session: &Session, body: &[u8]) -> Result<Vec<u8>> {
    let request = Options::decode(body).map_err(|error| Error::invalid(format!("a malformed request: {error}")))?;
    let mut errors = HashMap::new();
    for (name, value) in request.options {
        if let Err(refusal) = set_option(session, &name, value.value).await {
            errors.insert(name, OptionError { value: refusal as i32 });
        }
    }
    Ok(OptionErrors { errors }.encode_to_vec())
}

async fn set_option(session: &Session, name: &str, value: Option<Value>) -> Result<(), Refusal> {
    let value = match value {
        Some(Value::Text(text)) => text,
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Double(value)) => value.to_string(),
        Some(Value::List(_)) => return Err(Refusal::InvalidValue),
        // Without a value, the option is as it was at first.
        None => return session.reset_option(option_key(name)).map_err(|_| Refusal::InvalidName),
    };
    match name {
        SCHEMA_OPTION => {
            let schema = SchemaName::new(session.default_schema().catalog, value);
            session.use_schema(&schema).await.map_err(|_| Refusal::InvalidValue)
        }
        name if name != CATALOG_OPTION && session.option(name).is_none() => Err(Refusal::InvalidName),
        name => session.set_option(name, &value).await.map_err(|_| Refusal::InvalidValue),
    }
}

fn option_key(name: &str) -> &str {
    match name {
        SCHEMA_OPTION => "datafusion.catalog.default_schema",
        CATALOG_OPTION => "datafusion.catalog.default_catalog",
        name => name,
    }
}

/// The encoded options of the session.
pub(crate) fn get_options(session: &Session) -> Vec<u8> {
    let text = |value: String| OptionValue { value: Some(Value::Text(value)) };
    let SchemaName { catalog, schema } = session.default_schema();
    let mut options =
        HashMap::from([(CATALOG_OPTION.to_owned(), text(catalog)), (SCHEMA_OPTION.to_owned(), text(schema))]);
    options.extend(session.own_options().into_iter().map(|(name, value)| (name, text(value))));
    Options { options }.encode_to_vec()
}

/// The encoded answer to `CloseSession`.
pub(crate) fn closed() -> Vec<u8> {
    Closed { status: 1 }.encode_to_vec()
}
