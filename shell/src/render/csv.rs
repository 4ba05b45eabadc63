//! Comma-separated values with psql's rules for quotes.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::cells::Cells;
use super::{Expanded, Format, RenderError, Renderer, headers};

/// Prints a line of names and a line for each row, or `name,value` for each value in expanded mode.
pub(super) struct Csv {
    format: Format,
    names: Vec<String>,
}

impl Csv {
    /// Needs no sample.
    pub(super) fn new(format: &Format, schema: &Schema) -> Self {
        Self { format: format.clone(), names: headers(schema) }
    }

    fn is_expanded(&self) -> bool {
        self.format.expanded == Expanded::On
    }

    fn row(&self, cells: &Cells<'_>, row: usize, value: &mut String, line: &mut String) {
        for column in 0..self.names.len() {
            value.clear();
            cells.write(column, row, &self.format.null, value);
            if column > 0 {
                line.push(self.format.csv_separator);
            }
            self.push(value, line);
        }
        line.push('\n');
    }

    fn record(&self, cells: &Cells<'_>, row: usize, value: &mut String, line: &mut String) {
        for (column, name) in self.names.iter().enumerate() {
            value.clear();
            cells.write(column, row, &self.format.null, value);
            self.push(name, line);
            line.push(self.format.csv_separator);
            self.push(value, line);
            line.push('\n');
        }
    }

    /// Appends a value, in quotes if a reader would take it for something else.
    fn push(&self, value: &str, line: &mut String) {
        // The separator is ASCII, and so is every other byte looked for.
        let is_special = |byte| matches!(byte, b'"' | b'\n' | b'\r') || char::from(byte) == self.format.csv_separator;
        if value != "\\." && !value.bytes().any(is_special) {
            line.push_str(value);
            return;
        }
        line.push('"');
        line.push_str(&value.replace('"', "\"\""));
        line.push('"');
    }
}

impl Renderer for Csv {
    fn header(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        if self.format.tuples_only || self.is_expanded() {
            return Ok(());
        }
        let mut line = String::new();
        for (column, name) in self.names.iter().enumerate() {
            if column > 0 {
                line.push(self.format.csv_separator);
            }
            self.push(name, &mut line);
        }
        Ok(writeln!(out, "{line}")?)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let cells = Cells::try_new(batch)?;
        let (mut value, mut line) = (String::new(), String::new());
        let rows = if self.names.is_empty() { 0 } else { batch.num_rows() };
        for row in 0..rows {
            line.clear();
            if self.is_expanded() {
                self.record(&cells, row, &mut value, &mut line);
            } else {
                self.row(&cells, row, &mut value, &mut line);
            }
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn footer(&mut self, _rows_total: u64, _out: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }
}
