//! Finds the next step in a text: where quotes, comments and words end, and what a character means outside of them.
//!
//! It reads what the server's tokenizer reads (a test compares the two), but only as far as the end of a statement needs.

use crate::variables::Reference;

/// The quote or comment that a text is inside of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Open {
    /// None.
    Nothing,
    /// `'`; in `E'` strings a backslash hides the next character.
    Single {
        /// Whether it is an `E'` string.
        escapes: bool,
    },
    /// `"` or `` ` ``.
    Identifier(char),
    /// `$tag$`, with the dollars.
    Dollar(String),
    /// `/*`, as often as it was opened.
    Comment(usize),
}

impl Open {
    /// The character that psql's prompt shows.
    pub(super) fn prompt(&self) -> Option<char> {
        match self {
            Self::Nothing => None,
            Self::Single { .. } => Some('\''),
            Self::Identifier(quote) => Some(*quote),
            Self::Dollar(_) => Some('$'),
            Self::Comment(_) => Some('*'),
        }
    }

    /// What it is called when it is never closed.
    pub(super) fn unterminated(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Single { .. } => Some("the quoted string".to_owned()),
            Self::Identifier(quote) => Some(format!("the {quote}quoted identifier{quote}")),
            Self::Dollar(tag) => Some(format!("the {tag} quoted string")),
            Self::Comment(_) => Some("the /* comment".to_owned()),
        }
    }
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Space or comment.
    Space,
    /// Part of a statement.
    Text,
    /// A variable, if there is one of that name.
    Reference,
    /// `\:`, a colon that starts no reference.
    EscapedColon,
    /// The end of a statement.
    Semicolon,
    /// A meta command, to the end of the line.
    Backslash,
}

/// What `rest`, which is not empty, starts with, and its bytes; follows what is open.
pub(super) fn step(open: &mut Open, rest: &str) -> (Step, usize) {
    match open {
        Open::Nothing => outside(open, rest),
        Open::Single { escapes } => match single_end(rest, *escapes) {
            Some(len) => close(open, Step::Text, len),
            None => (Step::Text, rest.len()),
        },
        Open::Identifier(quote) => match rest.find(*quote) {
            // A doubled quote closes and opens at once.
            Some(at) => close(open, Step::Text, at + 1),
            None => (Step::Text, rest.len()),
        },
        Open::Dollar(tag) => match rest.find(tag.as_str()) {
            Some(at) => {
                let len = at + tag.len();
                close(open, Step::Text, len)
            }
            None => (Step::Text, rest.len()),
        },
        Open::Comment(depth) => {
            let (len, left) = comment_end(rest, *depth);
            *open = if left == 0 { Open::Nothing } else { Open::Comment(left) };
            (Step::Space, len)
        }
    }
}

fn close(open: &mut Open, step: Step, len: usize) -> (Step, usize) {
    *open = Open::Nothing;
    (step, len)
}

fn outside(open: &mut Open, rest: &str) -> (Step, usize) {
    let mut characters = rest.chars();
    let first = characters.next().unwrap_or_default();
    let second = characters.next();
    match (first, second) {
        (first, _) if first.is_whitespace() => (Step::Space, run(rest, char::is_whitespace)),
        (';', _) => (Step::Semicolon, 1),
        ('\\', Some(':')) => (Step::EscapedColon, 2),
        ('\\', _) => (Step::Backslash, run(rest, |character| character != '\n')),
        ('-', Some('-')) => (Step::Space, run(rest, |character| character != '\n')),
        // Division of integers, even before a star.
        ('/', Some('/')) => (Step::Text, 2),
        ('/', Some('*')) => opened(open, Open::Comment(1), Step::Space, 2),
        ('\'', _) => opened(open, Open::Single { escapes: false }, Step::Text, 1),
        ('"' | '`', _) => opened(open, Open::Identifier(first), Step::Text, 1),
        ('$', _) => match dollar_tag(rest) {
            Some(tag) => opened(open, Open::Dollar(tag.to_owned()), Step::Text, tag.len()),
            // A placeholder.
            None => (Step::Text, 1 + run(&rest[1..], is_tag_part)),
        },
        (':', Some(':' | '=')) => (Step::Text, 2),
        (':', _) => match Reference::parse(rest) {
            Some(reference) => (Step::Reference, reference.len),
            None => (Step::Text, 1),
        },
        (first, _) if first.is_ascii_digit() => (Step::Text, run(rest, |character| character.is_ascii_digit())),
        (first, _) if is_word_part(first) => word(open, rest),
        (first, _) => (Step::Text, first.len_utf8()),
    }
}

fn opened(open: &mut Open, what: Open, step: Step, len: usize) -> (Step, usize) {
    *open = what;
    (step, len)
}

/// A word, whose dollars open nothing; `E` before a quote belongs to the string.
fn word(open: &mut Open, rest: &str) -> (Step, usize) {
    let len = run(rest, is_word_part);
    let (word, after) = rest.split_at(len);
    if word.eq_ignore_ascii_case("e") && after.starts_with('\'') {
        return opened(open, Open::Single { escapes: true }, Step::Text, len + 1);
    }
    (Step::Text, len)
}

fn is_word_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

/// Bytes of the longest beginning whose characters all fit.
fn run(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|character| !fits(character)).unwrap_or(text.len())
}

/// Bytes up to the quote that closes a string, in which a doubled quote stands for one.
fn single_end(rest: &str, escapes: bool) -> Option<usize> {
    if !escapes {
        // A doubled quote closes and opens at once.
        return rest.find('\'').map(|at| at + 1);
    }
    let mut hidden = false;
    let mut characters = rest.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if hidden => hidden = false,
            '\\' => hidden = true,
            '\'' if characters.peek().is_some_and(|(_, next)| *next == '\'') => hidden = true,
            '\'' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The `$tag$` that `rest` starts with; unlike in PostgreSQL, it may start with a digit.
fn dollar_tag(rest: &str) -> Option<&str> {
    let body = rest.strip_prefix('$')?;
    let len = run(body, is_tag_part);
    body[len..].starts_with('$').then(|| &rest[..len + 2])
}

fn is_tag_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Bytes of the comment in `rest`, and how many levels are still open after them.
fn comment_end(rest: &str, depth: usize) -> (usize, usize) {
    let mut depth = depth;
    let mut at = 0;
    while let Some(found) = rest[at..].find(['*', '/']) {
        at += found;
        match rest.as_bytes().get(at..at + 2) {
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return (at, 0);
                }
            }
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    (rest.len(), depth)
}
