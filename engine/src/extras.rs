//! What one session sees beside what the engine gives to all: another protocol's catalog schema, functions and spelling.
//! Nothing of it leaves the coordinator.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, SchemaProvider, TableFunction};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};

/// A schema that only some sessions have.
pub trait ExtraSchema: Debug + Send + Sync {
    /// Its tables in `catalog`, for a statement that sees `catalogs`, names included.
    fn tables(&self, catalog: &str, catalogs: Arc<dyn CatalogProviderList>) -> Arc<dyn SchemaProvider>;
}

/// Another way to write SQL.
pub trait Spelling: Debug + Send + Sync {
    /// The statement to plan in place of `sql`, if not itself.
    fn rewrite(&self, sql: &str) -> Option<String>;
}

/// The extras of a session; none by default.
#[derive(Debug, Clone, Default)]
pub struct SessionExtras {
    /// Schemas by name.
    pub schemas: BTreeMap<String, Arc<dyn ExtraSchema>>,
    /// Functions; they go before those of the same name.
    pub functions: Vec<Arc<ScalarUDF>>,
    /// Functions in FROM, likewise.
    pub table_functions: Vec<Arc<TableFunction>>,
    /// Knows further names of types.
    pub types: Option<Arc<dyn TypePlanner>>,
    /// Reads statements before the parser does.
    pub spelling: Option<Arc<dyn Spelling>>,
}

impl SessionExtras {
    /// Whether there is nothing that a state must know.
    pub(crate) fn leave_the_state(&self) -> bool {
        self.functions.is_empty() && self.table_functions.is_empty() && self.types.is_none()
    }

    /// Whether `plan` needs one of them: executors do not have them.
    pub(crate) fn are_used_in(&self, plan: &LogicalPlan) -> bool {
        let mut used = false;
        let walked = plan.apply_with_subqueries(|node| {
            used |= matches!(node, LogicalPlan::TableScan(scan) if self.has_schema(scan.table_name.schema()));
            node.apply_expressions(|expression| {
                used |= expression.exists(|inner| Ok(self.has_function(inner)))?;
                Ok(if used { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        });
        // A plan that cannot be walked is better kept here.
        used || walked.is_err()
    }

    fn has_schema(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.schemas.contains_key(name))
    }

    fn has_function(&self, expression: &Expr) -> bool {
        let Expr::ScalarFunction(call) = expression else { return false };
        self.functions.iter().any(|function| function.name() == call.func.name())
    }
}
