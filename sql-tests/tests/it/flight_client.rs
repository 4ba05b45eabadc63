//! The Flight SQL client of arrow-flight, which shares no code with ours: what `flight_sql_client` and other programs in
//! Rust are made of.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow_flight::FlightInfo;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, CommandStatementIngest, SqlInfo,
    TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use futures::{TryStreamExt, stream};
use libtest_mimic::{Failed, Trial};
use local_cluster::{ClusterOptions, LocalCluster};
use tonic::transport::{Channel, Endpoint};

type Outcome = Result<(), Failed>;
type Client = FlightSqlServiceClient<Channel>;

/// Of the password "engine".
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$Cbxif7oT3GE8vjMUErWyIQ$jKzscshehmzeIoY+7P8KQiuD7ePOL9xThFpGvhFTZtE";

/// All tests of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(Client) -> futures::future::BoxFuture<'static, Outcome>| {
        Trial::test(format!("flight_client/{name}"), move || {
            tokio::runtime::Runtime::new()?.block_on(async {
                let cluster = guarded().await?;
                let outcome = test(connect(&cluster).await?).await;
                cluster.stop().await?;
                outcome
            })
        })
    };
    vec![
        trial("a_password_is_asked_for", |client| Box::pin(passwords(client))),
        trial("statements_are_run_and_prepared", |client| Box::pin(statements(client))),
        trial("the_catalog_is_browsed", |client| Box::pin(browsing(client))),
        trial("rows_are_sent", |client| Box::pin(ingest(client))),
    ]
}

async fn guarded() -> Result<LocalCluster, Failed> {
    let mut options = ClusterOptions { executors: 2, ..ClusterOptions::default() };
    options.coordinator.flight_address = Some(([127, 0, 0, 1], 0).into());
    options.coordinator.users.insert("ada".to_owned(), HASH.to_owned());
    Ok(LocalCluster::start(options).await?)
}

async fn connect(cluster: &LocalCluster) -> Result<Client, Failed> {
    let address = cluster.coordinator()?.flight_address().ok_or("no Flight port")?;
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    Ok(FlightSqlServiceClient::new(channel))
}

async fn rows(client: &mut Client, info: FlightInfo) -> Result<RecordBatch, Failed> {
    let announced = Schema::try_from(info.clone())?;
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        let stream = client.do_get(endpoint.ticket.ok_or("an endpoint without a ticket")?).await?;
        batches.extend(stream.try_collect::<Vec<_>>().await?);
    }
    for batch in &batches {
        assert_eq!(*batch.schema(), announced);
    }
    Ok(arrow::compute::concat_batches(&Arc::new(announced), &batches)?)
}

async fn query(client: &mut Client, sql: &str) -> Result<RecordBatch, Failed> {
    let info = client.execute(sql.to_owned(), None).await?;
    rows(client, info).await
}

async fn passwords(mut client: Client) -> Outcome {
    let refused = client.execute("SELECT 1".to_owned(), None).await.err().ok_or("nobody was asked")?;
    assert!(refused.to_string().contains("asks for a user"), "{refused}");
    let refused = client.handshake("ada", "loom").await.err().ok_or("a wrong password was taken")?;
    assert!(refused.to_string().contains("wrong user or password"), "{refused}");
    let token = client.handshake("ada", "engine").await?;
    assert_eq!(client.token().map(String::as_bytes), Some(token.as_ref()));
    assert_eq!(query(&mut client, "SELECT 1 AS one").await?.num_rows(), 1);
    Ok(())
}

async fn statements(mut client: Client) -> Outcome {
    client.handshake("ada", "engine").await?;
    client.execute_update("CREATE TABLE grapes(id BIGINT NOT NULL, name TEXT)".to_owned(), None).await?;
    let mut insert = client.prepare("INSERT INTO grapes VALUES ($1, $2)".to_owned(), None).await?;
    assert!(insert.dataset_schema()?.fields().is_empty());
    let fields = vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    let names = StringArray::from(vec![Some("pinot"), None]);
    let columns: Vec<_> = vec![Arc::new(Int64Array::from(vec![1, 2])) as _, Arc::new(names) as _];
    insert.set_parameters(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)?;
    assert_eq!(insert.execute_update().await?, 2);
    insert.close().await?;

    let mut select = client.prepare("SELECT id FROM grapes WHERE name = $1".to_owned(), None).await?;
    assert_eq!(select.parameter_schema()?.fields().len(), 1);
    let name = RecordBatch::try_from_iter([("name", Arc::new(StringArray::from(vec!["pinot"])) as _)])?;
    select.set_parameters(name)?;
    let info = select.execute().await?;
    assert_eq!(rows(&mut client, info).await?.column(0).as_primitive::<Int64Type>().values(), &[1]);

    client.execute_update("SET grappe.execution_mode = 'staged'".to_owned(), None).await?;
    let sum = query(&mut client, "SELECT sum(value) AS s FROM range(0, 1000)").await?;
    assert_eq!(sum.column(0).as_primitive::<Int64Type>().value(0), 499_500);
    let mistake = client.execute("SELEC 1".to_owned(), None).await.err().ok_or("a mistake was taken")?;
    assert!(mistake.to_string().contains("nvalidArgument") || mistake.to_string().contains("invalid"), "{mistake}");
    client.close().await?;
    Ok(())
}

async fn browsing(mut client: Client) -> Outcome {
    client.handshake("ada", "engine").await?;
    client.execute_update("CREATE TABLE keyed(id BIGINT, PRIMARY KEY (id))".to_owned(), None).await?;
    let infos = [
        client.get_catalogs().await?,
        client
            .get_db_schemas(CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("pub%".into()) })
            .await?,
        client
            .get_tables(CommandGetTables {
                table_name_filter_pattern: Some("key_d".into()),
                table_types: vec!["TABLE".into()],
                include_schema: true,
                ..Default::default()
            })
            .await?,
        client.get_primary_keys(CommandGetPrimaryKeys { table: "keyed".into(), ..Default::default() }).await?,
        client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await?,
    ];
    for info in infos {
        let said = info.flight_descriptor.clone();
        assert_eq!(rows(&mut client, info).await?.num_rows(), 1, "{said:?}");
    }
    let info = client.get_table_types().await?;
    assert_eq!(rows(&mut client, info).await?.num_rows(), 2);
    Ok(())
}

async fn ingest(mut client: Client) -> Outcome {
    client.handshake("ada", "engine").await?;
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..1000)) as _)])?;
    for (temporary, total) in [(false, 1000), (true, 1000), (true, 2000)] {
        let command = CommandStatementIngest {
            table_definition_options: Some(TableDefinitionOptions {
                if_not_exist: TableNotExistOption::Create.into(),
                if_exists: TableExistsOption::Append.into(),
            }),
            table: "sent".into(),
            temporary,
            ..Default::default()
        };
        let sent = client.execute_ingest(command, stream::iter([Ok::<_, FlightError>(batch.clone())])).await?;
        assert_eq!(sent, 1000);
        let count = query(&mut client, "SELECT count(*) AS n FROM sent").await?;
        assert_eq!(count.column(0).as_primitive::<Int64Type>().value(0), total);
    }
    Ok(())
}
