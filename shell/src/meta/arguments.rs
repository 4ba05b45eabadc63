//! A meta command taken apart: its name, its arguments, and the rest of the line.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::str::CharIndices;

use crate::variables::{Reference, Variables};

/// One meta command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The name without its backslash.
    pub(super) name: String,
    /// What follows, up to the next backslash; variables are inserted and quotes resolved.
    pub(super) arguments: VecDeque<String>,
    /// What follows that: another command, or statements after `\\`.
    pub(super) rest: String,
}

impl Call {
    /// Reads `\name argument ...`.
    pub(super) fn parse(text: &str, variables: &Variables) -> Result<Self, String> {
        let body = text.strip_prefix('\\').unwrap_or(text);
        let len = body.find(|character: char| character.is_whitespace() || character == '\\').unwrap_or(body.len());
        let (name, mut rest) = body.split_at(len);
        let mut arguments = VecDeque::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with('\\') {
                break;
            }
            let (argument, len) = argument(rest, variables)?;
            arguments.push_back(argument);
            rest = &rest[len..];
        }
        let rest = rest.strip_prefix("\\\\").unwrap_or(rest);
        Ok(Self { name: name.to_owned(), arguments, rest: rest.to_owned() })
    }

    /// Takes the next argument.
    pub(super) fn next(&mut self) -> Option<String> {
        self.arguments.pop_front()
    }

    /// Takes the next argument, without which the command means nothing.
    pub(super) fn required(&mut self) -> Result<String, String> {
        self.next().ok_or_else(|| format!("\\{}: missing required argument", self.name))
    }
}

/// The argument that `text` starts with, and its bytes.
fn argument(text: &str, variables: &Variables) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => return Ok((value, at)),
            character if character.is_whitespace() => return Ok((value, at)),
            '\'' => single_quoted(&mut characters, &mut value)?,
            '"' => double_quoted(&mut characters, &mut value)?,
            '`' => return Err("a backtick would run a program, which this shell does not".to_owned()),
            ':' => {
                let found = Reference::parse(&text[at..]);
                match found.and_then(|reference| Some((reference, variables.get(reference.name)?))) {
                    Some((reference, variable)) => {
                        value.push_str(&reference.quote.apply(variable));
                        while characters.next_if(|(next, _)| *next < at + reference.len).is_some() {}
                    }
                    None => value.push(':'),
                }
            }
            other => value.push(other),
        }
    }
    Ok((value, text.len()))
}

/// The rest of a `'string'`, with the escapes of C and doubled quotes.
fn single_quoted(characters: &mut Peekable<CharIndices<'_>>, value: &mut String) -> Result<(), String> {
    while let Some((_, character)) = characters.next() {
        match character {
            '\'' if characters.next_if(|(_, next)| *next == '\'').is_some() => value.push('\''),
            '\'' => return Ok(()),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 'b')) => value.push('\u{8}'),
                Some((_, 'f')) => value.push('\u{c}'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("unterminated quoted string".to_owned())
}

/// The rest of a `"name"`; the quotes stay, since they keep a name from being folded.
fn double_quoted(characters: &mut Peekable<CharIndices<'_>>, value: &mut String) -> Result<(), String> {
    value.push('"');
    for (_, character) in characters {
        value.push(character);
        if character == '"' {
            return Ok(());
        }
    }
    Err("unterminated quoted string".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, Vec<String>, String) {
        let mut variables = Variables::default();
        variables.set("name", "it's").expect("a good name");
        let call = Call::parse(text, &variables).expect("a good command");
        (call.name, call.arguments.into(), call.rest)
    }

    fn expected(name: &str, arguments: &[&str], rest: &str) -> (String, Vec<String>, String) {
        (name.to_owned(), arguments.iter().map(|argument| (*argument).to_owned()).collect(), rest.to_owned())
    }

    #[test]
    fn arguments_are_words_and_quoted_strings() {
        assert_eq!(parse(r"\echo a   b"), expected("echo", &["a", "b"], ""));
        assert_eq!(parse(r#"\echo 'a\tb''c'd "e f""#), expected("echo", &["a\tb'cd", "\"e f\""], ""));
        assert_eq!(parse(r"\set x ''"), expected("set", &["x", ""], ""));
    }

    #[test]
    fn a_backslash_ends_the_command() {
        assert_eq!(parse(r"\a\t"), expected("a", &[], r"\t"));
        assert_eq!(parse(r"\x on \\ select 1;"), expected("x", &["on"], " select 1;"));
    }

    #[test]
    fn variables_are_inserted_outside_of_quotes() {
        assert_eq!(
            parse(r#"\echo :name ':name' :'name' :unknown x:name"#).1,
            ["it's", ":name", "'it''s'", ":unknown", "xit's"]
        );
    }

    #[test]
    fn open_quotes_are_refused() {
        for text in [r"\echo 'a", r#"\echo "a"#, r"\echo 'a\"] {
            assert!(Call::parse(text, &Variables::default()).is_err(), "{text}");
        }
    }
}
