//! The variables of `\set` and `-v`, which `:name` inserts into statements.

use std::collections::BTreeMap;

/// Stop a script at the first statement that fails.
pub(crate) const ON_ERROR_STOP: &str = "ON_ERROR_STOP";

/// Say nothing but results and errors.
pub(crate) const QUIET: &str = "QUIET";

/// Variables that are on or off, never unset.
const SWITCHES: [&str; 2] = [ON_ERROR_STOP, QUIET];

/// Names and values.
#[derive(Debug, Clone)]
pub(crate) struct Variables {
    values: BTreeMap<String, String>,
}

impl Default for Variables {
    fn default() -> Self {
        Self { values: SWITCHES.iter().map(|name| ((*name).to_owned(), "off".to_owned())).collect() }
    }
}

impl Variables {
    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).and_then(parse_boolean).unwrap_or(false)
    }

    /// Sets a variable; an error is what psql says of a bad name or value.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if name.is_empty() || !name.chars().all(is_name_part) {
            return Err(format!("invalid variable name: \"{name}\""));
        }
        let value = match SWITCHES.contains(&name) {
            true if value.is_empty() => "on",
            true if parse_boolean(value).is_none() => {
                return Err(format!("unrecognized value \"{value}\" for \"{name}\": Boolean expected"));
            }
            _ => value,
        };
        self.values.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Removes a variable; turns a switch off.
    pub(crate) fn unset(&mut self, name: &str) {
        if SWITCHES.contains(&name) {
            self.values.insert(name.to_owned(), "off".to_owned());
        } else {
            self.values.remove(name);
        }
    }

    /// Every variable, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A place in a text where a value may be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The variable.
    pub(crate) name: &'a str,
    /// How its value is written.
    pub(crate) quote: Quote,
    /// Bytes of the reference, from the colon on.
    pub(crate) len: usize,
}

/// How a value is written in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quote {
    /// `:name`: as it is.
    None,
    /// `:'name'`: as a string.
    Literal,
    /// `:"name"`: as an identifier.
    Identifier,
}

impl<'a> Reference<'a> {
    /// The reference that `text` starts with, if any.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(':')?;
        let (quote, mark, body) = match rest.chars().next()? {
            mark @ '\'' => (Quote::Literal, Some(mark), &rest[1..]),
            mark @ '"' => (Quote::Identifier, Some(mark), &rest[1..]),
            _ => (Quote::None, None, rest),
        };
        let end = body.find(|character| !is_name_part(character)).unwrap_or(body.len());
        let (name, after) = body.split_at(end);
        if name.is_empty() || mark.is_some_and(|mark| !after.starts_with(mark)) {
            return None;
        }
        let marks = if mark.is_some() { 2 } else { 0 };
        Some(Self { name, quote, len: 1 + marks + name.len() })
    }
}

impl Quote {
    /// The value as it stands in the statement.
    pub(crate) fn apply(self, value: &str) -> String {
        match self {
            Self::None => value.to_owned(),
            Self::Literal => format!("'{}'", value.replace('\'', "''")),
            Self::Identifier => format!("\"{}\"", value.replace('"', "\"\"")),
        }
    }
}

/// `on`, `yes`, `1` and the like, or a beginning of them as psql takes it.
pub(crate) fn parse_boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, len_min: usize| text.len() >= len_min && word.starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || text == "on" || text == "1" {
        return Some(true);
    }
    if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" {
        return Some(false);
    }
    None
}

fn is_name_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_take_booleans_only_and_are_never_unset() {
        let mut variables = Variables::default();
        variables.set(ON_ERROR_STOP, "").expect("set without a value");
        assert!(variables.is_on(ON_ERROR_STOP));
        assert!(variables.set(ON_ERROR_STOP, "maybe").is_err());
        variables.unset(ON_ERROR_STOP);
        assert_eq!(variables.get(ON_ERROR_STOP), Some("off"));
    }

    #[test]
    fn references_are_found_with_each_quote() {
        let parse = |text| Reference::parse(text).map(|reference| (reference.name, reference.quote, reference.len));
        assert_eq!(parse(":a_1 "), Some(("a_1", Quote::None, 4)));
        assert_eq!(parse(":'näme'"), Some(("näme", Quote::Literal, 8)));
        assert_eq!(parse(":\"a\"b"), Some(("a", Quote::Identifier, 4)));
        for text in [":", "::a", ":'a", ":''", ":=", "a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn quoted_values_cannot_leave_their_quotes() {
        assert_eq!(Quote::Literal.apply("it's"), "'it''s'");
        assert_eq!(Quote::Identifier.apply("a\"b"), "\"a\"\"b\"");
    }
}
