//! What a cluster promises beyond answers: nothing is left of what nobody waits for, strangers are told why they are
//! refused, a restart is survived.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use client::{Client, ConnectOptions, Retrying};
use engine::distributed::transport::Transport;
use futures::TryStreamExt;
use libtest_mimic::{Failed, Trial};
use local_cluster::{ClusterOptions, LocalCluster};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::time::timeout;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// No query of these tests takes so long, unless it never ends.
const HANGS_AFTER: Duration = Duration::from_secs(60);

type Outcome = Result<(), Failed>;

/// All tests of this file.
pub(crate) fn trials() -> Vec<Trial> {
    fn trial<F>(name: &str, test: fn() -> F) -> Trial
    where
        F: Future<Output = Outcome> + 'static,
    {
        Trial::test(format!("cluster/{name}"), move || tokio::runtime::Runtime::new()?.block_on(test()))
    }
    vec![
        trial("a_query_given_up_at_any_moment_leaves_nothing_behind", given_up_at_any_moment),
        trial("an_executor_of_another_version_is_refused_with_both", another_version),
        trial("a_second_executor_of_one_name_is_refused", one_name),
        trial("executors_join_a_restarted_coordinator", restarted_coordinator),
        trial("reads_outlive_a_coordinator_with_the_settings_of_their_session", reads_again),
        trial("a_large_plan_and_a_large_result_pass", large_messages),
        trial("every_hop_can_be_encrypted", encrypted),
        trial("an_executor_finishes_its_tasks_before_it_leaves", leaves_after_its_tasks),
        trial("a_work_directory_that_cannot_be_written_is_named", work_dir_in_the_way),
    ]
}

async fn cluster(executors: usize) -> Result<LocalCluster, Failed> {
    Ok(LocalCluster::start(ClusterOptions { executors, ..ClusterOptions::default() }).await?)
}

/// A client whose statements run on the executors.
async fn staged(cluster: &LocalCluster) -> Result<Client, Failed> {
    let client = Client::connect_stream(cluster.connect()?).await?;
    read(&client, "SET grappe.execution_mode = 'staged'").await?;
    Ok(client)
}

async fn read(client: &Client, sql: &str) -> Result<Vec<RecordBatch>, Failed> {
    let all = async { client.execute(sql).await?.stream().await?.try_collect().await };
    let batches = timeout(HANGS_AFTER, all).await.map_err(|_| format!("it hangs: {sql:.200}"))?;
    Ok(batches?)
}

/// The one number that a statement gives.
async fn number(client: &Client, sql: &str) -> Result<i64, Failed> {
    let batches = read(client, sql).await?;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).ok_or("no rows")?;
    Ok(batch.column(0).as_primitive_opt::<Int64Type>().ok_or("no number")?.value(0))
}

/// Fails unless `outcome` is an error whose text has all `words`.
fn expect_refusal<T>(outcome: Result<T, impl std::fmt::Display>, words: &[&str]) -> Outcome {
    let Err(error) = outcome else { return Err("it was not refused".into()) };
    let text = error.to_string();
    match words.iter().find(|word| !text.contains(**word)) {
        Some(missing) => Err(format!("'{missing}' is not in: {text}").into()),
        None => Ok(()),
    }
}

/// With one task at a time, anything left running would keep the last query from its turn.
async fn given_up_at_any_moment() -> Outcome {
    let cluster = cluster(1).await?;
    let client = staged(&cluster).await?;
    for step in 0..40 {
        let query = client.execute("SELECT sum(sin(value)) FROM range(100000000000)").await?;
        // Planning, binding, launching and computing lie within the time of so many questions.
        for _ in 0..step {
            query.progress().get().await;
        }
        query.canceller().cancel().await?;
    }
    assert_eq!(number(&client, "SELECT count(*) FROM range(100000)").await?, 100_000);
    read(&client, "SET grappe.execution_mode = 'local'").await?;
    // An executor reports a task that it gave up after it has made room for the next.
    let none_is_left = async {
        while number(&client, "SELECT sum(running_tasks)::bigint FROM system.executors").await? > 0 {}
        Ok::<_, Failed>(())
    };
    timeout(HANGS_AFTER, none_is_left).await??;
    Ok(cluster.stop().await?)
}

async fn another_version() -> Outcome {
    let mut cluster = cluster(1).await?;
    let refused = cluster.start_executor_with(|options| options.version = "0.0.1-other".to_owned()).await;
    expect_refusal(refused, &["0.0.1-other", engine::distributed::VERSION, "same version"])
}

async fn one_name() -> Outcome {
    let mut cluster = cluster(1).await?;
    cluster.start_executor_with(|options| options.name = Some("twin".to_owned())).await?;
    let refused = cluster
        .start_executor_with(|options| {
            options.name = Some("twin".to_owned());
            options.join_timeout = Duration::from_secs(1);
        })
        .await;
    expect_refusal(refused, &["an executor named twin is a member already", "--name"])
}

async fn restarted_coordinator() -> Outcome {
    let mut cluster = cluster(2).await?;
    cluster.restart_coordinator().await?;
    timeout(HANGS_AFTER, cluster.wait_for_executors(2)).await??;
    let client = staged(&cluster).await?;
    assert_eq!(number(&client, "SELECT count(*) FROM range(1000000)").await?, 1_000_000);
    Ok(cluster.stop().await?)
}

async fn reads_again() -> Outcome {
    let mut options = ClusterOptions::default();
    options.coordinator.flight_address = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut cluster = LocalCluster::start(options).await?;
    let address = cluster.coordinator()?.flight_address().ok_or("no Flight port")?;
    let client = Client::connect(&format!("grpc://{address}"), &ConnectOptions::default()).await?;
    let mut reads = Retrying::new(client, HANGS_AFTER);
    reads.rows("SET grappe.result_rows_max = 77").await?;
    let rows = async |reads: &mut Retrying, sql| -> Result<usize, Failed> {
        Ok(reads.rows(sql).await?.iter().map(RecordBatch::num_rows).sum())
    };
    // Nothing is asked while it restarts, and then something is.
    cluster.restart_coordinator().await?;
    assert_eq!(rows(&mut reads, "SELECT * FROM range(0, 77)").await?, 77);
    let (restarted, read) = tokio::join!(cluster.restart_coordinator(), rows(&mut reads, "SELECT * FROM range(0, 77)"));
    restarted?;
    assert_eq!(read?, 77);
    expect_refusal(reads.rows("SELECT * FROM range(0, 78)").await, &["result_rows_max = 77"])?;
    Ok(cluster.stop().await?)
}

async fn large_messages() -> Outcome {
    let cluster = cluster(2).await?;
    let client = staged(&cluster).await?;
    let literal = "x".repeat(10 << 20);
    let sql = format!("SELECT count(*) FROM range(0, 10) WHERE concat(value::text, '{literal}') LIKE '%5xx%'");
    assert_eq!(number(&client, &sql).await?, 1);
    let batches = read(&client, "SELECT repeat('y', 10000) AS y FROM range(0, 10000)").await?;
    let bytes: usize = batches.iter().map(|batch| batch.column(0).to_data().buffers()[1].len()).sum();
    assert!(bytes >= 100_000_000, "{bytes} bytes");
    Ok(cluster.stop().await?)
}

async fn encrypted() -> Outcome {
    let mut options = ClusterOptions { executors: 2, ..ClusterOptions::default() };
    options.coordinator.scheduler.transport = tls()?;
    let mut cluster = LocalCluster::start(options).await?;
    let client = staged(&cluster).await?;
    // A shuffle between executors, and a result from them.
    let sql = "SELECT count(*)::bigint FROM (SELECT value % 1000 AS k, count(*) FROM range(0, 1000000) GROUP BY 1)";
    assert_eq!(number(&client, sql).await?, 1000);
    let refused = cluster
        .start_executor_with(|options| {
            options.transport = Transport::default();
            options.join_timeout = Duration::from_secs(1);
        })
        .await;
    expect_refusal(refused, &["cannot join the cluster"])?;
    Ok(cluster.stop().await?)
}

/// One authority that everybody trusts, and one certificate that everybody shows.
fn tls() -> Result<Transport, rcgen::Error> {
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = Certificate::from_pem(authority.self_signed(&authority_key)?.pem());
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    let client = ClientTlsConfig::new().ca_certificate(root.clone()).identity(identity.clone());
    Ok(Transport::tls(client, ServerTlsConfig::new().identity(identity).client_ca_root(root)))
}

async fn leaves_after_its_tasks() -> Outcome {
    let mut cluster = cluster(2).await?;
    let client = staged(&cluster).await?;
    let mut query = client.execute("SELECT count(*), sum(sin(value)) FROM range(20000000)").await?;
    let read = timeout(HANGS_AFTER, async { query.stream().await?.try_collect().await });
    let (stopped, batches) = tokio::join!(cluster.stop_executor(), read);
    stopped?;
    let batches: Vec<RecordBatch> = batches??;
    let counts = batches.iter().filter(|batch| batch.num_rows() > 0);
    let counts: Vec<i64> = counts.map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0)).collect();
    assert_eq!(counts, [20_000_000]);
    assert_eq!(number(&client, "SELECT count(*) FROM range(1000)").await?, 1000);
    Ok(cluster.stop().await?)
}

async fn work_dir_in_the_way() -> Outcome {
    let mut cluster = cluster(1).await?;
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().join("work");
    let refused = cluster.start_executor_with(|options| options.work_dir = path.clone()).await;
    expect_refusal(refused, &[&path.display().to_string()])
}
