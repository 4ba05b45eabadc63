//! The statements of ours that sqlparser does not read, or not all of.

use datafusion::common::{SchemaReference, TableReference};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, TableVersion};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{keyword, parser_of, significant, syntax_error};
use crate::limits::Scope;
use crate::sql::Names;
use crate::sql::command::{AnalyzedColumns, Command, Used, explained, renamed};
use crate::sql::time_travel::travel_to;
use crate::sql::walk::refuse_what_cannot_be_kept;
use crate::{Error, Result};

/// The command that the text is, if it is one of these.
///
/// # Errors
/// `Invalid` for a syntax error in one, and for `EXPLAIN` of one.
pub(super) fn written_command(tokens: &[TokenWithSpan], names: Names) -> Result<Option<Command>> {
    let places: Vec<usize> = significant(tokens).take(WORDS_MAX).collect();
    let is = |place: usize, word| places.get(place).is_some_and(|index| keyword(&tokens[*index]) == Some(word));
    let mut first = 0;
    if is(0, Keyword::EXPLAIN) {
        first = 1;
        first += usize::from(is(first, Keyword::ANALYZE));
        first += usize::from(is(first, Keyword::VERBOSE));
    }
    let words: Vec<&TokenWithSpan> = places[first.min(places.len())..].iter().map(|index| &tokens[*index]).collect();
    let Some(form) = Form::of(&words) else { return Ok(None) };
    let start = places[first];
    let mut parser = parser_of(&tokens[start..]);
    match read(form, &mut parser, names) {
        Ok(Some(command)) if first == 0 => {
            expect_end(&mut parser, form)?;
            Ok(Some(command))
        }
        Ok(Some(_)) => Err(explained()),
        Ok(None) => Ok(None),
        Err(Refusal::Syntax(error)) => Err(form.with_hint(error)),
        Err(Refusal::Other(error)) => Err(error),
    }
}

/// `EXPLAIN ANALYZE VERBOSE`, and three words of the statement.
const WORDS_MAX: usize = 6;

#[derive(Debug, Clone, Copy)]
enum Form {
    Optimize,
    Vacuum,
    Restore,
    Analyze,
    History,
    Detail,
    AlterTable,
    AlterView,
    CreateCatalog,
    DropCatalog,
    Use,
    Configure,
    Limits,
}

impl Form {
    fn of(words: &[&TokenWithSpan]) -> Option<Self> {
        let word = |index: usize| words.get(index).and_then(|token| keyword(token));
        let has_name = || words.get(2).is_some_and(|token| matches!(token.token, Token::Word(_)));
        match (word(0)?, word(1)) {
            (Keyword::OPTIMIZE, _) => Some(Self::Optimize),
            (Keyword::VACUUM, _) => Some(Self::Vacuum),
            (Keyword::ANALYZE, _) => Some(Self::Analyze),
            (Keyword::DESCRIBE | Keyword::DESC, Some(Keyword::HISTORY)) if has_name() => Some(Self::History),
            (Keyword::DESCRIBE | Keyword::DESC, Some(Keyword::DETAIL)) if has_name() => Some(Self::Detail),
            (Keyword::ALTER, Some(Keyword::TABLE)) => Some(Self::AlterTable),
            (Keyword::ALTER, Some(Keyword::VIEW)) => Some(Self::AlterView),
            (Keyword::CREATE, Some(Keyword::CATALOG)) => Some(Self::CreateCatalog),
            (Keyword::DROP, Some(Keyword::CATALOG)) => Some(Self::DropCatalog),
            (Keyword::USE, _) => Some(Self::Use),
            (Keyword::ALTER, Some(Keyword::SYSTEM | Keyword::GROUP | Keyword::USER | Keyword::ROLE)) => {
                Some(Self::Configure)
            }
            (Keyword::SHOW, _) if words.get(1).is_some_and(|token| is_word(token, "LIMITS")) => Some(Self::Limits),
            _ => is_word(words.first()?, "RESTORE").then_some(Self::Restore),
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Optimize => "OPTIMIZE [TABLE] t [WHERE condition] [ZORDER BY (a, b)]",
            Self::Vacuum => "VACUUM [TABLE] t [RETAIN 168 HOURS] [DRY RUN]",
            Self::Restore => "RESTORE [TABLE] t TO VERSION AS OF 3, or TO TIMESTAMP AS OF '2026-01-02 03:04:05'",
            Self::Analyze => "ANALYZE TABLE t [COMPUTE STATISTICS [FOR ALL COLUMNS | FOR COLUMNS (a, b)]]",
            Self::History => "DESCRIBE HISTORY t [LIMIT 10]",
            Self::Detail => "DESCRIBE DETAIL t",
            Self::AlterTable => "ALTER TABLE [IF EXISTS] t SET SCHEMA s",
            Self::AlterView => "ALTER VIEW [IF EXISTS] v RENAME TO w",
            Self::CreateCatalog => "CREATE CATALOG [IF NOT EXISTS] c",
            Self::DropCatalog => "DROP CATALOG [IF EXISTS] c [CASCADE]",
            Self::Use => "USE s, USE CATALOG c, USE c.s or USE DEFAULT",
            Self::Configure => "ALTER SYSTEM | GROUP g | USER u SET setting = value, or RESET setting | ALL",
            Self::Limits => "SHOW LIMITS",
        }
    }

    fn with_hint(self, error: ParserError) -> Error {
        let error = syntax_error(error);
        Error { message: format!("{}; write {}", error.message, self.usage()), ..error }
    }
}

/// Why a command cannot be read: only a syntax error is followed by the right syntax.
enum Refusal {
    Syntax(ParserError),
    Other(Error),
}

impl From<ParserError> for Refusal {
    fn from(error: ParserError) -> Self {
        Self::Syntax(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

type Read<T> = Result<T, Refusal>;

fn read(form: Form, parser: &mut Parser<'_>, names: Names) -> Read<Option<Command>> {
    parser.next_token();
    match form {
        Form::Optimize => optimize(parser, names).map(Some),
        Form::Vacuum => vacuum(parser, names).map(Some),
        Form::Restore => restore(parser, names).map(Some),
        Form::Analyze => analyze(parser, names).map(Some),
        Form::History => history(parser, names).map(Some),
        Form::Detail => {
            parser.next_token();
            Ok(Some(Command::Detail { table: table(parser, names)? }))
        }
        Form::AlterTable => set_schema(parser, names),
        Form::AlterView => rename_view(parser, names),
        Form::CreateCatalog => {
            parser.next_token();
            let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
            Ok(Some(Command::CreateCatalog { catalog: catalog(parser, names)?, if_not_exists }))
        }
        Form::DropCatalog => {
            parser.next_token();
            let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            let catalog = catalog(parser, names)?;
            let behaviour = parser.parse_one_of_keywords(&[Keyword::CASCADE, Keyword::RESTRICT]);
            Ok(Some(Command::DropCatalog { catalog, if_exists, cascade: behaviour == Some(Keyword::CASCADE) }))
        }
        Form::Use => used(parser, names).map(|used| Some(Command::Use(used))),
        Form::Configure => configure(parser).map(Some),
        Form::Limits => {
            parser.next_token();
            Ok(Some(Command::Limits))
        }
    }
}

fn optimize(parser: &mut Parser<'_>, names: Names) -> Read<Command> {
    let table = table_after_keyword(parser, names)?;
    let mut predicate = None;
    if parser.parse_keyword(Keyword::WHERE) {
        let condition = parser.parse_expr()?;
        refuse_what_cannot_be_kept(&condition, "the WHERE of OPTIMIZE")?;
        predicate = Some(condition);
    }
    let mut zorder_by = Vec::new();
    if parser.parse_keywords(&[Keyword::ZORDER, Keyword::BY]) {
        zorder_by = columns(parser, names)?;
    }
    Ok(Command::Optimize { table, predicate, zorder_by })
}

fn vacuum(parser: &mut Parser<'_>, names: Names) -> Read<Command> {
    let table = table_after_keyword(parser, names)?;
    let mut retain_hours = None;
    if parser.parse_keyword(Keyword::RETAIN) {
        retain_hours = Some(parser.parse_literal_uint()?);
        if !parser.parse_keyword(Keyword::HOUR) {
            parser.expect_keyword(Keyword::HOURS)?;
        }
    }
    let is_dry_run = parser.parse_keywords(&[Keyword::DRY, Keyword::RUN]);
    Ok(Command::Vacuum { table, retain_hours, is_dry_run })
}

fn restore(parser: &mut Parser<'_>, names: Names) -> Read<Command> {
    let table = table_after_keyword(parser, names)?;
    parser.expect_keyword(Keyword::TO)?;
    let kind = parser.expect_one_of_keywords(&[Keyword::VERSION, Keyword::TIMESTAMP])?;
    parser.expect_keywords(&[Keyword::AS, Keyword::OF])?;
    let operand = parser.parse_expr()?;
    let version = match kind {
        Keyword::VERSION => TableVersion::VersionAsOf(operand),
        _ => TableVersion::TimestampAsOf(operand),
    };
    Ok(Command::Restore { table, to: travel_to(&version)? })
}

fn analyze(parser: &mut Parser<'_>, names: Names) -> Read<Command> {
    let table = table_after_keyword(parser, names)?;
    if parser.peek_token_ref().token == Token::LParen {
        return Ok(Command::Analyze { table, columns: AnalyzedColumns::Named(columns(parser, names)?) });
    }
    if !parser.parse_keyword(Keyword::COMPUTE) {
        return Ok(Command::Analyze { table, columns: AnalyzedColumns::All });
    }
    parser.expect_keyword(Keyword::STATISTICS)?;
    if !parser.parse_keyword(Keyword::FOR) {
        return Ok(Command::Analyze { table, columns: AnalyzedColumns::None });
    }
    if parser.parse_keywords(&[Keyword::ALL, Keyword::COLUMNS]) {
        return Ok(Command::Analyze { table, columns: AnalyzedColumns::All });
    }
    parser.expect_keyword(Keyword::COLUMNS)?;
    let is_end = matches!(parser.peek_token_ref().token, Token::EOF | Token::SemiColon);
    let columns = if is_end { AnalyzedColumns::All } else { AnalyzedColumns::Named(columns(parser, names)?) };
    Ok(Command::Analyze { table, columns })
}

fn history(parser: &mut Parser<'_>, names: Names) -> Read<Command> {
    parser.next_token();
    let table = table(parser, names)?;
    let limit = parser.parse_keyword(Keyword::LIMIT).then(|| parser.parse_literal_uint()).transpose()?;
    Ok(Command::History { table, limit })
}

/// The other actions of `ALTER TABLE` are read by sqlparser.
fn set_schema(parser: &mut Parser<'_>, names: Names) -> Read<Option<Command>> {
    parser.next_token();
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let _ = parser.parse_keyword(Keyword::ONLY);
    let Ok(mut name) = parser.parse_object_name(false) else { return Ok(None) };
    if !parser.parse_keywords(&[Keyword::SET, Keyword::SCHEMA]) {
        return Ok(None);
    }
    let from = names.table(&name)?;
    let schema: Ident = parser.parse_identifier()?;
    let table = name.0.pop();
    // What stands before the schema is the catalog.
    let catalog = (name.0.len() == 2).then(|| name.0.swap_remove(0));
    let parts = catalog.into_iter().chain([ObjectNamePart::Identifier(schema)]).chain(table);
    let to = names.table(&ObjectName(parts.collect()))?;
    Ok(Some(Command::RenameTable { table: from, if_exists, to }))
}

/// `ALTER VIEW v AS` is read by sqlparser.
fn rename_view(parser: &mut Parser<'_>, names: Names) -> Read<Option<Command>> {
    parser.next_token();
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let Ok(name) = parser.parse_object_name(false) else { return Ok(None) };
    if !parser.parse_keywords(&[Keyword::RENAME, Keyword::TO]) {
        return Ok(None);
    }
    let view = names.table(&name)?;
    let to = renamed(&view, names.table(&parser.parse_object_name(false)?)?);
    Ok(Some(Command::RenameView { view, if_exists, to }))
}

/// A word before the name says what it names; alone it is the name.
fn used(parser: &mut Parser<'_>, names: Names) -> Read<Used> {
    let is_named = matches!(parser.peek_nth_token_ref(1).token, Token::Word(_));
    if is_named && parser.parse_one_of_keywords(&[Keyword::CATALOG, Keyword::DATABASE]).is_some() {
        return Ok(Used::Catalog(catalog(parser, names)?));
    }
    if is_named && parser.parse_keyword(Keyword::SCHEMA) {
        return Ok(Used::Schema(names.schema(&parser.parse_object_name(false)?)?));
    }
    if parser.parse_keyword(Keyword::DEFAULT) {
        return Ok(Used::Default);
    }
    Ok(match names.schema(&parser.parse_object_name(false)?)? {
        SchemaReference::Bare { schema } => Used::Either(schema.to_string()),
        schema @ SchemaReference::Full { .. } => Used::Schema(schema),
    })
}

/// Names of users and groups are compared as they are written: they are not names in the catalog.
fn configure(parser: &mut Parser<'_>) -> Read<Command> {
    let kind = parser.expect_one_of_keywords(&[Keyword::SYSTEM, Keyword::GROUP, Keyword::USER, Keyword::ROLE])?;
    let scope = match kind {
        Keyword::SYSTEM => Scope::System,
        Keyword::GROUP => Scope::Group(parser.parse_identifier()?.value),
        _ => Scope::User(parser.parse_identifier()?.value),
    };
    if parser.parse_keyword(Keyword::RESET) {
        let setting = if parser.parse_keyword(Keyword::ALL) { None } else { Some(setting(parser)?) };
        return Ok(Command::Configure { scope, setting, value: None });
    }
    parser.expect_keyword(Keyword::SET)?;
    let setting = Some(setting(parser)?);
    if !parser.parse_keyword(Keyword::TO) {
        parser.expect_token(&Token::Eq)?;
    }
    let sign = if parser.consume_token(&Token::Minus) { "-" } else { "" };
    let value = match parser.next_token().token {
        Token::Number(number, _) => number,
        Token::SingleQuotedString(text) => text,
        Token::Word(word) => word.value,
        other => return Err(Error::invalid(format!("the value of a setting is one word, not {other}")).into()),
    };
    Ok(Command::Configure { scope, setting, value: Some(format!("{sign}{value}")) })
}

fn setting(parser: &mut Parser<'_>) -> Read<String> {
    let name = parser.parse_object_name(false)?;
    let parts = name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.to_lowercase());
    Ok(parts.collect::<Vec<_>>().join("."))
}

fn catalog(parser: &mut Parser<'_>, names: Names) -> Read<String> {
    Ok(names.catalog(&parser.parse_object_name(false)?)?)
}

fn table_after_keyword(parser: &mut Parser<'_>, names: Names) -> Read<TableReference> {
    let _ = parser.parse_keyword(Keyword::TABLE);
    table(parser, names)
}

fn table(parser: &mut Parser<'_>, names: Names) -> Read<TableReference> {
    Ok(names.table(&parser.parse_object_name(false)?)?)
}

/// Names of columns, in parentheses or not.
fn columns(parser: &mut Parser<'_>, names: Names) -> Read<Vec<String>> {
    let is_list = parser.consume_token(&Token::LParen);
    let columns = parser.parse_comma_separated(Parser::parse_identifier)?;
    if is_list {
        parser.expect_token(&Token::RParen)?;
    }
    Ok(columns.iter().map(|column| names.name(column)).collect())
}

fn expect_end(parser: &mut Parser<'_>, form: Form) -> Result<()> {
    let mut has_ended = false;
    while parser.consume_token(&Token::SemiColon) {
        has_ended = true;
    }
    match &parser.peek_token_ref().token {
        Token::EOF => Ok(()),
        _ if has_ended => Err(Error::invalid("one statement at a time, not 2")),
        _ => {
            let refused: Result<(), ParserError> = parser.expected_ref("end of statement", parser.peek_token_ref());
            refused.map_err(|error| form.with_hint(error))
        }
    }
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;
    use crate::sql::parser::samples::{command, planned, refusal};
    use crate::sql::time_travel::TravelTo;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn optimize_has_a_condition_and_an_order() {
        let table = TableReference::bare("t");
        let plain = Command::Optimize { table: table.clone(), predicate: None, zorder_by: Vec::new() };
        assert_eq!(command("OPTIMIZE T"), plain);
        assert_eq!(command("optimize table t;"), plain);
        let ordered = Command::Optimize { table, predicate: None, zorder_by: strings(&["a", "B"]) };
        assert_eq!(command("OPTIMIZE t ZORDER BY (A, \"B\")"), ordered);
        assert_eq!(command("OPTIMIZE t ZORDER BY a, \"B\""), ordered);
        let Command::Optimize { table, predicate: Some(predicate), zorder_by } =
            command("OPTIMIZE grappe.s.t WHERE day >= '2026-01-01' ZORDER BY x")
        else {
            panic!("no condition")
        };
        assert_eq!(table, TableReference::full("grappe", "s", "t"));
        assert_eq!((predicate.to_string().as_str(), zorder_by), ("day >= '2026-01-01'", strings(&["x"])));
    }

    #[test]
    fn vacuum_keeps_files_for_hours() {
        let vacuum = |retain_hours, is_dry_run| Command::Vacuum {
            table: TableReference::partial("s", "t"),
            retain_hours,
            is_dry_run,
        };
        assert_eq!(command("VACUUM s.t"), vacuum(None, false));
        assert_eq!(command("VACUUM TABLE s.t RETAIN 168 HOURS"), vacuum(Some(168), false));
        assert_eq!(command("VACUUM s.t RETAIN 0 HOURS DRY RUN"), vacuum(Some(0), true));
        assert_eq!(command("VACUUM s.t DRY RUN"), vacuum(None, true));
    }

    #[test]
    fn restore_goes_back_to_a_version_or_a_time() {
        let restore = |to| Command::Restore { table: TableReference::bare("t"), to };
        assert_eq!(command("RESTORE t TO VERSION AS OF 3"), restore(TravelTo::Version(3)));
        let time = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
        let restored = restore(TravelTo::Timestamp(time));
        assert_eq!(command("RESTORE TABLE t TO TIMESTAMP AS OF '2026-01-02 03:04:05'"), restored);
    }

    #[test]
    fn analyze_counts_what_it_is_told_to() {
        let analyze = |columns| Command::Analyze { table: TableReference::bare("t"), columns };
        for sql in [
            "ANALYZE t",
            "ANALYZE TABLE t",
            "ANALYZE TABLE t COMPUTE STATISTICS FOR ALL COLUMNS",
            "ANALYZE TABLE t COMPUTE STATISTICS FOR COLUMNS",
        ] {
            assert_eq!(command(sql), analyze(AnalyzedColumns::All), "{sql}");
        }
        assert_eq!(command("ANALYZE TABLE t COMPUTE STATISTICS"), analyze(AnalyzedColumns::None));
        for sql in [
            "ANALYZE t (a, b)",
            "ANALYZE TABLE t COMPUTE STATISTICS FOR COLUMNS a, b",
            "ANALYZE TABLE t COMPUTE STATISTICS FOR COLUMNS (a, B)",
        ] {
            assert_eq!(command(sql), analyze(AnalyzedColumns::Named(strings(&["a", "b"]))), "{sql}");
        }
    }

    #[test]
    fn history_and_detail_are_commands_only_before_a_table() {
        let table = TableReference::bare("t");
        assert_eq!(command("DESCRIBE HISTORY t LIMIT 2"), Command::History { table: table.clone(), limit: Some(2) });
        assert_eq!(command("desc history \"t\""), Command::History { table: table.clone(), limit: None });
        assert_eq!(command("DESCRIBE DETAIL t"), Command::Detail { table });
        planned("DESCRIBE history");
        planned("DESC detail;");
    }

    #[test]
    fn tables_and_views_move_to_other_names() {
        let set = |table, to| Command::RenameTable { table, if_exists: false, to };
        let (bare, full) = (TableReference::bare("t"), TableReference::full("c", "s", "t"));
        assert_eq!(command("ALTER TABLE t SET SCHEMA x"), set(bare, TableReference::partial("x", "t")));
        assert_eq!(command("ALTER TABLE c.s.t SET SCHEMA x"), set(full, TableReference::full("c", "x", "t")));
        let view = Command::RenameView {
            view: TableReference::partial("s", "v"),
            if_exists: true,
            to: TableReference::partial("s", "w"),
        };
        assert_eq!(command("ALTER VIEW IF EXISTS s.v RENAME TO W"), view);
    }

    #[test]
    fn settings_are_made_for_system_groups_and_users() {
        let configure = |scope, setting: Option<&str>, value: Option<&str>| Command::Configure {
            scope,
            setting: setting.map(str::to_owned),
            value: value.map(str::to_owned),
        };
        let runtime = "grappe.query_runtime_seconds_max";
        assert_eq!(
            command(&format!("ALTER SYSTEM SET {runtime} = 60;")),
            configure(Scope::System, Some(runtime), Some("60"))
        );
        assert_eq!(
            command("alter group etl set grappe.PRIORITY to low"),
            configure(Scope::Group("etl".into()), Some("grappe.priority"), Some("low"))
        );
        assert_eq!(
            command("ALTER ROLE \"A b\" SET grappe.scan_bytes_max = '10GB'"),
            configure(Scope::User("A b".into()), Some("grappe.scan_bytes_max"), Some("10GB"))
        );
        assert_eq!(command("ALTER USER ana RESET ALL"), configure(Scope::User("ana".into()), None, None));
        assert_eq!(command("SHOW LIMITS"), Command::Limits);
    }

    #[test]
    fn errors_say_what_to_write() {
        for (sql, reason) in [
            ("ALTER SYSTEM SET a b", "write ALTER SYSTEM"),
            ("ALTER USER ana PASSWORD 'x'", "write ALTER SYSTEM"),
            ("ALTER SYSTEM SET a = (1)", "is one word"),
            ("SHOW LIMITS FOR ana", "write SHOW LIMITS"),
            ("OPTIMIZE", "write OPTIMIZE [TABLE] t"),
            ("OPTIMIZE t ORDER BY a", "write OPTIMIZE [TABLE] t"),
            ("OPTIMIZE t WHERE a = $1", "the WHERE of OPTIMIZE cannot have a parameter in it: write the value"),
            ("OPTIMIZE t WHERE a IN (SELECT 1)", "cannot have a query in it"),
            ("VACUUM t RETAIN 1 DAYS", "write VACUUM [TABLE] t [RETAIN 168 HOURS]"),
            ("VACUUM t RETAIN -1 HOURS", "write VACUUM"),
            ("VACUUM FULL t", "write VACUUM"),
            ("RESTORE t TO 3", "write RESTORE [TABLE] t TO VERSION AS OF 3"),
            ("RESTORE t TO VERSION AS OF -3", "takes a whole number, such as VERSION AS OF 3, not -3"),
            ("RESTORE t TO TIMESTAMP AS OF now()", "takes a time in quotes, such as"),
            ("ANALYZE t COMPUTE", "write ANALYZE TABLE t"),
            ("ANALYZE TABLE t COMPUTE STATISTICS NOSCAN", "write ANALYZE TABLE t"),
            ("DESCRIBE HISTORY t LIMIT x", "write DESCRIBE HISTORY t [LIMIT 10]"),
            ("DESCRIBE DETAIL t LIMIT 1", "write DESCRIBE DETAIL t"),
            ("VACUUM a.b.c.d", "write table or schema.table"),
            ("EXPLAIN VACUUM t RETAIN 1 HOURS", "EXPLAIN shows how a query"),
            ("EXPLAIN ANALYZE VERBOSE OPTIMIZE t", "EXPLAIN shows how a query"),
            ("EXPLAIN ALTER TABLE t SET SCHEMA s", "EXPLAIN shows how a query"),
            ("EXPLAIN RESTORE t TO VERSION AS OF 1", "EXPLAIN shows how a query"),
        ] {
            let refusal = refusal(sql);
            assert!(refusal.contains(reason), "{sql}: {refusal}");
        }
    }
}
