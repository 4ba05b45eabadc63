//! `pg_catalog` and its functions over our catalog, for sessions of this door only.

mod functions;
mod names;
mod spelling;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::catalog::TableFunction;
use datafusion_pg_catalog::pg_catalog::PgCatalogStaticTables;
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use engine::{Engine, ExtraSchema, Session, SessionExtras, Spelling};

use crate::postgres::browsing::functions::{Facts, functions};
use crate::postgres::browsing::names::PgCatalog;
use crate::postgres::browsing::spelling::PostgresSpelling;
use crate::postgres::settings::Settings;

/// Name of the schema.
const PG_CATALOG: &str = "pg_catalog";

/// A session that sees `pg_catalog`.
pub(super) fn open_session(engine: &Arc<Engine>, user: Arc<str>, settings: &Arc<Settings>) -> Arc<Session> {
    Arc::new_cyclic(|session| {
        let facts = Arc::new(Facts { session: session.clone(), settings: Arc::clone(settings) });
        let mut extras = SessionExtras {
            functions: functions(&facts),
            types: Some(Arc::new(PgOidTypePlanner)),
            spelling: Some(spelling()),
            ..SessionExtras::default()
        };
        // Without its fixed tables the door is still good for queries.
        if let Some(tables) = static_tables() {
            let keywords = Arc::clone(&tables.pg_get_keywords);
            extras.table_functions = vec![Arc::new(TableFunction::new("pg_get_keywords".to_owned(), keywords))];
            if let Some(schema) = PgCatalog::new(tables) {
                extras.schemas = BTreeMap::from([(PG_CATALOG.to_owned(), Arc::new(schema) as Arc<dyn ExtraSchema>)]);
            }
        }
        engine.open_session_with(user, extras)
    })
}

/// Types, functions and operators as PostgreSQL has them, read once a process.
fn static_tables() -> Option<Arc<PgCatalogStaticTables>> {
    static TABLES: OnceLock<Option<Arc<PgCatalogStaticTables>>> = OnceLock::new();
    let read = || match PgCatalogStaticTables::try_new() {
        Ok(tables) => Some(Arc::new(tables)),
        Err(error) => {
            tracing::error!(%error, "the fixed tables of pg_catalog cannot be read");
            None
        }
    };
    TABLES.get_or_init(read).clone()
}

fn spelling() -> Arc<dyn Spelling> {
    static SPELLING: OnceLock<Arc<PostgresSpelling>> = OnceLock::new();
    Arc::clone(SPELLING.get_or_init(|| Arc::new(PostgresSpelling::new()))) as Arc<dyn Spelling>
}
