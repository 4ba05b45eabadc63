//! The catalog as one statement sees it, in DataFusion's terms.
//!
//! DataFusion asks for names without waiting, so they are read before planning, and only when a statement looks at
//! `information_schema`; tables it asks for asynchronously, and each is built from its stored definition when asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableFunction, TableProvider};
use datafusion::common::DFSchema;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{DdlStatement, Expr, LogicalPlan, TableType};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use crate::catalog::external::open_external;
use crate::catalog::files::{looks_like_a_file, open_path};
use crate::catalog::information::{Constraint, InformationSchema, Rule};
use crate::catalog::listed::ListedTable;
use crate::catalog::{
    Catalog, DeltaDefinition, Detail, ExternalTable, SchemaName, SessionCatalog, TableDefinition, TableEntry,
    TableKind, TableName, TableSummary, View,
};
use crate::config::grappe_options;
use crate::delta::{DeltaProvider, DeltaTables, Snapshot, VersionAt};
use crate::extras::SessionExtras;
use crate::sql::{Names, parse_statement, refuse_columns, take_versions};
use crate::{Error, ErrorKind, Result};

/// Schema of our own live tables.
pub(crate) const SYSTEM_SCHEMA: &str = "system";

/// Views that may stand on views.
const VIEW_DEPTH_MAX: usize = 32;
/// Logs that are read at once, to list what is in them.
const TABLES_AT_ONCE: usize = 16;
/// Times that a statement may open a view, itself or through others.
const VIEWS_MAX: usize = 1_000;

/// Everything a view of the catalog is made from.
#[derive(Debug, Clone)]
pub(crate) struct ViewSeed {
    pub(crate) catalog: SessionCatalog,
    pub(crate) system: Arc<dyn SchemaProvider>,
    pub(crate) delta: Arc<DeltaTables>,
    /// What the session sees beside that.
    pub(crate) extras: Arc<SessionExtras>,
    pub(crate) state: Arc<SessionState>,
}

/// The catalog during one statement.
#[derive(Debug)]
pub(crate) struct CatalogView {
    seed: ViewSeed,
    listing: Option<Arc<Listing>>,
    /// Names that only this statement has.
    stand_ins: Arc<StandIns>,
    /// Tables whose definitions are being planned right now: a definition names its own table, which must not be opened
    /// again for that.
    opening: Vec<TableName>,
    used: Arc<Used>,
}

/// What a statement has opened.
#[derive(Debug, Default)]
struct Used {
    temporary: AtomicBool,
    /// Whether a star may stand for the columns of any table.
    all_columns: AtomicBool,
    /// How often a view was opened: each time it is named.
    views: AtomicUsize,
    /// Tables with versions: a statement reads one version of each, however often it names it.
    snapshots: Mutex<HashMap<String, Arc<Snapshot>>>,
}

/// What a name stands for during one statement.
#[derive(Debug, Clone)]
pub(crate) enum StandIn {
    /// An older version of the table of this name.
    Version(String, VersionAt),
    /// Rows that the statement brings with it.
    Rows(Arc<dyn TableProvider>),
    /// No table, whatever the catalog says: a function that is called, or a table that is being made.
    Nothing,
}

/// Names that only one statement has.
pub(crate) type StandIns = HashMap<String, StandIn>;

/// All names, for statements that list them.
#[derive(Debug)]
struct Listing {
    catalogs: Vec<String>,
    names: BTreeMap<SchemaName, Vec<TableSummary>>,
    /// The tables that the statement itself reads; any other is looked at only to be listed. All are read if this is
    /// nothing.
    read: Option<HashSet<TableName>>,
}

impl CatalogView {
    /// A view that can open tables by name but not list them.
    pub(crate) fn new(seed: ViewSeed, stand_ins: StandIns) -> Arc<Self> {
        let stand_ins = Arc::new(stand_ins);
        Arc::new(Self { seed, listing: None, stand_ins, opening: Vec::new(), used: Arc::default() })
    }

    /// A view that can list them too, with columns if `detail` says so; of them it opens those in `read` only.
    ///
    /// # Errors
    /// Whatever the keeper of the catalog reports.
    pub(crate) async fn with_names(
        seed: ViewSeed,
        stand_ins: StandIns,
        detail: Detail,
        read: HashSet<TableName>,
    ) -> Result<Arc<Self>> {
        let listing = Some(Arc::new(Listing::read(&seed.catalog, detail, read).await?));
        let stand_ins = Arc::new(stand_ins);
        Ok(Arc::new(Self { seed, listing, stand_ins, opening: Vec::new(), used: Arc::default() }))
    }

    /// Whether a temporary table or view has been opened.
    pub(crate) fn has_opened_temporary(&self) -> bool {
        self.used.temporary.load(Ordering::Relaxed)
    }

    /// Tables have no more columns from now on than a SELECT may give.
    pub(crate) fn gives_all_columns(&self) {
        self.used.all_columns.store(true, Ordering::Relaxed);
    }

    /// A session state that sees this view, with `default_schema` if given.
    pub(crate) fn state(self: &Arc<Self>, default_schema: Option<&SchemaName>) -> SessionState {
        let mut state = SessionState::clone(&self.seed.state);
        if let Some(SchemaName { catalog, schema }) = default_schema {
            let defaults = &mut state.config_mut().options_mut().catalog;
            (defaults.default_catalog, defaults.default_schema) = (catalog.clone(), schema.clone());
        }
        state.register_catalog_list(Arc::new(Catalogs { view: Arc::clone(self), only: None }));
        // `now()` is the time at which the statement began.
        state.mark_start_execution();
        state
    }

    /// This view while the definition of `name` is planned. What all share must not mean what one session has.
    fn within(&self, name: &TableName, stand_ins: StandIns) -> Arc<Self> {
        let mut opening = self.opening.clone();
        opening.push(name.clone());
        let mut seed = self.seed.clone();
        if !name.schema.is_temporary() {
            seed.catalog = seed.catalog.without_temporary();
        }
        let listing = self.listing.as_ref().map(|listing| {
            Arc::new(Listing { catalogs: listing.catalogs.clone(), names: listing.names.clone(), read: None })
        });
        Arc::new(Self { seed, listing, stand_ins: Arc::new(stand_ins), opening, used: Arc::clone(&self.used) })
    }

    /// This view as sessions without extras have it. It is for the extras themselves, which would hold themselves else.
    fn plain(&self) -> Arc<Self> {
        let seed = ViewSeed { extras: Arc::default(), ..self.seed.clone() };
        Arc::new(Self {
            seed,
            listing: self.listing.clone(),
            stand_ins: Arc::clone(&self.stand_ins),
            opening: self.opening.clone(),
            used: Arc::clone(&self.used),
        })
    }

    async fn open(self: &Arc<Self>, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.stand_ins.get(&name.table) {
            Some(StandIn::Nothing) => return Ok(None),
            Some(StandIn::Rows(rows)) => return Ok(Some(Arc::clone(rows))),
            Some(StandIn::Version(table, at)) => {
                return self.open_version(&name.schema.table(table), *at).await.map(Some);
            }
            None => {}
        }
        let name = &self.seed.catalog.meant(name).await?;
        if self.opening.contains(name) {
            return Ok(None);
        }
        if let Some(listed) = self.only_listed(name) {
            return Ok(Some(listed));
        }
        let Some(entry) = self.seed.catalog.table(name).await? else {
            if looks_like_a_file(&name.table) {
                return Ok(Some(open_path(&self.state(None), &name.table).await?));
            }
            return Ok(None);
        };
        self.used.temporary.fetch_or(name.schema.is_temporary(), Ordering::Relaxed);
        match &entry.definition {
            TableDefinition::Memory(table) => Ok(Some(Arc::new(table.snapshot().await?))),
            TableDefinition::External(table) => Ok(Some(self.external(name, table).await?)),
            TableDefinition::Delta(table) => Ok(Some(self.delta(name, table, &entry).await?)),
            TableDefinition::View(view) => Ok(Some(self.view(name, view).await?)),
        }
    }

    /// The table as it is stored, if nobody reads it.
    fn only_listed(&self, name: &TableName) -> Option<Arc<dyn TableProvider>> {
        let listing = self.listing.as_ref()?;
        let is_read = listing.read.as_ref().is_none_or(|read| read.contains(name));
        let summary = find(listing.names.get(&name.schema)?, &name.table);
        summary
            .filter(|_| !is_read && !name.schema.is_temporary())
            .map(|summary| Arc::new(ListedTable::new(summary)) as Arc<dyn TableProvider>)
    }

    async fn delta(
        self: &Arc<Self>,
        name: &TableName,
        table: &DeltaDefinition,
        entry: &TableEntry,
    ) -> Result<Arc<dyn TableProvider>> {
        let known = self.used.snapshots.lock().get(&table.location).cloned();
        let snapshot = match known {
            Some(snapshot) => snapshot,
            None => {
                let runtime = self.seed.state.runtime_env();
                let newest = self.seed.delta.newest(runtime, &table.location).await;
                let newest = newest.map_err(|error| error.context(format!("table \"{name}\"")))?;
                Arc::clone(self.used.snapshots.lock().entry(table.location.clone()).or_insert(newest))
            }
        };
        Ok(Arc::new(self.provider(snapshot).with_knowledge(self.defaults(table)?, entry.statistics.clone())))
    }

    /// An older version of a table.
    async fn open_version(self: &Arc<Self>, name: &TableName, at: VersionAt) -> Result<Arc<dyn TableProvider>> {
        let entry = self.seed.catalog.table(name).await?;
        let entry = entry.ok_or_else(|| Error::not_found(format!("table \"{name}\" does not exist")))?;
        let TableDefinition::Delta(table) = &entry.definition else {
            return Err(Error::invalid(format!("\"{name}\" keeps no versions: Delta tables do")));
        };
        let runtime = self.seed.state.runtime_env();
        let snapshot = self.seed.delta.at(runtime, &table.location, at).await;
        Ok(Arc::new(self.provider(snapshot.map_err(|error| error.context(format!("table \"{name}\"")))?)))
    }

    fn provider(&self, snapshot: Arc<Snapshot>) -> DeltaProvider {
        let wants_views = self.seed.state.config_options().execution.parquet.schema_force_view_types;
        DeltaProvider::new(snapshot, wants_views)
    }

    fn defaults(&self, table: &DeltaDefinition) -> Result<HashMap<String, Expr>> {
        let nothing = DFSchema::empty();
        let defaults = table.defaults.iter();
        defaults
            .map(|(column, sql)| Ok((column.clone(), self.seed.state.create_logical_expr(sql, &nothing)?)))
            .collect()
    }

    async fn external(self: &Arc<Self>, name: &TableName, table: &ExternalTable) -> Result<Arc<dyn TableProvider>> {
        let state = self.within(name, StandIns::new()).state(None);
        match state.statement_to_plan(parse_statement(&state, &table.sql)?).await? {
            LogicalPlan::Ddl(DdlStatement::CreateExternalTable(command)) => open_external(&state, &command, table),
            _ => Err(Error::internal(format!("the definition of table \"{name}\" is damaged"))),
        }
    }

    /// Functions that give tables, by name.
    pub(super) fn table_functions(&self) -> HashMap<String, Arc<TableFunction>> {
        self.seed.state.table_functions().clone()
    }

    /// Names of all catalogs, in order.
    pub(super) fn catalogs(&self) -> &[String] {
        self.listing.as_ref().map_or(&[], |listing| &listing.catalogs)
    }

    /// Constraints of all tables of a catalog, in the order of their names. A table whose log cannot be read has none.
    pub(super) async fn constraints(&self, catalog: &str) -> Result<Vec<Constraint>> {
        let listed = self.listing.iter().flat_map(|listing| &listing.names);
        let listed = listed.filter(|(schema, _)| schema.catalog == catalog);
        let names = listed.flat_map(|(schema, tables)| {
            let tables = tables.iter().filter(|table| table.kind == TableKind::Table);
            tables.map(|table| schema.table(&table.name))
        });
        let found = stream::iter(names.collect::<Vec<_>>()).map(|name| self.constraints_of(name));
        Ok(found.buffered(TABLES_AT_ONCE).try_collect::<Vec<_>>().await?.concat())
    }

    async fn constraints_of(&self, table: TableName) -> Result<Vec<Constraint>> {
        let Some(entry) = self.seed.catalog.table(&table).await? else { return Ok(Vec::new()) };
        let TableDefinition::Delta(delta) = &entry.definition else { return Ok(Vec::new()) };
        let constraint = |name: String, rule: Rule| Constraint { table: table.clone(), name, rule };
        let key = (!delta.primary_key.is_empty())
            .then(|| constraint(format!("{}_pkey", table.table), Rule::PrimaryKey(delta.primary_key.clone())));
        let checks = match self.seed.delta.newest(self.seed.state.runtime_env(), &delta.location).await {
            Ok(snapshot) => snapshot.checks(),
            Err(error) => {
                tracing::warn!(%table, %error, "constraints cannot be listed");
                Vec::new()
            }
        };
        let checks = checks.into_iter().map(|(name, sql)| constraint(name, Rule::Check(sql)));
        Ok(key.into_iter().chain(checks).collect())
    }

    async fn view(self: &Arc<Self>, name: &TableName, view: &View) -> Result<Arc<dyn TableProvider>> {
        if self.opening.len() >= VIEW_DEPTH_MAX {
            return Err(Error::invalid(format!("view \"{name}\" stands on more than {VIEW_DEPTH_MAX} views")));
        }
        if self.used.views.fetch_add(1, Ordering::Relaxed) >= VIEWS_MAX {
            let message = format!(
                "the statement opens views more than {VIEWS_MAX} times, \"{name}\" the last: store one of them with CREATE \
                 TABLE AS"
            );
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let own = self.state(None);
        let mut syntax = parse_statement(&own, &view.sql)?;
        let versions = take_versions(&mut syntax, Names::of(own.config_options()))?.into_iter();
        let versions = versions.map(|version| (version.written, StandIn::Version(version.table, version.at.into())));
        let state = self.within(name, versions.collect()).state(Some(&view.default_schema));
        let plan = state.statement_to_plan(syntax).await;
        match plan
            .map_err(|error| Error { position: None, ..Error::from(error).context(format!("view \"{name}\"")) })?
        {
            LogicalPlan::Ddl(DdlStatement::CreateView(create)) => {
                let plan = Arc::unwrap_or_clone(create.input);
                Ok(Arc::new(ViewTable::new(plan, Some(view.sql.clone()))))
            }
            _ => Err(Error::internal(format!("the definition of view \"{name}\" is damaged"))),
        }
    }
}

/// The table of this name, in a list that is in order: a listing asks for each of its names.
fn find<'a>(tables: &'a [TableSummary], name: &str) -> Option<&'a TableSummary> {
    tables.binary_search_by(|table| table.name.as_str().cmp(name)).ok().map(|index| &tables[index])
}

impl Listing {
    /// All names, in order; `system` is listed by its own provider.
    async fn read(catalog: &dyn Catalog, detail: Detail, read: HashSet<TableName>) -> Result<Self> {
        let mut names = BTreeMap::new();
        for schema in catalog.schemas().await? {
            let mut tables = catalog.tables(&schema.name, detail).await?;
            tables.sort_unstable_by(|one, other| one.name.cmp(&other.name));
            names.insert(schema.name, tables);
        }
        Ok(Self { catalogs: catalog.catalogs().await?, names, read: Some(read) })
    }
}

/// The list of catalogs.
#[derive(Debug)]
struct Catalogs {
    view: Arc<CatalogView>,
    /// The one that is listed; all if there is none.
    only: Option<String>,
}

/// One catalog, there or not.
#[derive(Debug)]
struct Schemas {
    view: Arc<CatalogView>,
    catalog: String,
}

/// One schema of it, there or not.
#[derive(Debug)]
struct Tables {
    view: Arc<CatalogView>,
    schema: SchemaName,
}

impl CatalogProviderList for Catalogs {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        match &self.only {
            Some(catalog) => vec![catalog.clone()],
            None => self.view.catalogs().to_vec(),
        }
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        // Without a listing, whether there is one shows when a table of it is asked for.
        let listing = self.view.listing.as_ref();
        let may_be = listing.is_none_or(|listing| listing.catalogs.iter().any(|known| known == name));
        may_be.then(|| Arc::new(Schemas { view: Arc::clone(&self.view), catalog: name.to_owned() }) as _)
    }
}

impl CatalogProvider for Schemas {
    fn schema_names(&self) -> Vec<String> {
        let listed = self.view.listing.iter().flat_map(|listing| listing.names.keys());
        let stored =
            listed.filter(|name| name.catalog == self.catalog || name.is_temporary()).map(|name| name.schema.clone());
        stored.chain([SYSTEM_SCHEMA.to_owned()]).chain(self.view.seed.extras.schemas.keys().cloned()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == SYSTEM_SCHEMA {
            return Some(Arc::clone(&self.view.seed.system));
        }
        if name == INFORMATION_SCHEMA {
            return Some(Arc::new(InformationSchema::new(self.catalog.clone(), Arc::new(self.alone()), &self.view)));
        }
        if let Some(extra) = self.view.seed.extras.schemas.get(name) {
            return Some(extra.tables(&self.catalog, Arc::new(Catalogs { view: self.view.plain(), only: None })));
        }
        let schema = SchemaName::new(self.catalog.as_str(), name);
        Some(Arc::new(Tables { view: Arc::clone(&self.view), schema }))
    }
}

impl Schemas {
    /// What `information_schema` tells of: its own catalog.
    fn alone(&self) -> Catalogs {
        Catalogs { view: Arc::clone(&self.view), only: Some(self.catalog.clone()) }
    }
}

impl Tables {
    fn listed(&self) -> &[TableSummary] {
        let listing = self.view.listing.as_ref();
        listing.and_then(|listing| listing.names.get(&self.schema)).map_or(&[], Vec::as_slice)
    }

    fn kind(&self, name: &str) -> Option<TableKind> {
        find(self.listed(), name).map(|table| table.kind)
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.listed().iter().map(|table| table.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let full = self.schema.table(name);
        match self.view.open(&full).await {
            // A listing goes on without a view whose tables have gone.
            Err(error) if self.kind(name) == Some(TableKind::View) => {
                tracing::warn!(view = %full, %error, "a view cannot be opened");
                Ok(None)
            }
            Ok(Some(table)) if self.view.used.all_columns.load(Ordering::Relaxed) => {
                let limits = grappe_options(self.view.seed.state.config()).limits;
                refuse_columns(table.schema().fields().len(), &format!("\"{full}\""), &limits)?;
                Ok(Some(table))
            }
            other => Ok(other?),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        Ok(self.kind(name).map(|kind| match kind {
            TableKind::Table => TableType::Base,
            TableKind::View => TableType::View,
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.kind(name).is_some()
    }
}
