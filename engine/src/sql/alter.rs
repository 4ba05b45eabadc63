//! `ALTER TABLE`, from sqlparser's syntax tree.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, CheckConstraint, ColumnDef, ColumnOption, DropBehavior,
    Expr, Ident, RenameTableNameKind, SqlOption, TableConstraint, Value,
};

use crate::sql::Names;
use crate::sql::command::{Command, NewColumn, TableChange, renamed};
use crate::sql::types::rename;
use crate::sql::walk::refuse_what_cannot_be_kept;
use crate::{Error, Result};

const SUPPORTED: &str = "RENAME TO, SET SCHEMA, ADD COLUMN, DROP COLUMN, RENAME COLUMN, ALTER COLUMN with SET or DROP \
                         NOT NULL, SET or DROP DEFAULT or TYPE, ADD CHECK, DROP CONSTRAINT and SET TBLPROPERTIES";

/// # Errors
/// `Invalid` for an action that we do not know.
pub(super) fn alter_table(alter: &AlterTable, names: Names) -> Result<Command> {
    if alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
        let message = format!("{alter} is not supported: the actions of ALTER TABLE are {SUPPORTED}");
        return Err(Error::invalid(message));
    }
    let (table, if_exists) = (names.table(&alter.name)?, alter.if_exists);
    if let [AlterTableOperation::RenameTable { table_name }] = alter.operations.as_slice() {
        let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = table_name;
        let to = renamed(&table, names.table(name)?);
        return Ok(Command::RenameTable { table, if_exists, to });
    }
    let mut changes = Vec::new();
    for operation in &alter.operations {
        changes.extend(changes_of(operation, names)?);
    }
    Ok(Command::AlterTable { table, if_exists, changes })
}

fn changes_of(operation: &AlterTableOperation, names: Names) -> Result<Vec<TableChange>> {
    use AlterTableOperation as Action;
    let change = match operation {
        Action::AddColumn { column_def, if_not_exists, column_position: None, .. } => {
            return added_column(column_def, *if_not_exists, names);
        }
        Action::AddColumn { column_position: Some(_), .. } => {
            return Err(Error::invalid("a new column is the last one: leave FIRST or AFTER away"));
        }
        Action::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            refuse_cascade(drop_behavior.as_ref(), "DROP COLUMN")?;
            let drop = |column| TableChange::DropColumn { column: names.name(column), if_exists: *if_exists };
            return Ok(column_names.iter().map(drop).collect());
        }
        Action::RenameColumn { old_column_name, new_column_name } => {
            TableChange::RenameColumn { column: names.name(old_column_name), to: names.name(new_column_name) }
        }
        Action::AlterColumn { column_name, op } => altered_column(column_name, op, names)?,
        Action::AddConstraint { constraint: TableConstraint::Check(check), not_valid: false } => {
            TableChange::AddCheck { name: check.name.as_ref().map(|name| names.name(name)), check: checked(check)? }
        }
        Action::DropConstraint { if_exists, name, drop_behavior } => {
            refuse_cascade(drop_behavior.as_ref(), "DROP CONSTRAINT")?;
            TableChange::DropConstraint { name: names.name(name), if_exists: *if_exists }
        }
        Action::SetTblProperties { table_properties } => {
            TableChange::SetProperties { properties: properties_of(table_properties)? }
        }
        Action::RenameTable { .. } => {
            return Err(Error::invalid("RENAME TO stands alone: write the other actions as a statement of their own"));
        }
        other => {
            let message = format!("ALTER TABLE ... {other} is not supported: the actions are {SUPPORTED}");
            return Err(Error::invalid(message));
        }
    };
    Ok(vec![change])
}

/// The column, and what it has to hold.
fn added_column(definition: &ColumnDef, if_not_exists: bool, names: Names) -> Result<Vec<TableChange>> {
    let name = names.name(&definition.name);
    let mut data_type = definition.data_type.clone();
    rename(&mut data_type);
    let mut column = NewColumn { name, data_type, is_nullable: true, default: None, comment: None };
    let mut checks = Vec::new();
    for option in &definition.options {
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => column.is_nullable = false,
            ColumnOption::Comment(comment) => column.comment = Some(comment.clone()),
            ColumnOption::Default(default) => column.default = Some(kept_default(default)?),
            ColumnOption::Check(check) => {
                let name = option.name.as_ref().or(check.name.as_ref()).map(|name| names.name(name));
                checks.push(TableChange::AddCheck { name, check: checked(check)? });
            }
            other => {
                let message =
                    format!("a new column cannot have {other}: it can have NOT NULL, DEFAULT, CHECK and COMMENT");
                return Err(Error::invalid(message));
            }
        }
    }
    let mut changes = vec![TableChange::AddColumn { column: Box::new(column), if_not_exists }];
    changes.append(&mut checks);
    Ok(changes)
}

fn altered_column(column: &Ident, operation: &AlterColumnOperation, names: Names) -> Result<TableChange> {
    let column = names.name(column);
    match operation {
        AlterColumnOperation::SetNotNull => Ok(TableChange::SetNotNull { column }),
        AlterColumnOperation::DropNotNull => Ok(TableChange::DropNotNull { column }),
        AlterColumnOperation::SetDefault { value } => {
            Ok(TableChange::SetDefault { column, default: kept_default(value)? })
        }
        AlterColumnOperation::DropDefault => Ok(TableChange::DropDefault { column }),
        AlterColumnOperation::SetDataType { data_type, using: None, .. } => {
            let mut data_type = data_type.clone();
            rename(&mut data_type);
            Ok(TableChange::SetType { column, data_type })
        }
        AlterColumnOperation::SetDataType { using: Some(_), .. } => {
            Err(Error::invalid("TYPE takes no USING: add a column of the new type, UPDATE it, and drop the old one"))
        }
        AlterColumnOperation::AddGenerated { .. } => {
            Err(Error::invalid("generated columns are not supported: use SET DEFAULT"))
        }
    }
}

fn kept_default(default: &Expr) -> Result<Expr> {
    refuse_what_cannot_be_kept(default, "DEFAULT")?;
    Ok(default.clone())
}

/// What a `CHECK` checks.
///
/// # Errors
/// `Invalid` for one that is not enforced, or that does not stand for itself.
pub(super) fn checked(check: &CheckConstraint) -> Result<Expr> {
    if check.enforced == Some(false) {
        return Err(Error::invalid("every CHECK is enforced: leave NOT ENFORCED away"));
    }
    refuse_what_cannot_be_kept(&check.expr, "CHECK")?;
    Ok(check.expr.as_ref().clone())
}

fn refuse_cascade(behavior: Option<&DropBehavior>, action: &str) -> Result<()> {
    match behavior {
        Some(DropBehavior::Cascade) => {
            Err(Error::invalid(format!("{action} takes no CASCADE: drop what depends on it first")))
        }
        Some(DropBehavior::Restrict) | None => Ok(()),
    }
}

/// Properties of a table, by name.
///
/// # Errors
/// `Invalid` for a value that is no constant, and for a name that is there twice.
pub(super) fn properties_of(options: &[SqlOption]) -> Result<BTreeMap<String, String>> {
    let mut properties = BTreeMap::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::invalid(format!("{option} is no property: write 'name' = 'value'")));
        };
        let Some(value) = constant(value) else {
            let message = format!("property {key} must be a constant, such as 'text', 1 or true, not {value}");
            return Err(Error::invalid(message));
        };
        if properties.insert(key.value.clone(), value).is_some() {
            return Err(Error::invalid(format!("property {key} is there twice: write it once")));
        }
    }
    Ok(properties)
}

fn constant(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::Number(text, _) => {
                Some(text.clone())
            }
            Value::Boolean(value) => Some(value.to_string()),
            _ => None,
        },
        Expr::Identifier(name) => Some(name.value.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::TableReference;
    use datafusion::sql::sqlparser::ast::{DataType, TimezoneInfo};

    use super::*;
    use crate::sql::parser::samples::{command, refusal};

    fn changes(actions: &str) -> Vec<TableChange> {
        match command(&format!("ALTER TABLE IF EXISTS s.t {actions}")) {
            Command::AlterTable { table, if_exists: true, changes } if table == TableReference::partial("s", "t") => {
                changes
            }
            other => panic!("{actions}: {other:?}"),
        }
    }

    fn only(actions: &str) -> TableChange {
        let mut changes = changes(actions);
        assert_eq!(changes.len(), 1, "{actions}");
        changes.remove(0)
    }

    fn x() -> String {
        "x".to_owned()
    }

    #[test]
    fn a_new_column_has_all_that_a_column_can_have() {
        let added = only("ADD COLUMN IF NOT EXISTS X INT DEFAULT 1 + 1 NOT NULL COMMENT 'it'");
        let TableChange::AddColumn { column, if_not_exists: true } = added else { panic!("{added:?}") };
        assert_eq!((column.name.as_str(), column.is_nullable), ("x", false));
        assert_eq!(column.default.map(|default| default.to_string()).as_deref(), Some("1 + 1"));
        assert_eq!((column.comment.as_deref(), column.data_type), (Some("it"), DataType::Int(None)));
        let added = changes("ADD x DATETIME CONSTRAINT later CHECK (x > y), ADD COLUMN z TEXT NULL");
        let [TableChange::AddColumn { column, if_not_exists: false }, check, TableChange::AddColumn { .. }] =
            added.as_slice()
        else {
            panic!("{added:?}")
        };
        assert_eq!((column.is_nullable, &column.data_type), (true, &DataType::Timestamp(None, TimezoneInfo::None)));
        assert!(matches!(check, TableChange::AddCheck { name: Some(name), check }
                if name == "later" && check.to_string() == "x > y"));
    }

    #[test]
    fn columns_change() {
        assert_eq!(only("DROP COLUMN X"), TableChange::DropColumn { column: x(), if_exists: false });
        assert_eq!(only("DROP IF EXISTS x RESTRICT"), TableChange::DropColumn { column: x(), if_exists: true });
        let renamed = TableChange::RenameColumn { column: x(), to: "Y".to_owned() };
        assert_eq!(only("RENAME COLUMN x TO \"Y\""), renamed);
        assert_eq!(only("RENAME x TO \"Y\""), renamed);
        assert_eq!(only("ALTER COLUMN x SET NOT NULL"), TableChange::SetNotNull { column: x() });
        assert_eq!(only("ALTER x DROP NOT NULL"), TableChange::DropNotNull { column: x() });
        assert_eq!(only("ALTER x DROP DEFAULT"), TableChange::DropDefault { column: x() });
        assert!(matches!(only("ALTER x SET DEFAULT now()"), TableChange::SetDefault { default, .. }
                if default.to_string() == "now()"));
        let typed = TableChange::SetType { column: x(), data_type: DataType::BigInt(None) };
        assert_eq!(only("ALTER COLUMN x TYPE BIGINT"), typed);
        assert_eq!(only("ALTER COLUMN x SET DATA TYPE BIGINT"), typed);
    }

    #[test]
    fn constraints_and_properties_change() {
        assert!(matches!(only("ADD CHECK (x > 0)"), TableChange::AddCheck { name: None, .. }));
        assert!(matches!(only("ADD CONSTRAINT C CHECK (x > 0)"), TableChange::AddCheck { name: Some(name), .. }
                if name == "c"));
        let dropped = TableChange::DropConstraint { name: "c".to_owned(), if_exists: true };
        assert_eq!(only("DROP CONSTRAINT IF EXISTS c"), dropped);
        let TableChange::SetProperties { properties } = only("SET TBLPROPERTIES ('a.b' = 'c', 'd' = 1, 'e' = true)")
        else {
            panic!("no properties")
        };
        let properties: Vec<_> = properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(properties, ["a.b=c", "d=1", "e=true"]);
    }

    #[test]
    fn a_table_is_renamed_within_its_schema_unless_it_says_another() {
        let renamed = |to| Command::RenameTable { table: TableReference::partial("s", "t"), if_exists: false, to };
        assert_eq!(command("ALTER TABLE s.t RENAME TO X"), renamed(TableReference::partial("s", "x")));
        assert_eq!(command("ALTER TABLE s.t RENAME TO z.x"), renamed(TableReference::partial("z", "x")));
    }

    #[test]
    fn errors_say_what_to_write() {
        for (actions, reason) in [
            ("RENAME TO x, DROP y", "RENAME TO stands alone"),
            ("DROP COLUMN x CASCADE", "takes no CASCADE"),
            ("DROP CONSTRAINT c CASCADE", "takes no CASCADE"),
            ("ADD COLUMN x INT FIRST", "leave FIRST or AFTER away"),
            ("ADD COLUMN x INT PRIMARY KEY", "it can have NOT NULL, DEFAULT, CHECK and COMMENT"),
            ("ADD COLUMN x INT GENERATED ALWAYS AS (1)", "it can have NOT NULL"),
            ("ADD COLUMN x INT DEFAULT $1", "DEFAULT cannot have a parameter in it"),
            ("ADD CHECK (x > (SELECT 1))", "CHECK cannot have a query in it"),
            ("ADD CHECK (x > 1) NOT ENFORCED", "leave NOT ENFORCED away"),
            ("ADD CHECK (x > 1) NOT VALID", "the actions are RENAME TO"),
            ("ADD PRIMARY KEY (x)", "PRIMARY KEY (x) is not supported: the actions are RENAME TO"),
            ("ADD FOREIGN KEY (x) REFERENCES u (y)", "the actions are RENAME TO"),
            ("SWAP WITH u", "SWAP WITH u is not supported: the actions are"),
            ("OWNER TO me", "the actions are"),
            ("CLUSTER BY (x)", "the actions are"),
            ("SET TBLPROPERTIES ('a' = 1 + 1)", "must be a constant"),
            ("SET TBLPROPERTIES ('a' = 1, 'a' = 2)", "is there twice"),
            ("ALTER COLUMN x ADD GENERATED ALWAYS AS IDENTITY", "use SET DEFAULT"),
            ("FROBNICATE", "after ALTER TABLE"),
        ] {
            let refusal = refusal(&format!("ALTER TABLE t {actions}"));
            assert!(refusal.contains(reason), "{actions}: {refusal}");
        }
    }
}
