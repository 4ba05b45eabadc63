//! The 99 queries with the qualification parameters of the specification.
//!
//! They are the specification's questions in the dialect that DuckDB, DataFusion and PostgreSQL share: dates are cast,
//! intervals are written out, and NULLs of the keys of ORDER BY come where the text says. Of the four questions with two
//! parts (14, 23, 24 and 39) it is the first. Three things differ from the specification so that a right answer is one
//! alone: an expression without a name has one; ORDER BY goes on with what is left of the grouping or of the output,
//! where rows that tie could come in any order or be cut by LIMIT; and 58, 61 and 66 multiply and add before they divide,
//! as a quotient of decimals has other digits in each engine, which would grow.

use crate::suites::questions::questions;

/// All of them.
pub(crate) const QUERIES: [&str; 99] = questions!("tpcds":
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11"
    "12" "13" "14" "15" "16" "17" "18" "19" "20" "21" "22"
    "23" "24" "25" "26" "27" "28" "29" "30" "31" "32" "33"
    "34" "35" "36" "37" "38" "39" "40" "41" "42" "43" "44"
    "45" "46" "47" "48" "49" "50" "51" "52" "53" "54" "55"
    "56" "57" "58" "59" "60" "61" "62" "63" "64" "65" "66"
    "67" "68" "69" "70" "71" "72" "73" "74" "75" "76" "77"
    "78" "79" "80" "81" "82" "83" "84" "85" "86" "87" "88"
    "89" "90" "91" "92" "93" "94" "95" "96" "97" "98" "99"
);
