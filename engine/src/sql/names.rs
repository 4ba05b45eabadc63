//! Names as they are written, to names as the catalog keeps them.

use datafusion::common::{SchemaReference, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::sql::planner::IdentNormalizer;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use crate::{Error, Result};

/// How a session reads names: without quotes, capitals do not count unless it says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    folds_capitals: bool,
}

impl Names {
    /// As the settings say.
    pub(crate) fn of(options: &ConfigOptions) -> Self {
        Self { folds_capitals: options.sql_parser.enable_ident_normalization }
    }

    /// One name.
    pub(crate) fn name(self, ident: &Ident) -> String {
        IdentNormalizer::new(self.folds_capitals).normalize(ident.clone())
    }

    /// A table or view, perhaps with its schema and catalog.
    ///
    /// # Errors
    /// `Invalid` for more than three parts.
    pub(crate) fn table(self, name: &ObjectName) -> Result<TableReference> {
        match self.parts(name)?.as_slice() {
            [table] => Ok(TableReference::bare(table.as_str())),
            [schema, table] => Ok(TableReference::partial(schema.as_str(), table.as_str())),
            [catalog, schema, table] => Ok(TableReference::full(catalog.as_str(), schema.as_str(), table.as_str())),
            _ => Err(Error::invalid(format!("{name} is not the name of a table: write table or schema.table"))),
        }
    }

    /// A schema, perhaps with its catalog.
    ///
    /// # Errors
    /// `Invalid` for more than two parts.
    pub(crate) fn schema(self, name: &ObjectName) -> Result<SchemaReference> {
        match self.parts(name)?.as_slice() {
            [schema] => Ok(SchemaReference::Bare { schema: schema.as_str().into() }),
            [catalog, schema] => {
                Ok(SchemaReference::Full { catalog: catalog.as_str().into(), schema: schema.as_str().into() })
            }
            _ => Err(Error::invalid(format!("{name} is not the name of a schema: write one name"))),
        }
    }

    /// A catalog.
    ///
    /// # Errors
    /// `Invalid` for more than one part.
    pub(crate) fn catalog(self, name: &ObjectName) -> Result<String> {
        let [catalog] = <[String; 1]>::try_from(self.parts(name)?)
            .map_err(|_| Error::invalid(format!("{name} is not the name of a catalog: write one name")))?;
        Ok(catalog)
    }

    /// A column with its table.
    ///
    /// # Errors
    /// `Invalid` without a table.
    pub(crate) fn column(self, name: &ObjectName) -> Result<(TableReference, String)> {
        let mut table = name.clone();
        let column = table.0.pop();
        let Some(column) = column.as_ref().and_then(|part| part.as_ident()).filter(|_| !table.0.is_empty()) else {
            return Err(Error::invalid(format!("{name} does not say which table: write table.column")));
        };
        Ok((self.table(&table)?, self.name(column)))
    }

    fn parts(self, name: &ObjectName) -> Result<Vec<String>> {
        let part = |part: Option<&Ident>| part.map(|ident| self.name(ident));
        let parts: Option<Vec<String>> = name.0.iter().map(|each| part(each.as_ident())).collect();
        parts.ok_or_else(|| Error::invalid(format!("{name} is not a name: write it without parentheses")))
    }
}

#[cfg(test)]
impl Default for Names {
    fn default() -> Self {
        Self { folds_capitals: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(parts: &[&str]) -> ObjectName {
        let ident = |part: &&str| match part.strip_prefix('"') {
            Some(quoted) => Ident::with_quote('"', quoted),
            None => Ident::new(*part),
        };
        ObjectName::from(parts.iter().map(ident).collect::<Vec<_>>())
    }

    #[test]
    fn capitals_count_only_in_quotes() {
        let name = Names::default().table(&object(&["Sales", "\"Orders"])).unwrap();
        assert_eq!(name, TableReference::partial("sales", "Orders"));
        let exact = Names { folds_capitals: false };
        assert_eq!(exact.table(&object(&["Sales"])).unwrap(), TableReference::bare("Sales"));
    }

    #[test]
    fn a_column_needs_its_table() {
        let names = Names::default();
        let (table, column) = names.column(&object(&["c", "s", "t", "X"])).unwrap();
        assert_eq!((table, column.as_str()), (TableReference::full("c", "s", "t"), "x"));
        assert!(names.column(&object(&["x"])).unwrap_err().message.contains("write table.column"));
    }

    #[test]
    fn names_of_too_many_parts_are_refused() {
        let names = Names::default();
        assert!(names.table(&object(&["a", "b", "c", "d"])).unwrap_err().message.contains("schema.table"));
        assert!(names.schema(&object(&["a", "b", "c"])).unwrap_err().message.contains("write one name"));
    }
}
