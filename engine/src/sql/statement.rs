//! A planned statement, and what kind of thing it does.

use std::sync::{Arc, Weak};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, Statement as SessionStatement, WriteOp};

use crate::catalog::SYSTEM_SCHEMA;
use crate::execution::{Watch, result_schema};
use crate::sql::{Command, TableClauses, bind, bind_row, parameters};
use crate::{Error, Result};

/// What running a statement changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it has rows to read, and may be read again.
    None,
    /// Rows of a table, or files.
    Rows,
    /// The catalog or the session.
    Definition,
}

/// A statement whose names are resolved: ready to be optimised and run.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The SQL text.
    pub text: Arc<str>,
    /// Its analysed plan.
    pub plan: LogicalPlan,
    /// The session's state at the time of planning.
    pub state: Arc<SessionState>,
    /// Whether it reads temporary tables, which end with their session.
    pub reads_temporary: bool,
    /// Who is told of the plans that it runs.
    pub watch: Option<Weak<dyn Watch>>,
    /// What a CREATE TABLE says beyond columns and rows.
    pub(crate) clauses: Option<Arc<TableClauses>>,
    /// What is to be done, if that is no plan.
    pub(crate) command: Option<Arc<Command>>,
}

impl Statement {
    /// A statement that was planned in `state`.
    pub(crate) fn new(text: &str, plan: LogicalPlan, state: SessionState) -> Self {
        let state = Arc::new(state);
        Self { text: text.into(), plan, state, reads_temporary: false, watch: None, clauses: None, command: None }
    }

    /// Its parameters in order, `$1` first, in types that every client has; `Null` for one that takes any type.
    ///
    /// # Errors
    /// `Invalid` for a gap in their numbers.
    pub fn parameters(&self) -> Result<Schema> {
        Ok(result_schema(&self.wanted()?))
    }

    /// The same, in the types that its plan has.
    fn wanted(&self) -> Result<Schema> {
        match &self.plan {
            // Those of a PREPARE are given later, by EXECUTE.
            LogicalPlan::Statement(_) => Ok(Schema::empty()),
            plan => parameters(plan),
        }
    }

    /// It, with the values of `batch` for its parameters. A query gives the rows for each row of parameters; what has an
    /// effect takes one row, see [`Self::bound_to_each`].
    ///
    /// # Errors
    /// `Invalid` for another number of parameters or rows, or a value that its place cannot take.
    pub fn bound(&self, batch: &RecordBatch) -> Result<Self> {
        if self.effect() != Effect::None && batch.num_rows() != 1 {
            let rows = batch.num_rows();
            return Err(Error::invalid(format!("one row of parameters at a time is written by a query, not {rows}")));
        }
        Ok(Self { plan: bind(&self.plan, batch)?, ..self.clone() })
    }

    /// It, once for each row of parameters.
    ///
    /// # Errors
    /// As [`Self::bound`], row by row.
    pub fn bound_to_each<'a>(&'a self, batch: &'a RecordBatch) -> Result<impl Iterator<Item = Result<Self>> + 'a> {
        let wanted = self.wanted()?;
        Ok((0..batch.num_rows())
            .map(move |row| Ok(Self { plan: bind_row(&self.plan, &wanted, batch, row)?, ..self.clone() })))
    }

    /// What running it changes.
    pub fn effect(&self) -> Effect {
        if let Some(command) = &self.command {
            return if command.changes_rows() { Effect::Rows } else { Effect::Definition };
        }
        match &self.plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) => Effect::Definition,
            LogicalPlan::Dml(_) | LogicalPlan::Copy(_) => Effect::Rows,
            LogicalPlan::Analyze(analyze) => Self { plan: analyze.input.as_ref().clone(), ..self.clone() }.effect(),
            _ => Effect::None,
        }
    }

    /// Whether it reads no tables but those that tell of the system itself: it need not wait for others.
    pub fn is_light(&self) -> bool {
        const OF_SYSTEM: [&str; 3] = [SYSTEM_SCHEMA, INFORMATION_SCHEMA, "pg_catalog"];
        let mut is_light = !self.command.as_ref().is_some_and(|command| command.changes_rows());
        // Looking fails nowhere.
        let _ = self.plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                is_light &= scan.table_name.schema().is_some_and(|schema| OF_SYSTEM.contains(&schema));
            }
            Ok(if is_light { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        });
        is_light
    }

    /// The command tag, as psql shows it after a statement.
    pub fn tag(&self) -> &'static str {
        if let Some(command) = &self.command {
            return command.tag();
        }
        match &self.plan {
            LogicalPlan::Ddl(ddl) => ddl_tag(ddl),
            LogicalPlan::Dml(dml) => match dml.op {
                WriteOp::Insert(_) => "INSERT",
                WriteOp::Update => "UPDATE",
                WriteOp::Delete => "DELETE",
                WriteOp::Ctas => "CREATE TABLE",
                WriteOp::Truncate => "TRUNCATE TABLE",
                _ => "MERGE",
            },
            LogicalPlan::Copy(_) => "COPY",
            LogicalPlan::Statement(statement) => statement_tag(statement),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => "EXPLAIN",
            _ => "SELECT",
        }
    }
}

fn ddl_tag(ddl: &DdlStatement) -> &'static str {
    match ddl {
        DdlStatement::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
        DdlStatement::CreateMemoryTable(_) => "CREATE TABLE",
        DdlStatement::CreateView(_) => "CREATE VIEW",
        DdlStatement::CreateCatalogSchema(_) => "CREATE SCHEMA",
        DdlStatement::CreateCatalog(_) => "CREATE DATABASE",
        DdlStatement::CreateIndex(_) => "CREATE INDEX",
        DdlStatement::DropTable(_) => "DROP TABLE",
        DdlStatement::DropView(_) => "DROP VIEW",
        DdlStatement::DropCatalogSchema(_) => "DROP SCHEMA",
        DdlStatement::CreateFunction(_) => "CREATE FUNCTION",
        DdlStatement::DropFunction(_) => "DROP FUNCTION",
    }
}

fn statement_tag(statement: &SessionStatement) -> &'static str {
    match statement {
        SessionStatement::TransactionStart(_) => "BEGIN",
        SessionStatement::TransactionEnd(_) => "COMMIT",
        SessionStatement::SetVariable(_) => "SET",
        SessionStatement::ResetVariable(_) => "RESET",
        SessionStatement::Prepare(_) => "PREPARE",
        SessionStatement::Execute(_) => "EXECUTE",
        SessionStatement::Deallocate(_) => "DEALLOCATE",
    }
}
