//! Which way a statement runs, and why.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use crate::config::{ModeSetting, grappe_options};
use crate::execution::{Availability, Execution, LocalExecution, physical};
use crate::limits::{LayeredLimits, Limit};
use crate::{Error, ErrorKind, Result};

/// A way to run a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In the coordinator.
    Local,
    /// Pipelined stages on the executors.
    Streamed,
    /// Stages with durable shuffles on the executors.
    Staged,
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Streamed => "streamed",
            Self::Staged => "staged",
        })
    }
}

/// The mode of one statement.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The way chosen.
    pub execution: Arc<dyn Execution>,
    /// Why, in a few words.
    pub reason: String,
}

/// The ways that this process knows; local is always there.
#[derive(Debug, Clone)]
pub struct Modes {
    local: Arc<dyn Execution>,
    streamed: Option<Arc<dyn Execution>>,
    staged: Option<Arc<dyn Execution>>,
}

impl Default for Modes {
    fn default() -> Self {
        Self { local: Arc::new(LocalExecution::default()), streamed: None, staged: None }
    }
}

impl Modes {
    /// Adds a way to run statements, or replaces it.
    #[must_use]
    pub fn with(mut self, execution: Arc<dyn Execution>) -> Self {
        match execution.mode() {
            Mode::Local => self.local = execution,
            Mode::Streamed => self.streamed = Some(execution),
            Mode::Staged => self.staged = Some(execution),
        }
        self
    }

    /// Chooses by the session's `grappe.execution_mode`.
    ///
    /// # Errors
    /// `Unavailable` for a mode that cannot run anything now, saying what to run; `Invalid` for a plan that the mode
    /// asked for cannot run.
    pub async fn choose(&self, state: &Arc<SessionState>, plan: &LogicalPlan) -> Result<Choice> {
        match grappe_options(state.config()).execution_mode {
            ModeSetting::Auto => self.automatic(state, plan).await,
            ModeSetting::Local => Ok(self.local("asked for by grappe.execution_mode")),
            // What writes has to survive the loss of an executor as it is.
            ModeSetting::Streamed if !writes(plan) => {
                self.on_executors(self.streamed.as_ref(), Mode::Streamed, state, plan).await
            }
            ModeSetting::Streamed => self.on_executors(self.staged.as_ref(), Mode::Staged, state, plan).await,
            ModeSetting::Staged => self.on_executors(self.staged.as_ref(), Mode::Staged, state, plan).await,
        }
    }

    /// Small scans and whatever only the coordinator can see stay here; the rest goes to the executors.
    async fn automatic(&self, state: &Arc<SessionState>, plan: &LogicalPlan) -> Result<Choice> {
        let Some(staged) = &self.staged else {
            return Ok(self.local("this coordinator takes no executors"));
        };
        if let Availability::Unavailable(_) = staged.availability() {
            return Ok(self.local("no executor is connected"));
        }
        if let Some(reason) = staged.refusal(plan) {
            return Ok(self.local(&reason));
        }
        let limit = grappe_options(state.config()).local_scan_bytes_max;
        let physical = physical(state, plan).await?;
        check_scan(physical.as_ref(), &grappe_options(state.config()).limits)?;
        let bytes = scan_bytes(physical.as_ref());
        if bytes <= limit {
            let reason = format!("it scans {bytes} bytes, at most grappe.local_scan_bytes_max = {limit}");
            return Ok(self.local(&reason));
        }
        let reason = format!("it scans {bytes} bytes, more than grappe.local_scan_bytes_max = {limit}");
        Ok(Choice { execution: Arc::clone(staged), reason })
    }

    async fn on_executors(
        &self,
        execution: Option<&Arc<dyn Execution>>,
        mode: Mode,
        state: &Arc<SessionState>,
        plan: &LogicalPlan,
    ) -> Result<Choice> {
        let choice = by_name(execution, mode, plan)?;
        let limits = grappe_options(state.config()).limits;
        if limits.limit(Limit::ScanBytes).is_some() {
            check_scan(physical(state, plan).await?.as_ref(), &limits)?;
        }
        Ok(choice)
    }

    /// Local, because of `reason`.
    pub(crate) fn local(&self, reason: &str) -> Choice {
        Choice { execution: Arc::clone(&self.local), reason: reason.to_owned() }
    }
}

fn writes(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Dml(_) | LogicalPlan::Copy(_))
}

fn by_name(execution: Option<&Arc<dyn Execution>>, mode: Mode, plan: &LogicalPlan) -> Result<Choice> {
    let execution = execution.ok_or_else(|| missing(mode))?;
    if let Availability::Unavailable(reason) = execution.availability() {
        return Err(Error::unavailable(format!("{mode} mode is not available: {reason}")));
    }
    if let Some(reason) = execution.refusal(plan) {
        return Err(cannot_run(mode, &reason));
    }
    let reason = "asked for by grappe.execution_mode".to_owned();
    Ok(Choice { execution: Arc::clone(execution), reason })
}

/// The error for a statement that was to run in `mode`, and the way out.
pub fn cannot_run(mode: Mode, reason: &str) -> Error {
    let way_out = "SET grappe.execution_mode = 'auto' or 'local'";
    Error::invalid(format!("this statement cannot run in {mode} mode: {reason}; {way_out}"))
}

fn missing(mode: Mode) -> Error {
    Error::unavailable(format!(
        "{mode} mode is not available here: start a cluster with 'grappe cluster run', connect to it with --connect, \
         or SET grappe.execution_mode = 'auto'"
    ))
}

/// # Errors
/// `Exhausted` for a plan that scans more than it may.
pub(crate) fn check_scan(plan: &dyn ExecutionPlan, limits: &LayeredLimits) -> Result<()> {
    let Some(most) = limits.limit(Limit::ScanBytes) else { return Ok(()) };
    let bytes = scan_bytes(plan);
    if bytes <= most {
        return Ok(());
    }
    let name = Limit::ScanBytes;
    let message =
        format!("the query would scan {bytes} bytes, more than {name} = {most}: ask for fewer files or parts");
    Err(Error::new(ErrorKind::Exhausted, message))
}

/// Bytes of the files and file ranges that a plan scans, after pruning by directory.
pub(crate) fn scan_bytes(plan: &dyn ExecutionPlan) -> u64 {
    let own = plan
        .downcast_ref::<DataSourceExec>()
        .and_then(|source| source.data_source().downcast_ref::<FileScanConfig>())
        .map_or(0, |scan| {
            let files = scan.file_groups.iter().flat_map(|group| group.iter());
            files.map(|file| file.range.as_ref().map_or(file.object_meta.size, |r| (r.end - r.start) as u64)).sum()
        });
    plan.children().iter().map(|child| scan_bytes(child.as_ref())).sum::<u64>() + own
}
