//! Splits a line of words, for a person with netcat: words between blanks, `"…"` with the escapes
//! `\n \r \t \b \a \" \\ \xHH`, `'…'` with `\'`.

use super::request::{Bounds, ProtocolError, Span};

/// Lines of other protocols that a browser or a proxy can be made to send to this port.
const FOREIGN: [&[u8]; 2] = [b"post", b"host:"];

/// Whether an inline command may begin with this byte: a printable one, or an empty line.
pub(super) fn may_begin(first: u8) -> bool {
    matches!(first, b' '..=b'~' | b'\r' | b'\n' | b'\t') && first != b'$'
}

/// Appends the words of `line`, unquoted, to `scratch` and their places to `spans`.
pub(super) fn split(
    line: &[u8],
    bounds: &Bounds,
    scratch: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(());
        }
        if spans.len() == bounds.arguments {
            return Err(ProtocolError::TooManyArguments);
        }
        let start = scratch.len();
        rest = word(rest, scratch)?;
        if scratch.len() - start > bounds.argument_bytes {
            return Err(ProtocolError::ArgumentTooLong);
        }
        if spans.is_empty() && FOREIGN.iter().any(|foreign| scratch.eq_ignore_ascii_case(foreign)) {
            return Err(ProtocolError::Malformed);
        }
        spans.push(Span { start: start as u32, end: scratch.len() as u32 });
    }
}

/// Appends the first word of `input` and answers what follows it.
fn word<'a>(input: &'a [u8], scratch: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        match byte {
            b' ' | b'\t' => break,
            b'"' | b'\'' => {
                at = quoted(input, at, scratch)?;
                // A closing quote ends the word: `"a"b` is a mistake.
                if input.get(at).is_some_and(|next| !matches!(next, b' ' | b'\t')) {
                    return Err(ProtocolError::Malformed);
                }
                break;
            }
            _ => scratch.push(byte),
        }
        at += 1;
    }
    Ok(&input[at..])
}

/// Appends what stands in quotes from `at`, and answers where the closing quote ends.
fn quoted(input: &[u8], at: usize, scratch: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    let quote = input[at];
    let mut at = at + 1;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        match rest {
            [] => return Err(ProtocolError::Malformed),
            [byte, ..] if *byte == quote => return Ok(at + 1),
            [b'\\', b'x', high, low, ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                scratch.push(nibble(*high) << 4 | nibble(*low));
                at += 4;
            }
            [b'\\', escaped, ..] if quote == b'"' || *escaped == quote => {
                scratch.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                at += 2;
            }
            [byte, ..] => {
                scratch.push(*byte);
                at += 1;
            }
        }
    }
}

/// The value of a hexadecimal digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}
