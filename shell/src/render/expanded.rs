//! The table with one value a line, as `\x` asks for.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::cells::Cells;
use super::layout::{Line, lines, pad, repeat, width};
use super::{Format, RenderError, Renderer, headers, write_row_count};

/// Prints `-[ RECORD 1 ]---` and `name | value` for each value.
pub(super) struct Expanded {
    format: Format,
    names: Vec<String>,
    names_width: usize,
    values_width: usize,
    records: u64,
}

impl Expanded {
    /// Takes the widths from the names and the sample.
    pub(super) fn new(format: &Format, schema: &Schema, sample: &[RecordBatch]) -> Result<Self, RenderError> {
        let names = headers(schema);
        let mut values_width = 0;
        let mut text = String::new();
        for batch in sample {
            let cells = Cells::try_new(batch)?;
            for column in 0..names.len() {
                for row in 0..batch.num_rows() {
                    text.clear();
                    cells.write(column, row, &format.null, &mut text);
                    values_width = values_width.max(width(&text));
                }
            }
        }
        let names_width = names.iter().map(|name| width(name)).max().unwrap_or_default();
        Ok(Self { format: format.clone(), names, names_width, values_width, records: 0 })
    }

    /// The line above a record: its number, if it is told, lies over a rule with a `+` above the bars.
    fn record(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.records += 1;
        let label = match (self.format.tuples_only, self.records) {
            (true, 1) => return Ok(()),
            (true, _) => "-".to_owned(),
            (false, number) => format!("-[ RECORD {number} ]"),
        };
        let bar = self.names_width + 1;
        let line_width = bar + 1 + 1 + self.values_width;
        out.write_all(label.as_bytes())?;
        if label.len() <= bar {
            repeat(b'-', bar - label.len(), out)?;
            out.write_all(b"+")?;
            repeat(b'-', line_width - bar - 1, out)?;
        } else {
            repeat(b'-', line_width.saturating_sub(label.len()), out)?;
        }
        out.write_all(b"\n")
    }

    fn value(&self, name: &str, value: &str, out: &mut dyn Write) -> io::Result<()> {
        let (name, value) = (lines(name), lines(value));
        for index in 0..name.len().max(value.len()) {
            self.name_line(&name, index, out)?;
            out.write_all(b"|")?;
            self.value_line(&value, index, out)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn name_line(&self, name: &[Line<'_>], index: usize, out: &mut dyn Write) -> io::Result<()> {
        let (text, width) = name.get(index).map_or(("", 0), |line| (line.text.as_ref(), line.width));
        out.write_all(text.as_bytes())?;
        pad(self.names_width.saturating_sub(width), out)?;
        out.write_all(if index + 1 < name.len() { b"+" } else { b" " })
    }

    fn value_line(&self, value: &[Line<'_>], index: usize, out: &mut dyn Write) -> io::Result<()> {
        let Some(line) = value.get(index) else { return Ok(()) };
        out.write_all(b" ")?;
        out.write_all(line.text.as_bytes())?;
        if index + 1 < value.len() {
            pad(self.values_width.saturating_sub(line.width), out)?;
            out.write_all(b"+")?;
        }
        Ok(())
    }
}

impl Renderer for Expanded {
    fn header(&mut self, _out: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let cells = Cells::try_new(batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            if self.names.is_empty() {
                continue;
            }
            if self.records == 0
                && let Some(title) = self.format.title.as_ref().filter(|_| !self.format.tuples_only)
            {
                writeln!(out, "{title}")?;
            }
            self.record(out)?;
            for (column, name) in self.names.iter().enumerate() {
                text.clear();
                cells.write(column, row, &self.format.null, &mut text);
                self.value(name, &text, out)?;
            }
        }
        Ok(())
    }

    fn footer(&mut self, rows_total: u64, out: &mut dyn Write) -> Result<(), RenderError> {
        if self.records == 0 && self.format.footer && !self.format.tuples_only {
            write_row_count(rows_total, out)?;
        }
        Ok(out.write_all(b"\n")?)
    }
}
