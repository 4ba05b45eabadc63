//! What we carry out and DataFusion does not plan, as plain data.

use std::collections::BTreeMap;

use datafusion::common::{SchemaReference, TableReference};
use datafusion::sql::parser::Statement as Syntax;
use datafusion::sql::sqlparser::ast::{
    AlterSchema, AlterSchemaOperation, CommentObject, DataType, Expr, Ident, ObjectName, ObjectType, Query,
    SchemaName as WrittenSchema, SqlOption, Statement as Ast, Truncate,
};

use crate::limits::Scope;
use crate::sql::Names;
use crate::sql::alter::alter_table;
use crate::sql::time_travel::TravelTo;
use crate::{Error, Result};

/// A statement of ours.
#[expect(clippy::large_enum_variant, reason = "a statement is one command")]
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// `OPTIMIZE`: fewer and larger files.
    Optimize {
        /// The table.
        table: TableReference,
        /// Which partitions; all if there is none.
        predicate: Option<Expr>,
        /// Columns by which rows are laid next to each other.
        zorder_by: Vec<String>,
    },
    /// `VACUUM`: away with files that no version needs.
    Vacuum {
        /// The table.
        table: TableReference,
        /// How long files stay after the table is done with them.
        retain_hours: Option<u64>,
        /// Whether files are only listed.
        is_dry_run: bool,
    },
    /// `DESCRIBE HISTORY`: the versions, the latest first.
    History {
        /// The table.
        table: TableReference,
        /// How many.
        limit: Option<u64>,
    },
    /// `DESCRIBE DETAIL`: where the table lies, and how large it is.
    Detail {
        /// The table.
        table: TableReference,
    },
    /// `RESTORE`: the table as it was, as a new version.
    Restore {
        /// The table.
        table: TableReference,
        /// How it was.
        to: TravelTo,
    },
    /// `ANALYZE TABLE`: counts for the optimiser.
    Analyze {
        /// The table.
        table: TableReference,
        /// The columns that are counted beside the rows.
        columns: AnalyzedColumns,
    },
    /// `TRUNCATE`: away with all rows.
    Truncate {
        /// The table.
        table: TableReference,
    },
    /// `ALTER TABLE`, all changes or none.
    AlterTable {
        /// The table.
        table: TableReference,
        /// Whether it may be missing.
        if_exists: bool,
        /// In the order in which they were written.
        changes: Vec<TableChange>,
    },
    /// `ALTER TABLE ... RENAME TO` and `ALTER TABLE ... SET SCHEMA`.
    RenameTable {
        /// The table.
        table: TableReference,
        /// Whether it may be missing.
        if_exists: bool,
        /// Its name from now on, with its schema if either name was written with one.
        to: TableReference,
    },
    /// `ALTER VIEW ... RENAME TO`.
    RenameView {
        /// The view.
        view: TableReference,
        /// Whether it may be missing.
        if_exists: bool,
        /// Its name from now on, with its schema if either name was written with one.
        to: TableReference,
    },
    /// `ALTER VIEW ... AS`.
    ReplaceView {
        /// The view, which must be there.
        view: TableReference,
        /// The `CREATE OR REPLACE VIEW` that does it.
        sql: String,
    },
    /// `CREATE CATALOG` and `CREATE DATABASE`.
    CreateCatalog {
        /// The catalog.
        catalog: String,
        /// Whether it may be there already.
        if_not_exists: bool,
    },
    /// `DROP CATALOG` and `DROP DATABASE`.
    DropCatalog {
        /// The catalog.
        catalog: String,
        /// Whether it may be missing.
        if_exists: bool,
        /// Whether its tables go with it.
        cascade: bool,
    },
    /// `CREATE SCHEMA`.
    CreateSchema {
        /// The schema.
        schema: SchemaReference,
        /// Whether it may be there already.
        if_not_exists: bool,
    },
    /// `DROP SCHEMA`.
    DropSchema {
        /// The schema.
        schema: SchemaReference,
        /// Whether it may be missing.
        if_exists: bool,
        /// Whether its tables go with it.
        cascade: bool,
    },
    /// `USE`: what names without a catalog, or without a schema, mean from now on.
    Use(Used),
    /// `ALTER SCHEMA ... RENAME TO`.
    RenameSchema {
        /// The schema.
        schema: SchemaReference,
        /// Whether it may be missing.
        if_exists: bool,
        /// Its name from now on.
        to: SchemaReference,
    },
    /// `ALTER SYSTEM`, `ALTER GROUP` and `ALTER USER`: a setting, or all, for sessions from now on.
    Configure {
        /// For whom.
        scope: Scope,
        /// Which; all if there is none.
        setting: Option<String>,
        /// Its value; that of the others again if there is none.
        value: Option<String>,
    },
    /// `SHOW LIMITS`.
    Limits,
    /// `COMMENT ON`.
    Comment {
        /// On what.
        on: Commented,
        /// What is said; nothing any more if there is none.
        comment: Option<String>,
    },
}

impl Command {
    /// Whether it changes rows or files, and not what is said of them.
    pub(crate) fn changes_rows(&self) -> bool {
        matches!(self, Self::Truncate { .. } | Self::Restore { .. } | Self::Optimize { .. } | Self::Vacuum { .. })
    }

    /// The command tag, as psql shows it after a statement.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            Self::Optimize { .. } => "OPTIMIZE",
            Self::Vacuum { .. } => "VACUUM",
            Self::History { .. } | Self::Detail { .. } => "DESCRIBE",
            Self::Restore { .. } => "RESTORE",
            Self::Analyze { .. } => "ANALYZE",
            Self::Truncate { .. } => "TRUNCATE TABLE",
            Self::AlterTable { .. } | Self::RenameTable { .. } => "ALTER TABLE",
            Self::RenameView { .. } | Self::ReplaceView { .. } => "ALTER VIEW",
            Self::CreateCatalog { .. } => "CREATE DATABASE",
            Self::DropCatalog { .. } => "DROP DATABASE",
            Self::CreateSchema { .. } => "CREATE SCHEMA",
            Self::DropSchema { .. } => "DROP SCHEMA",
            Self::Use(_) => "USE",
            Self::RenameSchema { .. } => "ALTER SCHEMA",
            Self::Configure { scope: Scope::System, .. } => "ALTER SYSTEM",
            Self::Configure { scope: Scope::Group(_), .. } => "ALTER GROUP",
            Self::Configure { scope: Scope::User(_), .. } => "ALTER USER",
            Self::Limits => "SHOW",
            Self::Comment { .. } => "COMMENT",
        }
    }
}

/// What `USE` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Used {
    /// `USE CATALOG c`: with the schema that it began with.
    Catalog(String),
    /// `USE SCHEMA s`, `USE c.s`.
    Schema(SchemaReference),
    /// `USE x`: the schema, or else the catalog.
    Either(String),
    /// `USE DEFAULT`: what a new session has.
    Default,
}

/// Which columns `ANALYZE TABLE` counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnalyzedColumns {
    /// Only the rows.
    None,
    /// All of them.
    All,
    /// These.
    Named(Vec<String>),
}

/// What a comment is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Commented {
    /// A schema.
    Schema(SchemaReference),
    /// A table.
    Table(TableReference),
    /// A view.
    View(TableReference),
    /// A column of a table or view.
    Column(TableReference, String),
}

/// An action of `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TableChange {
    /// `ADD COLUMN`.
    AddColumn {
        /// The column.
        column: Box<NewColumn>,
        /// Whether it may be there already.
        if_not_exists: bool,
    },
    /// `DROP COLUMN`.
    DropColumn {
        /// The column.
        column: String,
        /// Whether it may be missing.
        if_exists: bool,
    },
    /// `RENAME COLUMN`.
    RenameColumn {
        /// The column.
        column: String,
        /// Its name from now on.
        to: String,
    },
    /// `ALTER COLUMN ... SET NOT NULL`.
    SetNotNull {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN ... DROP NOT NULL`.
    DropNotNull {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN ... SET DEFAULT`.
    SetDefault {
        /// The column.
        column: String,
        /// Its value from now on where none is given.
        default: Expr,
    },
    /// `ALTER COLUMN ... DROP DEFAULT`.
    DropDefault {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN ... TYPE`.
    SetType {
        /// The column.
        column: String,
        /// Its type from now on.
        data_type: DataType,
    },
    /// `ADD CHECK`.
    AddCheck {
        /// The name of the constraint; without one, [`crate::sql::check_name`] gives one.
        name: Option<String>,
        /// What must not be false for any row.
        check: Expr,
    },
    /// `DROP CONSTRAINT`.
    DropConstraint {
        /// The name of the constraint.
        name: String,
        /// Whether it may be missing.
        if_exists: bool,
    },
    /// `SET TBLPROPERTIES`.
    SetProperties {
        /// Values by name.
        properties: BTreeMap<String, String>,
    },
}

/// A column that a table gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) data_type: DataType,
    /// Whether it may be null.
    pub(crate) is_nullable: bool,
    /// Its value where none is given.
    pub(crate) default: Option<Expr>,
    /// What is said about it.
    pub(crate) comment: Option<String>,
}

/// The command that `syntax` is; none if DataFusion plans it.
///
/// # Errors
/// `Invalid` for a command with a part that is not supported, and for one inside another statement.
pub(super) fn command_of(syntax: &Syntax, names: Names) -> Result<Option<Command>> {
    match syntax {
        Syntax::Explain(explain) => match command_of(&explain.statement, names)? {
            Some(_) => Err(explained()),
            None => Ok(None),
        },
        Syntax::Statement(statement) => command_in(statement, names),
        Syntax::CreateExternalTable(_) | Syntax::CopyTo(_) | Syntax::Reset(_) => Ok(None),
    }
}

fn command_in(statement: &Ast, names: Names) -> Result<Option<Command>> {
    match statement {
        Ast::Prepare { statement, .. } => match command_in(statement, names)? {
            Some(_) => Err(Error::invalid("PREPARE takes a query, INSERT, UPDATE, DELETE or MERGE: run this at once")),
            None => Ok(None),
        },
        Ast::Truncate(truncate) => truncated(truncate, names).map(Some),
        Ast::AlterTable(alter) => alter_table(alter, names).map(Some),
        Ast::AlterView { name, columns, query, with_options } => {
            replaced_view(name, columns, query, with_options, names).map(Some)
        }
        Ast::AlterSchema(alter) => renamed_schema(alter, names).map(Some),
        Ast::CreateSchema { schema_name, if_not_exists, .. } => {
            let WrittenSchema::Simple(name) = schema_name else {
                return Err(Error::invalid("schemas have no owners: write CREATE SCHEMA s"));
            };
            refuse_more_than_a_name(statement, "SCHEMA", name, *if_not_exists)?;
            Ok(Some(Command::CreateSchema { schema: names.schema(name)?, if_not_exists: *if_not_exists }))
        }
        Ast::CreateDatabase { db_name, if_not_exists, .. } => {
            refuse_more_than_a_name(statement, "DATABASE", db_name, *if_not_exists)?;
            Ok(Some(Command::CreateCatalog { catalog: names.catalog(db_name)?, if_not_exists: *if_not_exists }))
        }
        Ast::Drop { object_type: ObjectType::Schema, if_exists, names: dropped, cascade, .. } => {
            let schema = names.schema(only_one(dropped, "DROP SCHEMA")?)?;
            Ok(Some(Command::DropSchema { schema, if_exists: *if_exists, cascade: *cascade }))
        }
        Ast::Drop { object_type: ObjectType::Database, if_exists, names: dropped, cascade, .. } => {
            let catalog = names.catalog(only_one(dropped, "DROP DATABASE")?)?;
            Ok(Some(Command::DropCatalog { catalog, if_exists: *if_exists, cascade: *cascade }))
        }
        Ast::Comment { object_type, object_name, comment, if_exists } => {
            if *if_exists {
                return Err(Error::invalid("COMMENT takes no IF EXISTS: write COMMENT ON TABLE t IS '...'"));
            }
            let on = commented(*object_type, object_name, names)?;
            Ok(Some(Command::Comment { on, comment: comment.clone() }))
        }
        _ => Ok(None),
    }
}

/// The error for `EXPLAIN` of a command.
pub(super) fn explained() -> Error {
    Error::invalid(
        "EXPLAIN shows how a query, INSERT, UPDATE, DELETE or MERGE runs; this statement has no plan to show",
    )
}

/// `to`, in the schema of `from` unless it was written with one.
pub(super) fn renamed(from: &TableReference, to: TableReference) -> TableReference {
    let table = to.table();
    match (from, &to) {
        (TableReference::Partial { schema, .. }, TableReference::Bare { .. }) => {
            TableReference::partial(schema.as_ref(), table)
        }
        (TableReference::Full { catalog, schema, .. }, TableReference::Bare { .. }) => {
            TableReference::full(catalog.as_ref(), schema.as_ref(), table)
        }
        _ => to,
    }
}

fn truncated(truncate: &Truncate, names: Names) -> Result<Command> {
    let [target] = truncate.table_names.as_slice() else {
        return Err(Error::invalid("TRUNCATE takes one table at a time"));
    };
    let refused = [
        (truncate.if_exists, "IF EXISTS"),
        (truncate.partitions.is_some(), "PARTITION: DELETE FROM with a WHERE removes some of the rows"),
        (truncate.identity.is_some(), "IDENTITY"),
        (truncate.cascade.is_some(), "CASCADE or RESTRICT"),
        (truncate.on_cluster.is_some(), "ON CLUSTER"),
        (target.only || target.has_asterisk, "ONLY or *"),
    ];
    match refused.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => Err(Error::invalid(format!("TRUNCATE TABLE t takes no {what}"))),
        None => Ok(Command::Truncate { table: names.table(&target.name)? }),
    }
}

/// What else can be written is of other engines.
fn refuse_more_than_a_name(statement: &Ast, kind: &str, name: &ObjectName, if_not_exists: bool) -> Result<()> {
    let condition = if if_not_exists { "IF NOT EXISTS " } else { "" };
    if statement.to_string() == format!("CREATE {kind} {condition}{name}") {
        return Ok(());
    }
    Err(Error::invalid(format!("CREATE {kind} takes a name and nothing more: write CREATE {kind} {name}")))
}

fn only_one<'a>(dropped: &'a [ObjectName], statement: &str) -> Result<&'a ObjectName> {
    match dropped {
        [name] => Ok(name),
        _ => Err(Error::invalid(format!("{statement} takes one name at a time"))),
    }
}

fn replaced_view(
    name: &ObjectName,
    columns: &[Ident],
    query: &Query,
    options: &[SqlOption],
    names: Names,
) -> Result<Command> {
    if !options.is_empty() {
        return Err(Error::invalid("ALTER VIEW takes no options: write ALTER VIEW v AS SELECT ..."));
    }
    let view = names.table(name)?;
    let columns: Vec<String> = columns.iter().map(Ident::to_string).collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    Ok(Command::ReplaceView { view, sql: format!("CREATE OR REPLACE VIEW {name}{columns} AS {query}") })
}

fn renamed_schema(alter: &AlterSchema, names: Names) -> Result<Command> {
    match alter.operations.as_slice() {
        [AlterSchemaOperation::Rename { name }] => Ok(Command::RenameSchema {
            schema: names.schema(&alter.name)?,
            if_exists: alter.if_exists,
            to: names.schema(name)?,
        }),
        _ => Err(Error::invalid("of a schema only its name can be changed: write ALTER SCHEMA s RENAME TO x")),
    }
}

fn commented(kind: CommentObject, name: &ObjectName, names: Names) -> Result<Commented> {
    match kind {
        CommentObject::Table => Ok(Commented::Table(names.table(name)?)),
        CommentObject::View => Ok(Commented::View(names.table(name)?)),
        CommentObject::Schema => Ok(Commented::Schema(names.schema(name)?)),
        CommentObject::Column => {
            let (table, column) = names.column(name)?;
            Ok(Commented::Column(table, column))
        }
        CommentObject::Database => Err(Error::invalid("catalogs have no comments: use COMMENT ON SCHEMA")),
        other => {
            let message =
                format!("COMMENT ON {other} is not supported: comments are kept on TABLE, VIEW, COLUMN and SCHEMA");
            Err(Error::invalid(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::samples::{command, planned, refusal};

    #[test]
    fn truncate_takes_one_table() {
        let truncate = Command::Truncate { table: TableReference::partial("s", "t") };
        assert_eq!(command("TRUNCATE TABLE s.t"), truncate);
        assert_eq!(command("truncate S.T"), truncate);
    }

    #[test]
    fn a_view_keeps_its_schema_when_it_gets_another_query() {
        let Command::ReplaceView { view, sql } =
            command("ALTER VIEW s.V (\"A\", b) AS SELECT 1, x FROM t VERSION AS OF 3")
        else {
            panic!("no view")
        };
        assert_eq!(view, TableReference::partial("s", "v"));
        assert_eq!(sql, "CREATE OR REPLACE VIEW s.V (\"A\", b) AS SELECT 1, x FROM t VERSION AS OF 3");
        planned(&sql);
    }

    #[test]
    fn a_schema_can_be_renamed() {
        let bare = |schema: &str| SchemaReference::Bare { schema: schema.into() };
        let renamed = Command::RenameSchema { schema: bare("s"), if_exists: false, to: bare("Y") };
        assert_eq!(command("ALTER SCHEMA S RENAME TO \"Y\""), renamed);
    }

    #[test]
    fn catalogs_and_schemas_are_made_dropped_and_used() {
        let bare = |schema: &str| SchemaReference::Bare { schema: schema.into() };
        let full =
            |catalog: &str, schema: &str| SchemaReference::Full { catalog: catalog.into(), schema: schema.into() };
        let catalog = || "c".to_owned();
        for (sql, wanted) in [
            ("CREATE DATABASE C", Command::CreateCatalog { catalog: catalog(), if_not_exists: false }),
            ("CREATE CATALOG IF NOT EXISTS c;", Command::CreateCatalog { catalog: catalog(), if_not_exists: true }),
            ("DROP DATABASE IF EXISTS c", Command::DropCatalog { catalog: catalog(), if_exists: true, cascade: false }),
            ("drop catalog C cascade", Command::DropCatalog { catalog: catalog(), if_exists: false, cascade: true }),
            ("DROP CATALOG c RESTRICT", Command::DropCatalog { catalog: catalog(), if_exists: false, cascade: false }),
            (
                "CREATE SCHEMA IF NOT EXISTS c.\"S.x\"",
                Command::CreateSchema { schema: full("c", "S.x"), if_not_exists: true },
            ),
            ("DROP SCHEMA s CASCADE", Command::DropSchema { schema: bare("s"), if_exists: false, cascade: true }),
            ("USE c", Command::Use(Used::Either(catalog()))),
            ("USE c.S", Command::Use(Used::Schema(full("c", "s")))),
            ("USE SCHEMA s", Command::Use(Used::Schema(bare("s")))),
            ("USE CATALOG c", Command::Use(Used::Catalog(catalog()))),
            ("USE DEFAULT", Command::Use(Used::Default)),
        ] {
            assert_eq!(command(sql), wanted, "{sql}");
        }
    }

    #[test]
    fn comments_are_on_schemas_tables_views_and_columns() {
        let said = |on, comment: Option<&str>| Command::Comment { on, comment: comment.map(str::to_owned) };
        let table = TableReference::partial("s", "t");
        let column = |table| Commented::Column(table, "c".to_owned());
        for (sql, wanted) in [
            ("COMMENT ON TABLE s.t IS 'it''s'", said(Commented::Table(table.clone()), Some("it's"))),
            ("COMMENT ON VIEW s.t IS NULL", said(Commented::View(table.clone()), None)),
            ("COMMENT ON COLUMN s.t.c IS ''", said(column(table), Some(""))),
            ("COMMENT ON COLUMN t.c IS 'x'", said(column(TableReference::bare("t")), Some("x"))),
            ("COMMENT ON COLUMN g.s.t.c IS 'x'", said(column(TableReference::full("g", "s", "t")), Some("x"))),
            (
                "COMMENT ON SCHEMA s IS 'x'",
                said(Commented::Schema(SchemaReference::Bare { schema: "s".into() }), Some("x")),
            ),
        ] {
            assert_eq!(command(sql), wanted, "{sql}");
        }
    }

    #[test]
    fn a_new_name_is_in_the_old_schema() {
        let (bare, partial) = (TableReference::bare("x"), TableReference::partial("s", "t"));
        assert_eq!(renamed(&partial, bare.clone()), TableReference::partial("s", "x"));
        assert_eq!(renamed(&partial, TableReference::partial("z", "x")), TableReference::partial("z", "x"));
        assert_eq!(renamed(&TableReference::bare("t"), bare.clone()), bare);
    }

    #[test]
    fn errors_say_what_to_write() {
        for (sql, reason) in [
            ("TRUNCATE a, b", "one table at a time"),
            ("TRUNCATE TABLE a CASCADE", "takes no CASCADE"),
            ("TRUNCATE TABLE a RESTART IDENTITY", "takes no IDENTITY"),
            ("TRUNCATE TABLE IF EXISTS a", "takes no IF EXISTS"),
            ("TRUNCATE TABLE a PARTITION (b = 1)", "DELETE FROM with a WHERE"),
            ("ALTER VIEW v WITH (a = 1) AS SELECT 1", "takes no options"),
            ("ALTER SCHEMA s OWNER TO me", "ALTER SCHEMA s RENAME TO x"),
            ("COMMENT ON COLUMN c IS 'x'", "write table.column"),
            ("CREATE DATABASE d LOCATION 'x'", "a name and nothing more"),
            ("CREATE SCHEMA s WITH (a = 1)", "a name and nothing more"),
            ("CREATE SCHEMA AUTHORIZATION me", "schemas have no owners"),
            ("CREATE DATABASE a.b", "write one name"),
            ("CREATE CATALOG c x", "CREATE CATALOG [IF NOT EXISTS] c"),
            ("DROP CATALOG", "DROP CATALOG [IF EXISTS] c"),
            ("DROP SCHEMA a, b", "one name at a time"),
            ("USE WAREHOUSE w", "write USE s"),
            ("USE", "write USE s"),
            ("USE a.b.c", "write one name"),
            ("EXPLAIN CREATE CATALOG c", "EXPLAIN shows how a query"),
            ("COMMENT ON DATABASE d IS 'x'", "use COMMENT ON SCHEMA"),
            ("COMMENT ON ROLE r IS 'x'", "COMMENT ON ROLE is not supported: comments are kept on TABLE"),
            ("COMMENT IF EXISTS ON TABLE t IS 'x'", "takes no IF EXISTS"),
            ("EXPLAIN TRUNCATE t", "EXPLAIN shows how a query"),
            ("EXPLAIN ALTER VIEW v AS SELECT 1", "EXPLAIN shows how a query"),
            ("PREPARE p AS TRUNCATE t", "run this at once"),
        ] {
            let refusal = refusal(sql);
            assert!(refusal.contains(reason), "{sql}: {refusal}");
        }
    }
}
