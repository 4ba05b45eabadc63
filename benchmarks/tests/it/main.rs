//! Suites through a coordinator in this process; every answer of TPC-H verified.

use std::error::Error;
use std::path::Path;

use benchmarks::Outcome;
use benchmarks::clients::{self, ClientsOptions};
use benchmarks::suites::{self, Mode, Suite, SuiteOptions};
use clap::Parser;
use client::Client;
use local_cluster::{ClusterOptions, LocalCluster};

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    options: SuiteOptions,
}

fn options(arguments: &str) -> Result<SuiteOptions, clap::Error> {
    let arguments = std::iter::once("tpch").chain(arguments.split_whitespace());
    Ok(Command::try_parse_from(arguments)?.options)
}

async fn run(cluster: &LocalCluster, options: SuiteOptions, data_dir: &Path) -> Result<Outcome, Box<dyn Error>> {
    let client = Client::connect_stream(cluster.connect()?).await?;
    Ok(suites::run(Suite::Tpch, options, client, data_dir.to_owned()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_give_the_answers_of_an_independent_engine() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(ClusterOptions::default()).await.unwrap();
    let outcome = run(&cluster, options("--scale 0.1 --verify").unwrap(), directory.path()).await.unwrap();
    assert_eq!(outcome, Outcome { queries: 22, failed: 0, wrong: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn three_executors_give_the_same_answers() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(ClusterOptions { executors: 3, ..ClusterOptions::default() }).await.unwrap();
    let outcome =
        run(&cluster, options("--scale 0.1 --verify --mode staged").unwrap(), directory.path()).await.unwrap();
    assert_eq!(outcome, Outcome { queries: 22, failed: 0, wrong: 0 });
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_holds_every_run_of_every_engine() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(ClusterOptions::default()).await.unwrap();
    let (json, svg) = (directory.path().join("report.json"), directory.path().join("report.svg"));
    let arguments = format!(
        "--scale 0.01 --queries 6,1 --reps 3 --warmups 1 --peers datafusion --json {} --svg {}",
        json.display(),
        svg.display()
    );
    let asked = options(&arguments).unwrap();
    assert_eq!(asked.mode, Mode::Auto);
    // The second run finds the data and the tables of the first.
    for _ in 0..2 {
        let outcome = run(&cluster, asked.clone(), directory.path()).await.unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["queries"].as_array().unwrap().len(), 2);
    assert_eq!(report["queries"][0]["query"], 6);
    for engine in report["queries"][1]["engines"].as_array().unwrap() {
        assert_eq!(engine["seconds"].as_array().unwrap().len(), 3);
        assert_eq!((&engine["rows"], &engine["verdict"]), (&4.into(), &"verified".into()));
    }
    assert!(report["engines"][1]["geometric_mean_ratio"].as_f64().unwrap() > 0.0);
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert!(std::fs::read_to_string(&svg).unwrap().contains("q06 grappe"));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_joins_are_asked_on_tables_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(ClusterOptions::default()).await.unwrap();
    let ask = async |arguments: &str| {
        let client = Client::connect_stream(cluster.connect().unwrap()).await.unwrap();
        suites::run(Suite::H2o, options(arguments).unwrap(), client, directory.path().to_owned()).await
    };
    let outcome = ask("--scale 0.001 --peers datafusion").await.unwrap();
    assert_eq!(outcome, Outcome { queries: 15, failed: 0, wrong: 0 });
    let error = ask("--scale 0.001 --queries 16").await.unwrap_err().to_string();
    assert!(error.contains("no query 16"), "{error}");
    let error = ask("--scale 0.001 --verify").await.unwrap_err().to_string();
    assert!(error.contains("run duckdb, polars or spark beside it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_of_page_views_finds_something() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(ClusterOptions::default()).await.unwrap();
    let client = Client::connect_stream(cluster.connect().unwrap()).await.unwrap();
    let json = directory.path().join("report.json");
    let asked = options(&format!("--scale 0.05 --json {}", json.display())).unwrap();
    let outcome = suites::run(Suite::Clickbench, asked, client, directory.path().to_owned()).await.unwrap();
    assert_eq!(outcome, Outcome { queries: 43, failed: 0, wrong: 0 });
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    for query in report["queries"].as_array().unwrap() {
        assert!(query["engines"][0]["rows"].as_u64().unwrap() > 0, "query {}", query["query"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_python_is_named_with_the_way_to_make_it() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(ClusterOptions::default()).await.unwrap();
    let asked = options("--scale 0.01 --peers duckdb --peer-python /nowhere/python").unwrap();
    let error = run(&cluster, asked, directory.path()).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/python") && error.contains("scripts/bench-peers"), "{error}");
}

#[derive(clap::Parser)]
struct ClientsCommand {
    #[command(flatten)]
    options: ClientsOptions,
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_get_answers_to_all_kinds_of_queries() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(ClusterOptions::default()).await.unwrap();
    let json = directory.path().join("clients.json");
    let arguments =
        format!("clients --scale 0.01 --clients 1,6 --seconds 1 --mix point=8,q6=4,q18=1 --json {}", json.display());
    let options = ClientsCommand::try_parse_from(arguments.split_whitespace()).unwrap().options;
    let connect = async || Client::connect_stream(cluster.connect().unwrap()).await;
    let outcome = clients::run(options, connect, directory.path().to_owned()).await.unwrap();
    assert!(outcome.is_success() && outcome.queries > 20, "{outcome:?}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(report["steps"][1]["clients"], 6);
    assert_eq!(report["steps"][1]["kinds"].as_array().unwrap().len(), 3);
}
