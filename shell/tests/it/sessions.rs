//! Whole sessions as data: `tests/sessions/NAME.txt` says what is given and what comes out.
//!
//! A file consists of sections, each after a line that starts with `====`:
//! `args` (one a line), `input`, `file NAME`, `output`, `errors`, `written NAME`, `sent`, `exit`.
//! `{dir}` stands for the folder in which the files lie.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use shell::{Environment, Input, Interrupts, Options, Streams};
use tokio::sync::mpsc;

use crate::server::FakeServer;

/// The program, as the binary has it.
#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    options: Options,
}

/// Options from words.
pub(crate) fn options(words: &[&str]) -> Options {
    Program::try_parse_from([&["grappe"], words].concat()).expect("good options").options
}

/// A stream that is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// What was written.
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("UTF-8")
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Streams that are kept, with a script for input.
pub(crate) fn streams(input: &[u8], interrupts: mpsc::Receiver<()>) -> (Streams, Kept, Kept) {
    let (output, errors) = (Kept::default(), Kept::default());
    let streams = Streams {
        input: Input::Script(Box::new(std::io::Cursor::new(input.to_vec()))),
        output: Box::new(output.clone()),
        errors: Box::new(errors.clone()),
        output_is_terminal: false,
        errors_are_terminal: false,
        interrupts: Interrupts::from_channel(interrupts),
    };
    (streams, output, errors)
}

/// A name and its text.
type Section<'a> = (&'a str, &'a str);

fn sections(text: &str) -> Vec<Section<'_>> {
    let parts = text.split("==== ").filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('\n').expect("a name")).collect()
}

async fn play(sections: &[Section<'_>], dir: &Path) -> String {
    let place = |text: &str| text.replace("{dir}", &dir.display().to_string());
    let text_of = |wanted: &str| sections.iter().find(|(name, _)| *name == wanted).map_or("", |(_, text)| *text);
    for (name, text) in sections {
        if let Some(file) = name.strip_prefix("file ") {
            fs::write(dir.join(file), unescaped(text)).expect("a file");
        }
    }
    let server = FakeServer::start().await;
    let words: Vec<_> = text_of("args").lines().map(place).collect();
    let options = options(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let environment = Environment {
        server: "grpc://localhost:1".to_owned(),
        history_file: None,
        startup_file: Some(dir.join("startup.sql")),
    };
    let (_presses, interrupts) = mpsc::channel(1);
    let (streams, output, errors) = streams(place(text_of("input")).as_bytes(), interrupts);
    let exit = shell::run_over(options, Ok(server.client.clone()), environment, streams).await;

    let mut played = String::new();
    for (name, text) in sections {
        let came = match (*name, name.strip_prefix("written ")) {
            ("output", _) => output.text(),
            ("errors", _) => errors.text(),
            ("exit", _) => format!("{exit}\n"),
            ("sent", _) => server
                .seen
                .events()
                .iter()
                .filter_map(|e| e.strip_prefix("run "))
                .fold(String::new(), |all, sql| all + sql + "\n"),
            (_, Some(file)) => fs::read_to_string(dir.join(file)).unwrap_or_else(|error| error.to_string()),
            _ => (*text).to_owned(),
        };
        let came = came.replace(&dir.display().to_string(), "{dir}");
        writeln!(played, "==== {name}").expect("memory");
        played += &came;
    }
    played
}

/// Files may hold bytes that are no text, written `{FF}`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in text.split("{FF}").enumerate() {
        if index > 0 {
            bytes.push(0xFF);
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn sessions_come_out_as_written() {
    let folder = Path::new("tests/sessions");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("sessions") {
        let path = entry.expect("a session").path();
        let expected = fs::read_to_string(&path).expect("a session");
        let dir = tempfile::tempdir().expect("a folder");
        let actual = play(&sections(&expected), dir.path()).await;
        assert_eq!(actual, expected, "{}\n{actual}", path.display());
        count += 1;
    }
    assert!(count >= 10, "only {count} sessions were played");
}
