//! One user's conversation: settings, prepared plans, and the way of a statement from text to rows.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, new_null_array};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::common::{Constraint, TableReference};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Explain, LogicalPlan, Statement as SessionStatement, TableType};
use datafusion::prelude::SessionConfig;
use parking_lot::RwLock;

use crate::catalog::{CatalogView, ViewSeed};
use crate::config::CATALOG;
use crate::engine::Engine;
use crate::execution::{Choice, Explained, PlainResult, Running, StartRequest, result_schema, run_to_end};
use crate::nearest::suggestion;
use crate::sql::{
    Effect, PreparedPlans, Statement, number_placeholders, parse_statement, refuse_what_would_be_wrong, reset_setting,
    run_ddl, set_setting,
};
use crate::state::StateSeed;
use crate::{Error, ErrorKind, Result};

/// Settings and prepared plans of one user; cheap to make.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
    config: RwLock<SessionConfig>,
    prepared: PreparedPlans,
}

/// What became of a statement that was started.
#[derive(Debug)]
pub enum Started {
    /// It has rows to read.
    Rows(Arc<dyn Running>),
    /// It is done.
    Done {
        /// Rows that it wrote or removed, if it counts them.
        rows_affected: Option<u64>,
    },
}

/// A line of a listing of tables.
#[derive(Debug, Clone)]
pub struct TableFacts {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `TABLE` or `VIEW`.
    pub kind: &'static str,
    /// Its columns; none unless asked for.
    pub columns: Schema,
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let config = engine.session_config();
        Self { engine, config: RwLock::new(config), prepared: PreparedPlans::default() }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Parses `sql`, resolves its names and types.
    ///
    /// # Errors
    /// `Invalid` or `NotFound`, with the place in the text where it is known.
    pub async fn plan(&self, sql: &str) -> Result<Statement> {
        let seed = self.seed();
        let parser_state = CatalogView::new(seed.clone()).state(None);
        let mut syntax = parse_statement(&parser_state, sql)?;
        number_placeholders(&mut syntax)?;
        refuse_what_would_be_wrong(&syntax)?;
        let references = parser_state.resolve_table_references(&syntax)?;
        let lists_names = references.iter().any(|name| name.schema() == Some("information_schema"));
        let state = if lists_names { CatalogView::with_names(seed).await?.state(None) } else { parser_state };
        match state.statement_to_plan(syntax).await {
            Ok(LogicalPlan::Statement(SessionStatement::Execute(execute))) => {
                let plan = self.prepared.execute(&state, &execute)?;
                Ok(Statement { text: sql.to_owned(), plan, state })
            }
            Ok(plan) => Ok(Statement { text: sql.to_owned(), plan, state }),
            Err(error) => Err(self.with_near_tables(error.into()).await),
        }
    }

    /// Chooses where a statement runs.
    ///
    /// # Errors
    /// `Unavailable` if the session asks for a mode that is not there.
    pub async fn choose(&self, statement: &Statement) -> Result<Choice> {
        let plan = match &statement.plan {
            LogicalPlan::Explain(explain) => explain.plan.as_ref(),
            plan => plan,
        };
        // What changes the session or the catalog is the coordinator's, whatever mode is asked for: or nobody could ask
        // for another one.
        if statement.effect() == Effect::Definition {
            return Ok(self.engine.modes().local("it changes the session or the catalog"));
        }
        self.engine.modes().choose(&statement.state, plan).await
    }

    /// Runs a statement: to its end if it has an effect, until there are rows to read if not.
    ///
    /// # Errors
    /// Those of planning, of the mode, and for a statement with an effect those of running it.
    pub async fn start(&self, query_id: &str, statement: Statement, choice: Choice) -> Result<Started> {
        let effect = statement.effect();
        match statement.plan {
            LogicalPlan::Ddl(ddl) => {
                run_ddl(self.engine.catalog().as_ref(), &statement.state, ddl, &statement.text).await?;
                Ok(Started::Done { rows_affected: None })
            }
            LogicalPlan::Statement(change) => {
                self.change(change)?;
                Ok(Started::Done { rows_affected: None })
            }
            plan => {
                let request =
                    StartRequest { query_id: query_id.to_owned(), text: statement.text, state: statement.state, plan };
                let running: Arc<dyn Running> = Arc::new(PlainResult(self.run(request, choice).await?));
                match effect {
                    Effect::None => Ok(Started::Rows(running)),
                    Effect::Rows | Effect::Definition => {
                        Ok(Started::Done { rows_affected: run_to_end(running.as_ref()).await? })
                    }
                }
            }
        }
    }

    /// Columns that a statement without an effect will give, from its physical plan: the logical one differs from it in
    /// nullability.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn result_schema(&self, mut statement: Statement) -> Result<SchemaRef> {
        let parameters = Arc::new(statement.parameters()?);
        if !parameters.fields().is_empty() {
            // Planned with a value of the right type for each: none has been given yet.
            let nulls = parameters.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
            statement = statement.bound(&RecordBatch::try_new(parameters, nulls).map_err(DataFusionError::from)?)?;
        }
        // Planned here and never run: executors must not begin with what is only looked at.
        let choice = self.engine.modes().local("it is only planned");
        match self.start("", statement, choice).await? {
            Started::Rows(running) => Ok(running.schema()),
            Started::Done { .. } => Ok(Arc::new(Schema::empty())),
        }
    }

    /// The schema that an unqualified name means.
    pub fn default_schema(&self) -> String {
        self.config.read().options().catalog.default_schema.clone()
    }

    /// Makes unqualified names mean tables of `schema`.
    ///
    /// # Errors
    /// `NotFound` if there is no such schema.
    pub async fn set_default_schema(&self, schema: &str) -> Result<()> {
        if !self.schemas().await?.iter().any(|known| known == schema) {
            return Err(Error::not_found(format!("schema \"{schema}\" does not exist")));
        }
        self.set_option("datafusion.catalog.default_schema", schema)
    }

    /// The value of a setting, if there is such a setting and it has one.
    pub fn option(&self, key: &str) -> Option<String> {
        let entries = self.config.read().options().entries();
        entries.into_iter().find(|entry| entry.key == key).and_then(|entry| entry.value)
    }

    /// The settings that are ours and not DataFusion's, with their values.
    pub fn own_options(&self) -> Vec<(String, String)> {
        let entries = self.config.read().options().entries();
        let ours = entries.into_iter().filter(|entry| entry.key.starts_with("grappe."));
        ours.filter_map(|entry| Some((entry.key, entry.value?))).collect()
    }

    /// As `SET`.
    ///
    /// # Errors
    /// `Invalid` for an unknown key or a bad value, `Denied` for a key of the process.
    pub fn set_option(&self, key: &str, value: &str) -> Result<()> {
        set_setting(&mut self.config.write(), key, value)
    }

    /// As `RESET`.
    ///
    /// # Errors
    /// As [`Self::set_option`].
    pub fn reset_option(&self, key: &str) -> Result<()> {
        reset_setting(&mut self.config.write(), &self.engine.session_config(), key)
    }

    /// Columns of the primary key of a table, in order; none if there is no such table or key.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn primary_key(&self, schema: &str, table: &str) -> Result<Vec<String>> {
        let state = CatalogView::new(self.seed()).state(None);
        let schema = state.schema_for_ref(TableReference::partial(schema, table))?;
        let Some(provider) = schema.table(table).await? else { return Ok(Vec::new()) };
        let columns = provider.schema();
        let keys = provider.constraints().into_iter().flat_map(|constraints| constraints.iter());
        let primary = keys.filter_map(|constraint| match constraint {
            Constraint::PrimaryKey(indices) => Some(indices.clone()),
            Constraint::Unique(_) => None,
        });
        Ok(primary.flatten().map(|index| columns.field(index).name().clone()).collect())
    }

    /// Names of all schemas, sorted.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn schemas(&self) -> Result<Vec<String>> {
        let state = CatalogView::with_names(self.seed()).await?.state(None);
        let mut names = state.catalog_list().catalog(CATALOG).map_or(Vec::new(), |catalog| catalog.schema_names());
        names.push(INFORMATION_SCHEMA.to_owned());
        names.sort();
        Ok(names)
    }

    /// All tables and views, with their columns if asked for.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn tables(&self, with_columns: bool) -> Result<Vec<TableFacts>> {
        let state = CatalogView::with_names(self.seed()).await?.state(None);
        let mut tables = Vec::new();
        for schema_name in self.schemas().await? {
            let schema = state.schema_for_ref(TableReference::partial(schema_name.as_str(), ""))?;
            for name in schema.table_names() {
                let Some(kind) = schema.table_type(&name).await? else { continue };
                let columns = if with_columns { schema.table(&name).await?.map(|table| table.schema()) } else { None };
                tables.push(TableFacts {
                    schema: schema_name.clone(),
                    name,
                    kind: if kind == TableType::View { "VIEW" } else { "TABLE" },
                    columns: columns.map_or_else(Schema::empty, |columns| result_schema(&columns)),
                });
            }
        }
        Ok(tables)
    }

    async fn run(&self, request: StartRequest, choice: Choice) -> Result<Arc<dyn Running>> {
        let LogicalPlan::Explain(Explain { plan, .. }) = &request.plan else {
            return choice.execution.start(request).await;
        };
        let mode = choice.execution.mode();
        let mut lines = vec![("execution_mode".to_owned(), format!("{mode}: {}", choice.reason))];
        let inner = StartRequest { plan: plan.as_ref().clone(), ..request.clone() };
        lines.extend(choice.execution.explain(inner).await?);
        // What DataFusion itself explains needs no executor.
        let local = self.engine.modes().local("it explains");
        Ok(Arc::new(Explained { plans: local.execution.start(request).await?, lines }))
    }

    fn change(&self, change: SessionStatement) -> Result<()> {
        match change {
            SessionStatement::SetVariable(set) => self.set_option(&set.variable, &set.value),
            SessionStatement::ResetVariable(reset) => self.reset_option(&reset.variable),
            SessionStatement::Prepare(prepare) => self.prepared.prepare(&prepare),
            SessionStatement::Deallocate(deallocate) => self.prepared.deallocate(&deallocate.name),
            SessionStatement::Execute(_) => Err(Error::internal("EXECUTE was not replaced by its plan")),
            SessionStatement::TransactionStart(_) | SessionStatement::TransactionEnd(_) => {
                Err(Error::invalid("transactions are not supported: every statement stands for itself"))
            }
        }
    }

    fn seed(&self) -> ViewSeed {
        ViewSeed {
            catalog: Arc::clone(self.engine.catalog()),
            system: Arc::clone(self.engine.system()),
            state: StateSeed { config: self.config.read().clone(), runtime: Arc::clone(self.engine.runtime()) },
        }
    }

    /// Adds the nearest names to "table not found".
    async fn with_near_tables(&self, error: Error) -> Error {
        let Some(wanted) = error.message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"))
        else {
            return error;
        };
        if error.kind != ErrorKind::NotFound {
            return error;
        }
        let default_schema = self.default_schema();
        let wanted = wanted.strip_prefix("grappe.").unwrap_or(wanted);
        let shown = wanted.strip_prefix(&format!("{default_schema}.")).unwrap_or(wanted).to_owned();
        let names = self.all_table_names(&default_schema).await.unwrap_or_default();
        let hint = match suggestion(&shown, names.iter().map(String::as_str)) {
            hint if !hint.is_empty() => hint,
            _ if shown.contains('.') => format!("; for a file, quote its name: '{shown}'"),
            _ => String::new(),
        };
        Error { message: format!("table \"{shown}\" not found{hint}"), ..error }
    }

    /// Names as the session would write them.
    async fn all_table_names(&self, default_schema: &str) -> Result<Vec<String>> {
        let catalog = self.engine.catalog();
        let mut names = Vec::new();
        for schema in catalog.schemas().await? {
            for table in catalog.tables(&schema).await? {
                names.push(if schema == default_schema { table.name } else { format!("{schema}.{}", table.name) });
            }
        }
        Ok(names)
    }
}
