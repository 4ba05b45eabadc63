//! The plans of simulated jobs: sums over a table function, grouped again and again by something else.

use std::sync::Arc;

use datafusion::catalog::EmptyCatalogProviderList;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use engine::distributed::profile::staged_state;
use engine::distributed::transport::Transport;
use engine::{EngineOptions, Result, StateSeed, session_config, session_state};

/// Rows that the table function puts into a part at least.
const PART_ROWS: usize = 1 << 16;

/// What every simulated job runs, and under which settings.
pub(super) struct Plan {
    pub(super) state: SessionState,
    pub(super) logical: LogicalPlan,
}

impl Plan {
    /// A plan of `stages` stages of `partitions` tasks, and one of one task.
    pub(super) async fn new(stages: usize, partitions: usize) -> Result<Self> {
        let runtime = engine::runtime(&EngineOptions::default())?;
        let seed = StateSeed { config: session_config(partitions), runtime };
        let state = session_state(&seed, Arc::new(EmptyCatalogProviderList));
        let logical = state.create_logical_plan(&sql(stages, partitions)).await?;
        Ok(Self { state: staged_state(&state, partitions, &Transport::default()), logical })
    }
}

fn sql(stages: usize, partitions: usize) -> String {
    let mut rows = format!("SELECT value AS k, 1 AS n FROM range(0, {})", partitions * PART_ROWS);
    for stage in 1..stages {
        let groups = 1_000_003 - 2 * stage;
        rows = format!("SELECT k % {groups} AS k, sum(n) AS n FROM ({rows}) GROUP BY k % {groups}");
    }
    format!("SELECT sum(k) AS k, sum(n) AS n FROM ({rows})")
}
