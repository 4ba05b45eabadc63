//! From a planned statement to a running one: the choice of a mode, what `EXPLAIN` adds, and doing it again.

use std::sync::Arc;

use datafusion::logical_expr::{Explain, LogicalPlan};

use crate::catalog::gather_statistics;
use crate::engine::Engine;
use crate::execution::{Choice, Explained, Mode, PlainResult, Running, StartRequest};
use crate::sql::{Effect, Statement};
use crate::{Error, Result};

impl Engine {
    /// Chooses where a statement runs.
    ///
    /// # Errors
    /// `Unavailable` if the session asks for a mode that is not there.
    pub(crate) async fn choose(&self, statement: &Statement) -> Result<Choice> {
        let plan = match &statement.plan {
            LogicalPlan::Explain(explain) => explain.plan.as_ref(),
            plan => plan,
        };
        // What changes the session or the catalog is the coordinator's, whatever mode is asked for: or nobody could ask
        // for another one.
        if statement.effect() == Effect::Definition {
            return Ok(self.modes().local("it changes the session or the catalog"));
        }
        gather_statistics(&statement.state, plan).await?;
        self.modes().choose(&statement.state, plan).await
    }

    /// Plans a statement physically, where it was chosen to run.
    ///
    /// # Errors
    /// Those of planning, and of the mode.
    pub(crate) async fn run(&self, query_id: &str, statement: Statement, choice: Choice) -> Result<Arc<dyn Running>> {
        let Statement { text, plan, state, watch, .. } = statement;
        let mode = choice.execution.mode();
        let request = StartRequest { query_id: query_id.to_owned(), text, state, plan };
        let running = match &request.plan {
            LogicalPlan::Explain(Explain { plan, .. }) => {
                let inner = StartRequest { plan: plan.as_ref().clone(), ..request.clone() };
                self.explain(request, inner, choice).await?
            }
            _ => choice.execution.start(request).await?,
        };
        if let Some(watch) = watch.and_then(|watch| watch.upgrade()) {
            watch.runs(mode, &running);
        }
        Ok(Arc::new(PlainResult(running)))
    }

    async fn explain(&self, request: StartRequest, inner: StartRequest, choice: Choice) -> Result<Arc<dyn Running>> {
        let mode = choice.execution.mode();
        let mut lines = vec![("execution_mode".to_owned(), format!("{mode}: {}", choice.reason))];
        lines.extend(choice.execution.explain(inner).await?);
        // What DataFusion itself explains needs no executor.
        let local = self.modes().local("it explains");
        Ok(Arc::new(Explained { plans: local.execution.start(request).await?, lines }))
    }
}

/// A query that can be run again as it was: its names, settings and parameters stay what they meant, and the tables that
/// keep versions stay as they were.
#[derive(Debug, Clone)]
pub struct Repeat {
    pub(crate) engine: Arc<Engine>,
    pub(crate) statement: Statement,
}

impl Repeat {
    /// What is run again.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Runs it again.
    ///
    /// # Errors
    /// Those of planning, and of the mode.
    pub async fn start(&self, query_id: &str) -> Result<(Mode, Arc<dyn Running>)> {
        if self.statement.effect() != Effect::None {
            return Err(Error::internal("a statement with an effect is not run again"));
        }
        let choice = self.engine.choose(&self.statement).await?;
        let mode = choice.execution.mode();
        Ok((mode, self.engine.run(query_id, self.statement.clone(), choice).await?))
    }
}
