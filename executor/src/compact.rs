//! Batches without what they drag along.
//!
//! A view array keeps the buffers of everything it was taken from. What a filter, a join or a limit leaves of a batch is
//! small, and its buffers are not: written to a shuffle file as they are, twenty rows can be a hundred megabytes.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};
use datafusion::common::Result;

/// Bytes that may be dragged along: copying costs more.
const SLACK_BYTES: usize = 64 << 10;

/// `batch`, its view columns copied where most of their buffers is not theirs.
///
/// # Errors
/// None for a batch that is well formed.
pub(crate) fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    if !batch.columns().iter().any(|column| is_view(column.data_type())) {
        return Ok(batch);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().iter().map(compact_column).collect();
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

fn is_view(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::BinaryView)
}

fn compact_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => compact_views::<StringViewType>(column),
        DataType::BinaryView => compact_views::<BinaryViewType>(column),
        _ => Arc::clone(column),
    }
}

fn compact_views<T: ByteViewType>(column: &ArrayRef) -> ArrayRef {
    let views: &GenericByteViewArray<T> = column.as_byte_view();
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    let is_bloated = held > 2 * views.total_buffer_bytes_used() + SLACK_BYTES;
    if is_bloated { Arc::new(views.gc()) } else { Arc::clone(column) }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn a_few_rows_of_many_leave_the_buffers_of_the_others() {
        let text = |row: usize| format!("a text that is too long for a view, number {row}");
        let all: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..10_000).map(text)));
        let batch = RecordBatch::try_from_iter([("text", all)]).unwrap();
        let few = compact(batch.slice(77, 3)).unwrap();
        let kept: &StringViewArray = few.column(0).as_string_view();
        assert!(kept.data_buffers().iter().map(|buffer| buffer.len()).sum::<usize>() < 1_000);
        assert_eq!(kept.value(2), text(79));
        // All of it is needed: nothing is copied.
        let whole = compact(batch.clone()).unwrap();
        assert!(Arc::ptr_eq(whole.column(0), batch.column(0)));
    }
}
