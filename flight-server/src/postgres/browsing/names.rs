//! Our names for `pg_catalog`: those that the statement sees which is planned now. Object numbers last as long as the
//! connection.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables};
use engine::ExtraSchema;
use parking_lot::Mutex;

use crate::postgres::browsing::PG_CATALOG;

/// The schema `pg_catalog` of one connection.
#[derive(Debug)]
pub(super) struct PgCatalog {
    names: Names,
    tables: Arc<PgCatalogSchemaProvider<Names, EmptyContextProvider>>,
}

impl PgCatalog {
    pub(super) fn new(static_tables: Arc<PgCatalogStaticTables>) -> Option<Self> {
        let names = Names::default();
        let tables = PgCatalogSchemaProvider::try_new(names.clone(), static_tables, EmptyContextProvider).ok()?;
        Some(Self { names, tables: Arc::new(tables) })
    }
}

impl ExtraSchema for PgCatalog {
    fn tables(&self, catalog: &str, catalogs: Arc<dyn CatalogProviderList>) -> Arc<dyn SchemaProvider> {
        *self.names.0.lock() = Some(Seen { catalog: catalog.to_owned(), catalogs });
        Arc::clone(&self.tables) as Arc<dyn SchemaProvider>
    }
}

/// What the last planned statement sees: all names, and the catalog whose names are told.
#[derive(Debug, Clone)]
struct Seen {
    catalog: String,
    catalogs: Arc<dyn CatalogProviderList>,
}

#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<Option<Seen>>>);

impl Names {
    fn catalog(&self) -> Option<Arc<dyn CatalogProvider>> {
        let seen = self.0.lock().clone()?;
        seen.catalogs.catalog(&seen.catalog)
    }

    fn schemas(&self) -> Vec<String> {
        self.catalog().map_or_else(Vec::new, |catalog| catalog.schema_names())
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.catalog()?.schema(name)
    }
}

#[async_trait]
impl CatalogInfo for Names {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(self.0.lock().as_ref().map_or_else(Vec::new, |seen| CatalogProviderList::catalog_names(&*seen.catalogs)))
    }

    /// A connection sees the tables of its own database.
    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        if self.0.lock().as_ref().is_none_or(|seen| seen.catalog != catalog) {
            return Ok(None);
        }
        let mut names = self.schemas();
        names.extend(["information_schema", PG_CATALOG].map(str::to_owned));
        Ok(Some(names))
    }

    async fn table_names(&self, _: &str, schema: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        Ok(self.schema(schema).map(|schema| schema.table_names()))
    }

    async fn table_schema(&self, _: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>, DataFusionError> {
        let Some(provider) = self.schema(schema) else { return Ok(None) };
        match provider.table(table).await {
            Ok(found) => Ok(found.map(|table| table.schema())),
            // One broken table must not hide all others.
            Err(error) => {
                tracing::warn!(schema, table, %error, "a table cannot be opened");
                Ok(None)
            }
        }
    }

    async fn table_type(&self, _: &str, schema: &str, table: &str) -> Result<Option<TableType>, DataFusionError> {
        let Some(provider) = self.schema(schema) else { return Ok(None) };
        provider.table_type(table).await
    }
}
