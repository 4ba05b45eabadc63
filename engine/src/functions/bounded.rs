//! Functions whose results can be far larger than their arguments, asked first how large.
//!
//! `repeat('x', 2000000000)` and `generate_series(1, 1000000000)` take memory that no pool counts, all at once, and while
//! the statement is planned if the arguments are constants. So the sizes of the arguments are looked at before the
//! function is called: a batch of results may have so many bytes and no more.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytesize::ByteSize;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::kernels::length::bit_length;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::config::GrappeOptions;
use crate::limits::Limit;
use crate::{Error, ErrorKind};

/// Bytes of the result for these arguments, at the least; nothing if it cannot be told.
type Size = fn(&[ArrayRef]) -> Option<u64>;

/// By the names that DataFusion gives its functions.
const SIZES: [(&str, Size); 8] = [
    ("repeat", repeated),
    ("lpad", padded),
    ("rpad", padded),
    ("replace", replaced),
    ("array_repeat", elements_repeated),
    ("array_resize", resized),
    ("generate_series", series),
    ("range", series),
];

/// `function` as it is, or with a bound.
pub(crate) fn bounded(function: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    let (_, size) = SIZES.iter().find(|(name, _)| *name == function.name())?;
    Some(Arc::new(ScalarUDF::from(Bounded { function: Arc::clone(function), size: *size })))
}

#[derive(Debug)]
struct Bounded {
    function: Arc<ScalarUDF>,
    size: Size,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl Bounded {
    fn inner(&self) -> &dyn ScalarUDFImpl {
        self.function.inner().as_ref()
    }

    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let limits = args.config_options.extensions.get::<GrappeOptions>().map(|options| options.limits);
        let Some(most) = limits.unwrap_or_default().limit(Limit::FunctionBytes) else { return Ok(()) };
        let is_scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
        match (self.size)(&arrays) {
            Some(bytes) if bytes > most => Err(Error::new(
                ErrorKind::Exhausted,
                format!(
                    "{}() would give {} at once, more than {} = {}",
                    self.function.name(),
                    ByteSize::b(bytes),
                    Limit::FunctionBytes,
                    ByteSize::b(most)
                ),
            )
            .into()),
            _ => Ok(()),
        }
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner().aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner().signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner().return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner().is_strict()
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner().simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner().short_circuits()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner().coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner().documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner().invoke_with_args(args)
    }
}

/// Numbers, null where a value is none.
fn numbers(array: &ArrayRef) -> Option<ArrayRef> {
    cast_with_options(array, &DataType::Int64, &CastOptions { safe: true, ..CastOptions::default() }).ok()
}

/// The sum over rows of what `of` gives for the numbers in these columns; rows with a null give nothing.
fn sum_of<const N: usize>(columns: [&ArrayRef; N], of: impl Fn([i64; N]) -> u64) -> Option<u64> {
    let arrays = columns.into_iter().map(numbers).collect::<Option<Vec<_>>>()?;
    let rows = arrays.first()?.len();
    let values = |row: usize| {
        let mut values = [0; N];
        for (value, array) in values.iter_mut().zip(&arrays) {
            if array.is_null(row) {
                return None;
            }
            *value = array.as_primitive::<Int64Type>().value(row);
        }
        Some(values)
    };
    Some((0..rows).filter_map(values).fold(0, |sum: u64, values| sum.saturating_add(of(values))))
}

/// Bytes of each text.
fn lengths(texts: &ArrayRef) -> Option<ArrayRef> {
    let plain = match texts.data_type() {
        DataType::Utf8View => cast_with_options(texts, &DataType::Utf8, &CastOptions::default()).ok()?,
        _ => Arc::clone(texts),
    };
    bit_length(plain.as_ref()).ok()
}

fn repeated(args: &[ArrayRef]) -> Option<u64> {
    let [text, times] = args else { return None };
    sum_of([&lengths(text)?, times], |[bits, times]| magnitude(bits / 8).saturating_mul(non_negative(times)))
}

fn padded(args: &[ArrayRef]) -> Option<u64> {
    sum_of([args.get(1)?], |[length]| non_negative(length))
}

fn replaced(args: &[ArrayRef]) -> Option<u64> {
    let [text, from, to] = args else { return None };
    sum_of([&lengths(text)?, &lengths(from)?, &lengths(to)?], |[text, from, to]| {
        if from == 0 { 0 } else { (magnitude(text) / magnitude(from)).saturating_mul(magnitude(to) / 8) }
    })
}

/// Bytes of a value of a column, on average.
fn width(array: &ArrayRef) -> u64 {
    let bytes = array.to_data().get_slice_memory_size().unwrap_or_default();
    (bytes / array.len().max(1)).max(1) as u64
}

fn elements_repeated(args: &[ArrayRef]) -> Option<u64> {
    let [element, times] = args else { return None };
    let width = width(element);
    sum_of([times], |[times]| non_negative(times).saturating_mul(width))
}

fn resized(args: &[ArrayRef]) -> Option<u64> {
    sum_of([args.get(1)?], |[length]| non_negative(length).saturating_mul(8))
}

/// Numbers only: those of days and months are cast from intervals, which are no numbers.
fn series(args: &[ArrayRef]) -> Option<u64> {
    let between = |start: i64, stop: i64, step: i64| {
        if (step > 0 && start > stop) || (step < 0 && start < stop) {
            return 0;
        }
        let steps = magnitude(step).max(1);
        (u64::try_from((i128::from(stop) - i128::from(start)).unsigned_abs()).unwrap_or(u64::MAX) / steps)
            .saturating_mul(8)
    };
    match args {
        [stop] => sum_of([stop], |[stop]| non_negative(stop).saturating_mul(8)),
        [start, stop] => sum_of([start, stop], |[start, stop]| between(start, stop, 1)),
        [start, stop, step] => sum_of([start, stop, step], |[start, stop, step]| between(start, stop, step)),
        _ => None,
    }
}

fn non_negative(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn magnitude(value: i64) -> u64 {
    value.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::state::{StateSeed, session_state};

    async fn outcome(sql: &str) -> Result<usize, Error> {
        let runtime = Arc::default();
        let seed = StateSeed { config: SessionConfig::new(), runtime };
        let catalogs = Arc::new(datafusion::catalog::MemoryCatalogProviderList::new());
        let context = SessionContext::new_with_state(session_state(&seed, catalogs));
        let rows = async { context.sql(sql).await?.collect().await };
        rows.await.map(|batches| batches.iter().map(|batch| batch.num_rows()).sum()).map_err(Error::from)
    }

    #[tokio::test]
    async fn results_have_an_end() {
        for sql in [
            "SELECT length(repeat('x', 1000000000))",
            "SELECT repeat('ab', 100000 + v) FROM (SELECT unnest(range(8192)) AS v)",
            "SELECT lpad('x', 2000000000)",
            "SELECT rpad('x', 2000000000, 'ab')",
            "SELECT replace(repeat('a', 1000000), 'a', repeat('b', 1000))",
            "SELECT array_repeat(1, 1000000000)",
            "SELECT list_repeat([1, 2, 3], 1000000000)",
            "SELECT array_resize([1], 1000000000)",
            "SELECT generate_series(1, 1000000000)",
            "SELECT range(1000000000)",
            "SELECT generate_series(1000000000, 1, -1)",
            "SELECT generate_series(-9223372036854775808, 9223372036854775807)",
        ] {
            let error = outcome(sql).await.expect_err(sql);
            assert_eq!(error.kind, ErrorKind::Exhausted, "{sql}: {}", error.message);
            assert!(error.message.contains("function_result_bytes_max = 256"), "{sql}: {}", error.message);
        }
    }

    #[tokio::test]
    async fn what_is_small_is_as_ever() {
        for (sql, rows) in [
            ("SELECT repeat('x', 1000000), repeat('x', -1), repeat(NULL, 5), repeat('x', NULL)", 1),
            ("SELECT lpad('x', 5, 'ab'), rpad('x', 3), lpad('x', -1)", 1),
            ("SELECT replace('aaa', '', 'b'), replace('aaa', 'a', 'bb')", 1),
            ("SELECT unnest(generate_series(10, 1, -3))", 4),
            ("SELECT unnest(generate_series(DATE '2026-01-01', DATE '2026-01-05', INTERVAL '1' DAY))", 5),
            ("SELECT generate_series(1000000000000, 1)", 1),
            ("SELECT unnest(array_repeat(NULL, 3)), array_resize([1], 3)", 3),
        ] {
            assert_eq!(outcome(sql).await.unwrap_or_else(|error| panic!("{sql}: {}", error.message)), rows, "{sql}");
        }
    }
}
