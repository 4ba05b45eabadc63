//! What every keeper of names promises, asked of SQLite always and of PostgreSQL if `GRAPPE_TEST_POSTGRES_URL` names a
//! server on which databases may be made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use super::*;
use crate::ErrorKind;
use crate::catalog::{ColumnStatistics, DeltaDefinition, ExternalTable, MemoryCatalog, MemoryTable, View};
use crate::config::CATALOG;

/// A place for a catalog, empty at first.
struct Subject {
    place: String,
    _directory: TempDir,
}

impl Subject {
    fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("data/catalog.sqlite").to_string_lossy().into_owned();
        Self { place, _directory: directory }
    }

    async fn postgres(server: &str) -> Self {
        let database = format!("test_{}", Uuid::new_v4().simple());
        let mut url = Url::parse(server).unwrap();
        let mut connection = postgres_connection(url.as_str()).await;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {database}"))).await.unwrap();
        url.set_path(&database);
        Self { place: url.into(), _directory: tempfile::tempdir().unwrap() }
    }

    async fn all() -> Vec<Self> {
        let mut all = vec![Self::sqlite()];
        if let Some(server) = std::env::var_os("GRAPPE_TEST_POSTGRES_URL") {
            all.push(Self::postgres(&server.to_string_lossy()).await);
        }
        all
    }

    async fn open(&self) -> StoredCatalog {
        StoredCatalog::open(&self.place).await.unwrap()
    }

    fn file(&self) -> Option<&Path> {
        (!self.place.contains("://")).then(|| Path::new(&self.place))
    }

    /// Runs a statement past the catalog.
    async fn run(&self, sql: &'static str) {
        match self.file() {
            Some(file) => {
                sqlite_connection(file).await.execute(sql).await.unwrap();
            }
            None => {
                let mut connection = postgres_connection(&self.place).await;
                connection.execute("SET search_path TO grappe").await.unwrap();
                connection.execute(sql).await.unwrap();
            }
        }
    }
}

async fn postgres_connection(url: &str) -> PgConnection {
    PgConnectOptions::from_url(&Url::parse(url).unwrap()).unwrap().connect().await.unwrap()
}

async fn sqlite_connection(file: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

fn in_schema(name: &str) -> SchemaName {
    SchemaName::new(CATALOG, name)
}

fn name(schema: &str, table: &str) -> TableName {
    in_schema(schema).table(table)
}

fn columns(count: usize) -> SchemaRef {
    let field = |n| Field::new(format!("column_{n}"), if n % 2 == 0 { DataType::Int64 } else { DataType::Utf8 }, true);
    Arc::new(Schema::new((0..count).map(field).collect::<Vec<_>>()))
}

fn view(sql: &str) -> TableDefinition {
    TableDefinition::View(Arc::new(View { sql: sql.into(), default_schema: in_schema("public"), columns: columns(2) }))
}

fn external(sql: &str) -> TableDefinition {
    let table = ExternalTable { sql: sql.into(), file_schema: columns(2), partition_columns: columns(1) };
    TableDefinition::External(Arc::new(table))
}

fn delta(location: &str, is_managed: bool) -> TableDefinition {
    TableDefinition::Delta(Arc::new(DeltaDefinition {
        location: location.into(),
        columns: columns(3),
        partition_columns: vec!["column_1".into()],
        defaults: BTreeMap::from([("column_0".into(), "0".into())]),
        primary_key: vec!["column_0".into()],
        is_managed,
    }))
}

fn statistics() -> TableStatistics {
    let column = ColumnStatistics { distinct: u64::MAX, nulls: 3 };
    TableStatistics { rows: 7, columns: BTreeMap::from([("column_0".into(), column)]) }
}

/// What came of a change, as text.
fn told<T: Debug>(outcome: Result<T>) -> String {
    format!("{:?}", outcome.map_err(|error| (error.kind, error.message)))
}

/// All that a catalog holds but the ids, as text.
async fn contents(catalog: &dyn Catalog) -> String {
    let mut text = format!("{:?}\n", catalog.catalogs().await.unwrap());
    for schema in catalog.schemas().await.unwrap() {
        text.push_str(&format!("{schema:?}\n{:?}\n", catalog.tables(&schema.name, Detail::Names).await.unwrap()));
        for summary in catalog.tables(&schema.name, Detail::Columns).await.unwrap() {
            let entry = catalog.table(&schema.name.table(&summary.name)).await.unwrap().unwrap();
            text.push_str(&format!("{summary:?}\n{:?} {:?} ", entry.definition, entry.comments));
            text.push_str(&format!("{:?}\n", entry.statistics));
        }
    }
    text + &format!("{:?}", catalog.locations_to_sweep(Duration::ZERO).await.unwrap())
}

async fn id_of(catalog: &dyn Catalog, name: &TableName) -> u64 {
    catalog.table(name).await.unwrap().map(|entry| entry.id).unwrap_or(u64::MAX / 2)
}

/// What came of each change, and what the catalog holds afterwards.
macro_rules! then {
    ($told:ident, $catalog:ident; $($change:expr;)*) => {$(
        let outcome = told($change.await);
        $told.push(format!("{}\n{outcome}\n{}", stringify!($change), contents($catalog).await));
    )*};
}

/// Every change, when it is possible and when it is not, and what the catalog holds after each.
async fn story(catalog: &dyn Catalog) -> Vec<String> {
    use TableKind::{Table, View};
    let (t, v, d) = (&name("public", "t"), &name("public", "v \"Ü\""), &name("S", "d"));
    let (nowhere, nothing) = (&name("none", "t"), &name("public", "none"));
    let mut told_so_far = Vec::new();
    then! { told_so_far, catalog;
        catalog.create_schema(&in_schema("S"));
        catalog.create_schema(&in_schema("S"));
        catalog.comment_on_schema(&in_schema("S"), Some("a 'comment'"));
        catalog.comment_on_schema(&in_schema("none"), Some("a comment"));
        catalog.create_table(t, external("one"), false);
        catalog.create_table(t, external("two"), false);
        catalog.create_table(t, external("three"), true);
        catalog.create_table(t, view("four"), true);
        catalog.create_table(t, view("four"), false);
        catalog.create_table(v, view("five"), true);
        catalog.create_table(nowhere, view("six"), false);
        catalog.reserve_location("file:///w/1/");
        catalog.reserve_location("file:///w/2/");
        catalog.reserve_location("file:///w/1/");
        catalog.create_table(d, delta("file:///w/1/", true), false);
        catalog.create_table(d, delta("file:///w/2/", true), true);
        catalog.create_table(d, delta("file:///w/2/", true), true);
        catalog.create_table(d, delta("file:///w/3/", false), true);
        catalog.create_table(d, delta("file:///w/2/", true), true);
        catalog.comment_on_table(d, None, None, Some("whole"));
        catalog.comment_on_table(d, Some(Table), Some("column_0"), Some("part"));
        catalog.comment_on_table(d, Some(Table), None, None);
        catalog.comment_on_table(d, Some(View), None, None);
        catalog.comment_on_table(nothing, Some(View), None, None);
        catalog.comment_on_table(nowhere, None, None, None);
        catalog.set_statistics(d, id_of(catalog, d).await, &statistics());
        catalog.set_statistics(d, 1 << 40, &statistics());
        catalog.set_statistics(d, u64::MAX, &statistics());
        catalog.redefine_table(d, id_of(catalog, d).await, delta("file:///w/2/", false));
        catalog.redefine_table(d, id_of(catalog, t).await, delta("file:///w/2/", false));
        catalog.redefine_table(d, id_of(catalog, d).await, delta("file:///w/2/", true));
        catalog.rename_table(d, t, Table);
        catalog.rename_table(d, nowhere, Table);
        catalog.rename_table(d, &name("public", "d"), View);
        catalog.rename_table(nothing, t, Table);
        catalog.rename_table(d, d, Table);
        catalog.rename_table(d, &name("public", "d"), Table);
        catalog.rename_table(&name("public", "d"), d, Table);
        catalog.rename_table(v, &name("S", "a view"), View);
        catalog.drop_table(t, View);
        catalog.drop_table(t, Table);
        catalog.drop_table(nowhere, View);
        catalog.rename_schema(&in_schema("S"), "public");
        catalog.rename_schema(&in_schema("none"), "public");
        catalog.rename_schema(&in_schema("none"), "other");
        catalog.rename_schema(&in_schema("S"), "S");
        catalog.rename_schema(&in_schema("S"), "");
        catalog.drop_schema(&in_schema(""), false);
        catalog.drop_schema(&in_schema("none"), true);
        catalog.drop_schema(&in_schema(""), true);
        catalog.drop_schema(&in_schema("public"), false);
        catalog.comment_on_schema(&in_schema("public"), None);
        catalog.forget_location("file:///w/2/");
        catalog.create_schema(&in_schema("public"));
    }
    told_so_far
}

/// The same of several catalogs.
async fn story_of_catalogs(catalog: &dyn Catalog) -> Vec<String> {
    use TableKind::View;
    let (t, elsewhere) = (&name("public", "t"), SchemaName::new("C", "S"));
    let far = elsewhere.table("t");
    let mut told_so_far = Vec::new();
    then! { told_so_far, catalog;
        catalog.create_catalog("C");
        catalog.create_catalog("C");
        catalog.create_catalog(CATALOG);
        catalog.create_schema(&elsewhere);
        catalog.create_schema(&elsewhere);
        catalog.create_schema(&SchemaName::new("none", "S"));
        catalog.comment_on_schema(&elsewhere, Some("there"));
        catalog.create_table(t, view("here"), false);
        catalog.create_table(&far, view("there"), false);
        catalog.create_table(&far, view("there"), false);
        catalog.rename_table(&far, t, View);
        catalog.rename_table(&far, &name("public", "from afar"), View);
        catalog.rename_table(&name("public", "from afar"), &far, View);
        catalog.create_table(&elsewhere.table("d"), delta("file:///w/4/", true), false);
        catalog.redefine_table(&elsewhere.table("d"), id_of(catalog, &far).await, delta("file:///w/4/", true));
        catalog.set_statistics(&elsewhere.table("d"), id_of(catalog, &elsewhere.table("d")).await, &statistics());
        catalog.rename_schema(&elsewhere, "public");
        catalog.rename_schema(&elsewhere, "S2");
        catalog.drop_schema(&SchemaName::new("C", "public"), false);
        catalog.drop_schema(&SchemaName::new("C", "S2"), false);
        catalog.drop_catalog("none", true);
        catalog.drop_catalog("C", false);
        catalog.drop_catalog("C", true);
        catalog.drop_catalog(CATALOG, true);
    }
    told_so_far
}

#[tokio::test]
async fn it_behaves_as_the_catalog_in_memory_does() {
    let memory = MemoryCatalog::new();
    let expected = [story(&memory).await, story_of_catalogs(&memory).await].concat();
    for subject in Subject::all().await {
        let (catalog, other) = (subject.open().await, subject.open().await);
        let told = [story(&catalog).await, story_of_catalogs(&catalog).await].concat();
        assert_eq!(told.len(), expected.len());
        for (told, expected) in told.iter().zip(&expected) {
            assert_eq!(told, expected, "{}", subject.place);
        }
        assert_eq!(contents(&catalog).await, contents(&other).await);
        drop(catalog);
        assert_eq!(contents(&subject.open().await).await, contents(&other).await);
    }
}

#[tokio::test]
async fn what_one_process_commits_another_sees_at_once() {
    for subject in Subject::all().await {
        let (one, other) = (subject.open().await, subject.open().await);
        for n in 0..50 {
            let (name, location) = (name("public", &format!("t{n}")), format!("file:///w/{n}/"));
            one.create_table(&name, delta(&location, true), false).await.unwrap();
            assert!(other.table(&name).await.unwrap().is_some());
            other.drop_table(&name, TableKind::Table).await.unwrap();
            assert!(one.table(&name).await.unwrap().is_none());
            assert_eq!(one.locations_to_sweep(Duration::ZERO).await.unwrap(), std::slice::from_ref(&location));
            one.forget_location(&location).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_opens_at_once_finds_one_schema_public() {
    for subject in Subject::all().await {
        let opened = join_all((0..12).map(|_| subject.open())).await;
        for catalog in &opened {
            let names: Vec<_> = catalog.schemas().await.unwrap().into_iter().map(|schema| schema.name).collect();
            assert_eq!(names, [in_schema("public")]);
        }
        opened[0].drop_schema(&in_schema("public"), false).await.unwrap();
        assert!(subject.open().await.schemas().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_that_take_a_name_at_once_one_wins() {
    for subject in Subject::all().await {
        let catalogs = join_all((0..4).map(|_| subject.open())).await;
        let (table, schema) = (&name("public", "t"), &in_schema("s"));
        for n in 0..10 {
            let makers = catalogs.iter().chain(&catalogs);
            let made = join_all(makers.map(|catalog| catalog.create_table(table, view("v"), false))).await;
            assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
            let lost = made.iter().filter_map(|made| made.as_ref().err());
            assert!(lost.into_iter().all(|error| error.kind == ErrorKind::AlreadyExists), "{made:?}");
            let made = join_all(catalogs.iter().map(|catalog| catalog.create_schema(schema))).await;
            assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
            catalogs[n % 4].drop_schema(schema, false).await.unwrap();
            catalogs[n % 4].drop_table(table, TableKind::View).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_all_take_effect() {
    for subject in Subject::all().await {
        let catalogs = join_all((0..4).map(|_| subject.open())).await;
        let table = &name("public", "t");
        catalogs[0].create_table(table, delta("file:///w/t/", true), false).await.unwrap();
        let comments = (0..100).map(|n| {
            let catalog = &catalogs[n % 4];
            async move { catalog.comment_on_table(table, None, Some(&format!("c{n}")), Some("said")).await }
        });
        assert!(join_all(comments).await.iter().all(Result::is_ok));
        assert_eq!(catalogs[3].table(table).await.unwrap().unwrap().comments.columns.len(), 100);
    }
}

#[tokio::test]
async fn an_id_is_never_used_twice_and_stays_through_a_new_name() {
    for subject in Subject::all().await {
        let catalog = subject.open().await;
        let mut seen = Vec::new();
        for n in 0..4 {
            let table = &name("public", "t");
            catalog.create_table(table, delta(&format!("file:///w/{n}/"), true), n % 2 == 1).await.unwrap();
            let id = id_of(&catalog, table).await;
            catalog.rename_table(table, &name("public", "u"), TableKind::Table).await.unwrap();
            assert_eq!(id_of(&catalog, &name("public", "u")).await, id);
            catalog.drop_table(&name("public", "u"), TableKind::Table).await.unwrap();
            assert!(!seen.contains(&id), "{id} again");
            seen.push(id);
        }
    }
}

#[tokio::test]
async fn a_location_is_swept_only_when_nobody_has_touched_it_for_so_long() {
    for subject in Subject::all().await {
        let catalog = subject.open().await;
        catalog.reserve_location("file:///w/old/").await.unwrap();
        subject.run("UPDATE locations_to_sweep SET since_ms = since_ms - 3600000").await;
        catalog.reserve_location("file:///w/new/").await.unwrap();
        let swept = catalog.locations_to_sweep(Duration::from_secs(1800)).await.unwrap();
        assert_eq!(swept, ["file:///w/old/"]);
        assert!(!catalog.claim_location("file:///w/new/", Duration::from_secs(1800)).await.unwrap());
        assert!(!catalog.claim_location("file:///w/none/", Duration::ZERO).await.unwrap());
        catalog.renew_location("file:///w/old/").await.unwrap();
        assert!(catalog.locations_to_sweep(Duration::from_secs(1800)).await.unwrap().is_empty());
        assert!(!catalog.claim_location("file:///w/old/", Duration::from_secs(1800)).await.unwrap());
        assert!(catalog.locations_to_sweep(Duration::MAX).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn who_writes_to_a_location_that_is_being_swept_learns_of_it() {
    let memory = MemoryCatalog::new();
    told_of_the_sweep(&memory).await;
    for subject in Subject::all().await {
        told_of_the_sweep(&subject.open().await).await;
    }
}

async fn told_of_the_sweep(catalog: &dyn Catalog) {
    let place = "file:///w/late/";
    catalog.reserve_location(place).await.unwrap();
    catalog.renew_location(place).await.unwrap();
    assert!(catalog.claim_location(place, Duration::ZERO).await.unwrap());
    let late = catalog.renew_location(place).await.unwrap_err();
    assert!(late.kind == ErrorKind::Unavailable && late.message.contains(place), "{}", late.message);
    // Whoever sweeps may have to begin again.
    assert_eq!(catalog.locations_to_sweep(Duration::ZERO).await.unwrap(), [place]);
    assert!(catalog.claim_location(place, Duration::ZERO).await.unwrap());
    catalog.forget_location(place).await.unwrap();
    assert_eq!(catalog.renew_location(place).await.unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn one_of_all_has_the_right_to_sweep() {
    for subject in Subject::all().await {
        let (one, other) = (subject.open().await, subject.open().await);
        let mut held = one.try_sweep_lock().await.unwrap().unwrap();
        assert!(held.is_held().await);
        assert!(other.try_sweep_lock().await.unwrap().is_none());
        assert!(one.try_sweep_lock().await.unwrap().is_none());
        drop(held);
        // A server hears of the end of a connection a little later.
        let started = Instant::now();
        while other.try_sweep_lock().await.unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(10));
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn rows_in_memory_are_refused() {
    for subject in Subject::all().await {
        let rows = MemTable::try_new(columns(1), vec![vec![]]).unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let rows = MemoryTable::new(rows, MemoryConsumer::new("t").register(&pool));
        let definition = TableDefinition::Memory(Arc::new(rows));
        let refused = subject.open().await.create_table(&name("public", "t"), definition, false).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_leaves_nothing_behind() {
    for subject in Subject::all().await {
        let catalog = subject.open().await;
        for n in 0..20 {
            let mut change = catalog.database.begin().await.unwrap();
            let table = name("public", &format!("t{n}"));
            let record = Record::of(&table, &view("v")).unwrap();
            Changing { change: &mut change, place: "x" }.create_table(&table, &record, false).await.unwrap();
            drop(change);
            catalog.create_schema(&in_schema(&format!("s{n}"))).await.unwrap();
        }
        assert!(catalog.tables(&in_schema("public"), Detail::Names).await.unwrap().is_empty());
        assert_eq!(catalog.schemas().await.unwrap().len(), 21);
    }
}

#[tokio::test]
async fn tables_stay_when_schemas_are_kept_by_catalog() {
    let subject = Subject::sqlite();
    let file = subject.file().unwrap();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut old = sqlx::migrate!("./migrations/sqlite");
    old.migrations = old.migrations.iter().filter(|migration| migration.version < 5).cloned().collect();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    old.run_direct(None, &mut connection, false).await.unwrap();
    let record = Record::of(&name("public", "v"), &view("kept")).unwrap();
    sqlx::query(
        "INSERT INTO tables (schema_id, name, kind, is_managed, definition, columns, created_at_ms, changed_at_ms) \
         VALUES (1, 'v', 'view', 0, $1, $2, 0, 0)",
    )
    .bind(&record.definition)
    .bind(&record.columns)
    .execute(&mut connection)
    .await
    .unwrap();
    Connection::close(connection).await.unwrap();
    let catalog = subject.open().await;
    assert!(catalog.table(&name("public", "v")).await.unwrap().is_some());
    // What refers to what still holds.
    catalog.drop_schema(&in_schema("public"), true).await.unwrap();
    catalog.create_schema(&in_schema("public")).await.unwrap();
    assert!(catalog.table(&name("public", "v")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_catalog_of_a_newer_version_is_refused() {
    for subject in Subject::all().await {
        drop(subject.open().await);
        subject
            .run(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 SELECT 9999, 'later', true, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
            )
            .await;
        let refused = StoredCatalog::open(&subject.place).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
        assert!(refused.message.contains("newer version of grappe"), "{}", refused.message);
    }
}

#[tokio::test]
async fn a_definition_of_a_newer_version_is_named() {
    for subject in Subject::all().await {
        let catalog = subject.open().await;
        catalog.create_table(&name("public", "t"), view("v"), false).await.unwrap();
        subject.run("UPDATE tables SET definition = '{\"version\": 99, \"definition\": {}}'").await;
        let refused = catalog.table(&name("public", "t")).await.unwrap_err();
        assert!(refused.message.contains("public.t") && refused.message.contains("newer"), "{}", refused.message);
    }
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_is_waited_for_and_then_named() {
    let subject = Subject::sqlite();
    let options = CatalogOptions { busy_seconds_max: 1, ..CatalogOptions::default() };
    let catalog = StoredCatalog::open_with(&subject.place, options).await.unwrap();
    let mut other = sqlite_connection(subject.file().unwrap()).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let refused = catalog.create_schema(&in_schema("s")).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("catalog.sqlite"), "{}", refused.message);
    assert_eq!(catalog.schemas().await.unwrap().len(), 1);
    other.execute("COMMIT").await.unwrap();
    catalog.create_schema(&in_schema("s")).await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let subject = Subject::sqlite();
    let file = subject.file().unwrap();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "no database at all, but long enough to be taken for one\n".repeat(100)).unwrap();
    let refused = StoredCatalog::open(&subject.place).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.message.contains(&subject.place), "{}", refused.message);
}

#[tokio::test]
async fn a_place_that_cannot_hold_a_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let places = [file.join("catalog.sqlite"), directory.path().to_owned(), PathBuf::from("/proc/grappe/catalog")];
    for place in places {
        let refused = StoredCatalog::open(&place.to_string_lossy()).await.unwrap_err();
        assert!(refused.message.contains(&*place.to_string_lossy()), "{}", refused.message);
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_its_password() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = format!("postgres://ada:hush@{nobody}/names?password=hush");
    let options = CatalogOptions { connect_seconds_max: 1, ..CatalogOptions::default() };
    let refused = StoredCatalog::open_with(&place, options).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("ada") && refused.message.contains("names"), "{}", refused.message);
    assert!(!format!("{refused:?}").contains("hush"), "{refused:?}");
}
