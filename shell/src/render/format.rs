//! How results are printed: what `\pset`, its short forms and the command line change.

use crate::variables::parse_boolean;

/// The kind of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A table with straight columns.
    Aligned,
    /// Values with a separator between them.
    Unaligned,
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Json,
}

impl Style {
    const ALL: [(&'static str, Self); 4] =
        [("aligned", Self::Aligned), ("csv", Self::Csv), ("json", Self::Json), ("unaligned", Self::Unaligned)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, style)| *style == self).map_or("", |(name, _)| name)
    }
}

/// Whether each value has a line of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expanded {
    /// One row a line.
    Off,
    /// One value a line.
    On,
    /// One value a line if the table is wider than the terminal.
    Auto,
}

impl Expanded {
    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Auto => "auto",
        }
    }
}

/// Everything that decides how a result looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    /// The kind of output.
    pub(crate) style: Style,
    /// Whether each value has a line of its own.
    pub(crate) expanded: Expanded,
    /// Rows alone: no title, no names, no row count.
    pub(crate) tuples_only: bool,
    /// Whether the number of rows is told.
    pub(crate) footer: bool,
    /// What stands for a null.
    pub(crate) null: String,
    /// What stands between unaligned values.
    pub(crate) field_separator: String,
    /// What stands between values of CSV.
    pub(crate) csv_separator: char,
    /// What stands above the table.
    pub(crate) title: Option<String>,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            style: Style::Aligned,
            expanded: Expanded::Off,
            tuples_only: false,
            footer: true,
            null: String::new(),
            field_separator: "|".to_owned(),
            csv_separator: ',',
            title: None,
        }
    }
}

impl Format {
    /// Whether the first rows decide how the others look.
    pub(crate) fn is_sampled(&self) -> bool {
        self.style == Style::Aligned
    }

    /// Sets one option as `\pset NAME VALUE` does; without a value, switches are turned over.
    ///
    /// Returns what psql says of the new state; an error is what psql says of a bad value.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<String, String> {
        match name {
            "border" => set_border(value)?,
            "csv_fieldsep" => set_csv_separator(&mut self.csv_separator, value)?,
            "expanded" | "x" | "vertical" => self.set_expanded(value)?,
            "fieldsep" => set_text(&mut self.field_separator, value),
            "footer" => set_switch(&mut self.footer, name, value)?,
            "format" => self.set_style(value)?,
            "null" => set_text(&mut self.null, value),
            "pager" => set_pager(value)?,
            "title" | "C" => self.title = value.map(ToOwned::to_owned),
            "tuples_only" | "t" => set_switch(&mut self.tuples_only, name, value)?,
            _ => return Err(format!("\\pset: unknown option: {name}")),
        }
        Ok(self.describe(name))
    }

    /// Every option with its value, as `\pset` alone lists them.
    pub(crate) fn list(&self) -> Vec<(&'static str, String)> {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''").replace('\n', "\\n"));
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        vec![
            ("border", "1".to_owned()),
            ("csv_fieldsep", quoted(self.csv_separator.encode_utf8(&mut [0; 4]))),
            ("expanded", self.expanded.name().to_owned()),
            ("fieldsep", quoted(&self.field_separator)),
            ("footer", switch(self.footer)),
            ("format", self.style.name().to_owned()),
            ("null", quoted(&self.null)),
            ("pager", switch(false)),
            ("title", self.title.as_deref().map(quoted).unwrap_or_default()),
            ("tuples_only", switch(self.tuples_only)),
        ]
    }

    fn describe(&self, name: &str) -> String {
        let switch = |on: bool| if on { "on" } else { "off" };
        match name {
            "border" => "Border style is 1.".to_owned(),
            "csv_fieldsep" => format!("Field separator for CSV is \"{}\".", self.csv_separator),
            "expanded" | "x" | "vertical" if self.expanded == Expanded::Auto => {
                "Expanded display is used automatically.".to_owned()
            }
            "expanded" | "x" | "vertical" => format!("Expanded display is {}.", self.expanded.name()),
            "fieldsep" => format!("Field separator is \"{}\".", self.field_separator),
            "footer" => format!("Default footer is {}.", switch(self.footer)),
            "format" => format!("Output format is {}.", self.style.name()),
            "null" => format!("Null display is \"{}\".", self.null),
            "pager" => "Pager usage is off.".to_owned(),
            "title" | "C" => match &self.title {
                Some(title) => format!("Title is \"{title}\"."),
                None => "Title is unset.".to_owned(),
            },
            "tuples_only" | "t" => format!("Tuples only is {}.", switch(self.tuples_only)),
            _ => String::new(),
        }
    }

    fn set_style(&mut self, value: Option<&str>) -> Result<(), String> {
        let Some(value) = value else { return Ok(()) };
        let matching = Style::ALL.iter().find(|(name, _)| !value.is_empty() && name.starts_with(value));
        let (_, style) = matching.ok_or("\\pset: allowed formats are aligned, csv, json, unaligned")?;
        self.style = *style;
        Ok(())
    }

    fn set_expanded(&mut self, value: Option<&str>) -> Result<(), String> {
        self.expanded = match value {
            Some(value) if value.eq_ignore_ascii_case("auto") => Expanded::Auto,
            Some(value) => match parse_boolean(value) {
                Some(true) => Expanded::On,
                Some(false) => Expanded::Off,
                None => {
                    let choices = "Available values are: on, off, auto.";
                    return Err(format!("unrecognized value \"{value}\" for \"expanded\"\n{choices}"));
                }
            },
            None if self.expanded == Expanded::Off => Expanded::On,
            None => Expanded::Off,
        };
        Ok(())
    }
}

fn set_text(text: &mut String, value: Option<&str>) {
    if let Some(value) = value {
        value.clone_into(text);
    }
}

fn set_switch(switch: &mut bool, name: &str, value: Option<&str>) -> Result<(), String> {
    *switch = match value {
        Some(value) => parse_boolean(value)
            .ok_or_else(|| format!("unrecognized value \"{value}\" for \"{name}\": Boolean expected"))?,
        None => !*switch,
    };
    Ok(())
}

fn set_border(value: Option<&str>) -> Result<(), String> {
    match value {
        None | Some("1") => Ok(()),
        Some(value) => Err(format!("\\pset: border {value} is not available, only 1 is")),
    }
}

fn set_pager(value: Option<&str>) -> Result<(), String> {
    match value.map(parse_boolean) {
        None | Some(Some(false)) => Ok(()),
        Some(_) => Err("\\pset: there is no pager, only off is available".to_owned()),
    }
}

fn set_csv_separator(separator: &mut char, value: Option<&str>) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    let mut characters = value.chars();
    match (characters.next(), characters.next()) {
        (Some('"' | '\n' | '\r'), None) => {
            Err("\\pset: csv_fieldsep cannot be a double quote, a newline, or a carriage return".to_owned())
        }
        (Some(character), None) if character.is_ascii() => {
            *separator = character;
            Ok(())
        }
        _ => Err("\\pset: csv_fieldsep must be a single one-byte character".to_owned()),
    }
}
