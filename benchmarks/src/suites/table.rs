//! A result as text cells: read from an answer file, from record batches or from a peer, in one canonical form.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Deserialize;

/// How the cells of a column are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Character by character.
    Text,
    /// As days, written `YYYY-MM-DD`.
    Date,
    /// Digit by digit, whatever the scale: integers and decimals.
    Exact,
    /// Within a tolerance: floating point numbers.
    Approximate,
}

/// One column of a [`Table`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Digits after the point that the type holds; nothing if it is no decimal.
    pub(crate) decimal_places: Option<i8>,
}

/// A result in memory; a cell is nothing for NULL.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// A column as a peer in another process describes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WireColumn {
    name: String,
    /// As in the header of an answer file.
    kind: String,
    places: Option<i8>,
}

/// What stands for NULL in an answer file.
const NULL: &str = "\\N";

impl Table {
    /// Reads an answer file, whose header cells are `name:kind`.
    pub(crate) fn from_answer(text: &str) -> Result<Self, String> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| error.to_string())?;
        let columns = header.iter().map(column_of_header).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            let cells =
                record.iter().zip(&columns).map(|(cell, column)| (cell != NULL).then(|| canonical(cell, column.kind)));
            rows.push(cells.collect());
        }
        Ok(Self { columns, rows })
    }

    /// Reads what a query returned.
    pub(crate) fn from_batches(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| Column {
                name: field.name().clone(),
                kind: kind_of(field.data_type()),
                decimal_places: decimal_places(field.data_type()),
            })
            .collect();
        let mut rows = Vec::new();
        for batch in batches {
            append_rows(&mut rows, batch, &columns)?;
        }
        Ok(Self { columns, rows })
    }

    /// Takes the text cells that a peer in another process sent.
    pub(crate) fn from_cells(columns: Vec<WireColumn>, mut rows: Vec<Vec<Option<String>>>) -> Result<Self, String> {
        let column = |WireColumn { name, kind, places }| {
            Ok::<_, String>(Column { kind: kind_of_name(&kind)?, name, decimal_places: places })
        };
        let columns = columns.into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
        for row in &mut rows {
            if row.len() != columns.len() {
                return Err(format!("a row has {} cells, not {}", row.len(), columns.len()));
            }
            for (cell, column) in row.iter_mut().zip(&columns) {
                *cell = cell.take().map(|text| canonical(&text, column.kind));
            }
        }
        Ok(Self { columns, rows })
    }

    /// Where the column of this name is.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

fn column_of_header(cell: &str) -> Result<Column, String> {
    let (name, kind) = cell.rsplit_once(':').ok_or_else(|| format!("header '{cell}' has no kind"))?;
    let kind = kind_of_name(kind).map_err(|error| format!("header '{cell}': {error}"))?;
    Ok(Column { name: name.to_owned(), kind, decimal_places: None })
}

fn kind_of_name(name: &str) -> Result<Kind, String> {
    match name {
        "text" => Ok(Kind::Text),
        "date" => Ok(Kind::Date),
        "int" | "decimal" => Ok(Kind::Exact),
        "float" => Ok(Kind::Approximate),
        other => Err(format!("unknown kind '{other}'")),
    }
}

fn kind_of(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Date32 | DataType::Date64 => Kind::Date,
        number if number.is_integer() || number.is_decimal() => Kind::Exact,
        number if number.is_floating() => Kind::Approximate,
        _ => Kind::Text,
    }
}

fn decimal_places(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

fn append_rows(rows: &mut Vec<Vec<Option<String>>>, batch: &RecordBatch, columns: &[Column]) -> Result<(), ArrowError> {
    // As Python spells it, where the peers run.
    let options = FormatOptions::new().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let arrays = batch.columns();
    let formatters =
        arrays.iter().map(|array| ArrayFormatter::try_new(array, &options)).collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let cells = arrays.iter().zip(&formatters).zip(columns).map(|((array, formatter), column)| {
            array.is_valid(row).then(|| canonical(&formatter.value(row).to_string(), column.kind))
        });
        rows.push(cells.collect());
    }
    Ok(())
}

/// One spelling for one value: `1.50` and `1.5` are the same number, `-0` is zero.
fn canonical(cell: &str, kind: Kind) -> String {
    if kind != Kind::Exact {
        return cell.to_owned();
    }
    let trimmed = if cell.contains('.') { cell.trim_end_matches('0').trim_end_matches('.') } else { cell };
    if matches!(trimmed, "-0" | "-" | "") { "0".to_owned() } else { trimmed.to_owned() }
}
