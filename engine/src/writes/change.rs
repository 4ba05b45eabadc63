//! DELETE and UPDATE: the files that hold such rows are found first, then written anew without them, or with other
//! values.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{DmlStatement, Expr, Filter, LogicalPlan, LogicalPlanBuilder, when};
use datafusion::prelude::{col, lit};
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;

use super::{Change, Try, delta_table, with_checks};
use crate::delta::{DeltaProvider, FILE_COLUMN};
use crate::{Error, Result};

/// The files of a table in which a statement has found rows.
pub(super) struct Touched {
    pub(super) files: HashSet<Arc<str>>,
    /// Those of which every row is meant.
    pub(super) whole: HashSet<Arc<str>>,
    /// The rows that are meant, in all of them.
    pub(super) rows: u64,
}

impl Change<'_> {
    pub(super) async fn delete(&self, table: &DeltaProvider, dml: &DmlStatement) -> Result<Try> {
        refuse_unchangeable(table)?;
        let (condition, rows) = parts(&dml.input)?;
        let Some(condition) = condition else { return self.remove_all(table).await };
        let touched = self.touched(table, &rows, &condition).await?;
        let operation = DeltaOperation::Delete { predicate: None };
        if touched.files.is_empty() {
            return Ok(Try::Done(0));
        }
        let rewritten: HashSet<Arc<str>> = touched.files.difference(&touched.whole).cloned().collect();
        let mut actions = removals_of(table, &touched.files)?;
        let mut guard = None;
        if !rewritten.is_empty() {
            let remaining = LogicalPlanBuilder::from(with_only(&rows, table, &rewritten)?);
            let remaining = remaining.filter(condition.is_not_true())?.build()?;
            let written = self.write(table, remaining).await?;
            actions.extend(written.files.iter().cloned().map(Action::Add));
            guard = Some(written.guard);
        }
        self.commit(table, actions, operation, &mut guard, touched.rows).await
    }

    pub(super) async fn update(&self, table: &DeltaProvider, dml: &DmlStatement) -> Result<Try> {
        refuse_unchangeable(table)?;
        let LogicalPlan::Projection(projection) = dml.input.as_ref() else {
            return Err(Error::internal("an UPDATE that does not say what it sets"));
        };
        let (condition, rows) = parts(&projection.input)?;
        let condition = condition.unwrap_or_else(|| lit(true));
        let touched = self.touched(table, &rows, &condition).await?;
        if touched.files.is_empty() {
            return Ok(Try::Done(0));
        }
        let rows = with_only(&rows, table, &touched.files)?;
        let changed = updated(rows, &projection.expr, condition)?;
        let snapshot = table.snapshot();
        let (name, checks) = (self.name.to_string(), snapshot.checks());
        let changed = with_checks(&self.statement.state, &name, snapshot.columns(), &checks, changed)?;
        let written = self.write(table, changed).await?;
        let mut actions = removals_of(table, &touched.files)?;
        actions.extend(written.files.iter().cloned().map(Action::Add));
        let operation = DeltaOperation::Update { predicate: None };
        self.commit(table, actions, operation, &mut Some(written.guard), touched.rows).await
    }

    /// The files that hold rows of `rows`, a scan of `table`, for which `condition` is true.
    pub(super) async fn touched(&self, table: &DeltaProvider, rows: &LogicalPlan, condition: &Expr) -> Result<Touched> {
        let plan = LogicalPlanBuilder::from(with_file_column(rows, table)?)
            .filter(condition.clone())?
            .aggregate([col(FILE_COLUMN)], [count(lit(1))])?
            .build()?;
        let (batches, _) = self.read(plan).await?;
        touched_files(table, &batches)
    }
}

/// Reads rows of a file and a count.
pub(super) fn touched_files(table: &DeltaProvider, batches: &[RecordBatch]) -> Result<Touched> {
    let mut touched = Touched { files: HashSet::new(), whole: HashSet::new(), rows: 0 };
    let all = table.snapshot().files()?;
    let rows_of = |path: &str| {
        let file = all.iter().find(|file| file.path.as_ref() == path)?;
        file.scanned.statistics.as_ref()?.num_rows.get_value().map(|rows| *rows as u64)
    };
    for batch in batches {
        let files = batch.column(0).as_string::<i32>();
        let counts = batch.column(1).as_primitive::<Int64Type>();
        for (file, count) in files.iter().flatten().zip(counts.iter().flatten()) {
            let count = count.unsigned_abs();
            touched.rows += count;
            if rows_of(file) == Some(count) {
                touched.whole.insert(file.into());
            }
            touched.files.insert(file.into());
        }
    }
    Ok(touched)
}

/// The condition of a DELETE or UPDATE, and the scan that it filters.
fn parts(input: &LogicalPlan) -> Result<(Option<Expr>, LogicalPlan)> {
    match input {
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let (more, rows) = parts(input)?;
            let condition = match more {
                Some(more) => predicate.clone().and(more),
                None => predicate.clone(),
            };
            Ok((Some(condition), rows))
        }
        LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_) => Ok((None, input.clone())),
        LogicalPlan::Limit(_) => Err(Error::invalid("LIMIT is not supported here: name the rows in WHERE")),
        _ => Err(Error::invalid("UPDATE with FROM is not supported: use MERGE INTO ... USING ... WHEN MATCHED")),
    }
}

/// All rows of `rows`, with new values where `condition` is true.
fn updated(rows: LogicalPlan, values: &[Expr], condition: Expr) -> Result<LogicalPlan> {
    let has_subquery = |expr: &Expr| {
        expr.exists(|part| {
            Ok(matches!(part, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)))
        })
    };
    let columns = rows.schema().columns();
    if !has_subquery(&condition)? {
        let values = values.iter().zip(&columns).map(|(value, column)| {
            let old = Expr::Column(column.clone());
            let new = value.clone().unalias();
            match new == old {
                true => Ok(old.alias(&column.name)),
                false => Ok(when(condition.clone(), new).otherwise(old)?.alias(&column.name)),
            }
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        return Ok(LogicalPlanBuilder::from(rows).project(values)?.build()?);
    }
    // A subquery is planned as a join where it stands in a filter, and is not planned elsewhere.
    let plain = columns.iter().map(|column| Expr::Column(column.clone()).alias(&column.name));
    let others = LogicalPlanBuilder::from(rows.clone())
        .filter(condition.clone().is_not_true())?
        .project(plain.collect::<Vec<_>>())?;
    let changed = LogicalPlanBuilder::from(rows).filter(condition)?.project(values.to_vec())?;
    Ok(others.union(changed.build()?)?.build()?)
}

/// `rows` with the column that names the file.
pub(super) fn with_file_column(rows: &LogicalPlan, table: &DeltaProvider) -> Result<LogicalPlan> {
    replace_table(rows, &table.with_file_column())
}

/// `rows` of these files only.
pub(super) fn with_only(rows: &LogicalPlan, table: &DeltaProvider, files: &HashSet<Arc<str>>) -> Result<LogicalPlan> {
    replace_table(rows, &table.with_only(files.clone()))
}

/// `rows`, which scans a Delta table under some name, with `table` in its place.
fn replace_table(rows: &LogicalPlan, table: &DeltaProvider) -> Result<LogicalPlan> {
    let replaced = rows.clone().transform_up(|node| match node {
        LogicalPlan::TableScan(scan) if delta_table(&scan.source).is_some() => {
            let source = provider_as_source(Arc::new(table.clone()));
            Ok(Transformed::yes(LogicalPlanBuilder::scan(scan.table_name, source, None)?.build()?))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(alias.input));
            Ok(Transformed::yes(input.alias(alias.alias)?.build()?))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(replaced?.data)
}

/// Removals of these files.
pub(super) fn removals_of(table: &DeltaProvider, files: &HashSet<Arc<str>>) -> Result<Vec<Action>> {
    let log = table.snapshot().log()?.log_data();
    let meant = log.iter().filter(|file| files.contains(file.path().as_ref()));
    Ok(meant.map(|file| Action::Remove(file.remove_action(true))).collect())
}

/// Tables whose rows we would change in a way that other readers of theirs do not expect.
pub(crate) fn refuse_unchangeable(table: &DeltaProvider) -> Result<()> {
    let is_on = |key: &str| table.snapshot().properties().get(key).is_some_and(|value| value == "true");
    let reason = match () {
        () if is_on("delta.appendOnly") => "its property delta.appendOnly is set",
        () if is_on("delta.enableChangeDataFeed") => "it records changes (delta.enableChangeDataFeed)",
        () => match table.snapshot().is_special() {
            Some(reason) => reason,
            None => return Ok(()),
        },
    };
    Err(Error::invalid(format!("rows of this table can be added, but not changed or removed: {reason}")))
}
