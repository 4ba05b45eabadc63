//! How plan nodes travel: Ballista's codec, and ours for the nodes that only we know.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use prost::Message;

use crate::functions::range::{Series, SeriesKind, SeriesSource, column_indices, scan_builder};
use crate::schema_bytes::{schema_from_bytes, schema_to_bytes};
use crate::sinks::{CopyFormat, WriteFilesExec, WriteKind, WriteTarget};

/// First bytes of a node of ours. No message of Ballista's starts so: `g` would be a field of an unknown wire type.
const PREFIX: &[u8] = b"grappe\x01";

/// The same, of a writer.
const WRITE_PREFIX: &[u8] = b"grappe\x02";

/// The codec of every process of a cluster.
pub fn ballista_codec() -> BallistaCodec<LogicalPlanNode, PhysicalPlanNode> {
    BallistaCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), Arc::new(NodeCodec::default()))
}

/// Our nodes, then Ballista's.
#[derive(Debug, Default)]
pub(super) struct NodeCodec {
    ballista: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for NodeCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(own) = bytes.strip_prefix(PREFIX) {
            return decode_series(own);
        }
        match (bytes.strip_prefix(WRITE_PREFIX), inputs) {
            (Some(own), [input]) => decode_write(own, Arc::clone(input)),
            (Some(_), _) => Err(internal_datafusion_err!("a writer has one input")),
            (None, _) => self.ballista.try_decode(bytes, inputs, context, converter),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(write) = node.downcast_ref::<WriteFilesExec>() {
            bytes.extend_from_slice(WRITE_PREFIX);
            let message = encode_write(write.target());
            return message.encode(bytes).map_err(|error| DataFusionError::External(Box::new(error)));
        }
        match encode_series(node.as_ref())? {
            Some(message) => {
                bytes.extend_from_slice(PREFIX);
                message.encode(bytes).map_err(|error| DataFusionError::External(Box::new(error)))
            }
            None => self.ballista.try_encode(node, bytes, converter),
        }
    }
}

/// Where a writer's rows go: what [`WriteTarget`] consists of.
#[derive(Clone, PartialEq, Message)]
struct WriteNode {
    #[prost(string, tag = "1")]
    location: String,
    /// A schema message of Arrow's IPC format.
    #[prost(bytes = "vec", tag = "2")]
    columns: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    partition_columns: Vec<String>,
    #[prost(string, tag = "4")]
    prefix: String,
    #[prost(uint64, tag = "5")]
    file_bytes_target: u64,
    /// Set if the files are no table's.
    #[prost(message, optional, tag = "6")]
    copy: Option<CopyNode>,
}

/// What [`CopyFormat`] consists of.
#[derive(Clone, PartialEq, Message)]
struct CopyNode {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(btree_map = "string, string", tag = "2")]
    options: BTreeMap<String, String>,
    #[prost(bool, tag = "3")]
    is_one_file: bool,
    #[prost(bool, tag = "4")]
    is_in_place: bool,
    #[prost(bool, tag = "5")]
    keeps_partition_columns: bool,
}

fn encode_write(target: &WriteTarget) -> WriteNode {
    let mut node = WriteNode {
        location: target.location.clone(),
        columns: schema_to_bytes(&target.columns),
        partition_columns: target.partition_columns.clone(),
        ..WriteNode::default()
    };
    match target.kind.clone() {
        WriteKind::Table { prefix, file_bytes_target } => {
            node.prefix = prefix;
            node.file_bytes_target = file_bytes_target;
        }
        WriteKind::Copy(CopyFormat { name, options, is_one_file, is_in_place, keeps_partition_columns }) => {
            node.copy = Some(CopyNode { name, options, is_one_file, is_in_place, keeps_partition_columns });
        }
    }
    node
}

fn decode_write(bytes: &[u8], input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let node = WriteNode::decode(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let columns = schema_from_bytes(&node.columns)
        .map_err(|error| internal_datafusion_err!("a writer's columns cannot be read: {error}"))?;
    let kind = match node.copy {
        None => WriteKind::Table { prefix: node.prefix, file_bytes_target: node.file_bytes_target },
        Some(CopyNode { name, options, is_one_file, is_in_place, keeps_partition_columns }) => {
            WriteKind::Copy(CopyFormat { name, options, is_one_file, is_in_place, keeps_partition_columns })
        }
    };
    let target = WriteTarget {
        location: node.location,
        columns: Arc::new(columns),
        partition_columns: node.partition_columns,
        kind,
    };
    Ok(Arc::new(WriteFilesExec::new(input, Arc::new(target))))
}

/// A scan of a series: what [`Series`] and its scan consist of.
#[derive(Clone, PartialEq, Message)]
struct SeriesScan {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(uint64, tag = "3")]
    rows: u64,
    #[prost(bool, tag = "4")]
    is_timestamp: bool,
    #[prost(string, optional, tag = "5")]
    zone: Option<String>,
    #[prost(message, repeated, tag = "6")]
    parts: Vec<Part>,
    #[prost(uint64, repeated, tag = "7")]
    columns: Vec<u64>,
    #[prost(uint64, optional, tag = "8")]
    limit: Option<u64>,
    #[prost(uint64, optional, tag = "9")]
    batch_rows: Option<u64>,
}

/// The files of one part, as pairs of first row and row after the last.
#[derive(Clone, PartialEq, Message)]
struct Part {
    #[prost(uint64, repeated, tag = "1")]
    bounds: Vec<u64>,
}

fn encode_series(node: &dyn ExecutionPlan) -> Result<Option<SeriesScan>> {
    let Some(scan) = node.downcast_ref::<DataSourceExec>() else { return Ok(None) };
    let data_source: &dyn Any = scan.data_source().as_ref();
    let Some(config) = data_source.downcast_ref::<FileScanConfig>() else { return Ok(None) };
    let file_source: &dyn Any = config.file_source().as_ref();
    let Some(source) = file_source.downcast_ref::<SeriesSource>() else { return Ok(None) };
    let columns = config.file_source().projection().map_or_else(|| Some(vec![0]), column_indices);
    let columns = columns.ok_or_else(|| internal_datafusion_err!("a series scan computes columns"))?;
    let Series { start, step, rows, kind } = source.series().clone();
    let (is_timestamp, zone) = match kind {
        SeriesKind::Integer => (false, None),
        SeriesKind::Timestamp(zone) => (true, zone.map(|zone| zone.to_string())),
    };
    Ok(Some(SeriesScan {
        start,
        step,
        rows,
        is_timestamp,
        zone,
        parts: config.file_groups.iter().map(|group| encode_part(group, rows)).collect(),
        columns: columns.into_iter().map(|column| column as u64).collect(),
        limit: config.limit.map(|limit| limit as u64),
        batch_rows: config.batch_size.map(|rows| rows as u64),
    }))
}

fn encode_part(group: &FileGroup, rows: u64) -> Part {
    let bounds = group.files().iter().flat_map(|file| match &file.range {
        Some(range) => [range.start.unsigned_abs(), range.end.unsigned_abs()],
        None => [0, rows],
    });
    Part { bounds: bounds.collect() }
}

fn decode_series(bytes: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
    let scan = SeriesScan::decode(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let kind = match scan.is_timestamp {
        true => SeriesKind::Timestamp(scan.zone.map(Arc::from)),
        false => SeriesKind::Integer,
    };
    let series = Series { start: scan.start, step: scan.step, rows: scan.rows, kind };
    let files = |part: &Part| part.bounds.chunks_exact(2).map(|pair| series.file(pair[0], pair[1])).collect();
    let groups = scan.parts.iter().map(|part| FileGroup::new(files(part))).collect();
    let columns = scan.columns.iter().map(|column| *column as usize).collect();
    let config = scan_builder(Arc::new(SeriesSource::new(series.clone())), groups)
        .with_preserve_order(true)
        .with_limit(scan.limit.map(|limit| limit as usize))
        .with_batch_size(scan.batch_rows.map(|rows| rows as usize))
        .with_projection_indices(Some(columns))?
        .build();
    Ok(DataSourceExec::from_data_source(config))
}
