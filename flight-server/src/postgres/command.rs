//! What a text asks for: statements of the engine, and the few that belong to the conversation itself.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::postgres::errors::Refusal;

/// One statement in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Byte of the text at which it begins.
    pub(super) offset: usize,
    /// It, without semicolon.
    pub(super) text: String,
    pub(super) command: Command,
}

/// What one statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Begin,
    Commit,
    Rollback,
    /// `SET name = value`.
    Set {
        name: String,
        value: String,
    },
    /// `RESET name`; of everything without a name.
    Reset(Option<String>),
    /// `SHOW name`.
    Show(String),
    /// `DEALLOCATE name`; of everything without a name.
    Deallocate(Option<String>),
    /// Gives up everything that the connection has made.
    DiscardAll,
    /// There is nothing to do, with the tag that says so.
    Nothing(&'static str),
    /// We do not do this.
    Unsupported(&'static str),
    /// Everything else.
    Statement,
}

/// The statements in `text`, without empty ones.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let dialect = GenericDialect {};
    // The parser will say what is wrong with a text that cannot even be cut.
    let Ok(tokens) = Tokenizer::new(&dialect, text).tokenize_with_location() else {
        return vec![Piece { offset: 0, text: text.to_owned(), command: Command::Statement }];
    };
    let lines = line_starts(text);
    tokens.split(|token| token.token == Token::SemiColon).filter_map(|tokens| piece(text, &lines, tokens)).collect()
}

fn piece(text: &str, lines: &[usize], tokens: &[TokenWithSpan]) -> Option<Piece> {
    let is_word = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
    let words: Vec<&TokenWithSpan> = tokens.iter().filter(is_word).collect();
    let (first, last) = (words.first()?, words.last()?);
    let (start, end) = (byte(text, lines, first.span.start), byte(text, lines, last.span.end));
    let statement = text.get(start..end)?;
    let words: Vec<&Token> = words.iter().map(|token| &token.token).collect();
    Some(Piece { offset: start, text: statement.to_owned(), command: command(&words) })
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// The byte at a place, which counts lines and characters from 1.
fn byte(text: &str, lines: &[usize], place: Location) -> usize {
    let line = lines.get(place.line.saturating_sub(1) as usize).copied().unwrap_or(text.len());
    let rest = text.get(line..).unwrap_or_default();
    let characters = place.column.saturating_sub(1) as usize;
    line + rest.char_indices().nth(characters).map_or(rest.len(), |(at, _)| at)
}

fn command(tokens: &[&Token]) -> Command {
    let words: Vec<String> = tokens.iter().map(|token| token.to_string().to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["begin", ..] | ["start", "transaction", ..] => Command::Begin,
        ["commit" | "end", "prepared", ..] | ["prepare", "transaction", ..] => {
            Command::Unsupported("two-phase commit is not supported")
        }
        ["commit" | "end", ..] => Command::Commit,
        ["savepoint", ..] | ["release", ..] | ["rollback", "to", ..] | ["rollback", _, "to", ..] => {
            Command::Unsupported("savepoints are not supported: every statement stands for itself")
        }
        ["rollback" | "abort", ..] => Command::Rollback,
        ["set", "transaction", ..] | ["set", "session", "characteristics", ..] => Command::Nothing("SET"),
        ["set", rest @ ..] => set(&tokens[1..], rest).unwrap_or(Command::Statement),
        ["reset", "all"] => Command::Reset(None),
        ["reset", name] => Command::Reset(Some((*name).to_owned())),
        ["show", "transaction", "isolation", "level"] => Command::Show("transaction_isolation".to_owned()),
        ["show", "time", "zone"] => Command::Show("timezone".to_owned()),
        ["show", "session", "authorization"] => Command::Show("session_authorization".to_owned()),
        ["show", name] => Command::Show((*name).to_owned()),
        ["deallocate", "prepare", _] | ["deallocate", _] => deallocate(tokens),
        ["discard", "all"] => Command::DiscardAll,
        ["discard", ..] => Command::Nothing("DISCARD"),
        ["close", "all"] => Command::Nothing("CLOSE CURSOR"),
        ["unlisten", ..] => Command::Nothing("UNLISTEN"),
        ["listen" | "notify", ..] => Command::Unsupported("LISTEN and NOTIFY are not supported"),
        ["declare" | "fetch" | "move" | "close", ..] => {
            Command::Unsupported("cursors are not supported: rows come as they are read, whatever their number")
        }
        ["copy", rest @ ..] if rest.iter().any(|word| matches!(*word, "stdin" | "stdout")) => {
            Command::Unsupported("COPY over the connection is not supported: COPY to files, or INSERT")
        }
        _ => Command::Statement,
    }
}

/// `SET [SESSION | LOCAL] name {= | TO} value, ...` or `SET [SESSION | LOCAL] TIME ZONE value`.
fn set(tokens: &[&Token], words: &[&str]) -> Option<Command> {
    let skipped = usize::from(matches!(words, ["session" | "local", _, ..]));
    let (tokens, words) = (&tokens[skipped..], &words[skipped..]);
    let assigned = |word: &str| matches!(word, "=" | "to");
    let (name, value) = match words {
        ["time", "zone", _, ..] => ("timezone".to_owned(), &tokens[2..]),
        ["names", _, ..] => ("client_encoding".to_owned(), &tokens[1..]),
        [_, sign, _, ..] if assigned(sign) => (plain(tokens.first()?).to_ascii_lowercase(), &tokens[2..]),
        _ => return None,
    };
    Some(Command::Set { name, value: value.iter().map(|token| plain(token)).collect() })
}

fn deallocate(tokens: &[&Token]) -> Command {
    let name = tokens.last().map(|token| plain(token)).unwrap_or_default();
    Command::Deallocate((!name.eq_ignore_ascii_case("all")).then_some(name))
}

/// A word or a literal without its quotes.
fn plain(token: &Token) -> String {
    match token {
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The only statement in `text`, with nothing for an empty one.
///
/// # Errors
/// For more than one: the protocol prepares them one by one.
pub(super) fn only_piece(text: &str) -> Result<Option<Piece>, Refusal> {
    let mut pieces = pieces(text);
    match pieces.len() {
        0 | 1 => Ok(pieces.pop()),
        _ => Err(Refusal::new("42601", "cannot insert multiple commands into a prepared statement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<Command> {
        pieces(text).into_iter().map(|piece| piece.command).collect()
    }

    #[test]
    fn a_text_is_cut_at_semicolons_outside_of_quotes_and_comments() {
        let text = "SELECT ';é' -- ;\n; ;\n/* ; */ BEGIN;";
        let pieces = pieces(text);
        assert_eq!((pieces[0].text.as_str(), &pieces[0].command), ("SELECT ';é'", &Command::Statement));
        assert_eq!(pieces[1].command, Command::Begin);
        assert_eq!(pieces[1].offset, text.find("BEGIN").unwrap());
        assert_eq!(pieces.len(), 2);
    }

    #[test]
    fn settings_are_found_however_they_are_written() {
        let set = |name: &str, value: &str| Command::Set { name: name.to_owned(), value: value.to_owned() };
        assert_eq!(commands("SET extra_float_digits = 3"), [set("extra_float_digits", "3")]);
        assert_eq!(commands("set session DateStyle to 'ISO', MDY"), [set("datestyle", "ISO,MDY")]);
        assert_eq!(commands("SET TIME ZONE 'UTC'"), [set("timezone", "UTC")]);
        assert_eq!(commands("SET grappe.execution_mode = 'local'"), [Command::Statement]);
        assert_eq!(commands("SHOW TRANSACTION ISOLATION LEVEL"), [Command::Show("transaction_isolation".into())]);
    }

    #[test]
    fn an_unfinished_text_is_left_to_the_parser() {
        assert_eq!(commands("SELECT 'open"), [Command::Statement]);
    }
}
