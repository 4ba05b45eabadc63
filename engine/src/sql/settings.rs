//! `SET` and `RESET`: what a session may change of its settings.

use datafusion::config::ConfigField;
use datafusion::prelude::SessionConfig;

use crate::config::{GrappeOptions, grappe_options, is_process_setting};
use crate::limits::{Limit, Reach, SetBy, parse};
use crate::nearest::suggestion;
use crate::{Error, ErrorKind, Result};

/// The catalog that names without one mean.
pub(crate) const DEFAULT_CATALOG: &str = "datafusion.catalog.default_catalog";
/// The schema that names without one mean.
pub(crate) const DEFAULT_SCHEMA: &str = "datafusion.catalog.default_schema";

/// Sets `key` to `value`. Whether there is such a catalog is asked by whoever can.
///
/// # Errors
/// `Invalid` for an unknown key or a bad value, `Denied` for a key of the process.
pub(crate) fn set_setting(config: &mut SessionConfig, key: &str, value: &str) -> Result<()> {
    let key = checked_key(config, key)?;
    if let Some(limit) = limit_of(&key) {
        refuse_beyond_ceiling(config, limit, parse(limit, value)?)?;
    }
    refuse_senseless(&key, value)?;
    config.options_mut().set(&key, value).map_err(|error| Error::from(error).context(format!("cannot set {key}")))
}

/// Gives `key` its value in `defaults` again.
///
/// # Errors
/// As [`set_setting`].
pub(crate) fn reset_setting(config: &mut SessionConfig, defaults: &SessionConfig, key: &str) -> Result<()> {
    let key = checked_key(config, key)?;
    if let Some(limit) = limit_of(&key) {
        let mut options = grappe_options(config);
        options.limits.session.set(limit, None);
        config.options_mut().extensions.insert::<GrappeOptions>(options);
        return Ok(());
    }
    let default = defaults.options().entries().into_iter().find(|entry| entry.key == key);
    match default.and_then(|entry| entry.value) {
        Some(value) => Ok(config.options_mut().set(&key, &value)?),
        None => Ok(config.options_mut().reset(&key)?),
    }
}

/// Whether `key` is a name of the setting for the default catalog.
pub(crate) fn is_default_catalog(key: &str) -> bool {
    full_key(key) == DEFAULT_CATALOG
}

/// The full name of a setting that sessions have.
///
/// # Errors
/// `Invalid` for one that there is not, `Denied` for one of the process.
pub(crate) fn checked_key(config: &SessionConfig, key: &str) -> Result<String> {
    let key = full_key(key);
    refuse_process_setting(&key)?;
    refuse_unknown(config, &key)?;
    Ok(key)
}

/// What costs memory before there is any work: more of it helps nobody.
const MOST: [(&str, usize); 2] =
    [("datafusion.execution.target_partitions", 512), ("datafusion.execution.batch_size", 1 << 18)];

fn refuse_senseless(key: &str, value: &str) -> Result<()> {
    match MOST.iter().find(|(name, _)| *name == key) {
        Some((_, most)) if value.trim().parse::<usize>().is_ok_and(|value| value > *most) => {
            Err(Error::invalid(format!("{key} can be at most {most}, not {value}")))
        }
        _ => Ok(()),
    }
}

fn limit_of(key: &str) -> Option<Limit> {
    Limit::named(key.strip_prefix("grappe.")?)
}

/// A session asks for less than it is allowed, not for more.
fn refuse_beyond_ceiling(config: &SessionConfig, limit: Limit, value: u64) -> Result<()> {
    let denied = |reason: String| Err(Error::new(ErrorKind::Denied, reason));
    if limit.facts().reach != Reach::Query {
        let whose = if limit.facts().reach == Reach::User { "ALTER USER or ALTER GROUP" } else { "ALTER SYSTEM" };
        return denied(format!("{limit} is not a session's to set: use {whose}"));
    }
    match grappe_options(config).limits.ceiling(limit) {
        Some((most, by)) if value == 0 || value > most => {
            let by = if by == SetBy::System { "the system".to_owned() } else { format!("the {}", by.name()) };
            denied(format!("{limit} can be at most {most} here, which is set for {by}, not {value}"))
        }
        _ => Ok(()),
    }
}

/// Names that people know from elsewhere.
fn full_key(key: &str) -> String {
    match key.to_lowercase().as_str() {
        "search_path" | "schema" => DEFAULT_SCHEMA.to_owned(),
        "catalog" => DEFAULT_CATALOG.to_owned(),
        "timezone" | "time zone" | "time.zone" => "datafusion.execution.time_zone".to_owned(),
        other => other.to_owned(),
    }
}

fn refuse_process_setting(key: &str) -> Result<()> {
    if is_process_setting(key) {
        let message = format!("{key} belongs to the process, not to a session; set it when the process starts");
        return Err(Error::new(ErrorKind::Denied, message));
    }
    Ok(())
}

fn refuse_unknown(config: &SessionConfig, key: &str) -> Result<()> {
    let entries = config.options().entries();
    if entries.iter().any(|entry| entry.key == key) {
        return Ok(());
    }
    let hint = suggestion(key, entries.iter().map(|entry| entry.key.as_str()));
    Err(Error::invalid(format!("there is no setting {key}{hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::session_config;

    #[test]
    fn an_unknown_setting_names_the_nearest() {
        let error = set_setting(&mut session_config(2), "grappe.execution_mod", "local").unwrap_err();
        assert!(error.message.contains("did you mean grappe.execution_mode"), "{}", error.message);
    }

    #[test]
    fn the_memory_of_the_process_is_not_a_sessions_to_set() {
        let error = set_setting(&mut session_config(2), "datafusion.runtime.memory_limit", "1T").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied);
    }

    #[test]
    fn a_session_asks_for_less_than_it_may_have() {
        let mut config = session_config(2);
        set_setting(&mut config, "grappe.result_rows_max", "10").unwrap();
        let mut options = grappe_options(&config);
        assert_eq!(options.limits.in_force(Limit::ResultRows), (10, SetBy::Session));
        options.limits.user.set(Limit::ResultRows, Some(5));
        config.options_mut().extensions.insert::<GrappeOptions>(options);
        for value in ["6", "0"] {
            let error = set_setting(&mut config, "grappe.result_rows_max", value).unwrap_err();
            assert!(error.message.contains("at most 5 here, which is set for the user"), "{}", error.message);
        }
        set_setting(&mut config, "grappe.result_rows_max", "4").unwrap();
        reset_setting(&mut config, &session_config(2), "grappe.result_rows_max").unwrap();
        assert_eq!(grappe_options(&config).limits.in_force(Limit::ResultRows), (5, SetBy::User));
        let error = set_setting(&mut config, "grappe.queries_running_max", "1").unwrap_err();
        assert!(error.message.contains("ALTER SYSTEM"), "{}", error.message);
        let error = set_setting(&mut config, "datafusion.execution.batch_size", "1000000000").unwrap_err();
        assert!(error.message.contains("at most"), "{}", error.message);
    }

    #[test]
    fn reset_gives_back_our_default() {
        let defaults = session_config(2);
        let mut config = defaults.clone();
        set_setting(&mut config, "datafusion.execution.target_partitions", "7").unwrap();
        reset_setting(&mut config, &defaults, "datafusion.execution.target_partitions").unwrap();
        assert_eq!(config.target_partitions(), 2);
    }
}
