//! Prints results as psql 15 does, byte for byte where the data allow it.
//!
//! ```text
//!  batches ─► Rendering ─► sample (the first rows: widths, `\x auto`) ─► one Renderer ─► output
//! ```
//!
//! A result is never held as a whole: once the sample is complete its rows are written, and every later batch is
//! written as it arrives. A later value that is wider than its column runs over it.
//!
//! This module knows Arrow and text. It must not know where batches come from or where the text goes.

mod aligned;
mod cells;
mod csv;
mod expanded;
mod format;
mod json;
mod layout;
mod unaligned;

#[cfg(test)]
mod arrow_values;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;

pub(crate) use self::format::{Expanded, Format, Style};
pub(crate) use self::layout::width as display_width;

/// Rows after which the widths of an aligned table are settled.
const SAMPLE_ROWS_MIN: usize = 1_000;

/// Bytes after which they are settled even if there were fewer rows.
const SAMPLE_BYTES_MAX: usize = 16 << 20;

/// Why a result could not be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// The output took no more.
    #[error(transparent)]
    Output(#[from] io::Error),
    /// A value has no text.
    #[error("cannot display the result: {0}")]
    Value(ArrowError),
}

impl From<ArrowError> for RenderError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Output(error),
            other => Self::Value(other),
        }
    }
}

/// Writes one result in one format; made when the sample is known.
trait Renderer: Send {
    /// Writes what stands above the rows.
    fn header(&mut self, out: &mut dyn Write) -> Result<(), RenderError>;

    /// Writes the rows of one batch.
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError>;

    /// Writes what stands below them.
    fn footer(&mut self, rows_total: u64, out: &mut dyn Write) -> Result<(), RenderError>;
}

/// One result on its way to the output.
pub(crate) struct Rendering {
    format: Format,
    schema: SchemaRef,
    columns_max: Option<usize>,
    /// Batches that are not written yet.
    waiting: Vec<RecordBatch>,
    rows_waiting: usize,
    bytes_waiting: usize,
    /// Chosen when the sample is complete.
    renderer: Option<Box<dyn Renderer>>,
    rows_total: u64,
}

impl Rendering {
    /// Starts a result; `columns_max` is the width of the terminal that shows it, if one does.
    pub(crate) fn new(format: &Format, schema: SchemaRef, columns_max: Option<usize>) -> Self {
        Self {
            format: format.clone(),
            schema,
            columns_max,
            waiting: Vec::new(),
            rows_waiting: 0,
            bytes_waiting: 0,
            renderer: None,
            rows_total: 0,
        }
    }

    /// Takes one batch; it waits in the sample or for [`Self::write`].
    pub(crate) fn push(&mut self, batch: RecordBatch) {
        self.rows_total += batch.num_rows() as u64;
        self.rows_waiting += batch.num_rows();
        self.bytes_waiting += batch.get_array_memory_size();
        self.waiting.push(batch);
    }

    /// Whether what waits can be written: at once, unless it is the sample and that may still grow.
    pub(crate) fn is_due(&self) -> bool {
        let sampled = self.renderer.is_some() || !self.format.is_sampled();
        sampled || self.rows_waiting >= SAMPLE_ROWS_MIN || self.bytes_waiting >= SAMPLE_BYTES_MAX
    }

    /// Writes what waits.
    pub(crate) fn write(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        let waiting = std::mem::take(&mut self.waiting);
        if self.renderer.is_none() {
            let mut renderer = choose(&self.format, &self.schema, &waiting, self.columns_max)?;
            renderer.header(out)?;
            self.renderer = Some(renderer);
        }
        for batch in waiting {
            if let Some(renderer) = &mut self.renderer {
                renderer.batch(&batch, out)?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and the end.
    pub(crate) fn finish(mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        self.write(out)?;
        match &mut self.renderer {
            Some(renderer) => renderer.footer(self.rows_total, out),
            None => Ok(()),
        }
    }
}

fn choose(
    format: &Format,
    schema: &Schema,
    sample: &[RecordBatch],
    columns_max: Option<usize>,
) -> Result<Box<dyn Renderer>, RenderError> {
    let expanded = format.expanded == Expanded::On;
    Ok(match format.style {
        Style::Aligned if expanded => Box::new(expanded::Expanded::new(format, schema, sample)?),
        Style::Aligned => {
            let table = aligned::Aligned::new(format, schema, sample)?;
            let too_wide = columns_max.is_some_and(|columns_max| table.width() > columns_max);
            if format.expanded == Expanded::Auto && too_wide {
                return Ok(Box::new(expanded::Expanded::new(format, schema, sample)?));
            }
            Box::new(table)
        }
        Style::Unaligned => Box::new(unaligned::Unaligned::new(format, schema)),
        Style::Csv => Box::new(csv::Csv::new(format, schema)),
        Style::Json => Box::new(json::Json::new(schema)),
    })
}

/// The names of the columns.
fn headers(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// `(1 row)`, `(2 rows)`.
fn write_row_count(rows_total: u64, out: &mut dyn Write) -> io::Result<()> {
    let noun = if rows_total == 1 { "row" } else { "rows" };
    writeln!(out, "({rows_total} {noun})")
}
