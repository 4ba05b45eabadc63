//! Limits: their names, units and defaults, and which of those that session, user, group and system set holds.
//!
//! Knows numbers only; where each is enforced is told at its name.

mod measure;
mod rules;

use std::fmt::{Display, Formatter};

pub(crate) use measure::parse;
pub use rules::{Rules, Scope, StoredSetting};

use crate::nearest::suggestion;
use crate::{Error, Result};

/// A limit. Those of a query are enforced by whoever runs it, the others by the coordinator's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Seconds that a statement may run, once it has left the queue.
    QueryRuntime,
    /// Seconds that it may wait in the queue.
    QueryQueue,
    /// Seconds that it may be planned for.
    QueryPlanning,
    /// Rows of its result.
    ResultRows,
    /// Bytes of its result, in memory.
    ResultBytes,
    /// Bytes of the files that it scans, after pruning.
    ScanBytes,
    /// Bytes that it may hold in the memory of one process.
    Memory,
    /// Bytes that it may spill to the disk of one process.
    Spill,
    /// Bytes that its stages may write for each other, on all executors.
    Shuffle,
    /// Nodes of its plan.
    PlanNodes,
    /// Columns of one SELECT in it.
    Columns,
    /// Tokens of its text.
    Tokens,
    /// Operators in a row in one of its expressions.
    ExpressionDepth,
    /// Subqueries within each other in its expressions.
    SubqueryDepth,
    /// Bytes that one function gives for one batch.
    FunctionBytes,
    /// Statements of one user that run at once.
    UserQueries,
    /// Statements of one group's users that run at once.
    GroupQueries,
    /// Sessions that one user has at once.
    UserSessions,
    /// Statements that run at once.
    Queries,
    /// Large statements that run at once.
    LargeQueries,
    /// Statements that wait at once.
    QueuedQueries,
}

/// For whom a limit can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// For one statement: a session may lower it.
    Query,
    /// For a user.
    User,
    /// For all together.
    System,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Time.
    Seconds,
    /// Memory, disk, files.
    Bytes,
    /// Anything else.
    Count,
}

/// What is known of a limit.
#[derive(Debug)]
pub struct Facts {
    /// The limit.
    pub limit: Limit,
    /// Its name under `grappe.`, with its unit if that is not a count.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// For whom it can be set.
    pub reach: Reach,
    /// What holds if nobody has set it; 0 is no limit.
    pub default: u64,
    /// What it is for, in one line.
    pub description: &'static str,
}

const fn facts(
    limit: Limit,
    name: &'static str,
    unit: Unit,
    reach: Reach,
    default: u64,
    description: &'static str,
) -> Facts {
    Facts { limit, name, unit, reach, default, description }
}

/// Number of limits.
const COUNT: usize = 21;

/// Every limit, in the order of [`Limit`].
pub static LIMITS: [Facts; COUNT] = {
    use Limit as L;
    use Reach::{Query, System, User};
    use Unit::{Bytes, Count, Seconds};
    [
        facts(L::QueryRuntime, "query_runtime_seconds_max", Seconds, Query, 86_400, "Time that a statement may run"),
        facts(L::QueryQueue, "query_queue_seconds_max", Seconds, Query, 600, "Time that it may wait in the queue"),
        facts(L::QueryPlanning, "query_planning_seconds_max", Seconds, Query, 60, "Time that it may be planned for"),
        facts(L::ResultRows, "result_rows_max", Count, Query, 0, "Rows of its result"),
        facts(L::ResultBytes, "result_bytes_max", Bytes, Query, 0, "Bytes of its result, in memory"),
        facts(L::ScanBytes, "scan_bytes_max", Bytes, Query, 0, "Bytes of the files that it scans, after pruning"),
        facts(L::Memory, "query_memory_bytes_max", Bytes, Query, 0, "Bytes that it may hold in one process"),
        facts(L::Spill, "query_spill_bytes_max", Bytes, Query, 0, "Bytes that it may spill to one process's disk"),
        facts(L::Shuffle, "shuffle_bytes_max", Bytes, Query, 0, "Bytes that its stages may write for each other"),
        facts(
            L::PlanNodes,
            "plan_nodes_max",
            Count,
            Query,
            25_000,
            "Nodes of its plan; 20 of expressions count as one",
        ),
        facts(L::Columns, "select_columns_max", Count, Query, 10_000, "Columns of a SELECT"),
        facts(L::Tokens, "statement_tokens_max", Count, Query, 1_500_000, "Words and signs of its text, blanks too"),
        facts(L::ExpressionDepth, "expression_depth_max", Count, Query, 1_000, "Operators in a row in an expression"),
        facts(L::SubqueryDepth, "subquery_depth_max", Count, Query, 14, "Subqueries within each other in expressions"),
        facts(
            L::FunctionBytes,
            "function_result_bytes_max",
            Bytes,
            Query,
            256 << 20,
            "Bytes that repeat(), generate_series() and their like give for a batch",
        ),
        facts(L::UserQueries, "user_queries_running_max", Count, User, 0, "Statements of one user that run at once"),
        facts(L::GroupQueries, "group_queries_running_max", Count, User, 0, "Statements of a group that run at once"),
        facts(L::UserSessions, "user_sessions_max", Count, User, 0, "Sessions that one user has at once"),
        facts(L::Queries, "queries_running_max", Count, System, 64, "Statements that run at once"),
        facts(L::LargeQueries, "large_queries_running_max", Count, System, 8, "Large statements that run at once"),
        facts(L::QueuedQueries, "queries_queued_max", Count, System, 1_000, "Statements that wait at once"),
    ]
};

impl Limit {
    /// What is known of it.
    pub fn facts(self) -> &'static Facts {
        &LIMITS[self as usize]
    }

    /// The limit of this name, without `grappe.`.
    pub fn named(name: &str) -> Option<Self> {
        LIMITS.iter().find(|facts| facts.name == name).map(|facts| facts.limit)
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "grappe.{}", self.facts().name)
    }
}

/// Limits that somebody has set; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits([Option<u64>; COUNT]);

impl Limits {
    /// Limits by their names, without `grappe.`.
    ///
    /// # Errors
    /// `Invalid` for an unknown name or a bad value.
    pub fn of_settings<'a>(settings: impl Iterator<Item = (&'a str, String)>) -> Result<Self> {
        let mut limits = Self::default();
        for (name, value) in settings {
            let limit = Limit::named(name).ok_or_else(|| {
                let hint = suggestion(name, LIMITS.iter().map(|facts| facts.name));
                Error::invalid(format!("there is no limit {name}{hint}"))
            })?;
            limits.set(limit, Some(parse(limit, &value)?));
        }
        Ok(limits)
    }

    /// What has been set.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0[limit as usize]
    }

    /// Sets one, or takes it back.
    pub fn set(&mut self, limit: Limit, value: Option<u64>) {
        self.0[limit as usize] = value;
    }
}

/// Who has set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    /// Nobody.
    Default,
    /// The settings of the process, or `ALTER SYSTEM SET`.
    System,
    /// `ALTER GROUP ... SET`.
    Group,
    /// `ALTER USER ... SET`.
    User,
    /// `SET`.
    Session,
}

impl SetBy {
    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::System => "system",
            Self::Group => "group",
            Self::User => "user",
            Self::Session => "session",
        }
    }
}

/// What system, group and user allow, and what a session asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayeredLimits {
    /// For everybody.
    pub system: Limits,
    /// For the user's group.
    pub group: Limits,
    /// For the user.
    pub user: Limits,
    /// For statements of the session.
    pub session: Limits,
}

impl LayeredLimits {
    /// The smallest that anybody has set, and who; the default if nobody has. 0 is no limit.
    pub fn in_force(&self, limit: Limit) -> (u64, SetBy) {
        let layers = [
            (self.system, SetBy::System),
            (self.group, SetBy::Group),
            (self.user, SetBy::User),
            (self.session, SetBy::Session),
        ];
        let set = layers.iter().filter_map(|(limits, by)| Some((limits.get(limit)?, *by)));
        let smallest = set.clone().filter(|(value, _)| *value > 0).min_by_key(|(value, _)| *value);
        smallest.or_else(|| set.clone().next_back()).unwrap_or((limit.facts().default, SetBy::Default))
    }

    /// The limit in force, if there is one.
    pub fn limit(&self, limit: Limit) -> Option<u64> {
        Some(self.in_force(limit).0).filter(|value| *value > 0)
    }

    /// What a session may at most ask for, and who says so.
    pub fn ceiling(&self, limit: Limit) -> Option<(u64, SetBy)> {
        let (value, by) = Self { session: Limits::default(), ..*self }.in_force(limit);
        (value > 0 && by != SetBy::Default).then_some((value, by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_facts_and_its_unit_in_its_name() {
        for (index, facts) in LIMITS.iter().enumerate() {
            assert_eq!(facts.limit as usize, index, "{}", facts.name);
            assert_eq!(Limit::named(facts.name), Some(facts.limit));
            let unit = match facts.unit {
                Unit::Seconds => "_seconds_max",
                Unit::Bytes => "_bytes_max",
                Unit::Count => "_max",
            };
            assert!(facts.name.ends_with(unit), "{}", facts.name);
        }
    }

    #[test]
    fn the_smallest_holds_and_no_limit_is_larger_than_any() {
        let mut layers = LayeredLimits::default();
        assert_eq!(layers.in_force(Limit::QueryQueue), (600, SetBy::Default));
        layers.session.set(Limit::QueryQueue, Some(0));
        assert_eq!((layers.limit(Limit::QueryQueue), layers.ceiling(Limit::QueryQueue)), (None, None));
        layers.user.set(Limit::QueryQueue, Some(30));
        assert_eq!(layers.in_force(Limit::QueryQueue), (30, SetBy::User));
        layers.session.set(Limit::QueryQueue, Some(7));
        layers.system.set(Limit::QueryQueue, Some(20));
        assert_eq!(layers.in_force(Limit::QueryQueue), (7, SetBy::Session));
        assert_eq!(layers.ceiling(Limit::QueryQueue), Some((20, SetBy::System)));
    }
}
