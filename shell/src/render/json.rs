//! One JSON object a line, named by the columns; nulls are written.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, LineDelimited, WriterBuilder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{RenderError, Renderer};

/// Prints objects.
pub(super) struct Json {
    encodings: Vec<Encoding>,
}

/// How the values of a column become JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As they are.
    Direct,
    /// Without their dictionary, whose nulls Arrow's writer does not see.
    Unpacked,
    /// As text, since their type has no JSON.
    Text,
}

impl Json {
    /// Needs no sample.
    pub(super) fn new(schema: &Schema) -> Self {
        Self { encodings: schema.fields().iter().map(encoding).collect() }
    }

    fn encodable(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let schema = batch.schema();
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for ((field, column), encoding) in schema.fields().iter().zip(batch.columns()).zip(&self.encodings) {
            let column = match (encoding, column.data_type()) {
                (Encoding::Unpacked, DataType::Dictionary(_, values)) => cast(column, values)?,
                (Encoding::Text, _) => text(column)?,
                _ => Arc::clone(column),
            };
            fields.push(Field::new(field.name(), column.data_type().clone(), true));
            columns.push(column);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

impl Renderer for Json {
    fn header(&mut self, _out: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out);
        if self.encodings.iter().all(|encoding| *encoding == Encoding::Direct) {
            writer.write(batch)?;
        } else {
            writer.write(&self.encodable(batch)?)?;
        }
        Ok(())
    }

    fn footer(&mut self, _rows_total: u64, _out: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }
}

fn encoding(field: &FieldRef) -> Encoding {
    let empty = new_empty_array(field.data_type());
    match field.data_type() {
        _ if make_encoder(field, empty.as_ref(), &EncoderOptions::default()).is_err() => Encoding::Text,
        DataType::Dictionary(_, _) => Encoding::Unpacked,
        _ => Encoding::Direct,
    }
}

fn text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let nulls = column.logical_nulls();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let texts = (0..column.len()).map(|row| (!is_null(row)).then(|| formatter.value(row).to_string()));
    Ok(Arc::new(texts.collect::<StringArray>()))
}
