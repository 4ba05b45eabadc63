//! Outputs that close or fail, inputs that stay open, and a connection that never was.

use std::io::{self, Read, Write};

use client::{Error, ErrorKind};
use shell::{Environment, Input, Streams};
use tokio::sync::mpsc;

use crate::server::FakeServer;
use crate::sessions::{options, streams};

/// An output that takes some bytes and then fails.
struct Failing {
    left: usize,
    kind: io::ErrorKind,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left < bytes.len() {
            return Err(self.kind.into());
        }
        self.left -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn run_into(output: Failing, words: &[&str]) -> (i32, String, Vec<String>) {
    let server = FakeServer::start().await;
    let (_presses, interrupts) = mpsc::channel(1);
    let (streams, _, errors) = streams(b"", interrupts);
    let streams = Streams { output: Box::new(output), ..streams };
    let exit = shell::run_over(options(words), Ok(server.client.clone()), Environment::default(), streams).await;
    (exit, errors.text(), server.seen.events())
}

#[tokio::test]
async fn a_closed_pipe_ends_everything_in_silence() {
    let output = Failing { left: 100_000, kind: io::ErrorKind::BrokenPipe };
    let (exit, errors, events) = run_into(output, &["--csv", "-c", "ROWS 100000", "-c", "SELECT 1"]).await;
    assert_eq!((exit, errors.as_str()), (141, ""));
    assert!(!events.contains(&"run SELECT 1".to_owned()));
}

#[tokio::test]
async fn a_full_disk_is_told() {
    let output = Failing { left: 0, kind: io::ErrorKind::StorageFull };
    let (exit, errors, _) = run_into(output, &["-c", "SELECT 1", "-c", "SELECT 2"]).await;
    assert_eq!((exit, errors.as_str()), (1, "error: cannot write to standard output: no storage space\n"));
}

#[tokio::test]
async fn without_a_connection_the_code_is_2() {
    let (_presses, interrupts) = mpsc::channel(1);
    let (streams, _, errors) = streams(b"SELECT 1;", interrupts);
    let refused = Error::new(ErrorKind::Connection, "could not connect to grpc://localhost:1: connection refused");
    let exit = shell::run_over(options(&[]), Err(refused), Environment::default(), streams).await;
    assert_eq!(exit, 2);
    assert_eq!(errors.text(), "grappe: error: could not connect to grpc://localhost:1: connection refused\n");
}

#[tokio::test]
async fn statements_run_as_soon_as_they_are_complete() {
    let server = FakeServer::start().await;
    let (_presses, interrupts) = mpsc::channel(1);
    let (streams, output, _) = streams(b"", interrupts);
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let streams = Streams { input: Input::Script(Box::new(reader)), ..streams };
    let run = shell::run_over(options(&["-At"]), Ok(server.client.clone()), Environment::default(), streams);
    let talk = async {
        writer.write_all(b"SELECT 1;\nSELECT\n").expect("written");
        server.seen.wait_for("read SELECT 1").await;
        writer.write_all(b" 2;").expect("written");
        drop(writer);
        std::future::pending::<()>().await;
    };
    let exit = tokio::select! {
        exit = run => exit,
        () = talk => unreachable!("it never ends"),
    };
    assert_eq!((exit, output.text().as_str()), (0, "1\n2\n"));
}

/// A script without an end.
struct Endless;

impl Read for Endless {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        bytes.fill(b'x');
        Ok(bytes.len())
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_refused() {
    let server = FakeServer::start().await;
    let (_presses, interrupts) = mpsc::channel(1);
    let (streams, _, errors) = streams(b"", interrupts);
    let streams = Streams { input: Input::Script(Box::new(Endless)), ..streams };
    let exit = shell::run_over(options(&[]), Ok(server.client.clone()), Environment::default(), streams).await;
    assert_eq!(exit, 1);
    assert_eq!(errors.text(), "error: a line has at most 67108864 bytes, this one is longer\n");
}
