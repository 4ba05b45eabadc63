//! `FROM t VERSION AS OF 3`, with its spellings of other systems, put into the syntax tree.
//!
//! sqlparser can read some of them, but a dialect that lets it do so can have no alias named `at`, `before` or
//! `changes`.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{Expr, TableFactor, TableVersion, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::{keyword, parser_of, significant, syntax_error};
use crate::error::Position;
use crate::sql::walk::walk;
use crate::{Error, Result};

/// A version, cut out of the text.
#[derive(Debug)]
pub(super) struct WrittenVersion {
    version: TableVersion,
    /// Where the word before it starts: the name of the table, or its alias.
    follows: Location,
    starts: Location,
}

/// Cuts the versions out of `tokens`.
///
/// # Errors
/// `Invalid` for a syntax error in one.
pub(super) fn cut_versions(tokens: &mut Vec<TokenWithSpan>) -> Result<Vec<WrittenVersion>> {
    let mut versions = Vec::new();
    let mut done = 0;
    while let Some(found) = find(tokens, done) {
        let mut parser = parser_of(&tokens[found.operand..]);
        let operand = parser.parse_expr().map_err(syntax_error)?;
        versions.push(WrittenVersion {
            version: found.kind.version(operand),
            follows: tokens[found.previous].span.start,
            starts: tokens[found.start].span.start,
        });
        done = found.start;
        tokens.drain(found.start..found.operand + parser.index());
    }
    Ok(versions)
}

/// Gives each version to its table.
///
/// # Errors
/// `Invalid` for one that follows something else.
pub(super) fn put_versions(syntax: &mut Syntax, versions: Vec<WrittenVersion>) -> Result<()> {
    if versions.is_empty() {
        return Ok(());
    }
    let mut placing = Placing { versions };
    if let ControlFlow::Break(error) = walk(syntax, &mut placing) {
        return Err(error);
    }
    match placing.versions.first() {
        None => Ok(()),
        Some(left) => {
            let message =
                format!("{} must follow the name of a table that a query reads, such as FROM t {0}", left.version);
            Err(left.error(&message))
        }
    }
}

impl WrittenVersion {
    fn error(&self, message: &str) -> Error {
        let position = Position { line: self.starts.line, column: self.starts.column };
        Error { position: Some(position), ..Error::invalid(message) }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Version,
    Timestamp,
}

impl Kind {
    fn version(self, operand: Expr) -> TableVersion {
        match self {
            Self::Version => TableVersion::VersionAsOf(operand),
            Self::Timestamp => TableVersion::TimestampAsOf(operand),
        }
    }
}

/// Indices of tokens.
struct Found {
    kind: Kind,
    previous: usize,
    start: usize,
    operand: usize,
}

/// The first clause that starts at or after the token `from`.
fn find(tokens: &[TokenWithSpan], from: usize) -> Option<Found> {
    // Most statements have none.
    tokens[from..].iter().find(|token| keyword(token) == Some(Keyword::OF))?;
    let places: Vec<usize> = significant(tokens).chain([tokens.len()]).collect();
    places.windows(5).filter(|window| window[1] >= from).find_map(|window| {
        let &[previous, start, second, third, fourth] = window else { return None };
        let words = [start, second, third].map(|index| keyword(&tokens[index]));
        let is_for = words[0] == Some(Keyword::FOR);
        if !is_for && words[1..] == [Some(Keyword::AS), Some(Keyword::OF)] {
            let kind = kind_of(&tokens[start], false)?;
            let found = Found { kind, previous, start, operand: fourth };
            return is_version(&tokens[previous], tokens.get(fourth)).then_some(found);
        }
        let is_long =
            is_for && words[2] == Some(Keyword::AS) && tokens.get(fourth).and_then(keyword) == Some(Keyword::OF);
        let kind = is_long.then(|| kind_of(&tokens[second], true))??;
        let operand = *places.iter().find(|place| **place > fourth)?;
        Some(Found { kind, previous, start, operand })
    })
}

fn kind_of(token: &TokenWithSpan, after_for: bool) -> Option<Kind> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_some() => None,
        Token::Word(word) if word.keyword == Keyword::VERSION => Some(Kind::Version),
        Token::Word(word) if word.keyword == Keyword::TIMESTAMP => Some(Kind::Timestamp),
        Token::Word(word) if after_for && word.keyword == Keyword::SYSTEM_TIME => Some(Kind::Timestamp),
        Token::Word(word) if after_for && word.value.eq_ignore_ascii_case("SYSTEM_VERSION") => Some(Kind::Version),
        _ => None,
    }
}

/// `SELECT version AS of FROM t` is a column with an alias: such a one follows a keyword or a comma, and no constant
/// follows it.
fn is_version(previous: &TokenWithSpan, operand: Option<&TokenWithSpan>) -> bool {
    let follows_name = match &previous.token {
        Token::Word(word) => word.quote_style.is_some() || word.keyword == Keyword::NoKeyword,
        Token::SingleQuotedString(_) => true,
        _ => false,
    };
    let Some(operand) = operand else { return follows_name };
    let has_constant = match &operand.token {
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Minus | Token::Plus | Token::Placeholder(_) => true,
        _ => matches!(keyword(operand), Some(Keyword::TIMESTAMP | Keyword::CURRENT_TIMESTAMP)),
    };
    follows_name || has_constant
}

struct Placing {
    versions: Vec<WrittenVersion>,
}

impl VisitorMut for Placing {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, alias, version, .. } = factor else { return ControlFlow::Continue(()) };
        let last = name.0.last().and_then(|part| part.as_ident());
        let words: Vec<Location> =
            last.into_iter().chain(alias.as_ref().map(|alias| &alias.name)).map(|ident| ident.span.start).collect();
        while let Some(index) = self.versions.iter().position(|written| words.contains(&written.follows)) {
            let written = self.versions.remove(index);
            if version.is_some() {
                return ControlFlow::Break(written.error("a table is read at one version: leave the other one away"));
            }
            *version = Some(written.version);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::parser::samples::{planned, read, refusal};

    #[test]
    fn a_version_is_kept_in_the_syntax_tree() {
        for (sql, wanted) in [
            ("SELECT * FROM t VERSION AS OF 3", "SELECT * FROM t VERSION AS OF 3"),
            ("SELECT * FROM t FOR VERSION AS OF 3", "SELECT * FROM t VERSION AS OF 3"),
            ("SELECT * FROM t FOR SYSTEM_VERSION AS OF 3", "SELECT * FROM t VERSION AS OF 3"),
            ("SELECT * FROM t VERSION AS OF 3 AS a", "SELECT * FROM t AS a VERSION AS OF 3"),
            ("SELECT * FROM t VERSION AS OF 3 a WHERE a.x = 1", "SELECT * FROM t a VERSION AS OF 3 WHERE a.x = 1"),
            ("SELECT * FROM t AS a VERSION AS OF 3", "SELECT * FROM t AS a VERSION AS OF 3"),
            ("SELECT * FROM t a FOR VERSION AS OF 3", "SELECT * FROM t a VERSION AS OF 3"),
            ("SELECT * FROM \"T\" version as of 3", "SELECT * FROM \"T\" VERSION AS OF 3"),
            ("SELECT * FROM date VERSION AS OF 3", "SELECT * FROM date VERSION AS OF 3"),
            ("SELECT * FROM t /* then */ VERSION -- x\n AS OF 3", "SELECT * FROM t VERSION AS OF 3"),
            ("SELECT * FROM t TIMESTAMP AS OF '2026-01-01'", "SELECT * FROM t TIMESTAMP AS OF '2026-01-01'"),
            ("SELECT * FROM t FOR SYSTEM_TIME AS OF '2026-01-01'", "SELECT * FROM t TIMESTAMP AS OF '2026-01-01'"),
            (
                "SELECT * FROM date TIMESTAMP AS OF TIMESTAMP '2026-01-01' JOIN u VERSION AS OF 4 USING (a)",
                "SELECT * FROM date TIMESTAMP AS OF TIMESTAMP '2026-01-01' JOIN u VERSION AS OF 4 USING(a)",
            ),
        ] {
            assert_eq!(planned(sql).to_string(), wanted, "{sql}");
        }
    }

    #[test]
    fn a_version_of_anything_but_a_table_that_is_read_is_refused() {
        for sql in [
            "INSERT INTO t VERSION AS OF 3 VALUES (1)",
            "COPY t VERSION AS OF 3 TO '/x.parquet'",
            "DESCRIBE t VERSION AS OF 3",
            "DROP TABLE t VERSION AS OF 3",
            "CREATE TABLE t VERSION AS OF 3 (a INT)",
            "SELECT * FROM (SELECT 1) VERSION AS OF 3",
            "SELECT * FROM (SELECT 1) AS s VERSION AS OF 3",
            "SELECT * FROM t AS a (x) VERSION AS OF 3",
            "SELECT 1 VERSION AS OF 3",
            "TRUNCATE t VERSION AS OF 3",
        ] {
            let refusal = refusal(sql);
            assert!(
                refusal.contains("VERSION AS OF 3 must follow the name of a table that a query reads"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_wrong_version_has_its_place() {
        let error = read("SELECT *\nFROM (SELECT 1) VERSION AS OF 3").unwrap_err();
        let position = error.position.unwrap();
        assert_eq!((position.line, position.column), (2, 17));
        assert!(refusal("SELECT * FROM t VERSION AS OF 3 AS a VERSION AS OF 4").contains("leave the other one away"));
        assert!(refusal("SELECT * FROM t VERSION AS OF").contains("found: EOF"));
        assert!(refusal("SELECT * FROM t VERSION AS OF )").contains("found: )"));
    }
}
