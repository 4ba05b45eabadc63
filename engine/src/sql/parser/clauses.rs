//! The clauses between the columns of a `CREATE TABLE` and its query: sqlparser wants them in one order, people write
//! them in any.

use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, ColumnOptionDef, CommentDef, CreateTable, CreateTableOptions, DataType,
    HiveDistributionStyle, HiveFormat, HiveIOFormat, Ident, SqlOption, Statement as Ast,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{keyword, parser_of, significant, syntax_error};
use crate::{Error, Result};

/// What the clauses say.
#[derive(Debug, Default)]
pub(super) struct WrittenClauses {
    partition_by: Option<Vec<ColumnDef>>,
    comment: Option<String>,
    location: Option<String>,
    properties: Option<Vec<SqlOption>>,
    format: Option<Ident>,
}

/// Cuts the clauses out of `tokens`; none for other statements.
///
/// # Errors
/// `Invalid` for a syntax error in one, and for one that is there twice.
pub(super) fn cut_clauses(tokens: &mut Vec<TokenWithSpan>) -> Result<Option<WrittenClauses>> {
    if !is_create_table(tokens) {
        return Ok(None);
    }
    let mut parser = parser_of(tokens);
    // What is wrong before the clauses is sqlparser's to say.
    if skip_to_clauses(&mut parser).is_err() {
        return Ok(None);
    }
    let start = parser.index();
    let mut clauses = WrittenClauses::default();
    while read_clause(&mut parser, &mut clauses)? {}
    tokens.drain(start..parser.index());
    Ok(Some(clauses))
}

/// Puts the clauses where sqlparser would have put them.
///
/// # Errors
/// `Invalid` if there are others of the kind that sqlparser has read.
pub(super) fn put_clauses(syntax: &mut Syntax, clauses: Option<WrittenClauses>) -> Result<()> {
    let Some(clauses) = clauses else { return Ok(()) };
    let statement = match syntax {
        Syntax::Explain(explain) => return put_clauses(&mut explain.statement, Some(clauses)),
        Syntax::Statement(statement) => statement,
        _ => return Ok(()),
    };
    let Ast::CreateTable(table) = statement.as_mut() else { return Ok(()) };
    let has_options = clauses.properties.is_some() && table.table_options != CreateTableOptions::None;
    let has_formats = (clauses.location.is_some() || clauses.format.is_some()) && table.hive_formats.is_some();
    if has_options || has_formats {
        let message = "USING, PARTITIONED BY, COMMENT, LOCATION and TBLPROPERTIES must stand together, right after the \
                       columns";
        return Err(Error::invalid(message));
    }
    put(table, clauses);
    Ok(())
}

fn put(table: &mut CreateTable, clauses: WrittenClauses) {
    if let Some(columns) = clauses.partition_by {
        table.hive_distribution = HiveDistributionStyle::PARTITIONED { columns };
    }
    if let Some(properties) = clauses.properties {
        table.table_options = CreateTableOptions::TableProperties(properties);
    }
    table.comment = clauses.comment.map(CommentDef::WithoutEq);
    if clauses.location.is_some() || clauses.format.is_some() {
        let storage = clauses.format.map(|format| HiveIOFormat::Using { format });
        table.hive_formats = Some(HiveFormat { storage, location: clauses.location, ..HiveFormat::default() });
    }
}

fn is_create_table(tokens: &[TokenWithSpan]) -> bool {
    let skipped = [
        Keyword::EXPLAIN,
        Keyword::ANALYZE,
        Keyword::VERBOSE,
        Keyword::CREATE,
        Keyword::OR,
        Keyword::REPLACE,
        Keyword::TEMP,
        Keyword::TEMPORARY,
    ];
    let words = significant(tokens).map(|index| keyword(&tokens[index]));
    let mut has_create = false;
    for word in words {
        match word {
            Some(Keyword::TABLE) => return has_create,
            Some(word) if skipped.contains(&word) => has_create |= word == Keyword::CREATE,
            _ => return false,
        }
    }
    false
}

fn skip_to_clauses(parser: &mut Parser<'_>) -> Result<(), ParserError> {
    while !parser.parse_keyword(Keyword::TABLE) {
        parser.next_token();
    }
    let _ = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    parser.parse_object_name(false)?;
    if parser.peek_token_ref().token != Token::LParen {
        return Ok(());
    }
    let mut depth = 0_usize;
    loop {
        match parser.next_token().token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return Ok(()),
            Token::RParen => depth -= 1,
            Token::EOF => return parser.expected_ref(")", parser.peek_token_ref()),
            _ => {}
        }
    }
}

/// Whether there was one.
fn read_clause(parser: &mut Parser<'_>, clauses: &mut WrittenClauses) -> Result<bool> {
    let has_using = parser.parse_keyword(Keyword::USING);
    if has_using || parser.parse_keywords(&[Keyword::STORED, Keyword::AS]) {
        let format = parser.parse_identifier().map_err(syntax_error)?;
        set(&mut clauses.format, format, "USING or STORED AS")?;
    } else if parser.parse_keywords(&[Keyword::PARTITIONED, Keyword::BY])
        || parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY])
    {
        set(&mut clauses.partition_by, read_partition(parser)?, "PARTITIONED BY")?;
    } else if parser.parse_keyword(Keyword::COMMENT) {
        let _ = parser.consume_token(&Token::Eq);
        set(&mut clauses.comment, parser.parse_literal_string().map_err(syntax_error)?, "COMMENT")?;
    } else if parser.parse_keyword(Keyword::LOCATION) {
        set(&mut clauses.location, parser.parse_literal_string().map_err(syntax_error)?, "LOCATION")?;
    } else if parser.parse_keyword(Keyword::TBLPROPERTIES)
        || parser.parse_keyword_with_tokens(Keyword::WITH, &[Token::LParen]) && step_back(parser)
    {
        set(&mut clauses.properties, read_properties(parser).map_err(syntax_error)?, "TBLPROPERTIES or WITH")?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn set<T>(clause: &mut Option<T>, value: T, name: &str) -> Result<()> {
    match clause.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("{name} is there twice: write one of them"))),
    }
}

/// Before the parenthesis again.
fn step_back(parser: &mut Parser<'_>) -> bool {
    parser.prev_token();
    true
}

/// Names of columns, or columns with their types, which are added to the table.
fn read_partition(parser: &mut Parser<'_>) -> Result<Vec<ColumnDef>> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(vec![read_partition_column(parser, false)?]);
    }
    let mut columns = vec![read_partition_column(parser, true)?];
    while parser.consume_token(&Token::Comma) {
        columns.push(read_partition_column(parser, true)?);
    }
    parser.expect_token(&Token::RParen).map_err(syntax_error)?;
    Ok(columns)
}

fn read_partition_column(parser: &mut Parser<'_>, may_have_type: bool) -> Result<ColumnDef> {
    let name = parser.parse_identifier().map_err(syntax_error)?;
    let mut column = ColumnDef { name, data_type: DataType::Unspecified, options: Vec::new() };
    match parser.peek_token_ref().token {
        Token::LParen => {
            let name = column.name;
            let message = format!("PARTITIONED BY takes names of columns: make a column of {name}(...) and name it");
            return Err(Error::invalid(message));
        }
        Token::Comma | Token::RParen => return Ok(column),
        _ if !may_have_type => return Ok(column),
        _ => {}
    }
    column.data_type = parser.parse_data_type().map_err(syntax_error)?;
    if parser.parse_keyword(Keyword::COMMENT) {
        let option = ColumnOption::Comment(parser.parse_literal_string().map_err(syntax_error)?);
        column.options.push(ColumnOptionDef { name: None, option });
    }
    Ok(column)
}

/// `('a.b' = 'c', d.e = 1)`.
fn read_properties(parser: &mut Parser<'_>) -> Result<Vec<SqlOption>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let options = parser.parse_comma_separated(|parser| {
        let key = match parser.peek_token_ref().token {
            Token::SingleQuotedString(_) => parser.parse_literal_string()?,
            _ => read_dotted(parser)?,
        };
        let _ = parser.consume_token(&Token::Eq);
        let value = parser.parse_expr()?;
        Ok(SqlOption::KeyValue { key: Ident::with_quote('\'', key), value })
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(options)
}

fn read_dotted(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let mut name = parser.parse_identifier()?.value;
    while parser.consume_token(&Token::Period) {
        name.push('.');
        name.push_str(&parser.parse_identifier()?.value);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::samples::{planned, refusal, tokens};

    #[test]
    fn a_property_is_a_name_and_a_constant() {
        let tokens = tokens("(delta.x = 1, 'y z' 2, \"w\"='v')");
        let options = read_properties(&mut parser_of(&tokens)).unwrap();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        assert_eq!(options, ["'delta.x' = 1", "'y z' = 2", "'w' = 'v'"]);
    }

    #[test]
    fn clauses_stand_in_any_order() {
        let wanted = planned(
            "CREATE TABLE t (a INT) USING delta PARTITIONED BY (b INT) LOCATION '/x' COMMENT 'c' \
                              TBLPROPERTIES ('k' = 'v') AS SELECT 1, 2",
        );
        let clauses =
            ["USING delta", "PARTITIONED BY (b INT)", "LOCATION '/x'", "COMMENT 'c'", "TBLPROPERTIES ('k' = 'v')"];
        for turn in 0..clauses.len() {
            let mut clauses = clauses;
            clauses.rotate_left(turn);
            let sql = format!("CREATE TABLE t (a INT) {} AS SELECT 1, 2", clauses.join(" "));
            assert_eq!(planned(&sql).to_string(), wanted.to_string(), "{sql}");
        }
    }

    #[test]
    fn other_spellings_mean_the_same() {
        let wanted =
            planned("CREATE TABLE t (a INT, b INT) PARTITIONED BY (b) TBLPROPERTIES ('k.l' = 'v') COMMENT 'c'");
        for sql in [
            "CREATE TABLE t (a INT, b INT) PARTITION BY b COMMENT = 'c' WITH (k.l = 'v')",
            "CREATE TABLE t (a INT, b INT) PARTITION BY (b) WITH ('k.l' 'v') COMMENT 'c'",
            "create table t (a int, b int) /* x */ partitioned by (b) -- y\n comment 'c' tblproperties ('k.l' = 'v')",
        ] {
            assert_eq!(planned(sql).to_string(), wanted.to_string(), "{sql}");
        }
    }

    #[test]
    fn explained_and_temporary_tables_have_clauses_too() {
        for sql in [
            "EXPLAIN CREATE TABLE t USING delta AS SELECT 1",
            "CREATE OR REPLACE TEMPORARY TABLE s.t COMMENT 'c' AS SELECT 1",
            "CREATE TABLE IF NOT EXISTS t LOCATION '/x' AS SELECT 1",
        ] {
            planned(sql);
        }
    }

    #[test]
    fn bad_clauses_are_refused() {
        for (sql, reason) in [
            ("CREATE TABLE t (a INT) COMMENT 'a' COMMENT 'b'", "COMMENT is there twice"),
            ("CREATE TABLE t (a INT) PARTITIONED BY (a) PARTITION BY (a)", "PARTITIONED BY is there twice"),
            ("CREATE TABLE t (a INT) TBLPROPERTIES ('a' = 1) WITH (b = 1)", "write one of them"),
            ("CREATE TABLE t (a INT) PARTITIONED BY (year(a))", "takes names of columns: make a column of year(...)"),
            ("CREATE TABLE t (a INT) COMMENT", "expected: literal string"),
            ("CREATE TABLE t (a INT) CLUSTER BY (a) TBLPROPERTIES ('a' = 1) LOCATION '/x'", "expected"),
        ] {
            let refusal = refusal(sql);
            assert!(refusal.to_lowercase().contains(&reason.to_lowercase()), "{sql}: {refusal}");
        }
    }
}
