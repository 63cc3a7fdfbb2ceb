//! Words of a filter's text. Positions are byte offsets from 0.

use super::{FilterFault, InvalidFilter};

/// One word, without its position.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    Open,
    Close,
    /// An attribute's name, an operator, `and`, `or`, `not`, `true`, `false`, `null`.
    Word(&'a str),
    /// A JSON string, its escapes resolved.
    Text(String),
    /// A JSON number, not looked into yet.
    Number(&'a str),
    /// `$n`, counted from 1.
    Argument(usize),
    End,
}

/// Cuts a filter's text into words, one ahead of the parser.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next word and where it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), InvalidFilter> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\r', '\n']);
        let start = self.text.len() - rest.len();
        let fail = |fault| Err(InvalidFilter { position: start + 1, fault });
        let (length, token) = match rest.as_bytes() {
            [] => (0, Token::End),
            [b'(', ..] => (1, Token::Open),
            [b')', ..] => (1, Token::Close),
            [b'[', ..] | [b']', ..] => return fail(FilterFault::ValuePath),
            [b'"', ..] => match string_literal(rest) {
                Some((length, text)) => (length, Token::Text(text)),
                None => return fail(FilterFault::String),
            },
            [b'$', ..] => {
                let length = 1 + span(&rest[1..], |b| b.is_ascii_digit());
                match rest[1..length].parse() {
                    Ok(number) => (length, Token::Argument(number)),
                    Err(_) => return fail(FilterFault::Argument),
                }
            }
            [b'-' | b'0'..=b'9', ..] => {
                let length = span(rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'));
                (length, Token::Number(&rest[..length]))
            }
            [first, ..] if first.is_ascii_alphabetic() || *first == b'_' => {
                let length = span(rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'-' | b'$'));
                (length, Token::Word(&rest[..length]))
            }
            _ => return fail(FilterFault::Character),
        };
        self.at = start + length;
        Ok((start, token))
    }
}

fn span(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|&b| belongs(b)).count()
}

/// The JSON string at the start of `rest`: its length with quotes, and what it says.
fn string_literal(rest: &str) -> Option<(usize, String)> {
    let mut escaped = false;
    let closing = rest.bytes().skip(1).position(|b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })?;
    let length = closing + 2;
    Some((length, serde_json::from_str(&rest[..length]).ok()?))
}
