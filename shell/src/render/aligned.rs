//! The table with straight columns.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::cells::{Cells, is_numeric};
use super::layout::{Line, lines, pad, repeat, width};
use super::{Format, RenderError, Renderer, write_row_count};

/// Prints ` a | b `, a rule and the rows.
pub(super) struct Aligned {
    format: Format,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    numeric: bool,
    width: usize,
}

impl Aligned {
    /// Takes the widths from the names and the sample.
    pub(super) fn new(format: &Format, schema: &Schema, sample: &[RecordBatch]) -> Result<Self, RenderError> {
        let mut columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| Column {
                name: field.name().clone(),
                numeric: is_numeric(field.data_type()),
                width: width(field.name()),
            })
            .collect();
        let mut text = String::new();
        for batch in sample {
            let cells = Cells::try_new(batch)?;
            for (index, column) in columns.iter_mut().enumerate() {
                for row in 0..batch.num_rows() {
                    text.clear();
                    cells.write(index, row, &format.null, &mut text);
                    column.width = column.width.max(width(&text));
                }
            }
        }
        Ok(Self { format: format.clone(), columns })
    }

    /// The columns of the terminal that the table needs.
    pub(super) fn width(&self) -> usize {
        let values: usize = self.columns.iter().map(|column| column.width).sum();
        values + (self.columns.len() * 3).saturating_sub(1)
    }

    fn title(&self, title: &str, out: &mut dyn Write) -> io::Result<()> {
        pad(self.width().saturating_sub(width(title)) / 2, out)?;
        writeln!(out, "{title}")
    }

    fn names(&self, out: &mut dyn Write) -> io::Result<()> {
        let cells: Vec<_> = self.columns.iter().map(|column| lines(&column.name)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        for index in 0..height {
            for (position, (column, lines)) in self.columns.iter().zip(&cells).enumerate() {
                out.write_all(if position == 0 { b" " } else { b"| " })?;
                let (text, width) = lines.get(index).map_or(("", 0), |line| (line.text.as_ref(), line.width));
                let spare = column.width.saturating_sub(width);
                pad(spare / 2, out)?;
                out.write_all(text.as_bytes())?;
                pad(spare.div_ceil(2), out)?;
                out.write_all(if index + 1 < lines.len() { b"+" } else { b" " })?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn rule(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"-")?;
        for (position, column) in self.columns.iter().enumerate() {
            if position > 0 {
                out.write_all(b"-+-")?;
            }
            repeat(b'-', column.width, out)?;
        }
        out.write_all(b"-\n")
    }

    fn row(&self, cells: &[String], out: &mut dyn Write) -> io::Result<()> {
        let cells: Vec<_> = cells.iter().map(|cell| lines(cell)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        for index in 0..height {
            for (position, (column, lines)) in self.columns.iter().zip(&cells).enumerate() {
                if position > 0 {
                    out.write_all(b"|")?;
                }
                let last = position + 1 == self.columns.len();
                column.line(lines, index, last, out)?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl Column {
    /// Writes one line of a cell: spaces stand after the last column only before a `+`, which says that it goes on.
    fn line(&self, lines: &[Line<'_>], index: usize, last: bool, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b" ")?;
        let goes_on = index + 1 < lines.len();
        let (text, width) = lines.get(index).map_or(("", 0), |line| (line.text.as_ref(), line.width));
        let spare = self.width.saturating_sub(width);
        let right = self.numeric && index < lines.len();
        if right {
            pad(spare, out)?;
        }
        out.write_all(text.as_bytes())?;
        if !right && (!last || goes_on) {
            pad(spare, out)?;
        }
        match (goes_on, last) {
            (true, _) => out.write_all(b"+"),
            (false, false) => out.write_all(b" "),
            (false, true) => Ok(()),
        }
    }
}

impl Renderer for Aligned {
    fn header(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        if self.format.tuples_only {
            return Ok(());
        }
        if let Some(title) = &self.format.title {
            self.title(title, out)?;
        }
        self.names(out)?;
        Ok(self.rule(out)?)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let cells = Cells::try_new(batch)?;
        let mut texts = vec![String::new(); self.columns.len()];
        for row in 0..batch.num_rows() {
            for (column, text) in texts.iter_mut().enumerate() {
                text.clear();
                cells.write(column, row, &self.format.null, text);
            }
            self.row(&texts, out)?;
        }
        Ok(())
    }

    fn footer(&mut self, rows_total: u64, out: &mut dyn Write) -> Result<(), RenderError> {
        if self.format.footer && !self.format.tuples_only {
            write_row_count(rows_total, out)?;
        }
        Ok(out.write_all(b"\n")?)
    }
}
