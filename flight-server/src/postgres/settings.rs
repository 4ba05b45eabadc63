//! What drivers set and show on their own account: parameters of PostgreSQL that mean something here, and those that are
//! only said to be as drivers want them.

use std::collections::HashMap;
use std::time::Duration;

use engine::{SchemaName, Session};
use parking_lot::Mutex;
use pgwire::types::format::FormatOptions;

use crate::postgres::command::Command;
use crate::postgres::errors::Refusal;

/// The version whose catalog and messages we have; the first number decides what clients send.
pub(super) const SERVER_VERSION: &str = "15.0";

/// Key of the time zone in the engine.
const TIME_ZONE_KEY: &str = "datafusion.execution.time_zone";

/// What a parameter may be set to.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Nothing: it is as it is.
    Nothing,
    /// Anything: it changes nothing here.
    Anything,
    /// What begins with one of these, in any case: it is so anyway.
    OneOf(&'static [&'static str]),
    /// A number in this range.
    Number(i64, i64),
    /// A time.
    Time,
}

/// A parameter that we answer for.
#[derive(Debug)]
struct Parameter {
    name: &'static str,
    default: &'static str,
    takes: Takes,
    /// Whether clients are told at the beginning and at each change.
    reported: bool,
}

const fn parameter(name: &'static str, default: &'static str, takes: Takes) -> Parameter {
    Parameter { name, default, takes, reported: false }
}

const fn reported(name: &'static str, default: &'static str, takes: Takes) -> Parameter {
    Parameter { name, default, takes, reported: true }
}

const UTF8: &[&str] = &["utf8", "utf-8", "unicode"];
const ON: &[&str] = &["on", "true", "1", "yes"];
const OFF: &[&str] = &["off", "false", "0", "no"];

static PARAMETERS: [Parameter; 35] = [
    reported("server_version", SERVER_VERSION, Takes::Nothing),
    reported("server_encoding", "UTF8", Takes::Nothing),
    reported("client_encoding", "UTF8", Takes::OneOf(UTF8)),
    reported("DateStyle", "ISO, MDY", Takes::OneOf(&["iso"])),
    reported("IntervalStyle", "postgres", Takes::OneOf(&["postgres"])),
    reported("integer_datetimes", "on", Takes::Nothing),
    reported("standard_conforming_strings", "on", Takes::OneOf(ON)),
    reported("application_name", "", Takes::Anything),
    reported("is_superuser", "off", Takes::Nothing),
    reported("session_authorization", "", Takes::Nothing),
    reported("in_hot_standby", "off", Takes::Nothing),
    reported("default_transaction_read_only", "off", Takes::OneOf(OFF)),
    parameter("server_version_num", "150000", Takes::Nothing),
    parameter("extra_float_digits", "1", Takes::Number(-15, 3)),
    parameter("bytea_output", "hex", Takes::OneOf(&["hex"])),
    parameter("statement_timeout", "0", Takes::Time),
    // There are no locks to wait for and no transactions to be idle in.
    parameter("lock_timeout", "0", Takes::Time),
    parameter("idle_in_transaction_session_timeout", "0", Takes::Time),
    parameter("idle_session_timeout", "0", Takes::OneOf(&["0"])),
    parameter("transaction_isolation", "read committed", Takes::Anything),
    parameter("default_transaction_isolation", "read committed", Takes::Anything),
    parameter("transaction_read_only", "off", Takes::OneOf(OFF)),
    parameter("transaction_deferrable", "off", Takes::Anything),
    parameter("client_min_messages", "notice", Takes::Anything),
    parameter("max_identifier_length", "63", Takes::Nothing),
    parameter("max_index_keys", "32", Takes::Nothing),
    parameter("lc_collate", "C", Takes::Nothing),
    parameter("lc_ctype", "C", Takes::Nothing),
    parameter("lc_messages", "C", Takes::Anything),
    parameter("lc_monetary", "C", Takes::Anything),
    parameter("lc_numeric", "C", Takes::Anything),
    parameter("lc_time", "C", Takes::Anything),
    parameter("row_security", "on", Takes::Anything),
    parameter("synchronous_commit", "on", Takes::Anything),
    parameter("jit", "off", Takes::Anything),
];

/// The parameters of one connection.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) user: String,
    changed: Mutex<HashMap<&'static str, String>>,
}

/// A change that the client is told of: name and value.
pub(super) type Told = Option<(&'static str, String)>;

impl Settings {
    pub(super) fn new(user: &str) -> Self {
        Self { user: user.to_owned(), changed: Mutex::default() }
    }

    /// `command`, if it is about something that we answer for; else it is a statement of the engine.
    pub(super) fn known(&self, command: Command) -> Command {
        let is_ours = |name: &str| matches!(name, "search_path" | "schema" | "timezone") || find(name).is_some();
        match &command {
            Command::Set { name, .. } | Command::Show(name) | Command::Reset(Some(name)) if !is_ours(name) => {
                Command::Statement
            }
            _ => command,
        }
    }

    /// Sets a parameter; `None` if it is none of ours.
    ///
    /// # Errors
    /// A value that would not be kept.
    pub(super) async fn set(&self, session: &Session, name: &str, value: &str) -> Result<Option<Told>, Refusal> {
        if value.eq_ignore_ascii_case("default") {
            return self.reset(session, name);
        }
        match name {
            "search_path" | "schema" => return set_search_path(session, value).await.map(|()| Some(None)),
            "timezone" => {
                let zone = if value.eq_ignore_ascii_case("utc") { "+00:00" } else { value };
                session.set_option(TIME_ZONE_KEY, zone).await?;
                return Ok(Some(Some(("TimeZone", time_zone(session)))));
            }
            _ => {}
        }
        let Some(parameter) = find(name) else { return Ok(None) };
        let value = parameter.accepted(value)?;
        self.changed.lock().insert(parameter.name, value.clone());
        Ok(Some(parameter.reported.then_some((parameter.name, value))))
    }

    /// Gives a parameter its first value again; `None` if it is none of ours.
    ///
    /// # Errors
    /// Those of the engine.
    pub(super) fn reset(&self, session: &Session, name: &str) -> Result<Option<Told>, Refusal> {
        match name {
            "search_path" | "schema" => session.reset_option("datafusion.catalog.default_schema")?,
            "timezone" => {
                session.reset_option(TIME_ZONE_KEY)?;
                return Ok(Some(Some(("TimeZone", time_zone(session)))));
            }
            _ => {
                let Some(parameter) = find(name) else { return Ok(None) };
                self.changed.lock().remove(parameter.name);
                return Ok(Some(parameter.reported.then(|| (parameter.name, self.value(parameter)))));
            }
        }
        Ok(Some(None))
    }

    /// All of ours at their first values.
    pub(super) fn reset_all(&self) {
        self.changed.lock().clear();
    }

    /// Name and value of a parameter, if it is one of ours.
    pub(super) fn show(&self, session: &Session, name: &str) -> Option<(&'static str, String)> {
        match name.to_ascii_lowercase().as_str() {
            "search_path" | "schema" => Some(("search_path", session.default_schema().schema)),
            "timezone" => Some(("TimeZone", time_zone(session))),
            other => find(other).map(|parameter| (parameter.name, self.value(parameter))),
        }
    }

    /// What a client is told at the beginning.
    pub(super) fn reported(&self, session: &Session) -> Vec<(&'static str, String)> {
        let ours = PARAMETERS.iter().filter(|parameter| parameter.reported);
        let ours = ours.map(|parameter| (parameter.name, self.value(parameter)));
        ours.chain([("TimeZone", time_zone(session))]).collect()
    }

    /// How long a statement may take.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let milliseconds = self.changed.lock().get("statement_timeout").and_then(|value| value.parse().ok())?;
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// How values are written.
    pub(super) fn format(&self) -> FormatOptions {
        let mut options = FormatOptions::default();
        if let Some(digits) = self.changed.lock().get("extra_float_digits").and_then(|value| value.parse().ok()) {
            options.extra_float_digits = digits;
        }
        options
    }

    fn value(&self, parameter: &Parameter) -> String {
        let changed = self.changed.lock().get(parameter.name).cloned();
        changed.unwrap_or_else(|| match parameter.name {
            "session_authorization" => self.user.clone(),
            _ => parameter.default.to_owned(),
        })
    }
}

impl Parameter {
    /// The value that is kept for `value`.
    fn accepted(&self, value: &str) -> Result<String, Refusal> {
        let lower = value.to_ascii_lowercase();
        let is_taken = match self.takes {
            Takes::Nothing => {
                return Err(Refusal::new("55P02", format!("parameter \"{}\" cannot be changed", self.name)));
            }
            Takes::Anything => true,
            Takes::OneOf(words) => {
                if words.iter().any(|word| lower.starts_with(word)) {
                    return Ok(self.default.to_owned());
                }
                false
            }
            Takes::Number(least, most) => value.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number)),
            Takes::Time => return milliseconds(&lower).map(|time| time.to_string()).ok_or_else(|| self.refusal(value)),
        };
        if is_taken { Ok(value.to_owned()) } else { Err(self.refusal(value)) }
    }

    fn refusal(&self, value: &str) -> Refusal {
        Refusal::new("22023", format!("{} cannot be \"{value}\" here", self.name))
    }
}

fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

/// A time with its unit, milliseconds without one.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let factor = match text[digits.len()..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// One schema, with those that are always looked at.
async fn set_search_path(session: &Session, value: &str) -> Result<(), Refusal> {
    let names = value.split(',').map(|name| name.trim().trim_matches('"'));
    let names: Vec<_> =
        names.filter(|name| !matches!(*name, "" | "$user" | "pg_catalog" | "information_schema")).collect();
    match names.as_slice() {
        [schema] => Ok(session.use_schema(&SchemaName::new(session.default_schema().catalog, *schema)).await?),
        _ => Err(Refusal::new("22023", format!("search_path must be one schema here, not \"{value}\""))),
    }
}

/// The session's time zone by the name that drivers know.
fn time_zone(session: &Session) -> String {
    match session.option(TIME_ZONE_KEY) {
        Some(zone) if zone != "+00:00" => zone,
        _ => "UTC".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_milliseconds() {
        assert_eq!(milliseconds("250"), Some(250));
        assert_eq!(milliseconds("5s"), Some(5_000));
        assert_eq!(milliseconds("2 min"), Some(120_000));
        assert_eq!(milliseconds("soon"), None);
    }

    #[test]
    fn what_cannot_be_so_is_refused() {
        assert!(find("datestyle").unwrap().accepted("German").is_err());
        assert_eq!(find("client_encoding").unwrap().accepted("utf-8").unwrap(), "UTF8");
        assert!(find("server_version").unwrap().accepted("9.6").is_err());
    }
}
