//! What system, groups and users have set for sessions: limits, and defaults of other settings.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::prelude::SessionConfig;
use parking_lot::RwLock;
use tokio::sync::Mutex as AsyncMutex;

use crate::catalog::Catalog;
use crate::config::GrappeOptions;
use crate::limits::{LayeredLimits, Limit, Limits, parse};
use crate::{Error, ErrorKind, Result};

/// For whom a setting is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `ALTER SYSTEM`: for everybody.
    System,
    /// `ALTER GROUP`: for the users of a group.
    Group(String),
    /// `ALTER USER`.
    User(String),
}

impl Scope {
    /// Kind and name, as they are stored.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::System => ("system", ""),
            Self::Group(name) => ("group", name),
            Self::User(name) => ("user", name),
        }
    }

    /// The scope with these parts.
    pub(crate) fn of_parts(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "system" => Some(Self::System),
            "group" => Some(Self::Group(name.to_owned())),
            "user" => Some(Self::User(name.to_owned())),
            _ => None,
        }
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("SYSTEM"),
            Self::Group(name) => write!(f, "GROUP {name}"),
            Self::User(name) => write!(f, "USER {name}"),
        }
    }
}

/// A setting as the catalog keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSetting {
    /// For whom.
    pub scope: Scope,
    /// Its full name.
    pub key: String,
    /// As text.
    pub value: String,
}

/// Values by full name.
type Settings = BTreeMap<String, String>;

/// The settings of all, kept in the catalog, on top of those of the process.
#[derive(Debug)]
pub struct Rules {
    /// What the process was started with.
    process: Limits,
    /// Group by user.
    groups: HashMap<String, String>,
    /// Users who may change the settings of others; everybody if there are none.
    admins: Vec<String>,
    stored: RwLock<Arc<HashMap<Scope, Settings>>>,
    /// Held while they are read: who reads later must not store what another has read earlier.
    reading: AsyncMutex<()>,
    /// Grows with every change.
    version: AtomicU64,
}

impl Rules {
    /// Rules with nothing stored.
    ///
    /// # Errors
    /// `Invalid` for a user in two groups.
    pub fn new(process: Limits, groups: &BTreeMap<String, Vec<String>>, admins: Vec<String>) -> Result<Arc<Self>> {
        let mut group_of = HashMap::new();
        for (group, users) in groups {
            for user in users {
                if let Some(other) = group_of.insert(user.clone(), group.clone()) {
                    return Err(Error::invalid(format!(
                        "user {user} is in the groups {other} and {group}: a user has one group (server.groups)"
                    )));
                }
            }
        }
        let (stored, reading, version) = (RwLock::default(), AsyncMutex::default(), AtomicU64::new(1));
        Ok(Arc::new(Self { process, groups: group_of, admins, stored, reading, version }))
    }

    /// Reads what is stored now.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn refresh(&self, catalog: &dyn Catalog) -> Result<()> {
        let _reading = self.reading.lock().await;
        let mut read: HashMap<Scope, Settings> = HashMap::new();
        for setting in catalog.settings().await? {
            read.entry(setting.scope).or_default().insert(setting.key, setting.value);
        }
        let mut stored = self.stored.write();
        if **stored != read {
            *stored = Arc::new(read);
            self.version.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Whether a session starts with anything else than the defaults.
    pub(crate) fn has_any(&self) -> bool {
        self.process != Limits::default() || !self.stored.read().is_empty()
    }

    /// Which state of the rules there is.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The group of a user.
    pub fn group_of(&self, user: &str) -> Option<&str> {
        self.groups.get(user).map(String::as_str)
    }

    /// A limit of the whole system.
    pub fn system_limit(&self, limit: Limit) -> Option<u64> {
        LayeredLimits { system: self.system(), ..LayeredLimits::default() }.limit(limit)
    }

    /// The limits of `user`, before any session asks for less.
    pub fn limits_of(&self, user: &str) -> LayeredLimits {
        let group = self.group_of(user).map(|group| self.limits(&Scope::Group(group.to_owned())));
        LayeredLimits {
            system: self.system(),
            group: group.unwrap_or_default(),
            user: self.limits(&Scope::User(user.to_owned())),
            session: Limits::default(),
        }
    }

    fn system(&self) -> Limits {
        let mut limits = self.process;
        let stored = self.limits(&Scope::System);
        for facts in &super::LIMITS {
            if let Some(value) = stored.get(facts.limit) {
                limits.set(facts.limit, Some(value));
            }
        }
        limits
    }

    fn limits(&self, scope: &Scope) -> Limits {
        let stored = Arc::clone(&self.stored.read());
        let mut limits = Limits::default();
        for (key, value) in stored.get(scope).into_iter().flatten() {
            if let Some(limit) = limit_of(key) {
                limits.set(limit, parse(limit, value).ok());
            }
        }
        limits
    }

    /// Makes the settings of `user` the defaults of a session. What cannot be set any more is left out: it was checked
    /// when it was stored, perhaps by another version.
    pub(crate) fn apply(&self, user: &str, config: &mut SessionConfig) {
        let stored = Arc::clone(&self.stored.read());
        let group = self.group_of(user).map(|group| Scope::Group(group.to_owned()));
        for scope in [Some(Scope::System), group, Some(Scope::User(user.to_owned()))].into_iter().flatten() {
            for (key, value) in stored.get(&scope).into_iter().flatten().filter(|(key, _)| limit_of(key).is_none()) {
                if let Err(error) = config.options_mut().set(key, value) {
                    tracing::warn!(%scope, key, %error, "a stored setting cannot be applied");
                }
            }
        }
        self.limit(user, config);
    }

    /// Makes the limits of `user` those of a session; what it has asked for itself stays.
    pub(crate) fn limit(&self, user: &str, config: &mut SessionConfig) {
        let mut options = crate::config::grappe_options(config);
        options.limits = LayeredLimits { session: options.limits.session, ..self.limits_of(user) };
        config.options_mut().extensions.insert::<GrappeOptions>(options);
    }

    /// # Errors
    /// `Denied` for a user who may not change the settings of others.
    pub(crate) fn check_admin(&self, user: &str) -> Result<()> {
        if self.admins.is_empty() || self.admins.iter().any(|admin| admin == user) {
            return Ok(());
        }
        let message = format!("{user} may not change the settings of others: only {} may", self.admins.join(", "));
        Err(Error::new(ErrorKind::Denied, message))
    }
}

fn limit_of(key: &str) -> Option<Limit> {
    Limit::named(key.strip_prefix("grappe.")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::MemoryCatalog;
    use crate::config::{grappe_options, session_config};
    use crate::limits::SetBy;

    #[tokio::test]
    async fn a_user_has_what_system_group_and_user_say() {
        let catalog = MemoryCatalog::new();
        let user = Scope::User("ana".into());
        catalog.set_setting(&Scope::System, "grappe.result_rows_max", Some("100")).await.unwrap();
        catalog.set_setting(&Scope::Group("etl".into()), "grappe.result_rows_max", Some("50")).await.unwrap();
        catalog.set_setting(&user, "datafusion.execution.target_partitions", Some("3")).await.unwrap();
        let groups = BTreeMap::from([("etl".to_owned(), vec!["ana".to_owned()])]);
        let rules = Rules::new(Limits::default(), &groups, Vec::new()).unwrap();
        let before = rules.version();
        rules.refresh(&catalog).await.unwrap();
        assert!(rules.version() > before);
        let mut config = session_config(2);
        rules.apply("ana", &mut config);
        assert_eq!(config.target_partitions(), 3);
        assert_eq!(grappe_options(&config).limits.in_force(Limit::ResultRows), (50, SetBy::Group));
        let mut other = session_config(2);
        rules.apply("bob", &mut other);
        assert_eq!(grappe_options(&other).limits.in_force(Limit::ResultRows), (100, SetBy::System));
        catalog.set_setting(&Scope::System, "grappe.result_rows_max", None).await.unwrap();
        rules.refresh(&catalog).await.unwrap();
        assert_eq!(rules.limits_of("bob").limit(Limit::ResultRows), None);
    }

    #[test]
    fn a_user_has_one_group_and_admins_are_asked_for() {
        let groups = BTreeMap::from([("a".to_owned(), vec!["x".to_owned()]), ("b".to_owned(), vec!["x".to_owned()])]);
        assert!(Rules::new(Limits::default(), &groups, Vec::new()).is_err());
        let rules = Rules::new(Limits::default(), &BTreeMap::new(), vec!["root".to_owned()]).unwrap();
        assert!(rules.check_admin("root").is_ok());
        assert_eq!(rules.check_admin("ana").unwrap_err().kind, ErrorKind::Denied);
    }
}
