//! SQL text to a statement.
//!
//! sqlparser does most of it. What it lacks is found in the tokens before it sees them: whole statements of ours
//! ([`commands`]), the clauses of `CREATE TABLE` in any order ([`clauses`]), and versions of tables ([`versions`]).
//! Clauses and versions are cut out, and put into the syntax tree where sqlparser has a place for them; so nothing else
//! is read otherwise than `GenericDialect` reads it.

mod clauses;
mod commands;
mod complexity;
mod versions;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, ParserInput, Statement as Syntax};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::limits::LayeredLimits;
use crate::sql::command::{Command, command_of};
use crate::sql::{Names, types};
use crate::{Error, Result};

/// A statement, by who carries it out.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// DataFusion plans it.
    Planned(Box<Syntax>),
    /// We do all of it.
    Command(Box<Command>),
}

/// The one statement in `sql`.
///
/// # Errors
/// `Invalid`, with the place, for a syntax error, for nothing, and for more than one statement.
pub(super) fn parse(sql: &str, names: Names, recursion_limit: usize, limits: &LayeredLimits) -> Result<Parsed> {
    let mut tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(tokenizer_error)?;
    complexity::refuse_what_is_too_much(&tokens, limits)?;
    if let Some(command) = commands::written_command(&tokens, names)? {
        return Ok(Parsed::Command(Box::new(command)));
    }
    let clauses = clauses::cut_clauses(&mut tokens)?;
    let versions = versions::cut_versions(&mut tokens)?;
    let mut syntax = one_statement(tokens, recursion_limit)?;
    complexity::balance(&mut syntax);
    clauses::put_clauses(&mut syntax, clauses)?;
    versions::put_versions(&mut syntax, versions)?;
    types::rename_types(&mut syntax);
    match command_of(&syntax, names)? {
        Some(command) => Ok(Parsed::Command(Box::new(command))),
        None => Ok(Parsed::Planned(Box::new(syntax))),
    }
}

fn one_statement(tokens: Vec<TokenWithSpan>, recursion_limit: usize) -> Result<Syntax> {
    let mut statements = DFParserBuilder::new(ParserInput::Tokens(tokens))
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(recursion_limit)
        .build()?
        .parse_statements()?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Error::invalid("there is no statement in the text")),
        (Some(_), more) => Err(Error::invalid(format!("one statement at a time, not {}", more + 1))),
    }
}

fn tokenizer_error(error: impl Into<ParserError>) -> Error {
    syntax_error(error.into())
}

fn syntax_error(error: ParserError) -> Error {
    DataFusionError::from(error).into()
}

/// A parser of some of the tokens of a statement.
fn parser_of(tokens: &[TokenWithSpan]) -> Parser<'static> {
    Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens.to_vec())
}

/// Indices of the tokens that are neither blanks nor comments.
fn significant(tokens: &[TokenWithSpan]) -> impl Iterator<Item = usize> + '_ {
    (0..tokens.len()).filter(|index| !matches!(tokens[*index].token, Token::Whitespace(_)))
}

/// The keyword that a token is; none for a quoted name.
fn keyword(token: &TokenWithSpan) -> Option<Keyword> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// What the tests of this folder begin with.
#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// The tokens of `sql`.
    pub(crate) fn tokens(sql: &str) -> Vec<TokenWithSpan> {
        Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap()
    }

    /// `sql`, as every session reads it.
    pub(crate) fn read(sql: &str) -> Result<Parsed> {
        parse(sql, Names::default(), 50, &LayeredLimits::default())
    }

    /// A statement for DataFusion.
    pub(crate) fn planned(sql: &str) -> Syntax {
        match read(sql).unwrap_or_else(|error| panic!("{sql}: {}", error.message)) {
            Parsed::Planned(syntax) => *syntax,
            Parsed::Command(command) => panic!("{sql} is a command: {command:?}"),
        }
    }

    /// A statement of ours.
    pub(crate) fn command(sql: &str) -> Command {
        match read(sql).unwrap_or_else(|error| panic!("{sql}: {}", error.message)) {
            Parsed::Planned(syntax) => panic!("{sql} is no command: {syntax}"),
            Parsed::Command(command) => *command,
        }
    }

    /// Why `sql` is refused.
    pub(crate) fn refusal(sql: &str) -> String {
        match read(sql) {
            Ok(parsed) => panic!("{sql} is not refused: {parsed:?}"),
            Err(error) => error.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::samples::{planned, refusal};

    /// Words that mean something to us, in places where they are names.
    const ORDINARY: &[&str] = &[
        "SELECT version, timestamp FROM t version",
        "SELECT version AS of FROM t",
        "SELECT version AS of, timestamp AS of FROM t AS timestamp",
        "SELECT DISTINCT version AS of FROM t",
        "SELECT a, t.version AS of FROM t",
        "SELECT NOT version AS of FROM t",
        "SELECT x::timestamp AS of FROM t",
        "SELECT 1 + version AS of FROM t",
        "SELECT * FROM t at WHERE at.a = 1",
        "SELECT * FROM t before JOIN u changes ON before.a = changes.a",
        "SELECT * FROM history, detail, optimize, vacuum, restore",
        "SELECT ts AT TIME ZONE 'UTC' FROM t",
        "SELECT a FROM t FOR UPDATE",
        "DESCRIBE history",
        "DESCRIBE detail",
        "DESC t",
        "SHOW TABLES",
        "SHOW datafusion.execution.time_zone",
        "EXPLAIN ANALYZE VERBOSE SELECT 1",
        "EXPLAIN FORMAT TREE SELECT 1",
        "CREATE TABLE t (version INT, timestamp TIMESTAMP, comment VARCHAR, location TEXT)",
        "CREATE TABLE comment AS SELECT 1 AS location",
        "CREATE TABLE t AS WITH location AS (SELECT 1) SELECT * FROM location",
        "CREATE OR REPLACE TABLE t (a INT PRIMARY KEY, b INT DEFAULT (1 + 2)) AS VALUES (1, 2)",
        "CREATE EXTERNAL TABLE t STORED AS DELTA LOCATION '/x'",
        "CREATE EXTERNAL TABLE t (a INT) STORED AS CSV PARTITIONED BY (a) LOCATION '/x' OPTIONS ('has_header' 'true')",
        "CREATE VIEW v AS SELECT version AS of FROM t",
        "COPY t TO '/x.parquet'",
        "COPY (SELECT version AS of FROM t) TO '/x' STORED AS CSV",
        "INSERT INTO t SELECT * FROM u version",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT $1",
        "EXECUTE p(1)",
    ];

    #[test]
    fn what_is_not_ours_is_read_as_ever() {
        for sql in ORDINARY {
            let ours = planned(sql);
            let theirs = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
            assert_eq!(ours, theirs, "{sql}");
        }
    }

    #[test]
    fn one_statement_at_a_time() {
        assert_eq!(refusal("SELECT 1; SELECT 2"), "one statement at a time, not 2");
        assert_eq!(refusal("VACUUM t; SELECT 2"), "one statement at a time, not 2");
        assert_eq!(refusal(" -- nothing\n"), "there is no statement in the text");
    }
}
