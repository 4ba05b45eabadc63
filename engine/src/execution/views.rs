//! View types and dictionaries stay inside: many clients cannot read the ones, and Flight unpacks the others, so results
//! leave with plain types, and announce them. Large lists are among them: arrow-flight 59 streams them as lists, whatever
//! was announced (`prepare_field_for_flight`).
//!
//! DataFusion's own setting for this (`expand_views_at_output`) puts a projection above the last sort, over which it then
//! repartitions, and the order is lost.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::execution::{Progress, Running};

/// The columns as a table or result announces them: without view types and dictionaries, which are ways to hold values
/// and not types, at any depth.
pub(crate) fn result_schema(schema: &Schema) -> Schema {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The same rows in [`result_schema`]; nothing is done if they have it already.
pub(crate) fn result_stream(stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let plain = Arc::new(result_schema(&schema));
    if plain == schema {
        return stream;
    }
    let target = SchemaRef::clone(&plain);
    let batches = stream.map(move |batch| cast_batch(&batch?, &target));
    Box::pin(RecordBatchStreamAdapter::new(plain, batches))
}

/// The rows in the types of `schema`, column by column.
pub(crate) fn cast_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
}

/// A result as clients get it, whichever mode it comes from.
#[derive(Debug)]
pub(crate) struct PlainResult(pub(crate) Arc<dyn Running>);

impl Running for PlainResult {
    fn schema(&self) -> SchemaRef {
        Arc::new(result_schema(&self.0.schema()))
    }

    fn stream(&self) -> crate::Result<SendableRecordBatchStream> {
        Ok(result_stream(self.0.stream()?))
    }

    fn streams(&self, parts_max: usize) -> crate::Result<Vec<SendableRecordBatchStream>> {
        Ok(self.0.streams(parts_max)?.into_iter().map(result_stream).collect())
    }

    fn progress(&self) -> Progress {
        self.0.progress()
    }

    fn is_large(&self) -> bool {
        self.0.is_large()
    }

    fn setbacks(&self) -> Vec<String> {
        self.0.setbacks()
    }

    fn cancel(&self) {
        self.0.cancel();
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    match plain_type(field.data_type()) {
        Some(plain) => Arc::new(Field::clone(field).with_data_type(plain)),
        None => Arc::clone(field),
    }
}

/// The plain type; nothing if it is plain.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let changed = |field: &FieldRef| plain_type(field.data_type()).map(|_| plain_field(field));
    match data_type {
        DataType::Utf8View => Some(DataType::Utf8),
        DataType::BinaryView => Some(DataType::Binary),
        DataType::List(item) => changed(item).map(DataType::List),
        DataType::LargeList(item) => Some(DataType::List(changed(item).unwrap_or_else(|| Arc::clone(item)))),
        DataType::FixedSizeList(item, length) => changed(item).map(|item| DataType::FixedSizeList(item, *length)),
        DataType::Map(entries, sorted) => changed(entries).map(|entries| DataType::Map(entries, *sorted)),
        DataType::Dictionary(_, value) => Some(plain_type(value).unwrap_or_else(|| value.as_ref().clone())),
        DataType::Struct(fields) if fields.iter().any(|field| plain_type(field.data_type()).is_some()) => {
            Some(DataType::Struct(fields.iter().map(plain_field).collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_found_at_any_depth_and_other_types_stay() {
        let item = Arc::new(Field::new("item", DataType::Utf8View, true));
        let fields = vec![
            Field::new("a", DataType::Int64, false),
            Field::new("b", DataType::List(Arc::clone(&item)), true),
            Field::new("c", DataType::Struct(vec![Arc::clone(&item)].into()), true),
            Field::new("d", DataType::LargeList(item), true),
        ];
        let plain = result_schema(&Schema::new(fields));
        let text = format!("{plain:?}");
        assert!(!text.contains("View") && !text.contains("LargeList") && text.contains("Int64"), "{text}");
    }
}
