//! OPTIMIZE, VACUUM, RESTORE, ANALYZE, TRUNCATE.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{DFSchema, TableReference};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::{approx_distinct, count};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp, cast};
use datafusion::prelude::{ident, lit};
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use deltalake::kernel::Action;
use deltalake::operations::optimize::OptimizeType;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::DeltaOperation;

use super::Named;
use super::history::named_columns;
use crate::catalog::{Catalog, ColumnStatistics, TableStatistics};
use crate::config::grappe_options;
use crate::delta::{VersionAt, commit_properties, delta_error};
use crate::session::Session;
use crate::sql::{AnalyzedColumns, Statement, TravelTo};
use crate::writes::{Change, Try, scan, table_source};
use crate::{Error, Result};

/// A file that is not larger than this share of the target is small.
const SMALL_FILE_PERCENT: u64 = 75;
/// Hours that files stay when a table no longer needs them, unless it or the statement says otherwise.
const RETENTION_HOURS: u64 = 168;

impl Session {
    pub(super) async fn truncate(
        &self,
        query_id: &str,
        statement: &Statement,
        table: &TableReference,
    ) -> Result<Option<u64>> {
        let table = self.delta_table(&statement.state, table).await?;
        let (name, provider) = (table.reference(), table.provider());
        let rows = Arc::new(scan(name.clone(), provider.clone())?);
        let dml = DmlStatement::new(name, table_source(provider), WriteOp::Truncate, rows);
        self.change_rows(query_id, statement, &dml).await
    }

    /// Writes small files anew as large ones; with `zorder_by`, all files, in that order.
    pub(super) async fn optimize(
        &self,
        query_id: &str,
        statement: &Statement,
        table: &TableReference,
        predicate: Option<&SqlExpr>,
        zorder_by: &[String],
    ) -> Result<()> {
        let table = self.delta_table(&statement.state, table).await?;
        if !zorder_by.is_empty() {
            return self.lay_out(query_id, statement, &table, predicate, zorder_by).await;
        }
        let filters = partition_filters(&statement.state, &table, predicate)?;
        let target = grappe_options(statement.state.config()).file_bytes_target;
        let small = small_files(&table, &statement.state, &filters, target)?;
        if small.is_empty() {
            return Ok(());
        }
        let change = Change { session: self, query_id, statement, name: table.reference() };
        let provider = table.provider();
        let rows = scan(table.reference(), provider.with_only(small.clone()))?;
        let written = change.write(&provider, rows).await?;
        let log = table.snapshot.log()?.log_data();
        let mut actions: Vec<Action> = log
            .iter()
            .filter(|file| small.contains(file.path().as_ref()))
            .map(|file| Action::Remove(file.remove_action(false)))
            .collect();
        actions.extend(written.files.iter().cloned().map(|mut add| {
            add.data_change = false;
            Action::Add(add)
        }));
        let operation = DeltaOperation::Optimize { predicate: None, target_size: target as i64 };
        match change.commit(&provider, actions, operation, &mut Some(written.guard), 0).await? {
            Try::Done(_) => Ok(()),
            Try::Conflict(error) => Err(error),
        }
    }

    async fn lay_out(
        &self,
        query_id: &str,
        statement: &Statement,
        table: &Named,
        predicate: Option<&SqlExpr>,
        columns: &[String],
    ) -> Result<()> {
        if predicate.is_some() {
            return Err(Error::invalid("OPTIMIZE takes either WHERE or ZORDER BY"));
        }
        if let Some(missing) = columns.iter().find(|column| table.snapshot.columns().index_of(column).is_err()) {
            return Err(Error::not_found(format!("column \"{missing}\" of \"{}\" does not exist", table.name)));
        }
        let target = grappe_options(statement.state.config()).file_bytes_target.max(1);
        let mut optimize = table
            .snapshot
            .table()
            .optimize()
            .with_type(OptimizeType::ZOrder(columns.to_vec()))
            .with_commit_properties(commit_properties(query_id, query_id))
            .with_session_state(Arc::clone(&statement.state) as _);
        if let Some(target) = std::num::NonZeroU64::new(target) {
            optimize = optimize.with_target_size(target);
        }
        optimize.await.map_err(|error| table.snapshot.error(error))?;
        Ok(())
    }

    pub(super) async fn vacuum(
        &self,
        state: &SessionState,
        table: &TableReference,
        retain_hours: Option<u64>,
    ) -> Result<()> {
        self.clean(state, table, retain_hours, false).await.map(|_| ())
    }

    /// What VACUUM would remove.
    ///
    /// # Errors
    /// As of VACUUM.
    pub(super) async fn files_to_vacuum(
        &self,
        state: &SessionState,
        table: &TableReference,
        retain_hours: Option<u64>,
    ) -> Result<RecordBatch> {
        let files = self.clean(state, table, retain_hours, true).await?;
        named_columns(vec![("file", Arc::new(StringArray::from(files)))])
    }

    async fn clean(
        &self,
        state: &SessionState,
        table: &TableReference,
        retain_hours: Option<u64>,
        is_dry_run: bool,
    ) -> Result<Vec<String>> {
        let table = self.delta_table(state, table).await?;
        let hours = retain_hours.unwrap_or(RETENTION_HOURS);
        let retention = i64::try_from(hours).ok().and_then(chrono::Duration::try_hours);
        let retention =
            retention.ok_or_else(|| Error::invalid(format!("{hours} hours are more than a table can be old")))?;
        let mut vacuum = table.snapshot.table().vacuum().with_mode(VacuumMode::Full).with_dry_run(is_dry_run);
        if retain_hours.is_some() || !table.snapshot.properties().contains_key("delta.deletedFileRetentionDuration") {
            vacuum = vacuum.with_retention_period(retention);
        }
        let (_, metrics) = vacuum.await.map_err(|error| too_short(delta_error(error, table.snapshot.location())))?;
        Ok(metrics.files_deleted)
    }

    pub(super) async fn restore(
        &self,
        query_id: &str,
        state: &SessionState,
        table: &TableReference,
        to: TravelTo,
    ) -> Result<()> {
        let table = self.delta_table(state, table).await?;
        // It says so if there is no such version, or its log is gone.
        let at: VersionAt = to.into();
        let wanted = self.engine().delta().at(self.engine().runtime(), table.snapshot.location(), at).await?;
        if wanted.version() == table.snapshot.version() {
            return Ok(());
        }
        let restored = table
            .snapshot
            .table()
            .restore()
            .with_version_to_restore(wanted.version())
            .with_commit_properties(commit_properties(query_id, query_id))
            .await;
        restored.map_err(|error| table.snapshot.error(error))?;
        self.tell_catalog(&table).await
    }

    /// Counts rows and different values.
    pub(super) async fn analyze(
        &self,
        query_id: &str,
        statement: &Statement,
        table: &TableReference,
        columns: &AnalyzedColumns,
    ) -> Result<()> {
        let (name, entry) = self.entry_of(&statement.state, table).await?;
        let table = self.provider_of(&name).await?;
        let schema = table.schema();
        let wanted: Vec<String> = match columns {
            AnalyzedColumns::None => Vec::new(),
            AnalyzedColumns::All => schema.fields().iter().map(|field| field.name().clone()).collect(),
            AnalyzedColumns::Named(names) => names.clone(),
        };
        let mut counts = vec![count(lit(1))];
        let mut counted = Vec::new();
        for column in wanted {
            let field = schema.field_with_name(&column);
            let field =
                field.map_err(|_| Error::not_found(format!("column \"{column}\" of \"{name}\" does not exist")))?;
            if let Some(value) = countable(ident(column.as_str()), field.data_type()) {
                counts.push(approx_distinct(value));
                counts.push(count(ident(column.as_str())));
                counted.push(column);
            }
        }
        let counts = counts.into_iter().enumerate().map(|(index, count)| count.alias(format!("count{index}")));
        let reference = name.reference();
        let source = datafusion::datasource::provider_as_source(table);
        let plan = LogicalPlanBuilder::scan(reference.clone(), source, None)?
            .aggregate(Vec::<Expr>::new(), counts.collect::<Vec<_>>())?
            .build()?;
        let change = Change { session: self, query_id, statement, name: reference };
        let (batches, _) = change.read(plan).await?;
        let statistics = statistics_of(&batches, &counted)?;
        self.catalog().set_statistics(&name, entry.id, &statistics).await
    }
}

/// A value that can be counted; nothing for lists and the like.
fn countable(column: Expr, data_type: &DataType) -> Option<Expr> {
    match data_type {
        _ if data_type.is_nested() => None,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Some(column),
        _ if data_type.is_integer() => Some(column),
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => None,
        _ => Some(cast(column, DataType::Utf8)),
    }
}

fn statistics_of(batches: &[RecordBatch], columns: &[String]) -> Result<TableStatistics> {
    let batch = batches.iter().find(|batch| batch.num_rows() > 0);
    let batch = batch.ok_or_else(|| Error::internal("a count gave no row"))?;
    let value = |index: usize| -> u64 {
        let column = batch.column(index);
        match column.as_primitive_opt::<Int64Type>() {
            Some(counts) => counts.value(0).unsigned_abs(),
            None => column.as_primitive_opt::<UInt64Type>().map_or(0, |counts| counts.value(0)),
        }
    };
    let rows = value(0);
    let of_column = |(index, column): (usize, &String)| {
        let (distinct, filled) = (value(1 + 2 * index), value(2 + 2 * index));
        // An estimate may be more than there are.
        let statistics = ColumnStatistics { distinct: distinct.min(filled), nulls: rows.saturating_sub(filled) };
        (column.clone(), statistics)
    };
    let columns: BTreeMap<_, _> = columns.iter().enumerate().map(of_column).collect();
    Ok(TableStatistics { rows, columns })
}

/// Delta Lake says it in the terms of its library.
fn too_short(error: Error) -> Error {
    if !error.message.to_lowercase().contains("retention") {
        return error;
    }
    let message = format!(
        "files must stay {RETENTION_HOURS} hours, for queries that still read them: retain more, or ALTER TABLE t SET \
         TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 1 hours') if nobody does"
    );
    Error { message, ..error }
}

/// The conditions of OPTIMIZE ... WHERE, which may be about directories only.
fn partition_filters(state: &SessionState, table: &Named, predicate: Option<&SqlExpr>) -> Result<Vec<Expr>> {
    let Some(predicate) = predicate else { return Ok(Vec::new()) };
    let schema = DFSchema::try_from(Arc::clone(table.snapshot.columns()))?;
    let filter = state.create_logical_expr(&predicate.to_string(), &schema)?;
    let partitions = table.snapshot.partition_columns();
    if let Some(other) = filter.column_refs().iter().find(|column| !partitions.contains(&column.name)) {
        return Err(Error::invalid(format!(
            "OPTIMIZE takes whole partitions: \"{}\" is no partition column of \"{}\"",
            other.name, table.name
        )));
    }
    Ok(split_conjunction_owned(filter))
}

/// Files that are worth to be written anew: small, and not alone in their directory.
fn small_files(table: &Named, state: &SessionState, filters: &[Expr], target: u64) -> Result<HashSet<Arc<str>>> {
    let limit = target / 100 * SMALL_FILE_PERCENT;
    let mut directories: HashMap<Vec<_>, Vec<Arc<str>>> = HashMap::new();
    for file in table.provider().files(state, filters)? {
        if file.scanned.object_meta.size <= limit {
            directories.entry(file.scanned.partition_values.clone()).or_default().push(file.path);
        }
    }
    Ok(directories.into_values().filter(|files| files.len() > 1).flatten().collect())
}

/// A plan that reads everything, for whoever checks it.
pub(super) fn all_rows(table: &Named) -> Result<LogicalPlan> {
    scan(table.reference(), table.provider())
}
