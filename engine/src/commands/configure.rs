//! `ALTER SYSTEM | GROUP | USER ... SET`, and `SHOW LIMITS`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;

use crate::config::grappe_options;
use crate::limits::{LIMITS, Limit, Reach, Scope, Unit, parse};
use crate::session::Session;
use crate::sql::{DEFAULT_CATALOG, checked_key, set_setting};
use crate::{Error, Result};

impl Session {
    /// Sets something for others: limits hold at once, other settings for sessions that are opened from now on.
    ///
    /// # Errors
    /// `Denied` for a user who may not, and for a setting of the process; `Invalid` for an unknown one or a bad value.
    pub(super) async fn configure_others(
        &self,
        state: &SessionState,
        scope: &Scope,
        setting: Option<&str>,
        value: Option<&str>,
    ) -> Result<()> {
        self.engine().rules().check_admin(self.user())?;
        let catalog = self.engine().catalog();
        match (setting, value) {
            (Some(setting), Some(value)) => {
                let key = checked(state, scope, setting, value)?;
                if key == DEFAULT_CATALOG {
                    self.check_catalog(value).await?;
                }
                catalog.set_setting(scope, &key, Some(value)).await?;
            }
            (Some(setting), None) => {
                catalog.set_setting(scope, &checked_key(state.config(), setting)?, None).await?;
            }
            (None, _) => {
                for setting in catalog.settings().await?.into_iter().filter(|setting| setting.scope == *scope) {
                    catalog.set_setting(scope, &setting.key, None).await?;
                }
            }
        }
        self.engine().rules().refresh(catalog.as_ref()).await
    }
}

/// The full name of a setting that can have this value in this scope.
fn checked(state: &SessionState, scope: &Scope, setting: &str, value: &str) -> Result<String> {
    let key = checked_key(state.config(), setting)?;
    if let Some(limit) = key.strip_prefix("grappe.").and_then(Limit::named) {
        if limit.facts().reach == Reach::System && *scope != Scope::System {
            return Err(Error::invalid(format!("{limit} is one for all: use ALTER SYSTEM SET")));
        }
        parse(limit, value)?;
        return Ok(key);
    }
    set_setting(&mut state.config().clone(), &key, value)?;
    Ok(key)
}

/// Every limit: what holds for the session, and who says so. A limit of 0 is none.
pub(super) fn limits(state: &SessionState) -> Result<RecordBatch> {
    let limits = grappe_options(state.config()).limits;
    let in_force: Vec<_> = LIMITS.iter().map(|facts| limits.in_force(facts.limit)).collect();
    let texts = |texts: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let values = in_force.iter().map(|(value, _)| (*value > 0).then(|| i64::try_from(*value).unwrap_or(i64::MAX)));
    let unit = |unit| match unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        Unit::Count => "",
    };
    let reach = |reach| match reach {
        Reach::Query => "query",
        Reach::User => "user",
        Reach::System => "system",
    };
    let columns = [
        ("name", texts(LIMITS.iter().map(|facts| facts.limit.to_string()).collect())),
        ("value", Arc::new(values.collect::<Int64Array>()) as ArrayRef),
        ("unit", texts(LIMITS.iter().map(|facts| unit(facts.unit).to_owned()).collect())),
        ("limits_a", texts(LIMITS.iter().map(|facts| reach(facts.reach).to_owned()).collect())),
        ("set_by", texts(in_force.iter().map(|(_, by)| by.name().to_owned()).collect())),
        ("description", texts(LIMITS.iter().map(|facts| facts.description.to_owned()).collect())),
    ];
    RecordBatch::try_from_iter(columns).map_err(|error| DataFusionError::from(error).into())
}
