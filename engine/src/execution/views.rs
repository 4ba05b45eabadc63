//! View types stay inside: many clients cannot read them, so results leave with plain strings and binaries.
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

/// The same columns without view types, at any depth.
pub(crate) fn without_views(schema: &Schema) -> Schema {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The same rows without view types; nothing is done if there are none.
pub(crate) fn stream_without_views(stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let plain = Arc::new(without_views(&schema));
    if plain == schema {
        return stream;
    }
    let target = SchemaRef::clone(&plain);
    let batches = stream.map(move |batch| cast_batch(&batch?, &target));
    Box::pin(RecordBatchStreamAdapter::new(plain, batches))
}

fn cast_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
}

fn plain_field(field: &FieldRef) -> FieldRef {
    match plain_type(field.data_type()) {
        Some(plain) => Arc::new(Field::clone(field).with_data_type(plain)),
        None => Arc::clone(field),
    }
}

/// The type without views; nothing if it has none.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let changed = |field: &FieldRef| plain_type(field.data_type()).map(|_| plain_field(field));
    match data_type {
        DataType::Utf8View => Some(DataType::Utf8),
        DataType::BinaryView => Some(DataType::Binary),
        DataType::List(item) => changed(item).map(DataType::List),
        DataType::LargeList(item) => changed(item).map(DataType::LargeList),
        DataType::FixedSizeList(item, length) => changed(item).map(|item| DataType::FixedSizeList(item, *length)),
        DataType::Map(entries, sorted) => changed(entries).map(|entries| DataType::Map(entries, *sorted)),
        DataType::Dictionary(key, value) => {
            plain_type(value).map(|value| DataType::Dictionary(key.clone(), Box::new(value)))
        }
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
            Field::new("c", DataType::Struct(vec![item].into()), true),
        ];
        let plain = without_views(&Schema::new(fields));
        let text = format!("{plain:?}");
        assert!(!text.contains("View") && text.contains("Int64"), "{text}");
    }
}
