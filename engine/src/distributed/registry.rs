//! The functions that an executor knows: those of the session that the one builder function makes.

use std::sync::Arc;

use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::execution::SessionState;

/// Every function that `state` has, under the names by which plans refer to them.
pub fn function_registry(state: &SessionState) -> Arc<BallistaFunctionRegistry> {
    Arc::new(BallistaFunctionRegistry::from(state))
}
