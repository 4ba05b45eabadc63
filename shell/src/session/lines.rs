//! The lines of a script, of a `-c`, or of somebody at the prompt.

use std::io::{self, BufRead, BufReader, Read};

use tokio::sync::mpsc;

use super::failure::{Failure, reason};
use crate::prompt::{Prompt, Typed};
use crate::split::Pending;

/// Bytes of the longest line.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Lines read ahead.
const LINES_AHEAD: usize = 64;

/// Where lines come from.
pub(super) enum Lines {
    /// The text of a `-c`, taken as one line.
    Text(Option<String>),
    /// A reader, which may block.
    Reader(Reader),
    /// Somebody who types.
    Prompt(Box<Prompt>),
}

/// A thread that reads lines.
///
/// A thread of its own, not of the runtime: a read of a pipe that nobody writes to can neither be cancelled nor waited
/// for when the process ends.
pub(super) struct Reader {
    lines: mpsc::Receiver<io::Result<Vec<u8>>>,
    first: bool,
}

/// What came.
pub(super) enum Next {
    /// Text that ends where a line ends.
    Line(String),
    /// The statement so far is given up.
    Cleared,
    /// No more lines.
    End,
}

impl Lines {
    /// The text of a `-c`.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Some(format!("{text}\n")))
    }

    /// A script.
    pub(super) fn reader(reader: Box<dyn Read + Send>) -> Self {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        let read = {
            let sender = sender.clone();
            move || read_lines(reader, &sender)
        };
        if let Err(error) = std::thread::Builder::new().name("script".to_owned()).spawn(read) {
            // The channel is empty, so that there is room.
            let _ = sender.try_send(Err(error));
        }
        Self::Reader(Reader { lines, first: true })
    }

    /// The next line; `pending` says what it goes on with.
    pub(super) async fn next(&mut self, pending: Pending) -> Result<Next, Failure> {
        match self {
            Self::Text(text) => Ok(text.take().map_or(Next::End, Next::Line)),
            Self::Reader(reader) => reader.next().await,
            Self::Prompt(prompt) => match prompt.next(pending).await {
                Ok(Typed::Line(line)) => Ok(Next::Line(line)),
                Ok(Typed::Cleared) => Ok(Next::Cleared),
                Ok(Typed::End) => Ok(Next::End),
                Err(message) => Err(Failure::Input(message)),
            },
        }
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Next, Failure> {
        let line = match self.lines.recv().await {
            None => return Ok(Next::End),
            Some(Err(error)) => return Err(Failure::Input(format!("cannot be read: {}", reason(&error)))),
            Some(Ok(line)) => line,
        };
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(Failure::Input(format!("a line has at most {LINE_BYTES_MAX} bytes, this one is longer")));
        }
        let text = String::from_utf8(line).map_err(|error| {
            let byte = error.utf8_error().valid_up_to() + 1;
            Failure::Input(format!("not valid UTF-8 at byte {byte} of the line: save the script as UTF-8"))
        })?;
        let first = std::mem::take(&mut self.first);
        match text.strip_prefix('\u{feff}').filter(|_| first) {
            Some(text) => Ok(Next::Line(text.to_owned())),
            None => Ok(Next::Line(text)),
        }
    }
}

/// Sends each line until there are no more, or nobody wants them.
fn read_lines(reader: impl Read, sender: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        let (message, goes_on) = match read {
            Ok(0) => return,
            Ok(bytes) => (Ok(line), bytes as u64 <= LINE_BYTES_MAX),
            Err(error) => (Err(error), false),
        };
        if sender.blocking_send(message).is_err() || !goes_on {
            return;
        }
    }
}
