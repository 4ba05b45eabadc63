//! Runs one `.slt` file to its end, and tells every record that failed.

use std::fmt::{Display, Formatter};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use client::{Client, Error};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqllogictest::{MakeConnection, Record, Runner};

use crate::cell::Letter;
use crate::session::{Place, Session};

/// Where the files are that tests read and write.
#[derive(Debug, Clone)]
pub struct Fixtures {
    /// What `$DATA` stands for.
    pub data: PathBuf,
    /// What `$TMP` stands for; each file of tests must have its own.
    pub temporary: PathBuf,
}

/// The records of a file that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// One text a record, with its place.
    pub records: Vec<String>,
}

/// Failed records shown of one file: one broken thing often breaks what stands on it.
const SHOWN_MAX: usize = 10;

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for record in self.records.iter().take(SHOWN_MAX) {
            writeln!(f, "{}\n", record.trim_end())?;
        }
        match self.records.len().checked_sub(SHOWN_MAX) {
            Some(more) if more > 0 => write!(f, "and {more} more failed"),
            _ => Ok(()),
        }
    }
}

impl From<String> for Failure {
    fn from(record: String) -> Self {
        Self { records: vec![record] }
    }
}

/// All `.slt` files under `path`, or `path` itself if it is a file, in order.
///
/// # Errors
/// If a directory cannot be read.
pub fn find(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_dir() || entry.extension().is_some_and(|extension| extension == "slt") {
            files.extend(find(&entry)?);
        }
    }
    files.sort();
    Ok(files)
}

/// Runs the records of `file` one after the other; `connect` makes a connection for each session that the file names.
///
/// # Errors
/// Every record that failed: later ones are run all the same.
pub async fn run<F, C>(file: &Path, fixtures: &Fixtures, place: Place, connect: F) -> Result<(), Failure>
where
    F: Fn() -> C,
    C: Future<Output = Result<Client, Error>> + Send + 'static,
{
    let records = sqllogictest::parse_file::<Letter>(file).map_err(|error| Failure::from(error.to_string()))?;
    let mut runner = runner(fixtures, place, connect);
    let mut failed = Vec::new();
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        if let Err(error) = runner.run_async(record).await {
            failed.push(error.to_string());
        }
    }
    runner.shutdown_async().await;
    if failed.is_empty() { Ok(()) } else { Err(Failure { records: failed }) }
}

/// Writes the results that the coordinator gives into `file`, for an author who then reads every changed line.
///
/// # Errors
/// If the file cannot be read or written.
pub async fn update<F, C>(file: &Path, fixtures: &Fixtures, connect: F) -> Result<(), Failure>
where
    F: Fn() -> C,
    C: Future<Output = Result<Client, Error>> + Send + 'static,
{
    let mut runner = runner(fixtures, Place::Chosen, connect);
    let done = runner.update_test_file(file, " ", is_equal, same_text, is_same_type).await;
    done.map_err(|error| Failure::from(format!("could not update {}: {error}", file.display())))
}

fn runner<F, C>(
    fixtures: &Fixtures,
    place: Place,
    connect: F,
) -> Runner<Session, impl MakeConnection<Conn = Session, MakeFuture = BoxFuture<'static, Result<Session, Error>>>>
where
    F: Fn() -> C,
    C: Future<Output = Result<Client, Error>> + Send + 'static,
{
    let mut runner = Runner::new(move || {
        let client = connect();
        async move { Session::open(client.await?, place).await }.boxed()
    });
    if place == Place::Executors {
        runner.add_label("executors");
    }
    runner.with_validator(is_equal);
    runner.with_normalizer(same_text);
    runner.with_column_validator(is_same_type);
    runner.set_var("DATA".to_owned(), fixtures.data.display().to_string());
    runner.set_var("TMP".to_owned(), fixtures.temporary.display().to_string());
    runner
}

/// Results are compared as they are: the runner's own way ignores how many spaces there are.
#[expect(clippy::ptr_arg, reason = "the runner's type of a normaliser")]
fn same_text(text: &String) -> String {
    text.clone()
}

/// Only the end of a line may have spaces more or less, as editors remove them. Where `<slt:ignore>` stands for what is
/// not told, the runner's own comparison knows it.
fn is_equal(normalizer: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    if expected.iter().any(|line| line.contains("<slt:ignore>")) {
        return sqllogictest::default_validator(normalizer, actual, expected);
    }
    let actual: Vec<_> = actual.iter().map(|row| row.join(" ").trim_end().to_owned()).collect();
    let expected: Vec<_> = expected.iter().map(|line| line.trim_end().to_owned()).collect();
    actual == expected
}

/// `?` in a file takes any type.
#[expect(clippy::ptr_arg, reason = "the runner's type of a validator")]
fn is_same_type(actual: &Vec<Letter>, expected: &Vec<Letter>) -> bool {
    let fits = |(actual, expected): (&Letter, &Letter)| actual == expected || *expected == Letter::Other;
    actual.len() == expected.len() && actual.iter().zip(expected).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(actual: &[&[&str]], expected: &[&str]) -> bool {
        let actual: Vec<Vec<String>> = actual.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        is_equal(same_text, &actual, &expected)
    }

    #[test]
    fn rows_must_be_equal_to_the_letter() {
        assert!(equal(&[&["1", "a"], &["2", " b "]], &["1 a", "2  b"]));
        assert!(!equal(&[&["1", "a"]], &["1  a"]));
        assert!(!equal(&[&["1", "a"]], &["1 A"]));
        assert!(!equal(&[&["1"], &["2"]], &["2", "1"]));
        assert!(!equal(&[&["1"]], &[]));
        assert!(!equal(&[], &["1"]));
    }

    #[test]
    fn what_is_ignored_must_have_the_rest_around_it() {
        assert!(equal(&[&["plan", "Filter: a = 1, Scan t"]], &["plan Filter<slt:ignore>Scan t"]));
        assert!(!equal(&[&["plan", "Filter: a = 1, Scan u"]], &["plan Filter<slt:ignore>Scan t"]));
    }

    #[test]
    fn types_are_as_many_and_as_told_or_any() {
        let letters =
            |text: &str| text.chars().filter_map(sqllogictest::ColumnType::from_char).collect::<Vec<Letter>>();
        assert!(is_same_type(&letters("IT"), &letters("I?")));
        assert!(!is_same_type(&letters("IT"), &letters("TI")));
        assert!(!is_same_type(&letters("IT"), &letters("I")));
    }
}
