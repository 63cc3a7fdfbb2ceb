//! A small blocking client of the wire protocol (RESP2), for the subcommands that work over TCP.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

/// No reply is longer: pages end at 4 MiB.
const BULK_MAX_BYTES: usize = 64 << 20;
/// Replies nest no deeper.
const DEPTH_MAX: usize = 32;

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A status line.
    Status(String),
    /// A refusal: its first word and the sentence.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A string; none for null.
    Bulk(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Reply>),
}

impl Reply {
    /// The value behind a key of a map, which RESP2 sends as a flat array.
    pub(crate) fn get(&self, key: &str) -> Option<&Reply> {
        let Self::Array(items) = self else { return None };
        items.chunks_exact(2).find(|pair| pair[0].text() == Some(key)).map(|pair| &pair[1])
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Bulk(Some(bytes)) => std::str::from_utf8(bytes).ok(),
            Self::Status(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// A connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
}

impl Client {
    /// Connects, and authenticates if a user or a secret is given.
    pub(crate) fn connect(address: &str, user: Option<&str>, secret_file: Option<&Path>) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        let mut client = Self { reader: BufReader::new(stream.try_clone()?), writer: BufWriter::new(stream) };
        if let Some(path) = secret_file {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let secret = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
            client.call(&[b"AUTH", user.unwrap_or("admin").as_bytes(), secret.as_bytes()])?;
        }
        Ok(client)
    }

    /// Sends a command without waiting for its answer.
    pub(crate) fn send(&mut self, command: &[&[u8]]) -> Result<()> {
        write!(self.writer, "*{}\r\n", command.len())?;
        for argument in command {
            write!(self.writer, "${}\r\n", argument.len())?;
            self.writer.write_all(argument)?;
            self.writer.write_all(b"\r\n")?;
        }
        Ok(())
    }

    /// The next answer, in the order in which commands were sent.
    pub(crate) fn receive(&mut self) -> Result<Reply> {
        self.writer.flush()?;
        read_reply(&mut self.reader, DEPTH_MAX)
    }

    /// Sends a command and waits for its answer; a refusal is an error.
    pub(crate) fn call(&mut self, command: &[&[u8]]) -> Result<Reply> {
        self.send(command)?;
        match self.receive()? {
            Reply::Error(error) => bail!(error),
            reply => Ok(reply),
        }
    }
}

fn read_reply(reader: &mut impl BufRead, depth: usize) -> Result<Reply> {
    if depth == 0 {
        bail!("the server's answer nests too deeply");
    }
    let mut line = Vec::new();
    reader.take(64 << 10).read_until(b'\n', &mut line).context("the connection broke")?;
    let Some((kind, rest)) = line.strip_suffix(b"\r\n").and_then(|line| line.split_first()) else {
        bail!("the connection was closed in the middle of an answer");
    };
    let rest = String::from_utf8_lossy(rest).into_owned();
    let number = || rest.parse::<i64>().context("the server's answer is malformed");
    Ok(match kind {
        b'+' => Reply::Status(rest),
        b'-' => Reply::Error(rest),
        b':' => Reply::Integer(number()?),
        b'$' => {
            let Ok(len) = usize::try_from(number()?) else { return Ok(Reply::Bulk(None)) };
            if len > BULK_MAX_BYTES {
                bail!("the server's answer is too long");
            }
            let mut bytes = vec![0; len + 2];
            reader.read_exact(&mut bytes).context("the connection broke")?;
            bytes.truncate(len);
            Reply::Bulk(Some(bytes))
        }
        b'*' => {
            let count = usize::try_from(number()?).unwrap_or(0);
            let mut items = Vec::with_capacity(count.min(1024));
            for _ in 0..count {
                items.push(read_reply(reader, depth - 1)?);
            }
            Reply::Array(items)
        }
        _ => bail!("the server's answer is malformed: is this a stoa server?"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Reply> {
        read_reply(&mut &bytes[..], DEPTH_MAX)
    }

    #[test]
    fn replies_are_read() {
        let map = read(b"*4\r\n$3\r\nsub\r\n$1\r\nx\r\n$3\r\nseq\r\n:7\r\n").unwrap();
        assert_eq!(map.get("seq").and_then(Reply::integer), Some(7));
        assert_eq!(map.get("sub").and_then(Reply::text), Some("x"));
        assert_eq!(read(b"$-1\r\n").unwrap(), Reply::Bulk(None));
        assert_eq!(read(b"-NOUSER no\r\n").unwrap(), Reply::Error("NOUSER no".into()));
        for bad in [&b"$99999999999\r\n"[..], b"*2\r\n:1\r\n", b"?\r\n", b"", &b"*1\r\n".repeat(64)] {
            assert!(read(bad).is_err());
        }
    }
}
