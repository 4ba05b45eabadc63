//! Where statements end: `tests/splitting/NAME.sql` must be cut as `NAME.txt` says.

use std::fs;
use std::path::Path;

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::{Pending, Piece, Splitter};
use crate::variables::Variables;

/// The variables that the files use.
fn variables() -> Variables {
    let mut variables = Variables::default();
    let values = [
        ("n", "40 + 2"),
        ("name", "it's"),
        ("column", "My \"col\""),
        ("two", "SELECT 1; SELECT 2"),
        ("again", ":again + 1"),
    ];
    for (name, value) in values {
        variables.set(name, value).expect("a good name");
    }
    variables
}

/// Everything that was found, and where the text ended if it ended badly.
fn cut(text: &str) -> String {
    let variables = variables();
    let mut splitter = Splitter::default();
    let mut found = String::new();
    for line in text.split_inclusive('\n') {
        splitter.push(line.to_owned());
        while let Some(piece) = splitter.next_piece(&variables).expect("short statements") {
            found += &match piece {
                Piece::Statement(statement) => format!("==== statement, line {}\n{}\n", statement.line, statement.text),
                Piece::Command { text, line } => format!("==== command, line {line}\n{text}\n"),
            };
        }
    }
    found
        + &match splitter.finish() {
            Ok(None) => String::new(),
            Ok(Some(statement)) => format!("==== rest, line {}\n{}\n", statement.line, statement.text),
            Err(error) => format!("==== error, line {}\n{error}\n", error.line),
        }
}

#[test]
fn files_are_cut_where_their_statements_end() {
    let folder = Path::new("tests/splitting");
    for entry in fs::read_dir(folder).expect("files") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let actual = cut(&fs::read_to_string(&path).expect("a file"));
            let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
            assert_eq!(actual, expected, "{}\n{actual}", path.display());
        }
    }
}

#[test]
fn pieces_do_not_depend_on_how_the_text_arrives() {
    let text = "SELECT 'a\n;b' /* ;\n */;\n\\x on \\\\ SELECT 2; -- ;\nSELECT $x$;\n$x$;";
    let variables = variables();
    let mut splitter = Splitter::default();
    splitter.push(text.to_owned());
    let mut count = 0;
    while let Some(piece) = splitter.next_piece(&variables).expect("short statements") {
        count += 1;
        if let Piece::Command { text, .. } = piece {
            splitter.unread(text.split_once("\\\\").expect("a separator").1);
        }
    }
    assert_eq!(count, 4);
}

#[test]
fn the_prompt_knows_what_is_open() {
    let pending = |text: &str| {
        let mut splitter = Splitter::default();
        splitter.push(format!("{text}\n"));
        while splitter.next_piece(&Variables::default()).expect("short statements").is_some() {}
        splitter.pending()
    };
    assert_eq!(pending("SELECT 1;"), Pending::Nothing);
    assert_eq!(pending("-- only a comment"), Pending::Nothing);
    assert_eq!(pending("SELECT 1; SELECT"), Pending::Statement);
    let quotes = [("'", '\''), ("E'\\'", '\''), ("\"", '"'), ("`", '`'), ("$a$ $b$", '$'), ("/* /* */", '*')];
    for (text, quote) in quotes {
        assert_eq!(pending(text), Pending::Quote(quote), "{text}");
    }
}

/// Statements as the tokenizer of the server sees them.
fn tokenized(text: &str) -> Option<Vec<String>> {
    let tokens = Tokenizer::new(&GenericDialect, text).with_unescape(false).tokenize_with_location().ok()?;
    let mut offsets = vec![0];
    let mut statements = Vec::new();
    let (mut start, mut solid) = (0, false);
    for (at, character) in text.char_indices() {
        if character == '\n' {
            offsets.push(at + 1);
        }
    }
    let place = |line: u64, column: u64| {
        let line_start = offsets[usize::try_from(line).expect("small") - 1];
        let skipped = text[line_start..].chars().take(usize::try_from(column).expect("small") - 1);
        line_start + skipped.map(char::len_utf8).sum::<usize>()
    };
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                let at = place(token.span.start.line, token.span.start.column);
                if std::mem::take(&mut solid) {
                    statements.push(text[start..at].trim().to_owned());
                }
                start = at + 1;
            }
            Token::Whitespace(_) => {}
            // To the shell, a command.
            Token::Backslash => return None,
            _ => solid = true,
        }
    }
    if solid {
        statements.push(text[start..].trim().to_owned());
    }
    Some(statements)
}

fn statements(text: &str) -> Vec<String> {
    let mut splitter = Splitter::default();
    splitter.push(text.to_owned());
    let mut found = Vec::new();
    while let Some(piece) = splitter.next_piece(&Variables::default()).expect("short statements") {
        match piece {
            Piece::Statement(statement) => found.push(statement.text),
            Piece::Command { text, .. } => panic!("a command in {text:?}"),
        }
    }
    let rest = splitter.finish().unwrap_or_else(|error| panic!("{error}: {text:?}"));
    found.extend(rest.map(|statement| statement.text));
    found
}

/// A small generator of numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("small") % limit
    }
}

#[test]
fn statements_end_where_the_tokenizer_of_the_server_sees_them_end() {
    const PARTS: [&str; 26] = [
        "SELECT",
        " ",
        "\n",
        ";",
        "'",
        "''",
        "\"",
        "`",
        "E'",
        "e'it\\'s'",
        "$$",
        "$a$",
        "$1",
        "--",
        "/*",
        "*/",
        "a$b",
        "x::int",
        ":",
        "1.5",
        "é",
        "N'",
        "(",
        "{'k': v}",
        "U&'",
        "-",
    ];
    let mut compared = 0;
    for seed in 0..20_000 {
        let mut numbers = Numbers(seed);
        let text: String = (0..numbers.below(12)).map(|_| PARTS[numbers.below(PARTS.len())]).collect();
        if let Some(expected) = tokenized(&text) {
            assert_eq!(statements(&text), expected, "seed {seed}: {text:?}");
            compared += 1;
        }
    }
    assert!(compared > 2_000, "only {compared} texts were compared");
}
