//! `information_schema` of a catalog: DataFusion's tables, those about constraints, which DataFusion does not have, and one
//! of all catalogs.
//!
//! What is not in the catalog is in the logs of the tables: CHECK constraints are read there, whoever wrote them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::information_schema::{
    INFORMATION_SCHEMA, INFORMATION_SCHEMA_TABLES, InformationSchemaProvider,
};
use datafusion::catalog::{CatalogProviderList, MemTable, SchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{LogicalPlanBuilder, TableType};

use crate::catalog::{CatalogView, SchemaName, TableName};

/// The table that lists all tables.
const TABLES: &str = "tables";

/// A constraint of a table.
#[derive(Debug, Clone)]
pub(super) struct Constraint {
    pub(super) table: TableName,
    pub(super) name: String,
    pub(super) rule: Rule,
}

/// What a constraint says.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    /// The columns of the key, in order. Nothing makes them unique.
    PrimaryKey(Vec<String>),
    /// SQL that holds for each row.
    Check(String),
}

/// Our tables.
#[derive(Debug, Clone, Copy)]
enum Ours {
    TableConstraints,
    KeyColumnUsage,
    CheckConstraints,
    ReferentialConstraints,
}

/// The table that lists all catalogs, which the standard does not have.
const CATALOGS: &str = "catalogs";

impl Ours {
    const ALL: [Self; 4] =
        [Self::TableConstraints, Self::KeyColumnUsage, Self::CheckConstraints, Self::ReferentialConstraints];

    fn name(self) -> &'static str {
        match self {
            Self::TableConstraints => "table_constraints",
            Self::KeyColumnUsage => "key_column_usage",
            Self::CheckConstraints => "check_constraints",
            Self::ReferentialConstraints => "referential_constraints",
        }
    }

    /// Columns after those of the constraint itself, as ISO 9075-11 has them.
    fn columns(self) -> &'static [&'static str] {
        const TABLE: [&str; 3] = ["table_catalog", "table_schema", "table_name"];
        match self {
            Self::TableConstraints => {
                const ALL: [&str; 7] = [
                    TABLE[0],
                    TABLE[1],
                    TABLE[2],
                    "constraint_type",
                    "is_deferrable",
                    "initially_deferred",
                    "enforced",
                ];
                &ALL
            }
            Self::KeyColumnUsage => {
                const ALL: [&str; 4] = [TABLE[0], TABLE[1], TABLE[2], "column_name"];
                &ALL
            }
            Self::CheckConstraints => &["check_clause"],
            Self::ReferentialConstraints => &[
                "unique_constraint_catalog",
                "unique_constraint_schema",
                "unique_constraint_name",
                "match_option",
                "update_rule",
                "delete_rule",
            ],
        }
    }

    /// The cells of those columns, for each line that a constraint has.
    fn lines(self, constraint: &Constraint) -> Vec<Vec<String>> {
        let TableName { schema: SchemaName { catalog, schema }, table } = &constraint.table;
        let of_table = [catalog.as_str(), schema, table];
        let line = |rest: &[&str]| of_table.iter().chain(rest).map(|cell| (*cell).to_owned()).collect();
        match (self, &constraint.rule) {
            (Self::TableConstraints, Rule::PrimaryKey(_)) => vec![line(&["PRIMARY KEY", "NO", "NO", "NO"])],
            (Self::TableConstraints, Rule::Check(_)) => vec![line(&["CHECK", "NO", "NO", "YES"])],
            (Self::KeyColumnUsage, Rule::PrimaryKey(columns)) => columns.iter().map(|column| line(&[column])).collect(),
            (Self::CheckConstraints, Rule::Check(sql)) => vec![vec![sql.clone()]],
            _ => Vec::new(),
        }
    }

    fn table(self, constraints: &[Constraint]) -> Result<Arc<dyn TableProvider>> {
        let mut cells = vec![Vec::new(); 3 + self.columns().len()];
        let mut positions = Vec::new();
        for constraint in constraints {
            for (position, line) in (1..).zip(self.lines(constraint)) {
                let SchemaName { catalog, schema } = &constraint.table.schema;
                let own = [catalog, schema, &constraint.name].map(String::clone);
                cells.iter_mut().zip(own.into_iter().chain(line)).for_each(|(column, cell)| column.push(cell));
                positions.push(position);
            }
        }
        let names = ["constraint_catalog", "constraint_schema", "constraint_name"].iter().chain(self.columns());
        let mut fields: Vec<_> = names.map(|name| Field::new(*name, DataType::Utf8, false)).collect();
        let mut columns: Vec<ArrayRef> =
            cells.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
        if matches!(self, Self::KeyColumnUsage) {
            fields.push(Field::new("ordinal_position", DataType::Int32, false));
            columns.push(Arc::new(Int32Array::from(positions)));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

/// The schema `information_schema`.
#[derive(Debug)]
pub(super) struct InformationSchema {
    standard: InformationSchemaProvider,
    catalog: String,
    view: Arc<CatalogView>,
}

impl InformationSchema {
    /// Of `catalog`, whose names in `view` are in `names`.
    pub(super) fn new(catalog: String, names: Arc<dyn CatalogProviderList>, view: &Arc<CatalogView>) -> Self {
        let functions = view.table_functions();
        let standard = InformationSchemaProvider::new(names).with_table_functions(functions);
        Self { standard, catalog, view: Arc::clone(view) }
    }

    /// DataFusion's list of all tables, with ours.
    async fn all_tables(&self) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(standard) = self.standard.table(TABLES).await? else { return Ok(None) };
        let names: Vec<_> = our_names().collect();
        let same = |cell: &str| Arc::new(StringArray::from(vec![cell; names.len()])) as ArrayRef;
        let columns = vec![
            same(&self.catalog),
            same(INFORMATION_SCHEMA),
            Arc::new(StringArray::from(names.clone())) as ArrayRef,
            same("VIEW"),
        ];
        let batch = RecordBatch::try_new(standard.schema(), columns)?;
        let ours = Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?);
        let name = || TableReference::partial(INFORMATION_SCHEMA, TABLES);
        let scan = |table| LogicalPlanBuilder::scan(name(), provider_as_source(table), None);
        let plan = scan(standard)?.union(scan(ours)?.build()?)?.build()?;
        Ok(Some(Arc::new(ViewTable::new(plan, None))))
    }
}

fn ours(name: &str) -> Option<Ours> {
    Ours::ALL.into_iter().find(|table| table.name() == name)
}

fn our_names() -> impl Iterator<Item = &'static str> {
    Ours::ALL.into_iter().map(Ours::name).chain([CATALOGS])
}

fn catalogs(names: &[String]) -> Result<Arc<dyn TableProvider>> {
    let schema = Arc::new(Schema::new(vec![Field::new("catalog_name", DataType::Utf8, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(names.to_vec()))])?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        let standard = INFORMATION_SCHEMA_TABLES.iter().copied();
        standard.chain(our_names()).map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match ours(name) {
            Some(table) => Ok(Some(table.table(&self.view.constraints(&self.catalog).await?)?)),
            None if name == CATALOGS => Ok(Some(catalogs(self.view.catalogs())?)),
            None if name == TABLES => self.all_tables().await,
            None => self.standard.table(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        match our_names().find(|ours| *ours == name) {
            Some(_) => Ok(Some(TableType::View)),
            None => self.standard.table_type(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        our_names().any(|ours| ours == name) || self.standard.table_exist(name)
    }
}
