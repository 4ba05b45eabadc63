//! Rows of a result in the form that a client asked for, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions as ShowOptions};
use arrow_pg::encoder::encode_value;
use engine::{Error, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::ToSql;
use tokio::time::Instant;

use crate::flight::watched;
use crate::postgres::errors::{Failure, Refusal};
use crate::postgres::types::{Writing, size, wire_type};
use crate::postgres::values::{Decimal, Float, Raw};
use crate::query::{Query, Reading};

/// Rows that are written before the client's pace is asked for again.
const CHUNK_ROWS: usize = 256;

/// One column of a result.
#[derive(Debug)]
struct Column {
    info: FieldInfo,
    field: FieldRef,
    writing: Writing,
}

/// The columns of a result.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    infos: Arc<Vec<FieldInfo>>,
}

impl Columns {
    /// # Errors
    /// `08P01` for formats that do not fit the columns.
    pub(super) fn new(schema: &Schema, format: &Format, options: FormatOptions) -> Result<Self, Refusal> {
        if let Format::Individual(codes) = format
            && codes.len() != schema.fields().len()
        {
            let (given, wanted) = (codes.len(), schema.fields().len());
            return Err(Refusal::new("08P01", format!("{given} result formats are given for {wanted} columns")));
        }
        let options = Arc::new(options);
        let column = |(index, field): (usize, &FieldRef)| {
            let wire = wire_type(field);
            let info = FieldInfo::new(field.name().clone(), None, None, wire.pg.clone(), format.format_for(index))
                .with_format_options(Arc::clone(&options))
                .with_type_size(size(&wire.pg))
                .with_type_modifier(wire.modifier);
            Column { info, field: Arc::new(field.as_ref().clone().with_data_type(wire.arrow)), writing: wire.writing }
        };
        let columns: Vec<_> = schema.fields().iter().enumerate().map(column).collect();
        let infos = Arc::new(columns.iter().map(|column| column.info.clone()).collect());
        Ok(Self { columns, infos })
    }

    /// What the client is told of them.
    pub(super) fn description(&self) -> RowDescription {
        RowDescription::new(self.infos.iter().map(FieldDescription::from).collect())
    }

    /// Whether they are of the types that a client was told before.
    pub(super) fn are_as(&self, described: &Self) -> bool {
        let types = |columns: &Self| columns.infos.iter().map(|info| info.datatype().clone()).collect::<Vec<_>>();
        types(self) == types(described)
    }

    /// Rows of a batch in messages.
    fn encode(&self, batch: &RecordBatch) -> PgWireResult<Vec<DataRow>> {
        let failed = |error: ArrowError| PgWireError::ApiError(Box::new(error));
        let columns = batch.columns().iter().zip(&self.columns);
        let arrays: Vec<_> =
            columns.map(|(array, column)| column.plain(array)).collect::<Result<_, _>>().map_err(failed)?;
        let options = EncoderOptions::default().with_explicit_nulls(true);
        let writers = arrays.iter().zip(&self.columns).map(|(array, column)| column.writer(array, &options));
        let mut writers: Vec<_> = writers.collect::<Result<_, _>>().map_err(failed)?;
        let mut encoder = DataRowEncoder::new(Arc::clone(&self.infos));
        (0..batch.num_rows())
            .map(|row| {
                for (writer, column) in writers.iter_mut().zip(&self.columns) {
                    writer.write(&mut encoder, column, row)?;
                }
                Ok(encoder.take_row())
            })
            .collect()
    }
}

impl Column {
    fn plain(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        if array.data_type() == self.field.data_type() {
            return Ok(Arc::clone(array));
        }
        cast_with_options(array, self.field.data_type(), &CastOptions { safe: false, ..CastOptions::default() })
    }

    fn writer<'a>(&'a self, array: &'a ArrayRef, options: &'a EncoderOptions) -> Result<Writer<'a>, ArrowError> {
        static SHOW: ShowOptions<'static> = ShowOptions::new();
        Ok(match self.writing {
            Writing::Plain => Writer::Plain(array),
            Writing::Decimal => Writer::Decimal(array),
            Writing::Float => Writer::Float(array),
            Writing::Json => match make_encoder(&self.field, array.as_ref(), options) {
                Ok(json) => Writer::Json(json, array),
                Err(_) => Writer::Shown(ArrayFormatter::try_new(array.as_ref(), &SHOW)?, array),
            },
            Writing::Shown => Writer::Shown(ArrayFormatter::try_new(array.as_ref(), &SHOW)?, array),
        })
    }
}

/// Writes the values of one column.
enum Writer<'a> {
    Plain(&'a ArrayRef),
    Decimal(&'a ArrayRef),
    Float(&'a ArrayRef),
    Json(NullableEncoder<'a>, &'a ArrayRef),
    Shown(ArrayFormatter<'a>, &'a ArrayRef),
}

impl Writer<'_> {
    fn write(&mut self, encoder: &mut DataRowEncoder, column: &Column, row: usize) -> PgWireResult<()> {
        let array = match self {
            Self::Plain(array) | Self::Decimal(array) | Self::Float(array) => *array,
            Self::Json(_, array) | Self::Shown(_, array) => *array,
        };
        if array.is_null(row) {
            return put(encoder, column, &None::<Raw>);
        }
        match self {
            Self::Plain(array) => encode_value(encoder, array, row, &column.field, &column.info),
            Self::Decimal(array) => match item(array, row) {
                Some(items) => put(encoder, column, &decimals(&items)),
                None => put(encoder, column, &decimal(array.as_ref(), row)),
            },
            Self::Float(array) => match (item(array, row), array.data_type()) {
                (Some(items), _) if *items.data_type() == DataType::Float32 => {
                    let values = items.as_primitive::<Float32Type>().iter();
                    put(encoder, column, &values.map(|value| value.map(Float)).collect::<Vec<_>>())
                }
                (Some(items), _) => {
                    let values = items.as_primitive::<Float64Type>().iter();
                    put(encoder, column, &values.map(|value| value.map(Float)).collect::<Vec<_>>())
                }
                (None, DataType::Float32) => {
                    put(encoder, column, &Float(array.as_primitive::<Float32Type>().value(row)))
                }
                (None, _) => put(encoder, column, &Float(array.as_primitive::<Float64Type>().value(row))),
            },
            Self::Json(json, _) => {
                let mut text = Vec::new();
                json.encode(row, &mut text);
                put(encoder, column, &Raw(String::from_utf8_lossy(&text).into_owned()))
            }
            Self::Shown(shown, _) => put(encoder, column, &Raw(shown.value(row).to_string())),
        }
    }
}

fn put<T: ToSql + ToSqlText>(encoder: &mut DataRowEncoder, column: &Column, value: &T) -> PgWireResult<()> {
    let info = &column.info;
    encoder.encode_field_with_type_and_format(value, info.datatype(), info.format(), info.format_options())
}

/// The items of a list.
fn item(array: &ArrayRef, row: usize) -> Option<ArrayRef> {
    array.as_list_opt::<i32>().map(|list| list.value(row))
}

fn decimals(items: &ArrayRef) -> Vec<Option<Decimal>> {
    (0..items.len()).map(|row| items.is_valid(row).then(|| decimal(items.as_ref(), row))).collect()
}

fn decimal(array: &dyn Array, row: usize) -> Decimal {
    static PLAIN: ShowOptions<'static> = ShowOptions::new();
    let text = ArrayFormatter::try_new(array, &PLAIN).map(|formatter| formatter.value(row).to_string());
    Decimal(text.unwrap_or_default())
}

/// The rows of a running statement.
pub(super) struct Rows {
    batches: BoxStream<'static, Result<RecordBatch>>,
    query: Arc<Query>,
    columns: Columns,
    /// What is left of the batch that was read last.
    rest: Option<RecordBatch>,
    deadline: Option<Deadline>,
}

/// When a statement must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Waits for `work`, but not beyond the end of `deadline`: then the statement is stopped.
    pub(super) async fn limit<T>(
        deadline: Option<Self>,
        query: &Query,
        work: impl Future<Output = T>,
    ) -> Result<T, Refusal> {
        let Some(Self(end)) = deadline else { return Ok(work.await) };
        tokio::time::timeout_at(end, work).await.map_err(|_| {
            query
                .end(Err(Error::new(engine::ErrorKind::Exhausted, "the statement took longer than statement_timeout")));
            query.cancel();
            Refusal::new("57014", "canceling statement due to statement timeout")
        })
    }
}

impl Rows {
    /// # Errors
    /// The statement's own.
    pub(super) fn new(query: Arc<Query>, columns: Columns, deadline: Option<Deadline>) -> Result<Self> {
        let batches = match query.read(0)? {
            Reading::Rows(batches) => watched(Arc::clone(&query), batches).boxed(),
            Reading::Stored(_) | Reading::Again(_) => futures::stream::empty().boxed(),
        };
        Ok(Self { batches, query, columns, rest: None, deadline })
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    pub(super) fn query(&self) -> &Arc<Query> {
        &self.query
    }

    /// The next rows, `most` of them if that is not 0; none at the end.
    ///
    /// # Errors
    /// The statement's own, and values that the protocol cannot carry.
    pub(super) async fn next(&mut self, most: usize) -> Result<Option<Vec<DataRow>>, Failure> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match Deadline::limit(self.deadline, &self.query, self.batches.next()).await? {
                Some(batch) => batch?,
                None => return Ok(None),
            },
        };
        let most = if most == 0 { CHUNK_ROWS } else { most.min(CHUNK_ROWS) };
        if batch.num_rows() > most {
            self.rest = Some(batch.slice(most, batch.num_rows() - most));
            return Ok(Some(self.columns.encode(&batch.slice(0, most))?));
        }
        Ok(Some(self.columns.encode(&batch)?))
    }
}

/// A result of one text, which is not of the engine.
pub(super) fn one_text(name: &str, value: &str, format: FieldFormat) -> PgWireResult<(RowDescription, DataRow)> {
    let info = FieldInfo::new(name.to_owned(), None, None, postgres_types::Type::TEXT, format).with_type_size(-1);
    let mut encoder = DataRowEncoder::new(Arc::new(vec![info.clone()]));
    encoder.encode_field(&Some(value))?;
    Ok((RowDescription::new(vec![FieldDescription::from(&info)]), encoder.take_row()))
}

/// The columns of [`one_text`].
pub(super) fn one_text_schema(name: &str) -> Schema {
    Schema::new(vec![Field::new(name, DataType::Utf8, false)])
}
