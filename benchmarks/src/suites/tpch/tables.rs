//! The eight tables of TPC-H: how many rows they have, and a reader of any part of them.

use arrow::array::RecordBatchReader;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use crate::suites::suite::TablePart;

/// All tables, the largest first.
pub(crate) const TABLES: [&str; 8] =
    ["lineitem", "orders", "partsupp", "part", "customer", "supplier", "nation", "region"];

/// Rows at this scale; about as many for `lineitem`, whose orders have one to seven lines each.
pub(crate) fn rows(table: &str, scale: f64) -> u64 {
    let rows = match table {
        "customer" => CustomerGenerator::calculate_row_count(scale, 1, 1),
        "lineitem" => 4 * OrderGenerator::calculate_row_count(scale, 1, 1),
        "orders" => OrderGenerator::calculate_row_count(scale, 1, 1),
        "part" => PartGenerator::calculate_row_count(scale, 1, 1),
        "partsupp" => PartSuppGenerator::calculate_row_count(scale, 1, 1),
        "supplier" => SupplierGenerator::calculate_row_count(scale, 1, 1),
        "nation" => 25,
        _ => 5,
    };
    u64::try_from(rows).unwrap_or(0)
}

/// Generates the rows of a part.
pub(crate) fn read(part: TablePart, scale: f64) -> Box<dyn RecordBatchReader + Send> {
    let TablePart { table, number, count, .. } = part;
    match table {
        "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, number, count))),
        "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, number, count))),
        "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, number, count))),
        "part" => Box::new(PartArrow::new(PartGenerator::new(scale, number, count))),
        "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, number, count))),
        "supplier" => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, number, count))),
        "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, number, count))),
        _ => Box::new(RegionArrow::new(RegionGenerator::new(scale, number, count))),
    }
}
