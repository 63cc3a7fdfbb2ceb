//! RESP2 as a client speaks it: requests are written, answers read where they lie.

use anyhow::{Error, anyhow};

/// Why an answer cannot be read.
pub(super) enum Stop {
    /// More of it is to come.
    More,
    /// It is wrong.
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

impl From<std::str::Utf8Error> for Stop {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::Wrong(error.into())
    }
}

/// Whether an answer is whole, out of what reading it came to.
pub(super) fn whole<T>(read: Result<T, Stop>) -> anyhow::Result<Option<T>> {
    match read {
        Ok(answer) => Ok(Some(answer)),
        Err(Stop::More) => Ok(None),
        Err(Stop::Wrong(error)) => Err(error),
    }
}

/// Appends a request of these words.
pub(super) fn request(out: &mut Vec<u8>, words: &[&[u8]]) {
    header(out, b'*', words.len());
    for word in words {
        header(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// A piece of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A bulk or a simple string.
    Text(&'a [u8]),
    /// An integer.
    Number(i64),
    /// The null bulk string or array.
    Null,
    /// So many pieces follow.
    Array(usize),
    /// An error: its whole line.
    Error(&'a str),
}

/// Reads pieces one after the other.
pub(super) struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pieces<'a> {
    /// From the front of these.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub(super) fn length(&self) -> usize {
        self.at
    }

    /// The next piece.
    pub(super) fn next(&mut self) -> Result<Piece<'a>, Stop> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or_else(|| anyhow!("an answer is an empty line"))?;
        Ok(match kind {
            b'$' => match signed(rest)? {
                -1 => Piece::Null,
                length => Piece::Text(self.bulk(length)?),
            },
            b'*' => match signed(rest)? {
                -1 => Piece::Null,
                count => Piece::Array(usize::try_from(count).map_err(|_| anyhow!("an array is shorter than empty"))?),
            },
            b':' => Piece::Number(signed(rest)?),
            b'+' => Piece::Text(rest),
            b'-' => Piece::Error(std::str::from_utf8(rest)?),
            _ => return Err(anyhow!("{:?} begins no answer", char::from(*kind)).into()),
        })
    }

    /// The next piece, which must be a text.
    pub(super) fn text(&mut self) -> Result<&'a str, Stop> {
        match self.next()? {
            Piece::Text(text) => Ok(std::str::from_utf8(text)?),
            other => Err(unexpected(other)),
        }
    }

    /// The next piece, which must be an array; its length.
    pub(super) fn array(&mut self) -> Result<usize, Stop> {
        match self.next()? {
            Piece::Array(count) => Ok(count),
            other => Err(unexpected(other)),
        }
    }

    /// Passes over the next piece with all that is in it.
    pub(super) fn skip(&mut self) -> Result<(), Stop> {
        let mut left = 1usize;
        while left > 0 {
            left -= 1;
            match self.next()? {
                Piece::Array(count) => left += count,
                Piece::Error(error) => return Err(refused(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        // Lines are short: most are a sign, a few digits and their end.
        let end = rest.iter().position(|byte| *byte == b'\r').filter(|end| end + 1 < rest.len()).ok_or(Stop::More)?;
        self.at += end + 2;
        Ok(&rest[..end])
    }

    fn bulk(&mut self, length: i64) -> Result<&'a [u8], Stop> {
        let length = usize::try_from(length).map_err(|_| anyhow!("a text is shorter than empty"))?;
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Err(Stop::More);
        }
        self.at += length + 2;
        Ok(&rest[..length])
    }
}

fn signed(digits: &[u8]) -> Result<i64, Stop> {
    let (negative, digits) = digits.strip_prefix(b"-").map_or((false, digits), |digits| (true, digits));
    let mut number = 0i64;
    for digit in digits {
        let digit = char::from(*digit).to_digit(10).ok_or_else(|| anyhow!("a number has other signs than digits"))?;
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    Ok(if negative { -number } else { number })
}

/// An answer of another shape than the question has.
pub(super) fn unexpected(piece: Piece<'_>) -> Stop {
    match piece {
        Piece::Error(error) => refused(error),
        other => anyhow!("an answer has {other:?} where something else stands").into(),
    }
}

/// The server says no.
pub(super) fn refused(error: &str) -> Stop {
    anyhow!("the server says: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_and_a_cut_answer_waits_for_more() {
        let bytes = b"*3\r\n$5\r\nhello\r\n:-7\r\n$-1\r\n-ERR no\r\n+OK\r\n";
        let mut pieces = Pieces::of(bytes);
        let mut next = || whole(pieces.next()).expect("well-formed").expect("whole");
        assert_eq!(next(), Piece::Array(3));
        assert_eq!(next(), Piece::Text(b"hello"));
        assert_eq!(next(), Piece::Number(-7));
        assert_eq!(next(), Piece::Null);
        assert_eq!(next(), Piece::Error("ERR no"));
        assert_eq!(next(), Piece::Text(b"OK"));
        assert_eq!(pieces.length(), bytes.len());
        let first = 25;
        for cut in 0..first {
            let read = Pieces::of(&bytes[..cut]).skip();
            assert!(matches!(read, Err(Stop::More)), "{cut} bytes of {first} are read as an answer");
        }
        assert!(Pieces::of(&bytes[..first]).skip().is_ok());
        assert!(matches!(Pieces::of(b"!\r\n").next(), Err(Stop::Wrong(_))));
        assert!(matches!(Pieces::of(b"$-2\r\n").next(), Err(Stop::Wrong(_))));
    }

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        request(&mut out, &[b"GET", b"", b"0123456789ab"]);
        assert_eq!(out, b"*3\r\n$3\r\nGET\r\n$0\r\n\r\n$12\r\n0123456789ab\r\n");
    }
}
