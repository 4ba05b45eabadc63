//! Reads that are run again when the coordinator is lost: nothing of them has been shown, and they change nothing.
//!
//! A new connection is a new session on the server, so the settings of the old one are made again first. Temporary
//! tables cannot be: a session that made one is not repeated.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::TryStreamExt;

use crate::{Client, Error};

/// First and longest wait between two tries.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A connection of a program that wants whole results: reads are asked again while the coordinator is away.
#[derive(Debug)]
pub struct Retrying {
    client: Client,
    told: Told,
    time_max: Duration,
}

impl Retrying {
    /// Asks again for so long.
    pub fn new(client: Client, time_max: Duration) -> Self {
        Self { client, told: Told::default(), time_max }
    }

    /// All rows that a statement gives, in memory.
    ///
    /// # Errors
    /// Whatever the coordinator says of the statement; that it is away, if the statement is no read or the time is over.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        let mut tries = Tries::within(self.time_max);
        loop {
            let error = match self.try_once(sql).await {
                Ok(batches) => return Ok(batches),
                Err(error) => error,
            };
            let wait = if error.is_retryable() && self.told.allows(sql) { tries.next_wait() } else { None };
            let Some(wait) = wait else { return Err(error) };
            self.told.forget_session();
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once(&mut self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        let session = self.client.connections_lost();
        for setting in self.told.unknown_to(session) {
            self.client.execute(setting).await?.ready().await?;
        }
        self.told.knows(session);
        let batches = self.client.execute(sql).await?.stream().await?.try_collect().await?;
        self.told.note(sql);
        Ok(batches)
    }
}

/// What the session on the server has been told.
#[derive(Debug)]
pub struct Told {
    settings: Vec<String>,
    has_temporary: bool,
    /// Connections lost before the session that has been told all of it; nothing if there may be none.
    session: Option<u64>,
}

impl Default for Told {
    fn default() -> Self {
        Self { settings: Vec::new(), has_temporary: false, session: Some(0) }
    }
}

impl Told {
    /// Notes a statement that was carried out.
    pub fn note(&mut self, sql: &str) {
        let words = words(sql);
        match words.first().map(String::as_str) {
            Some("set" | "reset" | "use" | "prepare" | "deallocate") => self.settings.push(sql.to_owned()),
            Some("create") if words.iter().take(4).any(|word| word == "temp" || word == "temporary") => {
                self.has_temporary = true;
            }
            _ => {}
        }
    }

    /// What the session after so many lost connections is to be told first, if it is another than before.
    pub fn unknown_to(&self, session: u64) -> &[String] {
        if self.session == Some(session) { &[] } else { &self.settings }
    }

    /// The session after so many lost connections has been told all.
    pub fn knows(&mut self, session: u64) {
        self.session = Some(session);
    }

    /// Whoever answers next may be another.
    pub fn forget_session(&mut self) {
        self.session = None;
    }

    /// Whether a statement may be run again in a new session.
    pub fn allows(&self, sql: &str) -> bool {
        !self.has_temporary && is_read(sql)
    }
}

/// When to try again.
#[derive(Debug)]
pub struct Tries {
    until: Instant,
    wait: Duration,
}

impl Tries {
    /// Tries for so long.
    pub fn within(time: Duration) -> Self {
        Self { until: Instant::now() + time, wait: WAIT_MIN }
    }

    /// How long to wait before the next try; nothing if it is too late for one.
    pub fn next_wait(&mut self) -> Option<Duration> {
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
        assert!(told.unknown_to(0).is_empty());
        assert_eq!(told.unknown_to(1), ["SET grappe.execution_mode = 'local'"]);
        told.knows(1);
        assert!(told.unknown_to(1).is_empty());
        told.forget_session();
        assert_eq!(told.unknown_to(1).len(), 1);
    }

    #[test]
    fn tries_become_rarer_and_end() {
        let mut tries = Tries::within(Duration::from_secs(60));
        let waits: Vec<_> = (0..7).filter_map(|_| tries.next_wait()).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(Tries::within(Duration::ZERO).next_wait(), None);
    }
}
