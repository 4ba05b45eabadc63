//! What outlives the process: names in the catalog, managed tables in the warehouse.

use std::path::Path;
use std::sync::Arc;

use engine::catalog::{Catalog, MemoryCatalog, StoredCatalog};
use engine::storage::directory_url;
use engine::{Error, Result};

use crate::options::CoordinatorOptions;

const CATALOG_FILE: &str = "catalog.sqlite";
const WAREHOUSE_DIRECTORY: &str = "warehouse";

/// What a coordinator keeps.
pub(crate) struct Lasting {
    pub(crate) catalog: Arc<dyn Catalog>,
    /// The same, if it outlives the process.
    pub(crate) stored: Option<Arc<StoredCatalog>>,
    /// URL with a slash at the end; none if nothing lasts.
    pub(crate) warehouse: Option<String>,
}

impl Lasting {
    /// Opens the catalog, and says where the warehouse is.
    ///
    /// # Errors
    /// Those of the catalog; `Invalid` for a warehouse that cannot be one, or for names that would outlive their tables.
    pub(crate) async fn open(options: &CoordinatorOptions) -> Result<Self> {
        let warehouse = warehouse(options)?;
        let stored = match catalog_place(options)? {
            Some(_) if warehouse.is_none() => return Err(homeless()),
            Some(place) => Some(Arc::new(StoredCatalog::open(&place).await?)),
            None => None,
        };
        let catalog: Arc<dyn Catalog> = match &stored {
            Some(stored) => Arc::clone(stored) as _,
            None => Arc::new(MemoryCatalog::new()),
        };
        Ok(Self { catalog, stored, warehouse })
    }
}

fn catalog_place(options: &CoordinatorOptions) -> Result<Option<String>> {
    match (&options.catalog_url, &options.data_dir) {
        (Some(url), _) => Ok(Some(url.reveal().to_owned())),
        (None, Some(data_dir)) => text(&data_dir.join(CATALOG_FILE)).map(Some),
        (None, None) => Ok(None),
    }
}

fn warehouse(options: &CoordinatorOptions) -> Result<Option<String>> {
    match (&options.warehouse, &options.data_dir) {
        (Some(place), _) => directory_url(place)
            .map(Some)
            .map_err(|error| error.context("the warehouse cannot lie there (--warehouse)")),
        (None, Some(data_dir)) => directory_url(&text(&data_dir.join(WAREHOUSE_DIRECTORY))?).map(Some),
        (None, None) => Ok(None),
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Error::invalid(format!("{} is no text in UTF-8: choose another directory with --data-dir", path.display()))
    })
}

fn homeless() -> Error {
    Error::invalid(
        "the catalog would outlive its tables: say where managed tables lie with --warehouse, or give a --data-dir",
    )
}

#[cfg(test)]
mod tests {
    use engine::catalog::SchemaSummary;
    use engine::storage::Secret;
    use engine::{CATALOG, ErrorKind, SchemaName};

    use super::*;

    #[tokio::test]
    async fn nothing_lasts_without_a_data_directory() {
        let lasting = Lasting::open(&CoordinatorOptions::default()).await.unwrap();
        assert_eq!(lasting.warehouse, None);
    }

    #[tokio::test]
    async fn a_data_directory_holds_names_and_tables_unless_they_are_sent_elsewhere() {
        let data = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        let options = CoordinatorOptions { data_dir: Some(data.clone()), ..CoordinatorOptions::default() };
        let first = Lasting::open(&options).await.unwrap();
        let schema = SchemaName::new(CATALOG, "kept");
        first.catalog.create_schema(&schema).await.unwrap();
        assert_eq!(first.warehouse.unwrap(), directory_url(data.join("warehouse").to_str().unwrap()).unwrap());
        let other_warehouse = CoordinatorOptions { warehouse: Some("s3://bucket/tables".into()), ..options.clone() };
        let second = Lasting::open(&other_warehouse).await.unwrap();
        assert_eq!(second.warehouse.unwrap(), "s3://bucket/tables/");
        let kept = SchemaSummary { name: schema, comment: None };
        assert!(second.catalog.schemas().await.unwrap().contains(&kept));
        let elsewhere = data.join("elsewhere.sqlite").to_string_lossy().into_owned();
        let other_catalog = CoordinatorOptions { catalog_url: Some(Secret::new(elsewhere)), ..options };
        assert!(!Lasting::open(&other_catalog).await.unwrap().catalog.schemas().await.unwrap().contains(&kept));
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn names_that_last_need_tables_that_last() {
        let place = std::env::temp_dir().join("catalog.sqlite").to_string_lossy().into_owned();
        let options = CoordinatorOptions { catalog_url: Some(Secret::new(place)), ..CoordinatorOptions::default() };
        let refused = Lasting::open(&options).await.map(|_| ()).unwrap_err();
        assert!(refused.kind == ErrorKind::Invalid && refused.message.contains("--warehouse"), "{}", refused.message);
    }
}
