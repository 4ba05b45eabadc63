//! Name patterns of the `\d` family: `*`, `?`, dots between the parts, double quotes against all of them.

/// A pattern taken apart at its dots.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Character(char),
    AnyCharacter,
    AnyText,
}

/// Catalog, schema and name.
const PARTS_MAX: usize = 3;

impl Pattern {
    /// Reads a pattern; names outside of quotes are folded to lower case.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![Vec::new()];
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let piece = match character {
                '"' if quoted && characters.next_if_eq(&'"').is_some() => Piece::Character('"'),
                '"' => {
                    quoted = !quoted;
                    continue;
                }
                '.' if !quoted => {
                    parts.push(Vec::new());
                    continue;
                }
                '*' if !quoted => Piece::AnyText,
                '?' if !quoted => Piece::AnyCharacter,
                other if quoted => Piece::Character(other),
                other => Piece::Character(other.to_lowercase().next().unwrap_or(other)),
            };
            if let Some(part) = parts.last_mut() {
                part.push(piece);
            }
        }
        if parts.len() > PARTS_MAX {
            return Err(format!("improper qualified name (too many dotted names): {text}"));
        }
        Ok(Self { parts })
    }

    /// Whether everything fits.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(Vec::is_empty)
    }

    /// Whether it says in which schema to look.
    pub(super) fn has_schema(&self) -> bool {
        self.parts.len() > 1
    }

    /// The first of so many parts, if there are so many and it is one name.
    pub(super) fn first_of(&self, parts: usize) -> Option<String> {
        text(self.parts.first().filter(|_| self.parts.len() == parts)?)
    }

    /// What the last of `columns` must satisfy for the last part, and so on towards the front.
    pub(super) fn conditions(&self, columns: &[&str]) -> Vec<String> {
        let pairs = columns.iter().rev().zip(self.parts.iter().rev());
        let mut conditions: Vec<_> = pairs.filter_map(|(column, part)| condition(column, part)).collect();
        conditions.reverse();
        conditions
    }

    /// A string of SQL.
    pub(super) fn literal(text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// An equality where it suffices, since a catalog can answer that fast.
fn condition(column: &str, part: &[Piece]) -> Option<String> {
    if part.iter().all(|piece| *piece == Piece::AnyText) {
        return None;
    }
    Some(match text(part) {
        Some(text) => format!("{column} = {}", Pattern::literal(&text)),
        None => format!("{column} ~ {}", Pattern::literal(&regular_expression(part))),
    })
}

/// What is written, if nothing in it stands for something else.
fn text(part: &[Piece]) -> Option<String> {
    let character = |piece: &Piece| match piece {
        Piece::Character(character) => Some(*character),
        Piece::AnyCharacter | Piece::AnyText => None,
    };
    part.iter().map(character).collect()
}

fn regular_expression(part: &[Piece]) -> String {
    let mut expression = "^(".to_owned();
    for piece in part {
        match piece {
            Piece::AnyCharacter => expression.push('.'),
            Piece::AnyText => expression.push_str(".*"),
            Piece::Character(character) => {
                if !character.is_alphanumeric() && !matches!(character, '_' | ' ') {
                    expression.push('\\');
                }
                expression.push(*character);
            }
        }
    }
    expression + ")$"
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["c", "s", "t"];

    fn conditions(text: &str) -> Vec<String> {
        Pattern::parse(text).expect("a pattern").conditions(&COLUMNS)
    }

    #[test]
    fn parts_belong_to_the_last_columns() {
        assert_eq!(conditions("Orders"), ["t = 'orders'"]);
        assert_eq!(conditions("s1.orders"), ["s = 's1'", "t = 'orders'"]);
        assert_eq!(conditions("*.orders"), ["t = 'orders'"]);
        assert_eq!(conditions("a.b.c"), ["c = 'a'", "s = 'b'", "t = 'c'"]);
        assert!(Pattern::parse("a.b.c.d").is_err());
    }

    #[test]
    fn a_catalog_is_named_or_not() {
        let catalog = |text: &str| Pattern::parse(text).expect("a pattern").first_of(3);
        assert_eq!(catalog("C.s.*"), Some("c".to_owned()));
        assert_eq!(catalog(r#""C".s.t"#), Some("C".to_owned()));
        assert_eq!(catalog("c*.s.t"), None);
        assert_eq!(catalog("s.t"), None);
    }

    #[test]
    fn quotes_keep_case_dots_and_stars() {
        assert_eq!(conditions(r#""My.Table*""#), ["t = 'My.Table*'"]);
        assert_eq!(conditions(r#""a""b'c""#), [r#"t = 'a"b''c'"#]);
    }

    #[test]
    fn wildcards_become_a_regular_expression() {
        assert_eq!(conditions("l?ne*"), ["t ~ '^(l.ne.*)$'"]);
        assert_eq!(conditions(r#""a.b"*"#), [r"t ~ '^(a\.b.*)$'"]);
        assert!(conditions("*").is_empty());
    }
}
