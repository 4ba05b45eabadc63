//! MERGE: rows of a source meet those of a table, and change them, remove them or join them.
//!
//! A pair counts as matched if `ON` and the condition of some `WHEN MATCHED` clause are true; a row of the table may be in
//! one pair only. Files without such a pair are left alone.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp};
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, LogicalPlanBuilder, cast, when};
use datafusion::prelude::{col, lit};
use datafusion::scalar::ScalarValue;
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;

use super::change::{Touched, refuse_unchangeable, removals_of, touched_files, with_only};
use super::{Change, Try, scan, with_checks};
use crate::delta::{DeltaProvider, FILE_COLUMN};
use crate::{Error, Result};

/// Says of a row of a join that the source has a part in it.
const SOURCE_MARK: &str = "__grappe_source";
const SOURCE: &str = "__grappe_merge_source";

/// The clauses of one kind.
type Clauses<'a> = Vec<&'a MergeIntoClause>;

/// A MERGE, taken apart.
struct Merge<'a> {
    on: &'a Expr,
    matched: Clauses<'a>,
    not_in_target: Clauses<'a>,
    not_in_source: Clauses<'a>,
    target: DeltaProvider,
    name: TableReference,
    source: LogicalPlan,
}

impl Change<'_> {
    pub(super) async fn merge(&self, table: &DeltaProvider, dml: &DmlStatement, op: &MergeIntoOp) -> Result<Try> {
        refuse_unchangeable(table)?;
        let merge = Merge::new(table.clone(), dml, op);
        let (mut touched, removed) = self.matches(&merge).await?;
        let (by_source, removed_by_source) = self.not_in_source(&merge).await?;
        touched.files.extend(by_source.files);
        touched.rows += by_source.rows;
        let mut branches = Vec::new();
        if !touched.files.is_empty() {
            branches.extend(merge.kept_rows(&touched.files)?);
        }
        if !merge.not_in_target.is_empty() {
            branches.push(merge.new_rows()?);
        }
        let Some(rows) = union(branches)? else { return Ok(Try::Done(0)) };
        let snapshot = table.snapshot();
        let (name, checks) = (self.name.to_string(), snapshot.checks());
        let rows = with_checks(&self.statement.state, &name, snapshot.columns(), &checks, rows)?;
        let written = self.write(table, rows).await?;
        let mut actions = removals_of(table, &touched.files)?;
        if actions.is_empty() && written.files.is_empty() {
            written.guard.belong().await;
            return Ok(Try::Done(0));
        }
        actions.extend(written.files.iter().cloned().map(Action::Add));
        let kept = rows_in(table, &touched.files)?.saturating_sub(removed + removed_by_source);
        let inserted = written.rows.saturating_sub(kept);
        let operation = DeltaOperation::Merge {
            predicate: None,
            merge_predicate: Some(op.on.to_string()),
            matched_predicates: Vec::new(),
            not_matched_predicates: Vec::new(),
            not_matched_by_source_predicates: Vec::new(),
        };
        self.commit(table, actions, operation, &mut Some(written.guard), touched.rows + inserted).await
    }

    /// Files with matched rows, and how many of these are to go.
    ///
    /// # Errors
    /// `Invalid` if a row of the table has several partners.
    async fn matches(&self, merge: &Merge<'_>) -> Result<(Touched, u64)> {
        let Some(condition) = any_of(&merge.matched) else { return Ok((nothing(), 0)) };
        let on = merge.on.clone().and(condition);
        let is_gone = |clause: &MergeIntoClause| matches!(clause.action, MergeIntoAction::Delete);
        let gone = choose(&merge.matched, |clause| Ok(lit(i64::from(is_gone(clause)))), lit(0_i64))?;
        let pairs = LogicalPlanBuilder::from(merge.target_with_files()?)
            .join_on(merge.source.clone(), JoinType::Inner, [on.clone()])?
            .aggregate([col(FILE_COLUMN)], [count(lit(1)), sum(gone)])?
            .build()?;
        let (batches, _) = self.read(pairs).await?;
        let touched = touched_files(&merge.target, &batches)?;
        let rows = LogicalPlanBuilder::from(merge.target()?)
            .join_on(merge.source.clone(), JoinType::LeftSemi, [on])?
            .aggregate(Vec::<Expr>::new(), [count(lit(1))])?
            .build()?;
        let (counted, _) = self.read(rows).await?;
        let rows = column_sum(&counted, 0);
        if rows != touched.rows {
            let several = touched.rows - rows;
            return Err(Error::invalid(format!(
                "MERGE found more than one row of the source for a row of table \"{}\" ({several} too many): make the \
                 source's rows unique, or the ON condition narrower",
                merge.name
            )));
        }
        Ok((touched, column_sum(&batches, 2)))
    }

    /// Files with rows that no row of the source meets and some clause means, and how many of these are to go.
    async fn not_in_source(&self, merge: &Merge<'_>) -> Result<(Touched, u64)> {
        let Some(condition) = any_of(&merge.not_in_source) else { return Ok((nothing(), 0)) };
        let is_gone = |clause: &MergeIntoClause| matches!(clause.action, MergeIntoAction::Delete);
        let gone = choose(&merge.not_in_source, |clause| Ok(lit(i64::from(is_gone(clause)))), lit(0_i64))?;
        let rows = LogicalPlanBuilder::from(merge.target_with_files()?)
            .join_on(merge.source.clone(), JoinType::LeftAnti, [merge.on.clone()])?
            .filter(condition)?
            .aggregate([col(FILE_COLUMN)], [count(lit(1)), sum(gone)])?
            .build()?;
        let (batches, _) = self.read(rows).await?;
        Ok((touched_files(&merge.target, &batches)?, column_sum(&batches, 2)))
    }
}

impl<'a> Merge<'a> {
    fn new(target: DeltaProvider, dml: &DmlStatement, op: &'a MergeIntoOp) -> Self {
        let of = |wanted: &[MergeIntoClauseKind]| -> Clauses<'a> {
            op.clauses.iter().filter(|clause| wanted.contains(&clause.kind)).collect()
        };
        Self {
            on: &op.on,
            matched: of(&[MergeIntoClauseKind::Matched]),
            not_in_target: of(&[MergeIntoClauseKind::NotMatched, MergeIntoClauseKind::NotMatchedByTarget]),
            not_in_source: of(&[MergeIntoClauseKind::NotMatchedBySource]),
            target,
            name: dml.table_name.clone(),
            source: dml.input.as_ref().clone(),
        }
    }

    fn target(&self) -> Result<LogicalPlan> {
        scan(self.name.clone(), self.target.clone())
    }

    fn target_with_files(&self) -> Result<LogicalPlan> {
        scan(self.name.clone(), self.target.with_file_column())
    }

    fn old(&self, name: &str) -> Expr {
        Expr::Column(Column::new(Some(self.name.clone()), name))
    }

    /// The rows of touched files as they are afterwards: the pairs, then what no row of the source meets.
    fn kept_rows(&self, files: &HashSet<Arc<str>>) -> Result<Vec<LogicalPlan>> {
        let rows = with_only(&self.target()?, &self.target, files)?;
        if self.not_in_source.is_empty() {
            return Ok(vec![self.after_match(rows)?]);
        }
        let met = LogicalPlanBuilder::from(rows.clone()).join_on(
            self.source.clone(),
            JoinType::LeftSemi,
            [self.on.clone()],
        )?;
        let lonely =
            LogicalPlanBuilder::from(rows).join_on(self.source.clone(), JoinType::LeftAnti, [self.on.clone()])?;
        Ok(vec![self.after_match(met.build()?)?, self.outcome(lonely.build()?, &self.not_in_source, None)?])
    }

    fn after_match(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        let Some(condition) = any_of(&self.matched) else { return self.plain(rows) };
        let marked = self.source.schema().columns().into_iter().map(Expr::Column);
        let marked = marked.chain([lit(true).alias_qualified(Some(SOURCE), SOURCE_MARK)]).collect::<Vec<_>>();
        let source = LogicalPlanBuilder::from(self.source.clone()).project(marked)?.build()?;
        let on = self.on.clone().and(condition);
        let joined = LogicalPlanBuilder::from(rows).join_on(source, JoinType::Left, [on])?.build()?;
        let is_pair = Expr::Column(Column::new(Some(SOURCE), SOURCE_MARK)).is_not_null();
        self.outcome(joined, &self.matched, Some(is_pair))
    }

    /// The columns of the table and no others.
    fn plain(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        let fields = self.target.snapshot().columns().fields().iter();
        let columns: Vec<_> = fields.map(|field| self.old(field.name()).alias(field.name().as_str())).collect();
        Ok(LogicalPlanBuilder::from(rows).project(columns)?.build()?)
    }

    /// `rows` after the first of `clauses` that means them, where `is_meant` is true: changed, gone or as they were.
    fn outcome(&self, rows: LogicalPlan, clauses: &Clauses<'_>, is_meant: Option<Expr>) -> Result<LogicalPlan> {
        let meant = |clause: &MergeIntoClause| match (&is_meant, &clause.predicate) {
            (Some(is_meant), Some(predicate)) => is_meant.clone().and(predicate.clone()),
            (Some(is_meant), None) => is_meant.clone(),
            (None, Some(predicate)) => predicate.clone(),
            (None, None) => lit(true),
        };
        let stays = |clause: &MergeIntoClause| Ok(lit(!matches!(clause.action, MergeIntoAction::Delete)));
        let stays = choose_by(clauses, meant, stays, lit(true))?;
        let columns = self.target.snapshot().columns().fields().iter().map(|field| {
            let value = |clause: &MergeIntoClause| match &clause.action {
                MergeIntoAction::Update(values) => {
                    let new = values.iter().find(|(column, _)| column == field.name());
                    let new = new.map_or_else(|| self.old(field.name()), |(_, value)| value.clone());
                    Ok(cast(new, field.data_type().clone()))
                }
                _ => Ok(cast(self.old(field.name()), field.data_type().clone())),
            };
            let old = cast(self.old(field.name()), field.data_type().clone());
            Ok(choose_by(clauses, meant, value, old)?.alias(field.name().as_str()))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlanBuilder::from(rows).filter(stays)?.project(columns)?.build()?)
    }

    /// The rows of the source that meet none of the table, as a clause inserts them.
    fn new_rows(&self) -> Result<LogicalPlan> {
        let Some(condition) = any_of(&self.not_in_target) else {
            return Err(Error::internal("a MERGE without the clause that was there"));
        };
        let lonely = LogicalPlanBuilder::from(self.source.clone())
            .join_on(self.target()?, JoinType::LeftAnti, [self.on.clone()])?
            .filter(condition)?;
        let columns = self.target.snapshot().columns().fields().iter().map(|field| {
            let missing = || cast(lit(ScalarValue::Null), field.data_type().clone());
            let value = |clause: &MergeIntoClause| {
                let value = inserted_value(clause, self.target.snapshot().columns(), field.name());
                let default = || self.target.get_column_default(field.name());
                Ok(cast(
                    value.or_else(|| default().cloned()).unwrap_or(lit(ScalarValue::Null)),
                    field.data_type().clone(),
                ))
            };
            Ok(choose(&self.not_in_target, value, missing())?.alias(field.name().as_str()))
        });
        Ok(lonely.project(columns.collect::<Result<Vec<_>>>()?)?.build()?)
    }
}

/// What a clause inserts into a column; nothing if it leaves it out.
fn inserted_value(clause: &MergeIntoClause, table: &Schema, column: &str) -> Option<Expr> {
    let MergeIntoAction::Insert { columns, values } = &clause.action else { return None };
    let index = match columns.is_empty() {
        true => table.index_of(column).ok()?,
        false => columns.iter().position(|name| name == column)?,
    };
    values.get(index).cloned()
}

/// What the first clause says whose own condition is true.
fn choose(clauses: &Clauses<'_>, says: impl Fn(&MergeIntoClause) -> Result<Expr>, otherwise: Expr) -> Result<Expr> {
    choose_by(clauses, |clause| clause.predicate.clone().unwrap_or_else(|| lit(true)), says, otherwise)
}

fn choose_by(
    clauses: &Clauses<'_>,
    meant: impl Fn(&MergeIntoClause) -> Expr,
    says: impl Fn(&MergeIntoClause) -> Result<Expr>,
    otherwise: Expr,
) -> Result<Expr> {
    let mut chosen = otherwise;
    for clause in clauses.iter().rev() {
        chosen = when(meant(clause), says(clause)?).otherwise(chosen)?;
    }
    Ok(chosen)
}

/// Whether some clause means a row; nothing without clauses.
fn any_of(clauses: &Clauses<'_>) -> Option<Expr> {
    let conditions = clauses.iter().map(|clause| clause.predicate.clone().unwrap_or_else(|| lit(true)));
    conditions.reduce(Expr::or)
}

fn union(branches: Vec<LogicalPlan>) -> Result<Option<LogicalPlan>> {
    let mut branches = branches.into_iter();
    let Some(first) = branches.next() else { return Ok(None) };
    let mut builder = LogicalPlanBuilder::from(first);
    for branch in branches {
        builder = builder.union(branch)?;
    }
    Ok(Some(builder.build()?))
}

fn nothing() -> Touched {
    Touched { files: HashSet::new(), whole: HashSet::new(), rows: 0 }
}

fn column_sum(batches: &[RecordBatch], column: usize) -> u64 {
    let values = batches.iter().flat_map(|batch| batch.column(column).as_primitive::<Int64Type>().iter().flatten());
    values.sum::<i64>().unsigned_abs()
}

fn rows_in(table: &DeltaProvider, files: &HashSet<Arc<str>>) -> Result<u64> {
    let all = table.snapshot().files()?;
    let rows = all.iter().filter(|file| files.contains(&file.path)).filter_map(|file| {
        let statistics = file.scanned.statistics.as_ref()?;
        statistics.num_rows.get_value().map(|rows| *rows as u64)
    });
    Ok(rows.sum())
}
