//! The eight tables of TPC-H: how many rows they have, and a reader of any part of them.

use arrow::array::RecordBatchReader;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// A table of TPC-H.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Customer,
    Lineitem,
    Nation,
    Orders,
    Part,
    Partsupp,
    Region,
    Supplier,
}

/// One of the equal parts that a table is generated in; the parts one after the other are the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TablePart {
    pub(crate) table: Table,
    /// From 1, as the generator counts.
    pub(crate) number: i32,
    pub(crate) count: i32,
}

impl Table {
    /// All tables, the largest first: while the last parts of it are encoded, the other cores take the small tables.
    pub(crate) const ALL: [Self; 8] = [
        Self::Lineitem,
        Self::Orders,
        Self::Partsupp,
        Self::Part,
        Self::Customer,
        Self::Supplier,
        Self::Nation,
        Self::Region,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Lineitem => "lineitem",
            Self::Nation => "nation",
            Self::Orders => "orders",
            Self::Part => "part",
            Self::Partsupp => "partsupp",
            Self::Region => "region",
            Self::Supplier => "supplier",
        }
    }

    /// Rows at this scale; about as many for `lineitem`, whose orders have one to seven lines each.
    pub(crate) fn rows(self, scale: f64) -> u64 {
        let rows = match self {
            Self::Customer => CustomerGenerator::calculate_row_count(scale, 1, 1),
            Self::Lineitem => 4 * OrderGenerator::calculate_row_count(scale, 1, 1),
            Self::Nation => 25,
            Self::Orders => OrderGenerator::calculate_row_count(scale, 1, 1),
            Self::Part => PartGenerator::calculate_row_count(scale, 1, 1),
            Self::Partsupp => PartSuppGenerator::calculate_row_count(scale, 1, 1),
            Self::Region => 5,
            Self::Supplier => SupplierGenerator::calculate_row_count(scale, 1, 1),
        };
        u64::try_from(rows).unwrap_or(0)
    }
}

impl TablePart {
    /// Generates the rows of this part.
    pub(crate) fn read(self, scale: f64) -> Box<dyn RecordBatchReader + Send> {
        let Self { table, number, count } = self;
        match table {
            Table::Customer => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, number, count))),
            Table::Lineitem => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, number, count))),
            Table::Nation => Box::new(NationArrow::new(NationGenerator::new(scale, number, count))),
            Table::Orders => Box::new(OrderArrow::new(OrderGenerator::new(scale, number, count))),
            Table::Part => Box::new(PartArrow::new(PartGenerator::new(scale, number, count))),
            Table::Partsupp => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, number, count))),
            Table::Region => Box::new(RegionArrow::new(RegionGenerator::new(scale, number, count))),
            Table::Supplier => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, number, count))),
        }
    }
}
