//! What clients ask.

use arrow::array::RecordBatch;
use serde::Serialize;

use super::text;
use crate::suites::Suite;

/// A kind of query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// One order, by its key.
    Point,
    /// Query 6 of TPC-H: a sum over a year of orders.
    Q6,
    /// Query 18: a large aggregation and joins.
    Q18,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Point, Self::Q6, Self::Q18];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Q6 => "q6",
            Self::Q18 => "q18",
        }
    }

    /// A query of this kind, with other values each time.
    pub(super) fn sql(self, scale: f64, random: &mut fastrand::Rng) -> String {
        match self {
            Self::Point => {
                let key = order_key(random.u64(1..=Suite::Tpch.rows("orders", scale).max(1)));
                format!("SELECT o_orderkey, o_custkey, o_totalprice, o_orderdate FROM orders WHERE o_orderkey = {key}")
            }
            Self::Q6 => {
                let (year, discount, quantity) = (random.u32(1993..=1997), random.u32(2..=9), random.u32(24..=25));
                let (least, most) = (discount - 1, discount + 1);
                format!(
                    "SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem \
                     WHERE l_shipdate >= DATE '{year}-01-01' AND l_shipdate < DATE '{}-01-01' \
                     AND l_discount BETWEEN 0.{least:02} AND 0.{most:02} AND l_quantity < {quantity}",
                    year + 1
                )
            }
            Self::Q18 => format!(
                "SELECT c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) \
                 FROM customer, orders, lineitem WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem \
                 GROUP BY l_orderkey HAVING sum(l_quantity) > {}) AND c_custkey = o_custkey AND o_orderkey = l_orderkey \
                 GROUP BY c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice \
                 ORDER BY o_totalprice DESC, o_orderdate LIMIT 100",
                random.u32(280..=315)
            ),
        }
    }

    /// What two answers to the same text must have in common.
    pub(super) fn fingerprint(self, batches: &[RecordBatch]) -> String {
        match self {
            Self::Point | Self::Q6 => text(batches),
            // Among equals, the limit takes any.
            Self::Q18 => rows(batches).to_string(),
        }
    }

    /// Whether it has as many rows as it must.
    pub(super) fn is_plausible(self, batches: &[RecordBatch]) -> bool {
        match self {
            Self::Point | Self::Q6 => rows(batches) == 1,
            Self::Q18 => rows(batches) <= 100,
        }
    }
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The key of the nth order: of 32 keys, 8 are used (TPC-H specification, 4.2.3).
fn order_key(number: u64) -> u64 {
    (number >> 3) << 5 | (number & 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_orders_leave_gaps() {
        assert_eq!([1, 7, 8, 9, 15, 16].map(order_key), [1, 7, 32, 33, 39, 64]);
    }
}
