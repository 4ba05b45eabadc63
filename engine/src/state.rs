//! The one function that finishes a `SessionState`: coordinator, scheduler and executors all get theirs from here, so
//! that functions, rules and formats are the same wherever a plan goes.

use std::sync::{Arc, LazyLock};

use datafusion::catalog::{CatalogProviderList, EmptyCatalogProviderList};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::Analyzer;
use datafusion::prelude::SessionConfig;

use crate::extras::SessionExtras;
use crate::functions::bounded;
use crate::functions::check::check_function;
use crate::functions::table_functions;
use crate::joins::optimizer_rules;
use crate::planning::timed_analyzer_rules;

/// What differs from one session state to the next.
#[derive(Debug, Clone)]
pub struct StateSeed {
    /// Settings of the session.
    pub config: SessionConfig,
    /// Memory, disk and object stores of the process.
    pub runtime: Arc<RuntimeEnv>,
}

/// Finishes a session state that sees `catalogs`.
pub fn session_state(seed: &StateSeed, catalogs: Arc<dyn CatalogProviderList>) -> SessionState {
    session_state_with(seed, catalogs, &SessionExtras::default())
}

/// The same, with what one session has beside that.
pub(crate) fn session_state_with(
    seed: &StateSeed,
    catalogs: Arc<dyn CatalogProviderList>,
    extras: &SessionExtras,
) -> SessionState {
    let mut builder = SessionStateBuilder::new_from_existing(FEATURES.clone())
        .with_config(seed.config.clone())
        .with_runtime_env(Arc::clone(&seed.runtime))
        .with_catalog_list(catalogs);
    builder.scalar_functions().get_or_insert_default().extend(extras.functions.iter().cloned());
    let named = extras.table_functions.iter().map(|function| (function.name().to_owned(), Arc::clone(function)));
    builder.table_functions().get_or_insert_default().extend(named);
    if let Some(types) = &extras.types {
        builder = builder.with_type_planner(Arc::clone(types));
    }
    builder.build()
}

/// Functions, formats and rules, gathered once a process: several hundred entries.
static FEATURES: LazyLock<SessionState> = LazyLock::new(|| {
    let config = SessionConfig::new().with_create_default_catalog_and_schema(false);
    let mut builder = SessionStateBuilder::new_with_default_features();
    let ours = table_functions().into_iter().map(|function| (function.name().to_owned(), function));
    builder.table_functions().get_or_insert_default().extend(ours);
    let functions = builder.scalar_functions().get_or_insert_default();
    for function in functions.iter_mut() {
        if let Some(bounded) = bounded(function) {
            *function = bounded;
        }
    }
    functions.push(check_function());
    let builder = builder
        .with_config(config)
        .with_analyzer_rules(timed_analyzer_rules(Analyzer::new().rules))
        .with_optimizer_rules(optimizer_rules());
    builder.with_catalog_list(Arc::new(EmptyCatalogProviderList)).build()
});
