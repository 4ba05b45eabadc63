//! Our names for `pg_catalog`: those that the statement sees which is planned now. Object numbers last as long as the
//! connection.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProviderList, SchemaProvider};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables};
use engine::{CATALOG, ExtraSchema};
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
    fn tables(&self, catalogs: Arc<dyn CatalogProviderList>) -> Arc<dyn SchemaProvider> {
        *self.names.0.lock() = Some(catalogs);
        Arc::clone(&self.tables) as Arc<dyn SchemaProvider>
    }
}

/// What the last planned statement sees.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<Option<Arc<dyn CatalogProviderList>>>>);

impl Names {
    fn schemas(&self) -> Vec<String> {
        let catalogs = self.0.lock().clone();
        let catalog = catalogs.and_then(|catalogs| catalogs.catalog(CATALOG));
        catalog.map_or_else(Vec::new, |catalog| catalog.schema_names())
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let catalogs = self.0.lock().clone();
        catalogs?.catalog(CATALOG)?.schema(name)
    }
}

#[async_trait]
impl CatalogInfo for Names {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, _: &str) -> Result<Option<Vec<String>>, DataFusionError> {
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
