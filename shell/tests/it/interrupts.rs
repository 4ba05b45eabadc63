//! Ctrl-C in each phase of a statement, and connections that break.

use std::time::Duration;

use shell::Environment;
use tokio::sync::mpsc;

use crate::server::FakeServer;
use crate::sessions::{options, streams};

/// What came of a run: exit code, output, errors.
struct Came {
    exit: i32,
    output: String,
    errors: String,
    events: Vec<String>,
}

/// Runs a script and presses Ctrl-C at each of the events of the server.
async fn interrupted(words: &[&str], input: &str, presses_at: &[&str]) -> Came {
    let server = FakeServer::start().await;
    let (presses, interrupts) = mpsc::channel(1);
    let (streams, output, errors) = streams(input.as_bytes(), interrupts);
    let run = shell::run_over(options(words), Ok(server.client.clone()), Environment::default(), streams);
    let press = async {
        for event in presses_at {
            server.seen.wait_for(event).await;
            presses.send(()).await.expect("the shell listens");
        }
        std::future::pending::<()>().await;
    };
    let exit = tokio::select! {
        exit = run => exit,
        () = press => unreachable!("it never ends"),
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the shell hangs; {}", errors.text()),
    };
    Came { exit, output: output.text(), errors: errors.text(), events: server.seen.events() }
}

const CANCELLED: &str = "ERROR:  the statement was cancelled\n";

#[tokio::test]
async fn a_statement_without_a_result_yet_is_cancelled() {
    let came = interrupted(&[], "SELECT 1;\nHANG READY;\nSELECT 2;\n", &["run HANG READY"]).await;
    assert_eq!((came.exit, came.errors.as_str()), (3, CANCELLED));
    assert!(came.events.contains(&"cancel HANG READY".to_owned()), "{:?}", came.events);
    assert!(!came.events.contains(&"run SELECT 2".to_owned()), "a cancelled script goes on");
    assert!(came.output.contains("(1 row)"));
}

#[tokio::test]
async fn a_result_that_stops_flowing_is_cancelled() {
    let came = interrupted(&["-A", "-c", "HANG STREAM", "-c", "SELECT 2"], "", &["read HANG STREAM"]).await;
    assert_eq!((came.exit, came.errors.as_str()), (1, CANCELLED));
    assert_eq!(came.events, ["run HANG STREAM", "read HANG STREAM", "cancel HANG STREAM"]);
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_at_the_second_press() {
    let came = interrupted(&["-f", "-"], "HANG PLANNING;\n", &["run HANG PLANNING", "run HANG PLANNING"]).await;
    assert_eq!((came.exit, came.errors.as_str()), (3, "<stdin>:1: ERROR:  the statement was cancelled\n"));
}

#[tokio::test]
async fn a_meta_command_is_cancelled_like_its_statement() {
    let came = interrupted(&[], "\\echo a\n\\set x 1\nHANG READY \\g\n\\echo b\n", &["run HANG READY"]).await;
    assert_eq!((came.exit, came.output.as_str(), came.errors.as_str()), (3, "a\n", CANCELLED));
}

#[tokio::test]
async fn a_lost_connection_ends_a_script_with_2() {
    for statement in ["BREAK STREAM", "BREAK PLANNING"] {
        let came = interrupted(&["-A"], &format!("{statement};\nSELECT 1;\n"), &[]).await;
        assert_eq!(came.exit, 2, "{statement}: {}", came.errors);
        assert!(came.errors.starts_with("ERROR:  the connection to the server was lost: "), "{}", came.errors);
    }
}
