//! `EXPLAIN` with the mode that was chosen, and why, as its first line.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};

use crate::Result;
use crate::execution::{Progress, Running};

/// A running `EXPLAIN`, with lines before those of DataFusion.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) plans: Arc<dyn Running>,
    /// Title and text of each line.
    pub(crate) lines: Vec<(String, String)>,
}

impl Running for Explained {
    fn schema(&self) -> SchemaRef {
        self.plans.schema()
    }

    fn stream(&self) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let titles = StringArray::from_iter_values(self.lines.iter().map(|(title, _)| title));
        let texts = StringArray::from_iter_values(self.lines.iter().map(|(_, text)| text));
        let first = RecordBatch::try_new(SchemaRef::clone(&schema), vec![Arc::new(titles), Arc::new(texts)])
            .map_err(datafusion::error::DataFusionError::from)?;
        let all = stream::iter([Ok(first)]).chain(self.plans.stream()?);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)))
    }

    fn progress(&self) -> Progress {
        self.plans.progress()
    }

    fn cancel(&self) {
        self.plans.cancel();
    }
}
