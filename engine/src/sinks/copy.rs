//! Rows to files of any format that DataFusion writes. Each part of a plan writes to a directory of its own, so that one
//! that is run twice leaves two directories, of which one is reported.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::EmptyCatalogProviderList;
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileSinkConfig};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::file_sink_config::FileOutputMode;
use uuid::Uuid;

use super::node::WrittenFile;
use super::target::WriteTarget;
use crate::execution::result_stream;
use crate::state::{StateSeed, session_state};
use crate::{Error, ErrorKind};

/// How the files of a COPY are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyFormat {
    /// As in `STORED AS`, in small letters.
    pub(crate) name: String,
    /// Options of the format.
    pub(crate) options: BTreeMap<String, String>,
    /// Whether one file holds all rows.
    pub(crate) is_one_file: bool,
    /// Whether the location is that file, and not a directory for it.
    pub(crate) is_in_place: bool,
    /// Whether the columns that are directories are in the files too.
    pub(crate) keeps_partition_columns: bool,
}

impl CopyFormat {
    /// What writes the files.
    ///
    /// # Errors
    /// `Invalid` for a format or an option that there is not.
    pub(crate) fn open(&self, state: &SessionState) -> Result<Arc<dyn FileFormat>> {
        let name = &self.name;
        let factory = state.get_file_format_factory(name);
        let factory = factory.ok_or_else(|| Error::invalid(format!("no files can be written in the format {name}")))?;
        let options: HashMap<String, String> = self.options.clone().into_iter().collect();
        factory.create(state, &options)
    }
}

/// How the names of files of this format end, without a first dot.
pub(super) fn extension(format: &dyn FileFormat) -> String {
    let compressed =
        format.compression_type().and_then(|compression| format.get_ext_with_compression(&compression).ok());
    let extension = compressed.unwrap_or_else(|| format.get_ext());
    extension.trim_start_matches('.').to_owned()
}

/// Writes the rows; what is reported is the directory below the location, or nothing for a file in place.
///
/// # Errors
/// Those of `input`, of the format and of the store.
pub(super) async fn write(
    target: &WriteTarget,
    copy: &CopyFormat,
    input: SendableRecordBatchStream,
    context: &Arc<TaskContext>,
) -> Result<Vec<WrittenFile>> {
    let context = Arc::new(one_file_at_a_time(context)?);
    let seed = StateSeed { config: context.session_config().clone(), runtime: context.runtime_env() };
    let state = session_state(&seed, Arc::new(EmptyCatalogProviderList));
    let format = copy.open(&state)?;
    let directory = if copy.is_in_place { String::new() } else { format!("{}/", Uuid::now_v7().simple()) };
    let name = if copy.is_one_file && !copy.is_in_place {
        format!("rows.{}", extension(format.as_ref()))
    } else {
        String::new()
    };
    let url = format!("{}{directory}{name}", target.location);
    // A name with an asterisk is no pattern.
    let place = ListingTableUrl::try_new(crate::delta::parse(&url)?, None)?;
    let input = result_stream(input);
    let config = FileSinkConfig {
        original_url: url,
        object_store_url: place.object_store(),
        file_group: FileGroup::default(),
        table_paths: vec![place],
        output_schema: input.schema(),
        table_partition_cols: target.partition_columns.iter().map(|name| (name.clone(), DataType::Null)).collect(),
        insert_op: InsertOp::Append,
        keep_partition_by_columns: copy.keeps_partition_columns,
        file_extension: extension(format.as_ref()),
        file_output_mode: if copy.is_one_file { FileOutputMode::SingleFile } else { FileOutputMode::Directory },
    };
    let nothing = Arc::new(EmptyExec::new(input.schema()));
    let plan = format.create_writer_physical_plan(nothing, &state, config, None).await?;
    let node = plan.downcast_ref::<DataSinkExec>();
    let node = node.ok_or_else(|| Error::internal("the writer of a format is not a sink"))?;
    let rows = node.sink().write_all(input, &context).await.map_err(unfinished)?;
    Ok(vec![WrittenFile { file: directory, rows }])
}

/// DataFusion does not say why a text file could not be ended; the disk or the store is the only other party.
fn unfinished(error: DataFusionError) -> DataFusionError {
    match &error {
        DataFusionError::Internal(message) if message.contains("finalizing writes") => {
            Error::new(ErrorKind::Exhausted, "a file could not be ended: the store refused it, or the disk is full")
                .into()
        }
        _ => error,
    }
}

/// The parts of a plan are what is parallel.
fn one_file_at_a_time(context: &TaskContext) -> Result<TaskContext> {
    let mut config = context.session_config().clone();
    config.options_mut().execution.minimum_parallel_output_files = ConfigNonZeroUsize::try_new(1)?;
    Ok(TaskContext::default().with_session_config(config).with_runtime(context.runtime_env()))
}
