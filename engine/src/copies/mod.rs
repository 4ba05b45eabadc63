//! COPY TO: the rows of a query become files that anybody can read. Every part of the plan writes its own, wherever it
//! runs, to a place beside the destination; when all of them are whole they are published.
//!
//! | module | what it does |
//! |---|---|
//! | [`destination`] | what the statement asks for: where, as one file or many, over what is there |
//! | [`staging`] | the place beside the destination, and what remains there |
//! | [`publish`] | what was written is moved to where it was asked for |

mod destination;
mod publish;
mod staging;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::file_format::file_type_to_format;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::prelude::coalesce;

use crate::copies::destination::Destination;
use crate::copies::staging::Staging;
use crate::execution::{Mode, result_schema};
use crate::session::Session;
use crate::sinks::{CopyFormat, RowsInto, WriteKind, WriteTarget, reported};
use crate::sql::Statement;
use crate::writes::Change;
use crate::{Error, Result};

/// The directory of rows without a value: Hive's word, which Spark, pandas and DuckDB read as NULL.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

impl Session {
    /// Carries out a COPY; how many rows it has written.
    ///
    /// # Errors
    /// Those of the query and of the store, after which nothing is at the destination that was not there before;
    /// `AlreadyExists` for a directory that holds files.
    pub(crate) async fn copy_rows(&self, query_id: &str, statement: &Statement, copy: &CopyTo) -> Result<u64> {
        let mut options = copy.options.clone().into_iter().collect();
        let destination = Destination::of(&copy.output_url, !copy.partition_by.is_empty(), &mut options)?;
        let keeps_partition_columns = destination::take_flag(&mut options, "execution.keep_partition_by_columns")?;
        let state = statement.state.as_ref();
        let keeps_partition_columns =
            keeps_partition_columns.unwrap_or(state.config_options().execution.keep_partition_by_columns);
        let format = CopyFormat {
            name: file_type_to_format(&copy.file_type)?.get_ext().to_ascii_lowercase(),
            options,
            is_one_file: destination.is_one_file,
            is_in_place: destination.is_in_place(),
            keeps_partition_columns,
        };
        format.open(state)?;
        destination.check(state.runtime_env()).await?;
        let rows = match keeps_partition_columns {
            true => copy.input.as_ref().clone(),
            false => with_directories(copy)?,
        };
        let staging = Staging::begin(self.engine(), query_id, &destination).await?;
        let columns = result_schema(rows.schema().as_arrow());
        let target = WriteTarget {
            location: staging.location().to_owned(),
            columns: columns.into(),
            partition_columns: copy.partition_by.clone(),
            kind: WriteKind::Copy(format),
        };
        let change = Change { session: self, query_id, statement, name: TableReference::bare("copy") };
        let rows = RowsInto::insert(&change.name, target, rows);
        let published = async {
            let (batches, mode) = change.read(rows).await?;
            let written = reported(&batches)?;
            staging.renew().await?;
            publish::publish(state.runtime_env(), &destination, staging.location(), &written).await?;
            Ok((written, mode))
        };
        match published.await {
            Ok((written, mode)) => {
                staging.end(mode != Mode::Local).await;
                Ok(written.iter().map(|part| part.rows).sum())
            }
            Err(error) => {
                staging.give_up().await;
                Err(error)
            }
        }
    }
}

/// Columns that become directories, as texts: DataFusion takes a null for zero, and not every type.
fn with_directories(copy: &CopyTo) -> Result<LogicalPlan> {
    if copy.partition_by.is_empty() {
        return Ok(copy.input.as_ref().clone());
    }
    let columns = copy.input.schema().columns();
    if columns.iter().all(|column| copy.partition_by.contains(&column.name)) {
        return Err(Error::invalid("files cannot be partitioned by all of their columns"));
    }
    let columns = columns.into_iter().map(|column| match copy.partition_by.contains(&column.name) {
        false => Expr::Column(column),
        true => {
            let name = column.name.clone();
            let value = ScalarValue::Utf8(Some(NO_VALUE.to_owned()));
            coalesce(vec![cast(Expr::Column(column), DataType::Utf8), lit(value)]).alias(name)
        }
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlanBuilder::from(copy.input.as_ref().clone()).project(columns)?.build()?)
}
