//! What a table looks like after ALTER TABLE, and where the values of each column come from.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::ident;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, Expr as SqlExpr};
use datafusion::sql::unparser::expr_to_sql;

use super::Named;
use crate::catalog::TableName;
use crate::sql::{Names, NewColumn, TableChange, check_name};
use crate::{Error, Result};

/// A table as it is to be.
#[derive(Debug)]
pub(super) struct Shape {
    table: TableName,
    names: Names,
    pub(super) columns: Vec<Shaped>,
    pub(super) partition_columns: Vec<String>,
    pub(super) checks: Vec<(String, String)>,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) defaults: BTreeMap<String, String>,
    pub(super) primary_key: Vec<String>,
    pub(super) comments: Vec<(String, String)>,
    /// Whether files hold something else than the columns will say.
    pub(super) is_rewritten: bool,
    /// Whether rows that are there may break a rule that is new.
    pub(super) is_stricter: bool,
}

/// A column as it is to be.
#[derive(Debug)]
pub(super) struct Shaped {
    pub(super) field: Field,
    /// Its values, from the columns that there are.
    pub(super) value: Expr,
}

impl Shape {
    /// As it is.
    pub(super) fn of(table: &Named, names: Names) -> Self {
        let snapshot = &table.snapshot;
        let column = |field: &Field| Shaped { field: field.clone(), value: ident(field.name().as_str()) };
        Self {
            table: table.name.clone(),
            names,
            columns: snapshot.columns().fields().iter().map(|field| column(field)).collect(),
            partition_columns: snapshot.partition_columns(),
            checks: snapshot.checks(),
            properties: BTreeMap::new(),
            defaults: table.definition.defaults.clone(),
            primary_key: table.definition.primary_key.clone(),
            comments: Vec::new(),
            is_rewritten: false,
            is_stricter: false,
        }
    }

    /// The columns.
    pub(super) fn schema(&self) -> Schema {
        Schema::new(self.columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>())
    }

    /// After one change.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`; `Invalid` for what cannot be done to a table.
    pub(super) fn change(&mut self, state: &SessionState, change: &TableChange) -> Result<()> {
        match change {
            TableChange::AddColumn { column, if_not_exists } => self.add_column(state, column, *if_not_exists),
            TableChange::DropColumn { column, if_exists } => self.drop_column(state, column, *if_exists),
            TableChange::RenameColumn { column, to } => self.rename_column(state, column, to),
            TableChange::SetNotNull { column } => {
                self.is_stricter = true;
                self.set_nullable(column, false)
            }
            TableChange::DropNotNull { column } => self.set_nullable(column, true),
            TableChange::SetDefault { column, default } => {
                let data_type = self.column(column)?.field.data_type().clone();
                let (sql, _) = default_value(state, default, &data_type)?;
                self.defaults.insert(column.clone(), sql);
                Ok(())
            }
            TableChange::DropDefault { column } => {
                self.column(column)?;
                self.defaults.remove(column);
                Ok(())
            }
            TableChange::SetType { column, data_type } => self.set_type(state, column, data_type),
            TableChange::AddCheck { name, check } => self.add_check(state, name.as_deref(), check),
            TableChange::DropConstraint { name, if_exists } => {
                let before = self.checks.len();
                self.checks.retain(|(known, _)| known != name);
                if self.checks.len() == before && !if_exists {
                    let table = &self.table;
                    return Err(Error::not_found(format!("constraint \"{name}\" of \"{table}\" does not exist")));
                }
                Ok(())
            }
            TableChange::SetProperties { properties } => {
                self.properties.extend(properties.clone());
                Ok(())
            }
        }
    }

    fn index(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|known| known.field.name() == column)
    }

    fn column(&mut self, column: &str) -> Result<&mut Shaped> {
        let table = self.table.clone();
        let index = self.index(column);
        let index =
            index.ok_or_else(|| Error::not_found(format!("column \"{column}\" of \"{table}\" does not exist")))?;
        Ok(&mut self.columns[index])
    }

    fn refuse_known(&self, column: &str) -> Result<()> {
        match self.index(column) {
            Some(_) => Err(Error::already_exists(format!("column \"{column}\" of \"{}\" already exists", self.table))),
            None => Ok(()),
        }
    }

    fn add_column(&mut self, state: &SessionState, column: &NewColumn, if_not_exists: bool) -> Result<()> {
        if if_not_exists && self.index(&column.name).is_some() {
            return Ok(());
        }
        self.refuse_known(&column.name)?;
        let data_type = arrow_type(state, &column.data_type)?;
        let mut value = cast(Expr::Literal(ScalarValue::Null, None), data_type.clone());
        if let Some(default) = &column.default {
            let (sql, default) = default_value(state, default, &data_type)?;
            self.defaults.insert(column.name.clone(), sql);
            value = default;
            // The rows that are there get it too.
            self.is_rewritten = true;
        }
        self.is_stricter |= !column.is_nullable;
        self.comments.extend(column.comment.clone().map(|comment| (column.name.clone(), comment)));
        let field = Field::new(&column.name, data_type, column.is_nullable);
        self.columns.push(Shaped { field, value });
        Ok(())
    }

    fn drop_column(&mut self, state: &SessionState, column: &str, if_exists: bool) -> Result<()> {
        if if_exists && self.index(column).is_none() {
            return Ok(());
        }
        self.column(column)?;
        self.refuse_used(state, column, "drop")?;
        if self.columns.len() == 1 {
            return Err(Error::invalid(format!(
                "\"{column}\" is the only column of \"{}\": drop the table",
                self.table
            )));
        }
        self.columns.retain(|known| known.field.name() != column);
        self.defaults.remove(column);
        self.primary_key.retain(|known| known != column);
        self.is_rewritten = true;
        Ok(())
    }

    fn rename_column(&mut self, state: &SessionState, column: &str, to: &str) -> Result<()> {
        self.refuse_known(to)?;
        self.column(column)?;
        self.refuse_used(state, column, "rename")?;
        let shaped = self.column(column)?;
        shaped.field = shaped.field.clone().with_name(to);
        if let Some(default) = self.defaults.remove(column) {
            self.defaults.insert(to.to_owned(), default);
        }
        for key in self.primary_key.iter_mut().filter(|key| *key == column) {
            *key = to.to_owned();
        }
        self.is_rewritten = true;
        Ok(())
    }

    /// Directories are named after columns, and constraints name them.
    fn refuse_used(&self, state: &SessionState, column: &str, verb: &str) -> Result<()> {
        if self.partition_columns.iter().any(|known| known == column) {
            return Err(Error::invalid(format!("cannot {verb} \"{column}\": the table is partitioned by it")));
        }
        let schema = DFSchema::try_from(self.schema())?;
        for (name, sql) in &self.checks {
            let check = state.create_logical_expr(sql, &schema)?;
            if check.column_refs().iter().any(|known| known.name == column) {
                return Err(Error::invalid(format!(
                    "cannot {verb} \"{column}\": CHECK constraint \"{name}\" is about it; DROP CONSTRAINT it first"
                )));
            }
        }
        Ok(())
    }

    fn set_nullable(&mut self, column: &str, is_nullable: bool) -> Result<()> {
        let shaped = self.column(column)?;
        shaped.field = shaped.field.clone().with_nullable(is_nullable);
        Ok(())
    }

    fn set_type(&mut self, state: &SessionState, column: &str, data_type: &SqlType) -> Result<()> {
        let data_type = arrow_type(state, data_type)?;
        self.column(column)?;
        self.refuse_used(state, column, "change the type of")?;
        let shaped = self.column(column)?;
        shaped.value = cast(shaped.value.clone(), data_type.clone());
        shaped.field = shaped.field.clone().with_data_type(data_type);
        self.is_rewritten = true;
        Ok(())
    }

    fn add_check(&mut self, state: &SessionState, name: Option<&str>, check: &SqlExpr) -> Result<()> {
        let is_taken = |name: &str| self.checks.iter().any(|(known, _)| known == name);
        let name = match name {
            Some(name) if is_taken(name) => {
                let table = &self.table;
                return Err(Error::already_exists(format!("constraint \"{name}\" of \"{table}\" already exists")));
            }
            Some(name) => name.to_owned(),
            None => check_name(&self.table.table, check, self.names, is_taken),
        };
        let sql = check.to_string();
        // It must make sense before it is kept.
        state.create_logical_expr(&sql, &DFSchema::try_from(self.schema())?)?;
        self.checks.push((name, sql));
        self.is_stricter = true;
        Ok(())
    }
}

/// The type that SQL names, as a column of a table has it.
fn arrow_type(state: &SessionState, sql: &SqlType) -> Result<DataType> {
    let cast = state.create_logical_expr(&format!("CAST(NULL AS {sql})"), &DFSchema::empty())?;
    match cast {
        Expr::Cast(cast) => Ok(cast.field.data_type().clone()),
        other => Err(Error::invalid(format!("{sql} is no type: {other}"))),
    }
}

/// The SQL that is kept of a default value, and the value in the column's type.
fn default_value(state: &SessionState, default: &SqlExpr, data_type: &DataType) -> Result<(String, Expr)> {
    let value = state.create_logical_expr(&default.to_string(), &DFSchema::empty())?;
    Ok((expr_to_sql(&value)?.to_string(), cast(value, data_type.clone())))
}
