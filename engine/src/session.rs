//! One user's conversation: settings, prepared plans, and the way of a statement from text to rows.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{RecordBatch, new_null_array};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::common::{Constraint, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, Statement as SessionStatement, TableType};
use datafusion::prelude::SessionConfig;
use parking_lot::RwLock;

use crate::catalog::{
    Catalog, CatalogView, Detail, MemoryCatalog, SchemaName, SessionCatalog, StandIn, StandIns, TEMPORARY_SCHEMA,
    TableDefinition, TableName, ViewSeed, no_catalog, temporary_schema,
};
use crate::config::{default_schema, grappe_options};
use crate::engine::Engine;
use crate::execution::{Choice, Running, result_schema, run_to_end};
use crate::extras::SessionExtras;
use crate::nearest::suggestion;
use crate::planning::{Size, check_nodes, planned};
use crate::sql::{
    DEFAULT_CATALOG, DEFAULT_SCHEMA, Effect, Names, Parsed, PreparedPlans, Statement, is_default_catalog,
    name_subquery_columns, nullable_values, number_placeholders, only_called, parse, place_temporary, plan_substrait,
    refuse_clauses_of_temporary, refuse_explosions, refuse_insert_clauses, refuse_what_would_be_wrong, reset_setting,
    rewrite_show, run_ddl, set_setting, take_clauses, take_versions,
};
use crate::start::Repeat;
use crate::writes::delta_table;
use crate::{Error, ErrorKind, Result};

/// Settings and prepared plans of one user; cheap to make.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
    user: Arc<str>,
    extras: Arc<SessionExtras>,
    temporary: Arc<MemoryCatalog>,
    /// Functions, formats, rules and the settings of the session; a copy sees the catalog during a statement.
    state: RwLock<Arc<SessionState>>,
    /// Which limits of system, group and user the state has.
    rules_version: AtomicU64,
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
    pub schema: SchemaName,
    /// Its name.
    pub name: String,
    /// `TABLE` or `VIEW`.
    pub kind: &'static str,
    /// Its columns; none unless asked for.
    pub columns: Schema,
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, user: Arc<str>, extras: SessionExtras) -> Self {
        let rules_version = AtomicU64::new(engine.rules().version());
        let state = if extras.leave_the_state() && !engine.rules().has_any() {
            Arc::clone(engine.first_state())
        } else {
            Arc::new(engine.state(defaults(&engine, &user), &extras))
        };
        Self {
            engine,
            user,
            extras: Arc::new(extras),
            temporary: Arc::new(MemoryCatalog::with_schema(temporary_schema())),
            state: RwLock::new(state),
            rules_version,
            prepared: PreparedPlans::default(),
        }
    }

    /// Whose it is.
    pub fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// What all share, and the temporary tables of the session.
    pub(crate) fn catalog(&self) -> SessionCatalog {
        let shared = Arc::clone(self.engine.catalog());
        SessionCatalog::new(shared, Arc::clone(&self.temporary), self.default_schema())
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Parses `sql`, resolves its names and types.
    ///
    /// # Errors
    /// `Invalid` or `NotFound`, with the place in the text where it is known.
    pub async fn plan(self: &Arc<Self>, sql: &str) -> Result<Statement> {
        self.follow_rules()?;
        let limits = grappe_options(self.state.read().config()).limits;
        let (session, text) = (Arc::clone(self), sql.to_owned());
        planned(&limits, Size::of_text(sql), async move { session.plan_spelt(&text).await }).await
    }

    async fn plan_spelt(&self, sql: &str) -> Result<Statement> {
        match self.extras.spelling.as_ref().and_then(|spelling| spelling.rewrite(sql)) {
            // Its places are not those of the text that was sent.
            Some(other) => {
                let planned = self.plan_with(&other, StandIns::new()).await;
                planned.map_err(|error| Error { position: None, ..error })
            }
            None => self.plan_with(sql, StandIns::new()).await,
        }
    }

    /// As [`Self::plan`], with names that only this statement has.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub(crate) async fn plan_with(&self, sql: &str, stand_ins: StandIns) -> Result<Statement> {
        let blank = CatalogView::new(self.seed(), StandIns::new()).state(None);
        let names = Names::of(blank.config_options());
        let mut syntax = match parse(&blank, sql)? {
            Parsed::Planned(syntax) => *syntax,
            Parsed::Command(command) => return self.plan_command(sql, *command, blank).await,
        };
        let mut stand_ins = stand_ins;
        let travels = take_versions(&mut syntax, names)?.into_iter();
        stand_ins.extend(travels.map(|travel| (travel.written, StandIn::Version(travel.table, travel.at.into()))));
        stand_ins.extend(only_called(&mut syntax, names).into_iter().map(|name| (name, StandIn::Nothing)));
        rewrite_show(&mut syntax, names)?;
        place_temporary(&mut syntax)?;
        let clauses = take_clauses(&mut syntax, names)?;
        refuse_clauses_of_temporary(&syntax, clauses.as_ref())?;
        number_placeholders(&mut syntax)?;
        refuse_insert_clauses(&syntax)?;
        refuse_what_would_be_wrong(&syntax)?;
        let has_star = refuse_explosions(&mut syntax, &grappe_options(blank.config()).limits)?;
        let references = blank.resolve_table_references(&syntax)?;
        let lists_names = |schema| schema == INFORMATION_SCHEMA || self.extras.schemas.contains_key(schema);
        let view = if references.iter().filter_map(|name| name.schema()).any(lists_names) {
            let (detail, read) = (detail(&references), self.names_of(&references));
            CatalogView::with_names(self.seed(), stand_ins, detail, read).await?
        } else {
            CatalogView::new(self.seed(), stand_ins)
        };
        if has_star {
            view.gives_all_columns();
        }
        let state = view.state(None);
        let plan = match state.statement_to_plan(syntax).await {
            Ok(LogicalPlan::Statement(SessionStatement::Execute(execute))) => {
                self.prepared.execute(&state, &execute)?
            }
            Ok(LogicalPlan::DescribeTable(mut table)) => {
                table.schema = Arc::new(result_schema(&table.schema));
                LogicalPlan::DescribeTable(table)
            }
            Ok(plan @ LogicalPlan::Dml(_)) => nullable_values(plan)?,
            Ok(plan) => plan,
            Err(error) => return Err(self.with_near_tables(error.into()).await),
        };
        check_nodes(&state, &plan)?;
        let mut statement = Statement::new(sql, name_subquery_columns(plan)?, state);
        statement.reads_temporary = view.has_opened_temporary();
        statement.clauses = clauses.map(Arc::new);
        Ok(statement)
    }

    /// The statement that a Substrait plan stands for.
    ///
    /// # Errors
    /// `Invalid` or `NotFound`.
    pub async fn plan_substrait(&self, bytes: &[u8]) -> Result<Statement> {
        self.follow_rules()?;
        let view = CatalogView::new(self.seed(), StandIns::new());
        let state = view.state(None);
        let plan = plan_substrait(&state, bytes).await?;
        check_nodes(&state, &plan)?;
        let mut statement = Statement::new("Substrait plan", plan, state);
        statement.reads_temporary = view.has_opened_temporary();
        Ok(statement)
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
        if self.extras.are_used_in(plan) {
            return Ok(self.engine.modes().local("only this session has what it asks for"));
        }
        let has_parts = match plan {
            LogicalPlan::Dml(dml) => delta_table(&dml.target).is_some(),
            plan => matches!(plan, LogicalPlan::Copy(_)),
        };
        if has_parts && statement.effect() != Effect::None {
            return Ok(self.engine.modes().local("each of its parts runs where it is best"));
        }
        self.engine.choose(statement).await
    }

    /// A way to run a query again when the session has gone on; none for one that has an effect, or reads temporary
    /// tables.
    pub fn repeat(&self, statement: &Statement) -> Option<Repeat> {
        let can = statement.effect() == Effect::None && !statement.reads_temporary;
        can.then(|| Repeat { engine: Arc::clone(&self.engine), statement: statement.clone() })
    }

    /// Runs a statement: to its end if it has an effect, until there are rows to read if not.
    ///
    /// # Errors
    /// Those of planning, of the mode, and for a statement with an effect those of running it.
    pub async fn start(&self, query_id: &str, statement: Statement, choice: Choice) -> Result<Started> {
        let effect = statement.effect();
        if let Some(command) = statement.command.clone() {
            return Ok(Started::Done { rows_affected: self.run_command(query_id, &statement, &command).await? });
        }
        if let LogicalPlan::Dml(dml) = &statement.plan
            && let Some(rows) = self.change_rows(query_id, &statement, dml).await?
        {
            return Ok(Started::Done { rows_affected: Some(rows) });
        }
        if let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(command)) = &statement.plan
            && !self.is_temporary(&command.name)
        {
            let rows_affected = self.create_table(query_id, &statement, command).await?;
            return Ok(Started::Done { rows_affected });
        }
        if let LogicalPlan::Copy(copy) = &statement.plan {
            return Ok(Started::Done { rows_affected: Some(self.copy_rows(query_id, &statement, copy).await?) });
        }
        match statement.plan {
            LogicalPlan::Ddl(ddl) => {
                let (state, tables) = (&statement.state, self.engine.delta());
                run_ddl(&self.catalog(), state, tables, ddl, &statement.text, statement.reads_temporary).await?;
                Ok(Started::Done { rows_affected: None })
            }
            LogicalPlan::Statement(change) => {
                self.change(change).await?;
                Ok(Started::Done { rows_affected: None })
            }
            _ => {
                let running = self.engine.run(query_id, statement, choice).await?;
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
        if statement.effect() != Effect::None {
            return Ok(Arc::new(Schema::empty()));
        }
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
    pub fn default_schema(&self) -> SchemaName {
        default_schema(self.state.read().config_options())
    }

    /// Makes unqualified names mean tables of `schema`.
    ///
    /// # Errors
    /// `NotFound` if there is no such schema.
    pub async fn use_schema(&self, schema: &SchemaName) -> Result<()> {
        if !self.schemas().await?.contains(schema) {
            self.check_catalog(&schema.catalog).await?;
            return Err(Error::not_found(format!("schema \"{schema}\" does not exist")));
        }
        self.set_option(DEFAULT_CATALOG, &schema.catalog).await?;
        self.set_option(DEFAULT_SCHEMA, &schema.schema).await
    }

    /// Refuses the name of a catalog that is not there.
    pub(crate) async fn check_catalog(&self, name: &str) -> Result<()> {
        if !self.catalogs().await?.iter().any(|known| known == name) {
            return Err(no_catalog(name));
        }
        Ok(())
    }

    /// The value of a setting, if there is such a setting and it has one.
    pub fn option(&self, key: &str) -> Option<String> {
        let entries = self.state.read().config_options().entries();
        entries.into_iter().find(|entry| entry.key == key).and_then(|entry| entry.value)
    }

    /// The settings that are ours and not DataFusion's, with their values.
    pub fn own_options(&self) -> Vec<(String, String)> {
        let entries = self.state.read().config_options().entries();
        let ours = entries.into_iter().filter(|entry| entry.key.starts_with("grappe."));
        ours.filter_map(|entry| Some((entry.key, entry.value?))).collect()
    }

    /// As `SET`.
    ///
    /// # Errors
    /// `Invalid` for an unknown key or a bad value, `NotFound` for a catalog that is not there, `Denied` for a key of the
    /// process.
    pub async fn set_option(&self, key: &str, value: &str) -> Result<()> {
        if is_default_catalog(key) {
            self.check_catalog(value).await?;
        }
        self.configure(|config| set_setting(config, key, value))
    }

    /// As `RESET`.
    ///
    /// # Errors
    /// As [`Self::set_option`].
    pub fn reset_option(&self, key: &str) -> Result<()> {
        let defaults = defaults(&self.engine, &self.user);
        self.configure(|config| reset_setting(config, &defaults, key))
    }

    /// Limits that have been set for system, group or user meanwhile hold from now on.
    fn follow_rules(&self) -> Result<()> {
        let rules = self.engine.rules();
        let version = rules.version();
        if self.rules_version.swap(version, Ordering::Relaxed) == version {
            return Ok(());
        }
        self.configure(|config| {
            rules.limit(&self.user, config);
            Ok(())
        })
    }

    /// Some functions keep settings, so that the state is made anew.
    fn configure(&self, change: impl FnOnce(&mut SessionConfig) -> Result<()>) -> Result<()> {
        let mut state = self.state.write();
        let mut config = state.config().clone();
        change(&mut config)?;
        *state = Arc::new(self.engine.state(config, &self.extras));
        Ok(())
    }

    /// Columns of a table.
    ///
    /// # Errors
    /// `NotFound`, and those of the catalog.
    pub(crate) async fn columns(&self, name: &TableName) -> Result<SchemaRef> {
        Ok(self.provider_of(name).await?.schema())
    }

    /// The table as a plan reads it.
    ///
    /// # Errors
    /// `NotFound`, and those of the catalog.
    pub(crate) async fn provider_of(&self, name: &TableName) -> Result<Arc<dyn TableProvider>> {
        let provider = self.provider(name).await?;
        provider.ok_or_else(|| Error::not_found(format!("table \"{name}\" does not exist")))
    }

    async fn provider(&self, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        let state = CatalogView::new(self.seed(), StandIns::new()).state(None);
        let schema = state.schema_for_ref(name.reference())?;
        Ok(schema.table(&name.table).await?)
    }

    /// The tables that a statement names, as the catalog does.
    fn names_of(&self, references: &[TableReference]) -> HashSet<TableName> {
        let SchemaName { catalog, schema } = self.default_schema();
        references.iter().map(|name| name.clone().resolve(&catalog, &schema).into()).collect()
    }

    /// Columns of the primary key of a table, in order; none if there is no such table or key.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn primary_key(&self, schema: &SchemaName, table: &str) -> Result<Vec<String>> {
        let name = schema.table(table);
        if let Some(entry) = self.catalog().table(&name).await?
            && let TableDefinition::Delta(table) = entry.definition
        {
            return Ok(table.primary_key.clone());
        }
        let Some(provider) = self.provider(&name).await? else { return Ok(Vec::new()) };
        let columns = provider.schema();
        let keys = provider.constraints().into_iter().flat_map(|constraints| constraints.iter());
        let primary = keys.filter_map(|constraint| match constraint {
            Constraint::PrimaryKey(indices) => Some(indices.clone()),
            Constraint::Unique(_) => None,
        });
        Ok(primary.flatten().map(|index| columns.field(index).name().clone()).collect())
    }

    /// Names of all catalogs, sorted.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn catalogs(&self) -> Result<Vec<String>> {
        self.engine.catalog().catalogs().await
    }

    /// Names of all schemas, sorted.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn schemas(&self) -> Result<Vec<SchemaName>> {
        let state =
            CatalogView::with_names(self.seed(), StandIns::new(), Detail::Names, HashSet::new()).await?.state(None);
        let mut names = Vec::new();
        for catalog in state.catalog_list().catalog_names() {
            let schemas = state.catalog_list().catalog(&catalog).map_or(Vec::new(), |catalog| catalog.schema_names());
            let schemas = schemas.into_iter().chain([INFORMATION_SCHEMA.to_owned()]);
            names.extend(schemas.map(|schema| SchemaName::new(catalog.as_str(), schema)));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// All tables and views, with their columns if asked for.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn tables(&self, with_columns: bool) -> Result<Vec<TableFacts>> {
        let detail = if with_columns { Detail::Columns } else { Detail::Names };
        let state = CatalogView::with_names(self.seed(), StandIns::new(), detail, HashSet::new()).await?.state(None);
        let mut tables = Vec::new();
        for schema_name in self.schemas().await? {
            let schema = state.schema_for_ref(schema_name.table("").reference())?;
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

    async fn change(&self, change: SessionStatement) -> Result<()> {
        match change {
            SessionStatement::SetVariable(set) => self.set_option(&set.variable, &set.value).await,
            SessionStatement::ResetVariable(reset) => self.reset_option(&reset.variable),
            SessionStatement::Prepare(prepare) => self.prepared.prepare(&prepare),
            SessionStatement::Deallocate(deallocate) => self.prepared.deallocate(&deallocate.name),
            SessionStatement::Execute(_) => Err(Error::invalid("EXECUTE stands for itself: it cannot be prepared")),
            SessionStatement::TransactionStart(_) | SessionStatement::TransactionEnd(_) => {
                Err(Error::invalid("transactions are not supported: every statement stands for itself"))
            }
        }
    }

    fn seed(&self) -> ViewSeed {
        ViewSeed {
            catalog: self.catalog(),
            system: Arc::clone(self.engine.system()),
            delta: Arc::clone(self.engine.delta()),
            extras: Arc::clone(&self.extras),
            state: Arc::clone(&self.state.read()),
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
        let default = self.default_schema();
        let of_default = wanted.strip_prefix(&format!("{}.", default.catalog));
        if of_default.is_none()
            && let Some((catalog, _)) = wanted.split_once('.')
            && self.catalogs().await.is_ok_and(|catalogs| catalogs.iter().all(|known| known != catalog))
        {
            return Error { message: no_catalog(catalog).message, ..error };
        }
        let wanted = of_default.unwrap_or(wanted);
        let shown = wanted.strip_prefix(&format!("{}.", default.schema)).unwrap_or(wanted).to_owned();
        let names = self.all_table_names(&default).await.unwrap_or_default();
        let hint = match suggestion(&shown, names.iter().map(String::as_str)) {
            hint if !hint.is_empty() => hint,
            _ if shown.contains('.') => format!("; for a file, quote its name: '{shown}'"),
            _ => String::new(),
        };
        Error { message: format!("table \"{shown}\" not found{hint}"), ..error }
    }

    /// Names as the session would write them.
    async fn all_table_names(&self, default: &SchemaName) -> Result<Vec<String>> {
        let catalog = self.catalog();
        let mut names = Vec::new();
        for schema in catalog.schemas().await?.into_iter().map(|schema| schema.name) {
            for table in catalog.tables(&schema, Detail::Names).await? {
                names.push(if schema == *default || schema.is_temporary() {
                    table.name
                } else if schema.catalog == default.catalog {
                    format!("{}.{}", schema.schema, table.name)
                } else {
                    format!("{}.{}.{}", schema.catalog, schema.schema, table.name)
                });
            }
        }
        Ok(names)
    }
}

/// The settings that a session of `user` starts with.
fn defaults(engine: &Engine, user: &str) -> SessionConfig {
    let mut config = engine.first_state().config().clone();
    engine.rules().apply(user, &mut config);
    config
}

/// How much a statement that lists tables wants to know of them.
fn detail(references: &[TableReference]) -> Detail {
    const NAMES_ONLY: [&str; 4] = ["tables", "schemata", "catalogs", "df_settings"];
    let of_schema = |name: &&TableReference| name.schema() == Some(INFORMATION_SCHEMA);
    let needs_names_only = |name: &TableReference| of_schema(&name) && NAMES_ONLY.contains(&name.table());
    let lists = references.iter().filter(|name| name.schema().is_some_and(|schema| schema != TEMPORARY_SCHEMA));
    if lists.clone().all(needs_names_only) { Detail::Names } else { Detail::Columns }
}
