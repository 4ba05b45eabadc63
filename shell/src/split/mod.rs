//! Cuts what is typed, line by line, into statements and meta commands.
//!
//! A statement ends at a `;` outside of quotes and comments, a backslash there starts a meta command, and `:name` there
//! inserts a variable, whose value is read as if it had been typed. Each line is looked at once, so that the cost is
//! linear however long a statement grows; a tokenizer for whole statements would have to start over at each line, and
//! would refuse text that is wrong inside, whose end must be found all the same.

mod lexer;

#[cfg(test)]
mod tests;

use self::lexer::{Open, Step, step};
use crate::variables::{Quote, Reference, Variables};

/// Bytes of the longest statement: far below the largest message a server takes.
const STATEMENT_BYTES_MAX: usize = 64 << 20;

/// One statement without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The text, variables inserted.
    pub(crate) text: String,
    /// The line of the source on which it starts, from 1.
    pub(crate) line: u64,
}

/// What was found in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A complete statement.
    Statement(Statement),
    /// A backslash and the rest of its line.
    Command {
        /// The text from the backslash on.
        text: String,
        /// Its line in the source, from 1.
        line: u64,
    },
}

/// What the next line continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// Nothing: a statement may start.
    Nothing,
    /// A statement.
    Statement,
    /// A quote or comment, by the character that psql's prompt shows.
    Quote(char),
}

/// Text that cannot become a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct SplitError {
    /// What is wrong, and the way out.
    what: String,
    /// The line of the source, from 1.
    pub(crate) line: u64,
}

/// The state between two lines.
#[derive(Debug)]
pub(crate) struct Splitter {
    /// The line being read, and above it the variables being inserted.
    inputs: Vec<Input>,
    text: String,
    open: Open,
    /// Whether the text has more than space and comments.
    solid: bool,
    line: u64,
    text_line: u64,
    open_line: u64,
}

#[derive(Debug)]
struct Input {
    text: String,
    at: usize,
    /// The variable whose value this is.
    variable: Option<String>,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            text: String::new(),
            open: Open::Nothing,
            solid: false,
            line: 1,
            text_line: 1,
            open_line: 1,
        }
    }
}

impl Splitter {
    /// Adds text that ends where a line ends.
    pub(crate) fn push(&mut self, lines: String) {
        self.inputs.insert(0, Input { text: lines, at: 0, variable: None });
    }

    /// Puts back the end of a line that a meta command did not use.
    pub(crate) fn unread(&mut self, text: &str) {
        if !text.is_empty() {
            self.inputs.push(Input { text: text.to_owned(), at: 0, variable: None });
        }
    }

    /// The next piece of the lines pushed so far; nothing when another line is needed.
    pub(crate) fn next_piece(&mut self, variables: &Variables) -> Result<Option<Piece>, SplitError> {
        while let Some(input) = self.inputs.last() {
            let Some(rest) = input.text.get(input.at..).filter(|rest| !rest.is_empty()) else {
                self.inputs.pop();
                continue;
            };
            let before = self.open.clone();
            let (step, len) = step(&mut self.open, rest);
            if before == Open::Nothing {
                self.open_line = self.line;
            }
            if let Some(piece) = self.take(step, len, variables)? {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// What is left when no more lines come: a statement needs no semicolon there.
    pub(crate) fn finish(&mut self) -> Result<Option<Statement>, SplitError> {
        match self.open.unterminated() {
            None => Ok(self.take_statement()),
            Some(what) => {
                let error =
                    SplitError { what: format!("{what} that starts here is never closed"), line: self.open_line };
                self.reset();
                Err(error)
            }
        }
    }

    /// What the next line continues.
    pub(crate) fn pending(&self) -> Pending {
        match self.open.prompt() {
            Some(character) => Pending::Quote(character),
            None if self.solid => Pending::Statement,
            None => Pending::Nothing,
        }
    }

    /// The statement so far, complete or not; the next one starts.
    pub(crate) fn take_statement(&mut self) -> Option<Statement> {
        let text = std::mem::take(&mut self.text);
        self.open = Open::Nothing;
        let solid = std::mem::take(&mut self.solid);
        solid.then(|| Statement { text: text.trim_end().to_owned(), line: self.text_line })
    }

    /// The statement so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The line of the source that comes next, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Forgets the statement so far and the rest of the line.
    pub(crate) fn reset(&mut self) {
        self.take_statement();
        self.inputs.clear();
    }

    fn take(&mut self, step: Step, len: usize, variables: &Variables) -> Result<Option<Piece>, SplitError> {
        match step {
            Step::Space => self.append(len, false)?,
            Step::Text => self.append(len, true)?,
            Step::Reference => self.insert_variable(len, variables)?,
            Step::EscapedColon => {
                self.skip(1);
                self.append(len - 1, true)?;
            }
            Step::Semicolon => {
                self.skip(len);
                return Ok(self.take_statement().map(Piece::Statement));
            }
            Step::Backslash => {
                let line = self.line;
                let text = self.skip(len);
                return Ok(Some(Piece::Command { text, line }));
            }
        }
        Ok(None)
    }

    /// Moves `len` bytes of input to the statement.
    fn append(&mut self, len: usize, solid: bool) -> Result<(), SplitError> {
        let line = self.line;
        let text = self.skip(len);
        let text = if self.text.is_empty() { text.trim_start() } else { text.as_str() };
        self.append_text(text, solid, line)
    }

    fn append_text(&mut self, text: &str, solid: bool, line: u64) -> Result<(), SplitError> {
        if self.text.len() + text.len() > STATEMENT_BYTES_MAX {
            let what = format!("a statement has at most {STATEMENT_BYTES_MAX} bytes, this one is longer");
            let error = SplitError { what, line: self.text_line };
            self.reset();
            return Err(error);
        }
        if self.text.is_empty() {
            self.text_line = line;
        }
        self.text.push_str(text);
        self.solid |= solid;
        Ok(())
    }

    /// Replaces a reference by its value, which is read next; the colon of an unknown name is text.
    fn insert_variable(&mut self, len: usize, variables: &Variables) -> Result<(), SplitError> {
        let text = self.peek(len).to_owned();
        let known = Reference::parse(&text)
            .filter(|reference| reference.quote != Quote::None || !self.is_inserting(reference.name))
            .and_then(|reference| Some((reference, variables.get(reference.name)?)));
        let Some((reference, value)) = known else { return self.append(1, true) };
        let line = self.line;
        self.skip(len);
        if reference.quote != Quote::None {
            return self.append_text(&reference.quote.apply(value), true, line);
        }
        let variable = Some(reference.name.to_owned());
        self.inputs.push(Input { text: value.to_owned(), at: 0, variable });
        Ok(())
    }

    /// Whether the text being read is the value of a variable: it is not inserted into itself.
    fn is_inserting(&self, name: &str) -> bool {
        self.inputs.iter().any(|input| input.variable.as_deref() == Some(name))
    }

    /// The next `len` bytes of the input.
    fn peek(&self, len: usize) -> &str {
        self.inputs.last().and_then(|input| input.text.get(input.at..input.at + len)).unwrap_or_default()
    }

    /// Takes `len` bytes from the input and counts their lines.
    fn skip(&mut self, len: usize) -> String {
        let text = self.peek(len).to_owned();
        if let Some(input) = self.inputs.last_mut() {
            input.at += len;
            if input.variable.is_none() {
                self.line += text.matches('\n').count() as u64;
            }
        }
        text
    }
}
