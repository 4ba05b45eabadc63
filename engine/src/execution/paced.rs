//! Operators that are given little at a time, because they take long for it or make much of it.
//!
//! A join does not pause within a batch, and can make billions of pairs of its rows: nothing stopped it meanwhile, and
//! nobody else had its thread. So what joins probe with comes in slices that take a part of a second, with a pause after
//! each. UNNEST makes one batch of all lists of a batch, and constants are repeated for every row of one: they are given
//! so few rows that they make no more than others do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinSide, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use futures::{Stream, StreamExt};

use super::stand_in::{Work, stand_in};

/// Rows of a slice, whatever else is known of them.
const SLICE_ROWS_MAX: usize = 8_192;
/// Slices that took so long together are followed by a pause, and one that did so alone by smaller ones.
const SLICE_TIME_MAX: Duration = Duration::from_millis(50);
/// One that took less is followed by larger ones.
const SLICE_TIME_MIN: Duration = Duration::from_millis(10);
/// How many times as many rows the next slice may have.
const GROWTH: usize = 4;
/// Bytes of a constant, repeated for every row of a slice.
const REPEATED_BYTES_MAX: usize = 64 << 20;

/// `plan`, with its joins, UNNESTs and large constants paced.
///
/// # Errors
/// Those of building plans: none for a plan that DataFusion made.
pub(super) fn paced(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some((input, pace)) = pace_of(node.as_ref())? else { return Ok(Transformed::no(node)) };
        let mut inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
        inputs[input] = stand_in(Arc::clone(&inputs[input]), Paced(pace));
        Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?))
    })
    .data()
}

/// Which input of a node is paced, and how.
fn pace_of(node: &dyn ExecutionPlan) -> Result<Option<(usize, Pace)>> {
    if node.is::<HashJoinExec>() || node.is::<NestedLoopJoinExec>() {
        return Ok(Some((1, Pace::Time)));
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
        let is_left = SortMergeJoinExec::probe_side(&join.join_type()) == JoinSide::Left;
        return Ok(Some((usize::from(!is_left), Pace::Time)));
    }
    if let Some(unnest) = node.downcast_ref::<UnnestExec>() {
        return Ok(Some((0, Pace::Lists(unnest.list_column_indices().into()))));
    }
    let rows = REPEATED_BYTES_MAX / largest_constant(node)?.max(1);
    let is_paced = rows < SLICE_ROWS_MAX && node.children().len() == 1;
    Ok(is_paced.then_some((0, Pace::Rows(rows.max(1)))))
}

/// Bytes of the largest constant in the expressions of a node.
fn largest_constant(node: &dyn ExecutionPlan) -> Result<usize> {
    let mut bytes = 0;
    node.apply_expressions(&mut |expr: &Arc<dyn PhysicalExpr>| {
        expr.apply(|expr| {
            if let Some(literal) = expr.downcast_ref::<Literal>() {
                bytes = bytes.max(literal.value().size());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(bytes)
}

/// What a slice is.
#[derive(Debug, Clone)]
enum Pace {
    /// As much as is done in time.
    Time,
    /// So many rows.
    Rows(usize),
    /// Rows whose lists have few elements together.
    Lists(Arc<[ListUnnest]>),
}

/// Gives the rows of its node in slices.
#[derive(Debug, Clone)]
struct Paced(Pace);

impl Work for Paced {
    fn execute(
        &self,
        node: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (input, pace) = (node.execute(partition, context)?, self.0.clone());
        let (rest, lengths) = (None, Vec::new());
        Ok(Box::pin(Slices { input, pace, rest, lengths, rows: 1, given: None, began: None }))
    }
}

struct Slices {
    input: SendableRecordBatchStream,
    pace: Pace,
    /// What has come and was not given yet.
    rest: Option<RecordBatch>,
    /// Elements in the lists of each of its rows, the last row first.
    lengths: Vec<usize>,
    /// Rows of the next slice, by time.
    rows: usize,
    /// When the last slice was given.
    given: Option<Instant>,
    /// When the first slice since the last pause was given.
    began: Option<Instant>,
}

impl Slices {
    /// Whether a pause is due. By time, the next slices are as large as fits.
    fn is_pause_due(&mut self) -> bool {
        let Some(took) = self.given.take().map(|given| given.elapsed()) else { return false };
        if took >= SLICE_TIME_MAX {
            let share = SLICE_TIME_MAX.as_secs_f64() / took.as_secs_f64();
            self.rows = ((self.rows as f64 * share) as usize).max(1);
        } else if took < SLICE_TIME_MIN {
            self.rows = (self.rows * GROWTH).min(SLICE_ROWS_MAX);
        }
        let is_due = self.began.is_some_and(|began| began.elapsed() >= SLICE_TIME_MAX);
        if is_due {
            self.began = None;
        }
        is_due
    }

    fn receive(&mut self, batch: RecordBatch) {
        if let Pace::Lists(columns) = &self.pace {
            self.lengths = vec![1; batch.num_rows()];
            for column in columns.iter() {
                let lengths = lengths(batch.column(column.index_in_input_schema), column.depth);
                self.lengths.iter_mut().rev().zip(lengths).for_each(|(most, length)| *most = length.max(*most));
            }
        }
        self.rest = Some(batch);
    }

    /// The next slice of what has come.
    fn slice(&mut self) -> Option<RecordBatch> {
        let batch = self.rest.take()?;
        let rows = match &self.pace {
            Pace::Time => self.rows,
            Pace::Rows(rows) => *rows,
            Pace::Lists(_) => self.rows_with_few_elements(),
        };
        if rows >= batch.num_rows() {
            return Some(batch);
        }
        self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        Some(batch.slice(0, rows))
    }

    fn rows_with_few_elements(&mut self) -> usize {
        let (mut rows, mut elements) = (0, 0);
        while let Some(length) = self.lengths.pop() {
            elements += length;
            rows += 1;
            if self.lengths.last().is_some_and(|next| elements + next > SLICE_ROWS_MAX) {
                break;
            }
        }
        rows.max(1)
    }
}

/// Elements in each list of a column, at this depth: 1 is its own.
fn lengths(column: &ArrayRef, depth: usize) -> Vec<usize> {
    fn of_offsets<O: OffsetSizeTrait>(column: &ArrayRef, depth: usize) -> Vec<usize> {
        let list = column.as_list::<O>();
        let within = (depth > 1).then(|| lengths(list.values(), depth - 1));
        let length = |ends: &[O]| {
            let (from, to) = (ends[0].as_usize(), ends[1].as_usize());
            within.as_ref().map_or(to - from, |within| within[from..to].iter().sum())
        };
        list.offsets().windows(2).map(length).collect()
    }
    match column.data_type() {
        DataType::List(_) => of_offsets::<i32>(column, depth),
        DataType::LargeList(_) => of_offsets::<i64>(column, depth),
        DataType::FixedSizeList(_, size) => vec![usize::try_from(*size).unwrap_or(1); column.len()],
        _ => vec![1; column.len()],
    }
}

impl Stream for Slices {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_pause_due() {
            // Others have their turn, and this one ends here if nobody wants it any more.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_none() {
            match self.input.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(batch))) => self.receive(batch),
                other => {
                    self.began = None;
                    return other;
                }
            }
        }
        let slice = self.slice();
        let now = Instant::now();
        self.given = Some(now);
        self.began.get_or_insert(now);
        Poll::Ready(slice.map(Ok))
    }
}

impl RecordBatchStream for Slices {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::physical_plan::{collect, displayable, execute_stream};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use futures::poll;

    use super::*;

    async fn plan(sql: &str, settings: &[&str]) -> (Arc<dyn ExecutionPlan>, Arc<TaskContext>) {
        let config = SessionConfig::new().with_target_partitions(1);
        let context = SessionContext::new_with_config(config);
        for setting in settings {
            context.sql(setting).await.unwrap().collect().await.unwrap();
        }
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        (plan, context.task_ctx())
    }

    #[tokio::test]
    async fn joins_without_rows_pause() {
        const HASH: &str = "SELECT count(*) FROM range(300000) a JOIN range(300000) b ON a.value % 2 = b.value % 2 AND \
                            sin(a.value * b.value) > 2";
        const NESTED: &str =
            "SELECT count(*) FROM range(3000000) a JOIN range(3000000) b ON sin(a.value * b.value) > 2";
        const MERGE: &str = "SET datafusion.optimizer.prefer_hash_join = false";
        for (sql, settings) in [(HASH, &[][..]), (NESTED, &[]), (HASH, &[MERGE])] {
            let (plan, context) = plan(sql, settings).await;
            let text = |plan: &dyn ExecutionPlan| displayable(plan).indent(true).to_string();
            let slow = paced(Arc::clone(&plan)).unwrap();
            assert_eq!(text(slow.as_ref()), text(plan.as_ref()));
            let mut rows = execute_stream(slow, context).unwrap();
            let (began, mut longest) = (Instant::now(), Duration::ZERO);
            while began.elapsed() < Duration::from_secs(1) {
                let polled = Instant::now();
                assert!(poll!(rows.next()).is_pending(), "{sql}");
                longest = longest.max(polled.elapsed());
                tokio::task::yield_now().await;
            }
            // A slice takes a hundredth of that, a batch a hundred times as long.
            assert!(longest < Duration::from_secs(5), "{sql}: {longest:?}");
        }
    }

    #[tokio::test]
    async fn slices_that_take_less_than_the_time_pause_together() {
        let (plan, context) = plan("SELECT value FROM range(30000)", &[]).await;
        let mut rows = execute_stream(stand_in(plan, Paced(Pace::Time)), context).unwrap();
        let mut since_a_pause = Duration::ZERO;
        for _ in 0..50 {
            let took = Instant::now();
            if poll!(rows.next()).is_pending() {
                since_a_pause = Duration::ZERO;
                tokio::task::yield_now().await;
            }
            // The work of whoever asked: more than what makes slices larger, less than what makes them smaller.
            while took.elapsed() < SLICE_TIME_MIN + Duration::from_millis(2) {}
            since_a_pause += SLICE_TIME_MIN;
            assert!(since_a_pause <= SLICE_TIME_MAX + SLICE_TIME_MIN, "no pause in {since_a_pause:?}");
        }
    }

    #[tokio::test]
    async fn the_rows_stay_what_they_are() {
        for (sql, expected) in [
            ("SELECT count(*) FROM range(20000) a JOIN range(30000) b ON a.value = b.value", 20_000),
            ("SELECT count(*) FROM range(20000) a RIGHT JOIN range(30000) b ON a.value = b.value", 30_000),
            ("SELECT count(*) FROM range(2000) a JOIN range(3000) b ON a.value < b.value", 3_999_000),
        ] {
            for settings in [&[][..], &["SET datafusion.optimizer.prefer_hash_join = false"]] {
                let (plan, context) = plan(sql, settings).await;
                let batches = collect(paced(plan).unwrap(), context).await.unwrap();
                let count = batches[0].column(0).as_primitive::<Int64Type>().value(0);
                assert_eq!(count, expected, "{sql}");
            }
        }
    }

    #[tokio::test]
    async fn what_becomes_much_is_given_in_pieces() {
        for (sql, rows, rows_at_once) in [
            ("SELECT unnest(range(0, value)) FROM range(3000)", 3_000 * 2_999 / 2, SLICE_ROWS_MAX),
            ("SELECT unnest([[1, 2], [value]]) FROM range(3000)", 6_000, SLICE_ROWS_MAX),
            ("SELECT unnest(unnest([[1, 2], [value]])) FROM range(3000)", 9_000, SLICE_ROWS_MAX),
            ("SELECT repeat('x', 10000000) FROM range(20)", 20, 6),
        ] {
            let (plan, context) = plan(sql, &[]).await;
            let batches = collect(paced(plan).unwrap(), context).await.unwrap();
            let sizes = batches.iter().map(RecordBatch::num_rows);
            assert_eq!(sizes.clone().sum::<usize>(), rows, "{sql}");
            assert!(sizes.max().unwrap_or(0) <= rows_at_once, "{sql}");
        }
    }
}
