//! Text as it stands in a cell of a table: split into lines, with the width each takes on a terminal.
//!
//! Control characters are shown, never sent: a value must not steer the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

/// Distance of tab stops inside a cell, in columns.
const TAB_COLUMNS: usize = 8;

/// One line of a cell.
pub(super) struct Line<'a> {
    /// The text, without control characters.
    pub(super) text: Cow<'a, str>,
    /// Its columns on a terminal.
    pub(super) width: usize,
}

/// The lines of a cell; at least one.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    text.split('\n').map(line).collect()
}

/// The columns of the widest line.
pub(crate) fn width(text: &str) -> usize {
    if is_plain(text) {
        return text.len();
    }
    text.split('\n').map(|text| line(text).width).max().unwrap_or_default()
}

/// Writes `columns` spaces.
pub(super) fn pad(columns: usize, out: &mut dyn Write) -> io::Result<()> {
    repeat(b' ', columns, out)
}

/// Writes one byte `times` times.
pub(super) fn repeat(byte: u8, times: usize, out: &mut dyn Write) -> io::Result<()> {
    let chunk = [byte; 64];
    let mut left = times;
    while left > 0 {
        let count = left.min(chunk.len());
        out.write_all(&chunk[..count])?;
        left -= count;
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn line(text: &str) -> Line<'_> {
    if is_plain(text) {
        return Line { text: Cow::Borrowed(text), width: text.len() };
    }
    let mut shown = String::with_capacity(text.len());
    let mut width = 0;
    for character in text.chars() {
        width += push(character, width, &mut shown);
    }
    Line { text: Cow::Owned(shown), width }
}

/// Appends one character at `column` and returns the columns it takes.
fn push(character: char, column: usize, shown: &mut String) -> usize {
    let before = shown.len();
    match character {
        '\r' => shown.push_str("\\r"),
        '\t' => shown.extend(std::iter::repeat_n(' ', TAB_COLUMNS - column % TAB_COLUMNS)),
        character if character.is_ascii_control() => {
            let _ = write!(shown, "\\x{:02X}", u32::from(character));
        }
        character if character.is_control() => {
            let _ = write!(shown, "\\u{:04X}", u32::from(character));
        }
        character => {
            shown.push(character);
            return character.width().unwrap_or_default();
        }
    }
    shown.len() - before
}
