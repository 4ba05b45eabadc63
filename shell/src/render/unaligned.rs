//! Values with a separator between them, for other programs.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::cells::Cells;
use super::{Expanded, Format, RenderError, Renderer, headers, write_row_count};

/// Prints `a|b`, or `name|value` for each value in expanded mode.
pub(super) struct Unaligned {
    format: Format,
    names: Vec<String>,
    /// Whether something stands above the next record.
    begun: bool,
}

impl Unaligned {
    /// Needs no sample.
    pub(super) fn new(format: &Format, schema: &Schema) -> Self {
        Self { format: format.clone(), names: headers(schema), begun: false }
    }

    fn is_expanded(&self) -> bool {
        self.format.expanded == Expanded::On
    }

    fn row(&self, cells: &Cells<'_>, row: usize, line: &mut String) {
        for column in 0..self.names.len() {
            if column > 0 {
                line.push_str(&self.format.field_separator);
            }
            cells.write(column, row, &self.format.null, line);
        }
        line.push('\n');
    }

    fn record(&mut self, cells: &Cells<'_>, row: usize, line: &mut String) {
        if self.begun {
            line.push('\n');
        }
        self.begun = true;
        for (column, name) in self.names.iter().enumerate() {
            line.push_str(name);
            line.push_str(&self.format.field_separator);
            cells.write(column, row, &self.format.null, line);
            line.push('\n');
        }
    }
}

impl Renderer for Unaligned {
    fn header(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        if self.format.tuples_only {
            return Ok(());
        }
        if let Some(title) = &self.format.title {
            writeln!(out, "{title}")?;
            self.begun = true;
        }
        if !self.is_expanded() {
            writeln!(out, "{}", self.names.join(&self.format.field_separator))?;
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let cells = Cells::try_new(batch)?;
        let mut line = String::new();
        let rows = if self.names.is_empty() { 0 } else { batch.num_rows() };
        for row in 0..rows {
            line.clear();
            if self.is_expanded() {
                self.record(&cells, row, &mut line);
            } else {
                self.row(&cells, row, &mut line);
            }
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn footer(&mut self, rows_total: u64, out: &mut dyn Write) -> Result<(), RenderError> {
        if self.format.footer && !self.format.tuples_only && !self.is_expanded() {
            write_row_count(rows_total, out)?;
        }
        Ok(())
    }
}
