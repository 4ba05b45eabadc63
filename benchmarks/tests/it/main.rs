//! TPC-H through a coordinator in this process, every answer verified.

use std::error::Error;
use std::path::Path;

use benchmarks::tpch::{self, Mode, Outcome, TpchOptions};
use clap::Parser;
use client::Client;
use local_cluster::{ClusterOptions, LocalCluster};

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    options: TpchOptions,
}

fn options(arguments: &str) -> Result<TpchOptions, clap::Error> {
    let arguments = std::iter::once("tpch").chain(arguments.split_whitespace());
    Ok(Command::try_parse_from(arguments)?.options)
}

async fn run(cluster: &LocalCluster, options: TpchOptions, data_dir: &Path) -> Result<Outcome, Box<dyn Error>> {
    let client = Client::connect_stream(cluster.connect()?).await?;
    Ok(tpch::run(options, client, data_dir.to_owned()).await?)
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
    let json = directory.path().join("report.json");
    let arguments =
        format!("--scale 0.01 --queries 6,1 --reps 3 --warmups 1 --peers datafusion --json {}", json.display());
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
}
