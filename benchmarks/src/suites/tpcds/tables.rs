//! The 24 tables of TPC-DS: how many rows they have, and a reader of any part of them.

use arrow::array::RecordBatchReader;
use arrow::error::ArrowError;
use tpcdsgen::config::{Session, SessionBuilder, Table};
use tpcdsgen_arrow::{
    CallCenterArrow, CatalogPageArrow, CatalogReturnsArrow, CatalogSalesArrow, CustomerAddressArrow, CustomerArrow,
    CustomerDemographicsArrow, DateDimArrow, HouseholdDemographicsArrow, IncomeBandArrow, InventoryArrow, ItemArrow,
    PromotionArrow, ReasonArrow, ShipModeArrow, StoreArrow, StoreReturnsArrow, StoreSalesArrow, TimeDimArrow,
    WarehouseArrow, WebPageArrow, WebReturnsArrow, WebSalesArrow, WebSiteArrow,
};

use crate::suites::suite::{TablePart, unreadable};

/// All tables, the largest at scale 1 first.
pub(crate) const TABLES: [&str; 24] = [
    "inventory",
    "store_sales",
    "customer_demographics",
    "catalog_sales",
    "web_sales",
    "store_returns",
    "catalog_returns",
    "customer",
    "time_dim",
    "date_dim",
    "web_returns",
    "customer_address",
    "item",
    "catalog_page",
    "household_demographics",
    "promotion",
    "reason",
    "web_page",
    "web_site",
    "income_band",
    "ship_mode",
    "store",
    "call_center",
    "warehouse",
];

/// Rows at this scale; about as many for what is sold, where a row of the generator is an order of several lines, and
/// for what comes back.
pub(crate) fn rows(table: &str, scale: f64) -> u64 {
    let sources = session(scale).map_or(0, |session| source_rows(table, &session));
    match table {
        "store_sales" | "web_sales" => sources * 12,
        "catalog_sales" => sources * 9,
        "store_returns" | "web_returns" => sources * 12 / 10,
        "catalog_returns" => sources * 9 / 10,
        _ => sources,
    }
}

/// Generates the rows of a part.
pub(crate) fn read(part: TablePart, scale: f64) -> Box<dyn RecordBatchReader + Send> {
    let session = match session(scale) {
        Ok(session) => session,
        Err(error) => return unreadable(ArrowError::ExternalError(Box::new(error))),
    };
    let rows = part.cut(source_rows(part.table, &session));
    macro_rules! reader {
        ($reader:ident) => {
            // Rows of the generator are counted from 1.
            Box::new($reader::new(session).with_source_row_range(rows.start + 1, rows.end))
        };
    }
    match part.table {
        "inventory" => reader!(InventoryArrow),
        "store_sales" => reader!(StoreSalesArrow),
        "customer_demographics" => reader!(CustomerDemographicsArrow),
        "catalog_sales" => reader!(CatalogSalesArrow),
        "web_sales" => reader!(WebSalesArrow),
        "store_returns" => reader!(StoreReturnsArrow),
        "catalog_returns" => reader!(CatalogReturnsArrow),
        "customer" => reader!(CustomerArrow),
        "time_dim" => reader!(TimeDimArrow),
        "date_dim" => reader!(DateDimArrow),
        "web_returns" => reader!(WebReturnsArrow),
        "customer_address" => reader!(CustomerAddressArrow),
        "item" => reader!(ItemArrow),
        "catalog_page" => reader!(CatalogPageArrow),
        "household_demographics" => reader!(HouseholdDemographicsArrow),
        "promotion" => reader!(PromotionArrow),
        "reason" => reader!(ReasonArrow),
        "web_page" => reader!(WebPageArrow),
        "web_site" => reader!(WebSiteArrow),
        "income_band" => reader!(IncomeBandArrow),
        "ship_mode" => reader!(ShipModeArrow),
        "store" => reader!(StoreArrow),
        "call_center" => reader!(CallCenterArrow),
        _ => reader!(WarehouseArrow),
    }
}

fn session(scale: f64) -> tpcdsgen::error::Result<Session> {
    SessionBuilder::new().with_scale_factor(scale).build()
}

/// Rows that the generator makes the table of.
fn source_rows(name: &str, session: &Session) -> u64 {
    let table = Table::values().iter().find(|table| table.get_name() == name);
    table.map_or(0, |table| session.get_scaling().get_row_count(*table))
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;

    use super::*;
    use crate::suites::Suite;

    fn count(table: &'static str, number: i32, count: i32, scale: f64) -> usize {
        let part = TablePart { suite: Suite::Tpcds, table, number, count };
        read(part, scale).map(|batch| RecordBatch::num_rows(&batch.unwrap())).sum()
    }

    #[test]
    fn parts_make_up_the_table() {
        for table in TABLES.into_iter().filter(|table| *table != "customer_demographics") {
            let whole = count(table, 1, 1, 0.01);
            let parts: usize = (1..=3).map(|number| count(table, number, 3, 0.01)).sum();
            assert_eq!(parts, whole, "{table}");
            let about = rows(table, 0.01) as f64;
            assert!((0.9..1.1).contains(&(whole as f64 / about)), "{table} has {whole} rows, not about {about}");
        }
    }

    #[test]
    fn no_table_is_empty_at_the_smallest_scale() {
        for table in TABLES {
            assert!(count(table, 1, 1, 0.001) > 0, "{table}");
        }
    }
}
