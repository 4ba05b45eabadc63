//! Statements that change the catalog.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::MemTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{SchemaReference, TableReference};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{CreateExternalTable, CreateMemoryTable, CreateView, DdlStatement, LogicalPlan};
use datafusion::physical_plan::execute_stream_partitioned;
use futures::TryStreamExt;

use crate::catalog::{
    Catalog, DeltaDefinition, MemoryTable, SchemaName, SessionCatalog, TEMPORARY_SCHEMA, TableDefinition, TableKind,
    TableName, View, resolve_external, temporary_name,
};
use crate::config::default_schema;
use crate::delta::DeltaTables;
use crate::execution::{result_schema, result_stream};
use crate::sql::wrong_schema;
use crate::storage::{check_allowed, directory_url};
use crate::{Error, ErrorKind, Result};

/// Carries out `ddl`, planned from the SQL `text`.
///
/// # Errors
/// Those of [`Catalog`], of reading the files of an external table, and of the query of a `CREATE TABLE AS`.
pub(crate) async fn run_ddl(
    catalog: &SessionCatalog,
    state: &SessionState,
    tables: &DeltaTables,
    ddl: DdlStatement,
    text: &str,
    reads_temporary: bool,
) -> Result<()> {
    match ddl {
        DdlStatement::CreateExternalTable(command) => {
            create_external_table(catalog, state, tables, &command, text).await
        }
        DdlStatement::CreateMemoryTable(command) => create_memory_table(catalog, state, command).await,
        DdlStatement::CreateView(command) => create_view(catalog, state, command, text, reads_temporary).await,
        DdlStatement::DropTable(command) => {
            drop_table(catalog, state, command.name, TableKind::Table, command.if_exists).await
        }
        DdlStatement::DropView(command) => {
            drop_table(catalog, state, command.name, TableKind::View, command.if_exists).await
        }
        DdlStatement::CreateCatalog(_) | DdlStatement::CreateCatalogSchema(_) | DdlStatement::DropCatalogSchema(_) => {
            Err(Error::internal("catalogs and schemas are made and dropped by commands of ours"))
        }
        DdlStatement::CreateIndex(_) => Err(Error::invalid("indexes are not supported")),
        DdlStatement::CreateFunction(_) | DdlStatement::DropFunction(_) => {
            Err(Error::invalid("functions cannot be created by SQL"))
        }
    }
}

/// The catalog's name for a reference, with the session's catalog and schema where none is given.
pub(crate) fn table_name(state: &SessionState, reference: TableReference) -> TableName {
    let catalog = &state.config_options().catalog;
    reference.resolve(&catalog.default_catalog, &catalog.default_schema).into()
}

/// The catalog's name for a schema, with the session's catalog where none is given.
pub(crate) fn schema_name(state: &SessionState, reference: &SchemaReference) -> SchemaName {
    match reference {
        SchemaReference::Bare { schema } => {
            SchemaName::new(&*state.config_options().catalog.default_catalog, &**schema)
        }
        SchemaReference::Full { schema, catalog } => SchemaName::new(&**catalog, &**schema),
    }
}

/// The catalog's name for a table to be made; a temporary one is in no schema of the user's.
pub(crate) fn new_name(state: &SessionState, reference: TableReference, temporary: bool) -> Result<TableName> {
    match reference.schema() {
        _ if !temporary => Ok(table_name(state, reference)),
        Some(schema) if schema != TEMPORARY_SCHEMA => Err(wrong_schema(schema)),
        _ => Ok(temporary_name(reference.table())),
    }
}

/// Whether there is nothing to do because the table is there and that is fine.
pub(crate) async fn is_settled(
    catalog: &SessionCatalog,
    name: &TableName,
    if_not_exists: bool,
    or_replace: bool,
) -> Result<bool> {
    if if_not_exists && or_replace {
        return Err(Error::invalid("use either OR REPLACE or IF NOT EXISTS"));
    }
    let existing = catalog.table(name).await?;
    match existing {
        Some(_) if if_not_exists => Ok(true),
        Some(entry) if !or_replace => {
            let kind = entry.definition.kind();
            Err(Error::already_exists(format!("{kind} \"{name}\" already exists")))
        }
        _ => Ok(false),
    }
}

async fn create_external_table(
    catalog: &SessionCatalog,
    state: &SessionState,
    tables: &DeltaTables,
    command: &CreateExternalTable,
    text: &str,
) -> Result<()> {
    if command.unbounded {
        return Err(Error::invalid("unbounded tables are not supported"));
    }
    let name = new_name(state, command.name.clone(), command.temporary)?;
    if is_settled(catalog, &name, command.if_not_exists, command.or_replace).await? {
        return Ok(());
    }
    let definition = if command.file_type.eq_ignore_ascii_case("delta") {
        TableDefinition::Delta(Arc::new(existing_delta_table(state, tables, command).await?))
    } else {
        let mut table = resolve_external(state, command).await?;
        table.sql = text.to_owned();
        TableDefinition::External(Arc::new(table))
    };
    catalog.create_table(&name, definition, command.or_replace).await
}

/// A Delta table that is there already, and says itself what it holds.
async fn existing_delta_table(
    state: &SessionState,
    tables: &DeltaTables,
    command: &CreateExternalTable,
) -> Result<DeltaDefinition> {
    let [location] = command.locations.as_slice() else {
        return Err(Error::invalid("a Delta table has one location"));
    };
    if !command.schema.fields().is_empty() || !command.table_partition_cols.is_empty() {
        return Err(Error::invalid(
            "a Delta table knows its columns: leave them out, or CREATE TABLE to make a new one",
        ));
    }
    let location = directory_url(location)?;
    check_allowed(state.runtime_env(), &location).await?;
    let snapshot = tables.newest(state.runtime_env(), &location).await?;
    Ok(DeltaDefinition {
        columns: SchemaRef::clone(snapshot.columns()),
        partition_columns: snapshot.partition_columns(),
        location,
        defaults: BTreeMap::new(),
        primary_key: Vec::new(),
        is_managed: false,
    })
}

async fn create_view(
    catalog: &SessionCatalog,
    state: &SessionState,
    command: CreateView,
    text: &str,
    reads_temporary: bool,
) -> Result<()> {
    let name = new_name(state, command.name, command.temporary)?;
    if is_settled(catalog, &name, false, command.or_replace).await? {
        return Ok(());
    }
    refuse_duplicates(command.input.schema().as_arrow())?;
    refuse_what_a_view_cannot_read(catalog, state, &name, &command.input, reads_temporary).await?;
    // A view that cannot be planned is refused now and not when it is first read.
    state.optimize(&command.input)?;
    let view = View {
        sql: text.to_owned(),
        default_schema: default_schema(state.config_options()),
        columns: Arc::new(result_schema(command.input.schema().as_arrow())),
    };
    catalog.create_table(&name, TableDefinition::View(Arc::new(view)), command.or_replace).await
}

/// `CREATE OR REPLACE VIEW v AS SELECT ... FROM v` would stand on itself; a view that lasts cannot stand on a table that
/// does not.
async fn refuse_what_a_view_cannot_read(
    catalog: &SessionCatalog,
    state: &SessionState,
    name: &TableName,
    input: &LogicalPlan,
    reads_temporary: bool,
) -> Result<()> {
    let mut scanned = Vec::new();
    input.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scanned.push(table_name(state, scan.table_name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    for table in scanned {
        let meant = catalog.meant(&table).await?;
        if meant == *name {
            return Err(Error::invalid(format!("view \"{name}\" cannot read itself")));
        }
        if meant.schema.is_temporary() && !name.schema.is_temporary() {
            let message = format!("view \"{name}\" cannot read the temporary table \"{}\"", meant.table);
            return Err(Error::invalid(format!("{message}; use CREATE TEMPORARY VIEW")));
        }
    }
    if reads_temporary && !name.schema.is_temporary() {
        let message = format!("view \"{name}\" cannot read a temporary view");
        return Err(Error::invalid(format!("{message}; use CREATE TEMPORARY VIEW")));
    }
    Ok(())
}

async fn create_memory_table(catalog: &SessionCatalog, state: &SessionState, command: CreateMemoryTable) -> Result<()> {
    let name = new_name(state, command.name, command.temporary)?;
    if is_settled(catalog, &name, command.if_not_exists, command.or_replace).await? {
        return Ok(());
    }
    refuse_duplicates(command.input.schema().as_arrow())?;
    let plan = state.create_physical_plan(&command.input).await?;
    let schema = table_schema(&command.input, &plan.schema());
    let consumer = MemoryConsumer::new(format!("table {name}"));
    let reservation = consumer.register(&state.runtime_env().memory_pool);
    let mut partitions = Vec::new();
    for stream in execute_stream_partitioned(plan, state.task_ctx())? {
        let batches: Vec<RecordBatch> =
            result_stream(stream).and_then(|batch| async { keep(&reservation, batch) }).try_collect().await?;
        partitions.push(batches);
    }
    let table = MemTable::try_new(schema, partitions)?
        .with_constraints(command.constraints)
        .with_column_defaults(command.column_defaults.into_iter().collect());
    let table = MemoryTable::new(table, reservation);
    catalog.create_table(&name, TableDefinition::Memory(Arc::new(table)), command.or_replace).await
}

/// Columns as declared; those of a query may be null later even if none is now.
pub(crate) fn table_schema(input: &LogicalPlan, schema: &Schema) -> SchemaRef {
    let schema = result_schema(schema);
    let is_declared = matches!(input, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row);
    if is_declared {
        return Arc::new(schema);
    }
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(nullable.collect::<Vec<_>>()))
}

fn keep(reservation: &MemoryReservation, batch: RecordBatch) -> datafusion::error::Result<RecordBatch> {
    reservation.try_grow(batch.get_array_memory_size())?;
    Ok(batch)
}

async fn drop_table(
    catalog: &SessionCatalog,
    state: &SessionState,
    reference: TableReference,
    kind: TableKind,
    if_exists: bool,
) -> Result<()> {
    let name = catalog.meant(&table_name(state, reference)).await?;
    match catalog.drop_table(&name, kind).await {
        Err(error) if error.kind == ErrorKind::NotFound && if_exists => Ok(()),
        other => other,
    }
}

/// A table with two columns of one name could be made, and not read.
pub(crate) fn refuse_duplicates(schema: &Schema) -> Result<()> {
    let mut seen = HashSet::new();
    match schema.fields().iter().find(|field| !seen.insert(field.name())) {
        Some(field) => Err(Error::invalid(format!("column \"{}\" appears twice; give one another name", field.name()))),
        None => Ok(()),
    }
}
