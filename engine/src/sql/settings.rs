//! `SET` and `RESET`: what a session may change of its settings.

use datafusion::config::ConfigField;
use datafusion::prelude::SessionConfig;

use crate::config::{CATALOG, is_process_setting};
use crate::nearest::suggestion;
use crate::{Error, ErrorKind, Result};

/// Sets `key` to `value`.
///
/// # Errors
/// `Invalid` for an unknown key or a bad value, `Denied` for a key of the process.
pub(crate) fn set_setting(config: &mut SessionConfig, key: &str, value: &str) -> Result<()> {
    let key = full_key(key);
    refuse_process_setting(&key)?;
    refuse_unknown(config, &key)?;
    if key == "datafusion.catalog.default_catalog" && value != CATALOG {
        return Err(Error::not_found(format!("there is no catalog \"{value}\"; the only one is \"{CATALOG}\"")));
    }
    config.options_mut().set(&key, value).map_err(|error| Error::from(error).context(format!("cannot set {key}")))
}

/// Gives `key` its value in `defaults` again.
///
/// # Errors
/// As [`set_setting`].
pub(crate) fn reset_setting(config: &mut SessionConfig, defaults: &SessionConfig, key: &str) -> Result<()> {
    let key = full_key(key);
    refuse_process_setting(&key)?;
    refuse_unknown(config, &key)?;
    let default = defaults.options().entries().into_iter().find(|entry| entry.key == key);
    match default.and_then(|entry| entry.value) {
        Some(value) => Ok(config.options_mut().set(&key, &value)?),
        None => Ok(config.options_mut().reset(&key)?),
    }
}

/// Names that people know from elsewhere.
fn full_key(key: &str) -> String {
    match key.to_lowercase().as_str() {
        "search_path" | "schema" => "datafusion.catalog.default_schema".to_owned(),
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
    fn reset_gives_back_our_default() {
        let defaults = session_config(2);
        let mut config = defaults.clone();
        set_setting(&mut config, "datafusion.execution.target_partitions", "7").unwrap();
        reset_setting(&mut config, &defaults, "datafusion.execution.target_partitions").unwrap();
        assert_eq!(config.target_partitions(), 2);
    }
}
