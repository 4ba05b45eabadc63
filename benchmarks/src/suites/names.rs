//! Gives the data names: a schema a data place, an external table a table, for the coordinator and for a peer.

use std::hash::{DefaultHasher, Hash, Hasher};

use futures::TryStreamExt;

use super::options::{Mode, Place};
use super::suite::Suite;
use crate::Error;

/// Names the tables to the coordinator, and sets the session up to find them and to run as asked.
pub(crate) async fn prepare(
    suite: Suite,
    client: &client::Client,
    place: &Place,
    scale: f64,
    mode: Mode,
) -> Result<(), Error> {
    let schema = schema_name(suite, place, scale);
    execute(client, format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
    for statement in create_tables(suite, &format!("{schema}."), place) {
        execute(client, statement).await?;
    }
    execute(client, format!("SET datafusion.catalog.default_schema = '{schema}'")).await?;
    execute(client, format!("SET grappe.execution_mode = '{}'", mode.name())).await
}

/// The statements that name the tables; `before` is what comes before a table's name.
pub(crate) fn create_tables(suite: Suite, before: &str, place: &Place) -> Vec<String> {
    let root = match place {
        Place::Directory { path, .. } => path.display().to_string(),
        Place::Url(url) => url.clone(),
    };
    let root = root.replace('\'', "''");
    let create = |name: &&str| {
        format!("CREATE EXTERNAL TABLE IF NOT EXISTS {before}{name} STORED AS PARQUET LOCATION '{root}/{name}/'")
    };
    suite.tables().iter().map(create).collect()
}

/// `tpch_sf1` for the default place of a scale. Another place of the same scale gets another schema, as the catalog
/// outlives the run and its tables must not be taken for these.
fn schema_name(suite: Suite, place: &Place, scale: f64) -> String {
    let name = format!("{}_sf{scale}", suite.name()).replace('.', "_");
    let place = match place {
        Place::Directory { is_default: true, .. } => return name,
        Place::Directory { path, .. } => path.display().to_string(),
        Place::Url(url) => url.clone(),
    };
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    format!("{name}_{:08x}", hasher.finish() >> 32)
}

async fn execute(client: &client::Client, statement: String) -> Result<(), Error> {
    let run = async {
        let mut query = client.execute(&statement).await?;
        query.stream().await?.try_for_each(|_| std::future::ready(Ok(()))).await
    };
    run.await.map_err(|source| Error::Server { statement, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &str, is_default: bool) -> Place {
        Place::Directory { path: path.into(), is_default }
    }

    #[test]
    fn each_place_of_a_scale_has_its_own_schema() {
        assert_eq!(schema_name(Suite::Tpch, &directory("/a", true), 0.1), "tpch_sf0_1");
        let (a, b) = (
            schema_name(Suite::Tpch, &directory("/a", false), 1.0),
            schema_name(Suite::Tpch, &directory("/b", false), 1.0),
        );
        assert!(a.starts_with("tpch_sf1_") && a.len() == "tpch_sf1_".len() + 8 && a != b, "{a} {b}");
    }

    #[test]
    fn locations_are_directories_and_quotes_are_doubled() {
        let statements = create_tables(Suite::Tpch, "s.", &directory("/it's", false));
        assert_eq!(statements.len(), 8);
        assert_eq!(
            statements[0],
            "CREATE EXTERNAL TABLE IF NOT EXISTS s.lineitem STORED AS PARQUET LOCATION '/it''s/lineitem/'"
        );
    }
}
