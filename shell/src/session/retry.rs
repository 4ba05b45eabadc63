//! Reads that are run again when the coordinator is lost: nothing of them has been shown, and they change nothing.
//!
//! A new connection is a new session on the server, so the settings of the old one are made again first. Temporary
//! tables cannot be: a session that made one is not repeated.

use std::time::{Duration, Instant};

/// First and longest wait between two tries.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What the session on the server has been told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    settings: Vec<String>,
    has_temporary: bool,
}

impl Told {
    /// Notes a statement that was carried out.
    pub(crate) fn note(&mut self, sql: &str) {
        let words = words(sql);
        match words.first().map(String::as_str) {
            Some("set" | "reset" | "use" | "prepare" | "deallocate") => self.settings.push(sql.to_owned()),
            Some("create") if words.iter().take(4).any(|word| word == "temp" || word == "temporary") => {
                self.has_temporary = true;
            }
            _ => {}
        }
    }

    /// What a new session is told first.
    pub(crate) fn settings(&self) -> &[String] {
        &self.settings
    }

    /// Whether a statement may be run again in a new session.
    pub(crate) fn allows(&self, sql: &str) -> bool {
        !self.has_temporary && is_read(sql)
    }
}

/// When to try again.
#[derive(Debug)]
pub(crate) struct Tries {
    until: Instant,
    wait: Duration,
}

impl Tries {
    /// Tries for so long.
    pub(crate) fn within(time: Duration) -> Self {
        Self { until: Instant::now() + time, wait: WAIT_MIN }
    }

    /// How long to wait before the next try; nothing if it is too late for one.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        let wait = self.wait;
        self.wait = (wait * 2).min(WAIT_MAX);
        (Instant::now() + wait < self.until).then_some(wait)
    }
}

/// Whether a statement changes nothing, as far as its words tell.
fn is_read(sql: &str) -> bool {
    const WRITING: [&str; 6] = ["insert", "update", "delete", "merge", "create", "copy"];
    let words = words(sql);
    match words.first().map(String::as_str) {
        Some("select" | "values" | "table" | "show" | "describe" | "desc") => true,
        Some("with" | "explain") => !words.iter().any(|word| WRITING.contains(&word.as_str())),
        _ => false,
    }
}

/// The words of a statement outside of comments and quotes, in lower case.
fn words(sql: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("--") {
            rest.find('\n').map_or(rest.len(), |end| end + 1)
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if matches!(first, '\'' | '"') {
            rest[1..].find(first).map_or(rest.len(), |end| end + 2)
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            words.push(rest[..end].to_lowercase());
            end
        } else {
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_nothing_is_read() {
        for read in [
            "SELECT 1",
            "-- first\n/* then */ (select 'insert into t')",
            "WITH \"delete\" AS (SELECT 1) SELECT * FROM \"delete\"",
            "VALUES (1)",
            "explain analyze select 1",
            "show tables",
        ] {
            assert!(is_read(read), "{read}");
        }
        for write in [
            "INSERT INTO t SELECT 1",
            "with a as (select 1) insert into t select * from a",
            "",
            "--",
            "EXPLAIN ANALYZE DELETE FROM t",
            "CREATE TABLE t (x INT)",
            "SET a = 1",
            "drop table t",
        ] {
            assert!(!is_read(write), "{write}");
        }
    }

    #[test]
    fn a_session_with_temporary_tables_is_not_repeated() {
        let mut told = Told::default();
        told.note("SET grappe.execution_mode = 'local'");
        told.note("CREATE TABLE temp_results (x INT)");
        assert!(told.allows("SELECT 1"));
        told.note("create or replace temporary table t as select 1");
        assert!(!told.allows("SELECT 1"));
        assert_eq!(told.settings(), ["SET grappe.execution_mode = 'local'"]);
    }

    #[test]
    fn tries_become_rarer_and_end() {
        let mut tries = Tries::within(Duration::from_secs(60));
        let waits: Vec<_> = (0..7).filter_map(|_| tries.next()).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(Tries::within(Duration::ZERO).next(), None);
    }
}
