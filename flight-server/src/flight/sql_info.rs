//! What the server is and can do: every id of Flight SQL's `SqlInfo`, in the type that drivers read it as.
//!
//! JDBC wants `i64` for every `SQL_MAX_*`, an `i32` for enumerations and bit masks, lists of text for words and functions,
//! and a map for conversions. A zero among the `SQL_MAX_*` means no limit, or none that is known.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow_flight::sql::SqlInfo::*;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction};
use engine::{HAS_SUBSTRAIT, Result};

use crate::flight::metadata::unencodable;

/// Largest text of a statement by default, in characters.
const STATEMENT_LENGTH_MAX: i64 = 16 << 20;

/// All of it.
pub(crate) fn sql_info() -> &'static Result<SqlInfoData> {
    static INFO: LazyLock<Result<SqlInfoData>> = LazyLock::new(|| {
        let mut builder = SqlInfoDataBuilder::new();
        server(&mut builder);
        names(&mut builder);
        grammar(&mut builder);
        functions(&mut builder);
        limits(&mut builder);
        transactions(&mut builder);
        builder.build().map_err(unencodable)
    });
    &INFO
}

fn server(builder: &mut SqlInfoDataBuilder) {
    builder.append(FlightSqlServerName, "Grappe");
    builder.append(FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(FlightSqlServerArrowVersion, "1.3");
    builder.append(FlightSqlServerReadOnly, false);
    builder.append(FlightSqlServerSql, true);
    builder.append(FlightSqlServerSubstrait, HAS_SUBSTRAIT);
    builder.append(FlightSqlServerSubstraitMinVersion, "");
    builder.append(FlightSqlServerSubstraitMaxVersion, "");
    builder.append(FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    builder.append(FlightSqlServerCancel, true);
    builder.append(FlightSqlServerBulkIngestion, true);
    builder.append(FlightSqlServerIngestTransactionsSupported, false);
    builder.append(FlightSqlServerStatementTimeout, 0i32);
    builder.append(FlightSqlServerTransactionTimeout, 0i32);
}

fn names(builder: &mut SqlInfoDataBuilder) {
    builder.append(SqlDdlCatalog, false);
    builder.append(SqlDdlSchema, true);
    builder.append(SqlDdlTable, true);
    builder.append(SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    builder.append(SqlIdentifierQuoteChar, "\"");
    builder.append(SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32);
    builder.append(SqlAllTablesAreSelectable, true);
    builder.append(SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    builder.append(SqlSearchStringEscape, "\\");
    builder.append(SqlExtraNameCharacters, "");
    builder.append(SqlSchemaTerm, "schema");
    builder.append(SqlProcedureTerm, "");
    builder.append(SqlCatalogTerm, "catalog");
    builder.append(SqlCatalogAtStart, true);
    // In procedure calls, index and privilege definitions: bits 1, 2 and 4 of Flight SQL.
    builder.append(SqlSchemasSupportedActions, 0i32);
    builder.append(SqlCatalogsSupportedActions, 0i32);
}

fn grammar(builder: &mut SqlInfoDataBuilder) {
    for (name, is_supported) in [
        (SqlSupportsColumnAliasing, true),
        (SqlNullPlusNullIsNull, true),
        (SqlSupportsTableCorrelationNames, true),
        (SqlSupportsDifferentTableCorrelationNames, false),
        (SqlSupportsExpressionsInOrderBy, true),
        (SqlSupportsOrderByUnrelated, true),
        (SqlSupportsLikeEscapeClause, true),
        (SqlSupportsNonNullableColumns, true),
        (SqlSupportsIntegrityEnhancementFacility, false),
        (SqlSelectForUpdateSupported, false),
        (SqlStoredProceduresSupported, false),
        (SqlCorrelatedSubqueriesSupported, true),
    ] {
        builder.append(name, is_supported);
    }
    for (name, bits) in [
        // Unrelated and beyond select.
        (SqlSupportedGroupBy, 0b11),
        // Minimum, core and extended grammar.
        (SqlSupportedGrammar, 0b111),
        // Entry level.
        (SqlAnsi92SupportedLevel, 0b1),
        // Limited and full outer joins, each a bit: drivers test the bit, although the protocol speaks of a number.
        (SqlOuterJoinsSupportLevel, 0b110),
        (SqlSupportedPositionedCommands, 0),
        // In comparisons, EXISTS, IN and quantified.
        (SqlSupportedSubqueries, 0b1111),
        // UNION and UNION ALL.
        (SqlSupportedUnions, 0b11),
    ] {
        builder.append(name, bits);
    }
    builder.append(SqlSupportsConvert, BTreeMap::<i32, Vec<i32>>::new());
    builder.append(SqlKeywords, KEYWORDS.as_slice());
}

/// Words that SQL-92 does not reserve and we do.
const KEYWORDS: [&str; 10] =
    ["ANTI", "ILIKE", "LATERAL", "LIMIT", "OFFSET", "OVER", "QUALIFY", "SEMI", "UNNEST", "WINDOW"];

fn functions(builder: &mut SqlInfoDataBuilder) {
    let numeric = ["ABS", "ACOS", "ASIN", "ATAN", "CEIL", "COS", "EXP", "FLOOR", "LN", "LOG", "MOD", "PI", "POWER"];
    let text = ["CONCAT", "LEFT", "LENGTH", "LOWER", "LTRIM", "REPEAT", "REPLACE", "RIGHT", "RTRIM", "SUBSTR", "UPPER"];
    let dates = ["CURRENT_DATE", "CURRENT_TIME", "DATE_PART", "DATE_TRUNC", "EXTRACT", "NOW", "TO_TIMESTAMP"];
    let system = ["COALESCE", "NULLIF", "VERSION"];
    builder.append(SqlNumericFunctions, numeric.as_slice());
    builder.append(SqlStringFunctions, text.as_slice());
    builder.append(SqlDatetimeFunctions, dates.as_slice());
    builder.append(SqlSystemFunctions, system.as_slice());
    builder.append(SqlNamedParametersSupported, false);
    builder.append(SqlLocatorsUpdateCopy, false);
    builder.append(SqlStoredFunctionsUsingCallSyntaxSupported, false);
}

fn limits(builder: &mut SqlInfoDataBuilder) {
    let unlimited: [SqlInfo; 19] = [
        SqlMaxBinaryLiteralLength,
        SqlMaxCharLiteralLength,
        SqlMaxColumnNameLength,
        SqlMaxColumnsInGroupBy,
        SqlMaxColumnsInIndex,
        SqlMaxColumnsInOrderBy,
        SqlMaxColumnsInSelect,
        SqlMaxColumnsInTable,
        SqlMaxConnections,
        SqlMaxCursorNameLength,
        SqlMaxIndexLength,
        SqlDbSchemaNameLength,
        SqlMaxProcedureNameLength,
        SqlMaxCatalogNameLength,
        SqlMaxRowSize,
        SqlMaxStatements,
        SqlMaxTableNameLength,
        SqlMaxTablesInSelect,
        SqlMaxUsernameLength,
    ];
    unlimited.into_iter().for_each(|name| builder.append(name, 0i64));
    builder.append(SqlMaxStatementLength, STATEMENT_LENGTH_MAX);
    builder.append(SqlMaxRowSizeIncludesBlobs, true);
}

fn transactions(builder: &mut SqlInfoDataBuilder) {
    builder.append(SqlTransactionsSupported, false);
    // None; 64 bits, because that is what JDBC and ODBC read, although the protocol says 32.
    builder.append(SqlDefaultTransactionIsolation, 0i64);
    builder.append(SqlSupportedTransactionsIsolationLevels, 0b1i32);
    builder.append(SqlDataDefinitionCausesTransactionCommit, false);
    builder.append(SqlDataDefinitionsInTransactionsIgnored, false);
    // Forward only.
    builder.append(SqlSupportedResultSetTypes, 0b10i32);
    builder.append(SqlSupportedConcurrenciesForResultSetUnspecified, 0i32);
    // Read only.
    builder.append(SqlSupportedConcurrenciesForResultSetForwardOnly, 0b10i32);
    builder.append(SqlSupportedConcurrenciesForResultSetScrollSensitive, 0i32);
    builder.append(SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0i32);
    builder.append(SqlBatchUpdatesSupported, true);
    builder.append(SqlSavepointsSupported, false);
}
