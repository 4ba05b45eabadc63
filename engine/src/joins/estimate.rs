//! How many rows a part of a plan gives, and how many different values its columns have.
//!
//! The usual assumptions (Selinger et al., "Access path selection in a relational database management system", SIGMOD
//! 1979): values are spread evenly, conditions are independent of each other, and keys are found on the other side.

use std::collections::HashMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Between, BinaryExpr, Expr, Join, JoinType, Like, LogicalPlan, Operator, TableScan,
};

/// Of an equality with a value, where the number of values is not known.
const EQUAL: f64 = 0.05;
/// Of `<` and the like, where the bounds of the column are not known.
const RANGE: f64 = 0.3;
/// Of a pattern.
const LIKE: f64 = 0.1;
/// Of any other condition.
const OTHER: f64 = 0.3;

/// What is believed of the rows of a plan.
#[derive(Debug, Clone)]
pub(super) struct Estimate {
    /// Rows.
    pub(super) rows: f64,
    /// Rows before the conditions on them: columns had their distinct values then.
    pub(super) rows_before: f64,
    columns: HashMap<Column, Values>,
}

/// What is known of the values of a column.
#[derive(Debug, Clone, Default)]
struct Values {
    distinct: Option<f64>,
    /// The least and the greatest.
    bounds: Option<(f64, f64)>,
    /// Whether it counts: then there are no more values than steps between its bounds.
    is_whole: bool,
    nulls: f64,
}

impl Values {
    fn new(statistics: &ColumnStatistics) -> Self {
        let bound = |bound: &Precision<ScalarValue>| bound.get_value().and_then(number);
        Self {
            distinct: statistics.distinct_count.get_value().map(|count| *count as f64),
            bounds: bound(&statistics.min_value).zip(bound(&statistics.max_value)),
            is_whole: statistics.min_value.get_value().is_some_and(|value| {
                let kind = value.data_type();
                kind.is_integer() || kind.is_temporal()
            }),
            nulls: statistics.null_count.get_value().map_or(0.0, |count| *count as f64),
        }
    }

    /// How many there are, of which at most one a row.
    fn distinct(&self, rows: f64) -> f64 {
        let steps = self.bounds.filter(|_| self.is_whole).map(|(least, greatest)| greatest - least + 1.0);
        let counted = self.distinct.or(steps.map(|steps| steps.min(rows)));
        counted.unwrap_or(rows).clamp(1.0, rows.max(1.0))
    }
}

impl Estimate {
    /// Different values of `expr`; of anything but a column, a tenth of the rows.
    pub(super) fn distinct(&self, expr: &Expr) -> f64 {
        match column_of(expr) {
            Some(column) => {
                self.columns.get(column).map_or(self.rows_before, |values| values.distinct(self.rows_before))
            }
            None => (self.rows_before / 10.0).max(1.0),
        }
    }

    fn of_rows(rows: f64) -> Self {
        Self { rows, rows_before: rows, columns: HashMap::new() }
    }

    fn filtered<'e>(mut self, conditions: impl IntoIterator<Item = &'e Expr>) -> Self {
        let parts: Vec<&Expr> = conditions.into_iter().flat_map(split_conjunction).collect();
        let selectivity: f64 = parts.iter().map(|condition| self.selectivity(condition)).product();
        self.rows *= selectivity;
        // DataFusion asks the same of both sides of a key: it must not count twice.
        for column in parts.into_iter().filter_map(fixed) {
            self.columns.entry(column.clone()).or_default().distinct = Some(1.0);
        }
        self
    }

    /// The part of the rows for which `condition` is true.
    fn selectivity(&self, condition: &Expr) -> f64 {
        let estimated = match condition {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => self.selectivity(left) * self.selectivity(right),
                Operator::Or => {
                    let (left, right) = (self.selectivity(left), self.selectivity(right));
                    left + right - left * right
                }
                Operator::Eq => self.equality(left, right),
                Operator::NotEq => 1.0 - self.equality(left, right),
                Operator::Lt | Operator::LtEq => self.below(left, right),
                Operator::Gt | Operator::GtEq => self.below(right, left),
                _ => OTHER,
            },
            Expr::Between(Between { expr, negated, low, high }) => {
                negate((self.below(low, expr) + self.below(expr, high) - 1.0).max(0.0), *negated)
            }
            Expr::InList(InList { expr, list, negated }) => {
                negate((self.part_of_one(expr) * list.len() as f64).min(1.0), *negated)
            }
            Expr::Like(Like { negated, .. }) | Expr::SimilarTo(Like { negated, .. }) => negate(LIKE, *negated),
            Expr::IsNull(expr) => self.nulls(expr),
            Expr::IsNotNull(expr) => 1.0 - self.nulls(expr),
            Expr::Not(expr) => 1.0 - self.selectivity(expr),
            Expr::Literal(ScalarValue::Boolean(Some(is_true)), _) => f64::from(u8::from(*is_true)),
            _ => OTHER,
        };
        estimated.clamp(0.0, 1.0)
    }

    fn values(&self, expr: &Expr) -> Option<&Values> {
        column_of(expr).and_then(|column| self.columns.get(column))
    }

    fn equality(&self, left: &Expr, right: &Expr) -> f64 {
        match (literal(left), literal(right)) {
            (None, Some(_)) => self.part_of_one(left),
            (Some(_), None) => self.part_of_one(right),
            _ => EQUAL,
        }
    }

    /// The part of the rows that have one certain value.
    fn part_of_one(&self, expr: &Expr) -> f64 {
        match self.values(expr) {
            Some(values) if values.distinct.is_some() || (values.is_whole && values.bounds.is_some()) => {
                1.0 / values.distinct(self.rows_before)
            }
            _ => EQUAL,
        }
    }

    /// Of `left < right`, one of which is a column and the other a value.
    fn below(&self, left: &Expr, right: &Expr) -> f64 {
        let part = |column: &Expr, value: &Expr| {
            let (least, greatest) = self.values(column)?.bounds?;
            let value = literal(value).and_then(number)?;
            let width = greatest - least;
            Some(if width > 0.0 { ((value - least) / width).clamp(0.0, 1.0) } else { 0.5 })
        };
        part(left, right).or_else(|| part(right, left).map(|part| 1.0 - part)).unwrap_or(RANGE)
    }

    fn nulls(&self, expr: &Expr) -> f64 {
        self.values(expr).map_or(0.0, |values| values.nulls / self.rows_before.max(1.0))
    }
}

/// What is believed of `plan`; nothing if a table below does not say how many rows it has.
pub(super) fn estimate(plan: &LogicalPlan) -> Option<Estimate> {
    match plan {
        LogicalPlan::TableScan(scan) => scanned(scan),
        LogicalPlan::Filter(filter) => Some(estimate(&filter.input)?.filtered([&filter.predicate])),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = estimate(&alias.input)?;
            Some(renamed(input, alias.input.schema().columns(), alias.schema.columns()))
        }
        LogicalPlan::Projection(projection) => {
            let input = estimate(&projection.input)?;
            let pairs = projection.expr.iter().zip(projection.schema.columns());
            let columns = pairs.filter_map(|(expr, name)| Some((name, input.values(expr)?.clone()))).collect();
            Some(Estimate { columns, ..input })
        }
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
        LogicalPlan::Distinct(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) | LogicalPlan::Repartition(_) => {
            estimate(plan.inputs().first()?)
        }
        LogicalPlan::Limit(limit) => {
            let mut input = estimate(&limit.input)?;
            let fetch = limit.fetch.as_deref().and_then(literal).and_then(number);
            input.rows = input.rows.min(fetch.unwrap_or(f64::INFINITY));
            Some(input)
        }
        LogicalPlan::Union(union) => {
            let rows = union.inputs.iter().map(|input| Some(estimate(input)?.rows)).sum::<Option<f64>>()?;
            Some(Estimate::of_rows(rows))
        }
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::Values(values) => Some(Estimate::of_rows(values.values.len() as f64)),
        LogicalPlan::EmptyRelation(empty) => Some(Estimate::of_rows(f64::from(u8::from(empty.produce_one_row)))),
        _ => None,
    }
}

fn scanned(scan: &TableScan) -> Option<Estimate> {
    let Statistics { num_rows, column_statistics, .. } = source_as_provider(&scan.source).ok()?.statistics()?;
    let rows = *num_rows.get_value()? as f64;
    let fields = scan.source.schema();
    let named = fields.fields().iter().zip(&column_statistics);
    let column = |name: &String| Column::new(Some(scan.table_name.clone()), name);
    let columns = named.map(|(field, statistics)| (column(field.name()), Values::new(statistics))).collect();
    Some(Estimate { rows, rows_before: rows, columns }.filtered(&scan.filters))
}

fn renamed(mut input: Estimate, from: Vec<Column>, to: Vec<Column>) -> Estimate {
    let columns = from.iter().zip(to).filter_map(|(from, to)| Some((to, input.columns.remove(from)?))).collect();
    Estimate { columns, ..input }
}

fn grouped(aggregate: &Aggregate) -> Option<Estimate> {
    let input = estimate(&aggregate.input)?;
    let groups: f64 = aggregate.group_expr.iter().map(|expr| input.distinct(expr).min(input.rows.max(1.0))).product();
    let rows = groups.min(input.rows).max(1.0);
    let pairs = aggregate.group_expr.iter().zip(aggregate.schema.columns());
    let columns = pairs.filter_map(|(expr, name)| Some((name, input.values(expr)?.clone()))).collect();
    Some(Estimate { rows, rows_before: rows, columns })
}

/// Joins that have no order to choose.
fn joined(join: &Join) -> Option<Estimate> {
    let (left, right) = (estimate(&join.left)?, estimate(&join.right)?);
    let keys = join.on.iter().map(|(one, other)| 1.0 / left.distinct(one).max(right.distinct(other)).max(1.0));
    let most_rows = left.rows_before.max(right.rows_before).max(1.0);
    let selectivity = keys.product::<f64>().max(if join.on.is_empty() { 1.0 } else { 1.0 / most_rows });
    let filtered = if join.filter.is_some() { OTHER } else { 1.0 };
    let pairs = left.rows * right.rows * selectivity * filtered;
    let matched = |rows: f64, others: f64| rows * (others * selectivity * filtered).min(1.0);
    let (from_left, from_right) = (matched(left.rows, right.rows), matched(right.rows, left.rows));
    let rows = match join.join_type {
        JoinType::Inner => pairs,
        JoinType::Left => pairs.max(left.rows),
        JoinType::Right => pairs.max(right.rows),
        JoinType::Full => pairs.max(left.rows).max(right.rows),
        JoinType::LeftSemi => from_left,
        JoinType::RightSemi => from_right,
        JoinType::LeftAnti => left.rows - from_left,
        JoinType::RightAnti => right.rows - from_right,
        JoinType::LeftMark => left.rows,
        JoinType::RightMark => right.rows,
    };
    let rows_before = left.rows_before.max(right.rows_before).max(rows);
    let columns = left.columns.into_iter().chain(right.columns).collect();
    Some(Estimate { rows, rows_before, columns })
}

fn negate(part: f64, is_negated: bool) -> f64 {
    if is_negated { 1.0 - part } else { part }
}

/// The column that a condition leaves one value.
fn fixed(condition: &Expr) -> Option<&Column> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    match (literal(left), literal(right)) {
        (None, Some(_)) => column_of(left),
        (Some(_), None) => column_of(right),
        _ => None,
    }
}

fn column_of(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => column_of(&alias.expr),
        Expr::Cast(cast) => column_of(&cast.expr),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

/// A value on a line, in the unit of its type.
fn number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Date32(days) => days.map(f64::from),
        ScalarValue::Date64(value)
        | ScalarValue::TimestampSecond(value, _)
        | ScalarValue::TimestampMillisecond(value, _)
        | ScalarValue::TimestampMicrosecond(value, _)
        | ScalarValue::TimestampNanosecond(value, _) => value.map(|value| value as f64),
        ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_) => None,
        other => match other.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(value)) => value,
            _ => None,
        },
    }
}
