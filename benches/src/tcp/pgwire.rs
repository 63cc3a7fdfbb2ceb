//! PostgreSQL's protocol 3.0, as far as a client of prepared statements needs it: parameters and results in binary.
//!
//! Source: the PostgreSQL manual, "Frontend/Backend Protocol". It is spoken here and not by a driver so that all servers
//! are asked by one client, whose cost is the same for all.

use anyhow::{Context, Result, anyhow, bail, ensure};

const VERSION_3: u32 = 196_608;
const HEAD_BYTES: usize = 5;
/// What a binary COPY begins and ends with.
const COPY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COPY_END: &[u8] = &[0xff, 0xff];

/// A value as it travels; `None` is null.
pub(super) type Field<'a> = Option<&'a [u8]>;

/// Appends the first message of a connection.
pub(super) fn startup(out: &mut Vec<u8>, user: &str) {
    framed(out, None, |out| {
        out.extend(VERSION_3.to_be_bytes());
        for word in ["user", user, "database", "postgres", ""] {
            text(out, word);
        }
    });
}

/// Appends statements without parameters.
pub(super) fn query(out: &mut Vec<u8>, statements: &str) {
    framed(out, Some(b'Q'), |out| text(out, statements));
}

/// Appends the preparation of a statement under a name.
pub(super) fn parse(out: &mut Vec<u8>, name: &str, statement: &str) {
    framed(out, Some(b'P'), |out| {
        text(out, name);
        text(out, statement);
        out.extend(0u16.to_be_bytes());
    });
}

/// Appends the end of a round: the server answers what came before.
pub(super) fn sync(out: &mut Vec<u8>) {
    framed(out, Some(b'S'), |_| {});
}

/// Appends the execution of a prepared statement, as a transaction of its own.
pub(super) fn execute(out: &mut Vec<u8>, name: &str, values: &[Field<'_>]) {
    framed(out, Some(b'B'), |out| {
        text(out, "");
        text(out, name);
        out.extend([0, 1, 0, 1]);
        fields(out, values);
        out.extend([0, 1, 0, 1]);
    });
    framed(out, Some(b'E'), |out| {
        text(out, "");
        out.extend(0u32.to_be_bytes());
    });
    sync(out);
}

/// Appends rows of a COPY: its begin, rows, its end.
pub(super) fn copy_head(out: &mut Vec<u8>) {
    framed(out, Some(b'd'), |out| out.extend_from_slice(COPY_HEAD));
}

/// Appends one row.
pub(super) fn copy_row(out: &mut Vec<u8>, values: &[Field<'_>]) {
    framed(out, Some(b'd'), |out| fields(out, values));
}

/// Appends the end.
pub(super) fn copy_end(out: &mut Vec<u8>) {
    framed(out, Some(b'd'), |out| out.extend_from_slice(COPY_END));
    framed(out, Some(b'c'), |_| {});
}

fn framed(out: &mut Vec<u8>, kind: Option<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend(kind);
    let at = out.len();
    out.extend([0; 4]);
    body(out);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn fields(out: &mut Vec<u8>, values: &[Field<'_>]) {
    out.extend((values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            None => out.extend((-1i32).to_be_bytes()),
            Some(bytes) => {
                out.extend((bytes.len() as u32).to_be_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// What a round came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Bytes of its answer.
    pub(super) length: usize,
    /// Rows that were answered, or that were written.
    pub(super) rows: u64,
}

/// Reads the answer of one round, up to the server's readiness for the next, and shows its rows; `None` if not all of it
/// is there.
pub(super) fn round(bytes: &[u8], mut row: impl FnMut(Row<'_>) -> Result<()>) -> Result<Option<Round>> {
    let mut found = Round::default();
    loop {
        let Some((kind, body, length)) = message(&bytes[found.length..])? else { return Ok(None) };
        found.length += length;
        match kind {
            b'D' => row(Row { bytes: body, left: 0 }.begin()?)?,
            b'C' => {
                let tag = body.split_last().map_or(body, |(_, tag)| tag);
                let count = tag.rsplit(|byte| *byte == b' ').next().and_then(|word| std::str::from_utf8(word).ok());
                found.rows = count.and_then(|word| word.parse().ok()).unwrap_or_default();
            }
            b'E' => return Err(refused(body)),
            b'Z' => return Ok(Some(found)),
            _ => {}
        }
    }
}

/// Whether the server waits for the rows of a COPY; `None` if it has not said so yet.
pub(super) fn copies(bytes: &[u8]) -> Result<Option<()>> {
    match message(bytes)? {
        None => Ok(None),
        Some((b'G', ..)) => Ok(Some(())),
        Some((b'E', body, _)) => Err(refused(body)),
        Some((kind, ..)) => bail!("the server answers COPY by {:?}", char::from(kind)),
    }
}

fn message(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let Some((head, _)) = bytes.split_at_checked(HEAD_BYTES) else { return Ok(None) };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    ensure!(length >= 4, "a message is shorter than its length");
    Ok(bytes.get(HEAD_BYTES..length + 1).map(|body| (head[0], body, length + 1)))
}

/// The texts of an error: severity, code, sentence.
fn refused(body: &[u8]) -> anyhow::Error {
    let texts = body.split(|byte| *byte == 0).filter(|text| text.first().is_some_and(|kind| b"SCM".contains(kind)));
    let texts: Vec<_> = texts.map(|text| String::from_utf8_lossy(&text[1..]).into_owned()).collect();
    anyhow!("the server says: {}", texts.join(" "))
}

/// One row: its fields from the first on.
pub(super) struct Row<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Row<'a> {
    fn begin(mut self) -> Result<Self> {
        let (count, rest) = self.bytes.split_first_chunk().context("a row is cut")?;
        (self.left, self.bytes) = (usize::from(u16::from_be_bytes(*count)), rest);
        Ok(self)
    }

    /// The next field.
    pub(super) fn field(&mut self) -> Result<Field<'a>> {
        self.left = self.left.checked_sub(1).context("a row has too few fields")?;
        let (length, rest) = self.bytes.split_first_chunk().context("a row is cut")?;
        self.bytes = rest;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Ok(None) };
        let (value, rest) = rest.split_at_checked(length).context("a field is cut")?;
        self.bytes = rest;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_read_when_it_is_whole() {
        let mut answer = Vec::new();
        framed(&mut answer, Some(b'2'), |_| {});
        framed(&mut answer, Some(b'D'), |out| fields(out, &[Some(b"a"), None]));
        framed(&mut answer, Some(b'C'), |out| text(out, "SELECT 1"));
        framed(&mut answer, Some(b'Z'), |out| out.push(b'I'));
        let mut rows = Vec::new();
        let read = round(&answer, |mut row| {
            rows.push((row.field()?.map(<[u8]>::to_vec), row.field()?.is_none(), row.field().is_err()));
            Ok(())
        });
        assert_eq!(read.expect("well-formed"), Some(Round { length: answer.len(), rows: 1 }));
        assert_eq!(rows, [(Some(b"a".to_vec()), true, true)]);
        for cut in 0..answer.len() {
            assert_eq!(round(&answer[..cut], |_| Ok(())).expect("well-formed"), None);
        }
        let mut refusal = Vec::new();
        framed(&mut refusal, Some(b'E'), |out| out.extend_from_slice(b"SERROR\0C23505\0Mno\0\0"));
        assert!(round(&refusal, |_| Ok(())).expect_err("an error").to_string().ends_with("ERROR 23505 no"));
    }
}
