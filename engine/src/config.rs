//! Query settings under `grappe.` and the DataFusion defaults that we change, in one place.

use std::any::Any;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigNonZeroUsize, ConfigOptions, ExtensionOptions};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionConfig;

use crate::Error;
use crate::catalog::SchemaName;
use crate::limits::{LIMITS, LayeredLimits, Limit, parse};

/// Name of the first catalog, in which sessions begin.
pub const CATALOG: &str = "grappe";
/// Schema that an unqualified name means, unless a session says otherwise.
pub const SCHEMA: &str = "public";

/// Where a statement runs; `auto` leaves the choice to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModeSetting {
    /// The engine chooses and `EXPLAIN` says why.
    #[default]
    Auto,
    /// In the coordinator.
    Local,
    /// Pipelined stages on the executors.
    Streamed,
    /// Stages with durable shuffles on the executors.
    Staged,
}

impl Display for ModeSetting {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Streamed => "streamed",
            Self::Staged => "staged",
        })
    }
}

impl FromStr for ModeSetting {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "local" => Ok(Self::Local),
            "streamed" => Ok(Self::Streamed),
            "staged" => Ok(Self::Staged),
            other => Err(Error::invalid(format!(
                "grappe.execution_mode cannot be '{other}': use 'auto', 'local', 'streamed' or 'staged'"
            ))),
        }
    }
}

/// Which of a user's statements leave the queue first, and how large the user's share is meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// After the others; half a share.
    Low,
    /// One share.
    #[default]
    Normal,
    /// Before the others; two shares.
    High,
}

impl Display for Priority {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        })
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            other => Err(Error::invalid(format!("grappe.priority cannot be '{other}': use 'low', 'normal' or 'high'"))),
        }
    }
}

/// Settings of a session that are ours: `SET grappe.NAME = VALUE`, `SHOW grappe.NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrappeOptions {
    /// Where statements run.
    pub execution_mode: ModeSetting,
    /// Bytes to scan up to which `auto` runs a query in the coordinator although executors are there.
    pub local_scan_bytes_max: u64,
    /// Parts in which a result may be offered, to clients that read parts at once.
    pub result_endpoints_max: u64,
    /// Bytes after which a data file of a table ends and another begins.
    pub file_bytes_target: u64,
    /// Whether joins are put in the order that statistics suggest, and not in that of the statement.
    pub join_reordering: bool,
    /// Which statements leave the queue first.
    pub priority: Priority,
    /// What statements may take.
    pub limits: LayeredLimits,
}

impl Default for GrappeOptions {
    fn default() -> Self {
        Self {
            execution_mode: ModeSetting::Auto,
            local_scan_bytes_max: 64 << 20,
            result_endpoints_max: 1,
            file_bytes_target: 256 << 20,
            join_reordering: true,
            priority: Priority::Normal,
            limits: LayeredLimits::default(),
        }
    }
}

impl ConfigExtension for GrappeOptions {
    const PREFIX: &'static str = "grappe";
}

/// By hand: DataFusion's macro lists the names without their prefix, and `SHOW` would not find them.
impl ExtensionOptions for GrappeOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), DataFusionError> {
        match key {
            "execution_mode" => self.execution_mode = value.parse()?,
            "local_scan_bytes_max" => self.local_scan_bytes_max = parse_number(key, value)?,
            "file_bytes_target" => self.file_bytes_target = parse_number(key, value)?.max(1),
            "join_reordering" => self.join_reordering = parse_switch(key, value)?,
            "result_endpoints_max" => self.result_endpoints_max = parse_number(key, value)?.max(1),
            "priority" => self.priority = value.parse()?,
            _ => match Limit::named(key) {
                Some(limit) => self.limits.session.set(limit, Some(parse(limit, value)?)),
                None => return Err(Error::invalid(format!("there is no setting grappe.{key}")).into()),
            },
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let own = [
            entry(
                "grappe.execution_mode",
                &self.execution_mode,
                "Where statements run: 'auto', 'local', 'streamed' or 'staged'",
            ),
            entry(
                "grappe.local_scan_bytes_max",
                &self.local_scan_bytes_max,
                "Bytes to scan up to which 'auto' runs a query in the coordinator although executors are there",
            ),
            entry(
                "grappe.file_bytes_target",
                &self.file_bytes_target,
                "Bytes after which a data file of a table ends and another begins",
            ),
            entry(
                "grappe.join_reordering",
                &self.join_reordering,
                "Whether joins are put in the order that statistics suggest, and not in that of the statement",
            ),
            entry(
                "grappe.result_endpoints_max",
                &self.result_endpoints_max,
                "Parts in which a result may be offered, to clients that read parts at once",
            ),
            entry(
                "grappe.priority",
                &self.priority,
                "Which of a user's statements leave the queue first: 'low', 'normal' or 'high'",
            ),
        ];
        let limits = LIMITS.iter().map(|facts| {
            let key = format!("grappe.{}", facts.name);
            entry(&key, &self.limits.in_force(facts.limit).0, facts.description)
        });
        own.into_iter().chain(limits).collect()
    }
}

fn entry(key: &str, value: &impl Display, description: &'static str) -> ConfigEntry {
    ConfigEntry { key: key.to_owned(), value: Some(value.to_string()), description }
}

fn parse_number(key: &str, value: &str) -> Result<u64, Error> {
    value.parse().map_err(|_| Error::invalid(format!("grappe.{key} must be a whole number, not '{value}'")))
}

fn parse_switch(key: &str, value: &str) -> Result<bool, Error> {
    let value = value.to_ascii_lowercase();
    value.parse().map_err(|_| Error::invalid(format!("grappe.{key} must be 'true' or 'false', not '{value}'")))
}

/// The settings of `config` that are ours.
pub fn grappe_options(config: &SessionConfig) -> GrappeOptions {
    config.options().extensions.get::<GrappeOptions>().cloned().unwrap_or_default()
}

/// A new session's settings.
///
/// `partitions` is the number of parts a query is split into: one a core.
pub fn session_config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // The catalog has its own, which is more than DataFusion's.
        .with_information_schema(false);
    let options = config.options_mut();
    options.extensions.insert(GrappeOptions::default());
    // Positions in error messages.
    options.sql_parser.collect_spans = true;
    // A timestamp with time zone has one; without this DataFusion gives it none.
    options.execution.time_zone = Some("+00:00".to_owned());
    one_batch_a_spilled_file(options);
    config
}

/// Has a repartitioning write each batch that it spills into a file of its own. In DataFusion 55 whoever reads spilled
/// batches waits for the oldest file that is still written, while the batch it needs lies in a newer one, and those who
/// write wait for it (apache/datafusion#24883). A file that is full when its first batch is written is never waited for.
fn one_batch_a_spilled_file(options: &mut ConfigOptions) {
    if let Ok(byte) = ConfigNonZeroUsize::try_new(1) {
        options.execution.max_spill_file_size_bytes = byte;
    }
}

/// The schema that names without one mean.
pub(crate) fn default_schema(options: &ConfigOptions) -> SchemaName {
    SchemaName::new(&*options.catalog.default_catalog, &*options.catalog.default_schema)
}

/// Keys that belong to the process and not to a session: `SET` refuses them.
pub(crate) fn is_process_setting(key: &str) -> bool {
    const PREFIXES: [&str; 2] = ["datafusion.runtime.", "ballista."];
    const KEYS: [&str; 4] = [
        "datafusion.catalog.create_default_catalog_and_schema",
        "datafusion.catalog.information_schema",
        "datafusion.catalog.location",
        "datafusion.execution.max_spill_file_size_bytes",
    ];
    PREFIXES.iter().any(|prefix| key.starts_with(prefix)) || KEYS.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_set_by_name_and_a_wrong_name_is_refused() {
        let mut config = session_config(2);
        config.options_mut().set("grappe.execution_mode", "Local").unwrap();
        assert_eq!(grappe_options(&config).execution_mode, ModeSetting::Local);
        let error = Error::from(config.options_mut().set("grappe.execution_mode", "turbo").unwrap_err());
        assert!(error.message.contains("use 'auto', 'local'"), "{}", error.message);
    }
}
