//! A small blocking client of the wire protocol (RESP2), for the subcommands that work over TCP.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::passphrase::{read_given, read_stdin};

/// No reply is longer: pages end at 4 MiB.
const BULK_MAX_BYTES: usize = 64 << 20;
/// Replies nest no deeper.
const DEPTH_MAX: usize = 32;

/// As whom a subcommand speaks to a server.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LoginArgs {
    /// To a server: the access-control user [default: admin, if a secret is given]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// To a server: read the user's secret from this file; with --user alone it comes from standard input
    #[arg(long, value_name = "FILE", conflicts_with = "secret_fd")]
    pub(crate) secret_file: Option<PathBuf>,
    /// To a server: read the user's secret from this open file descriptor
    #[arg(long, value_name = "N")]
    pub(crate) secret_fd: Option<u32>,
}

impl LoginArgs {
    /// Whether any of them was given.
    pub(crate) fn given(&self) -> bool {
        self.user.is_some() || self.secret_file.is_some() || self.secret_fd.is_some()
    }
}

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
    pub(crate) fn connect(address: &str, login: &LoginArgs) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        let mut client = Self { reader: BufReader::new(stream.try_clone()?), writer: BufWriter::new(stream) };
        if login.given() {
            let user = login.user.as_deref().unwrap_or("admin");
            let secret = match read_given(login.secret_file.as_deref(), login.secret_fd)? {
                Some(secret) => secret,
                None => read_stdin(&format!("Secret of {user}: "))?,
            };
            client.call(&[b"AUTH", user.as_bytes(), &secret]).map_err(explained)?;
        }
        Ok(client)
    }

    /// Sends commands as one transaction and waits for its answers, one a command.
    ///
    /// # Errors
    /// The refusal of the whole, with its first words.
    pub(crate) fn transact(&mut self, commands: &[Vec<&[u8]>]) -> Result<Vec<Reply>> {
        self.send(&[b"MULTI"])?;
        commands.iter().try_for_each(|command| self.send(command))?;
        self.send(&[b"EXEC"])?;
        let mut refused = None;
        for _ in 0..=commands.len() {
            if let Reply::Error(error) = self.receive()? {
                refused.get_or_insert(error);
            }
        }
        match self.receive()? {
            Reply::Array(replies) => Ok(replies),
            Reply::Error(error) => bail!(refused.unwrap_or(error)),
            _ => bail!("the server's answer is malformed: is this a stoa server?"),
        }
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
            Reply::Error(error) => Err(explained(anyhow::anyhow!(error))),
            reply => Ok(reply),
        }
    }
}

/// Adds what to do about a refusal that the server's own words leave open.
pub(crate) fn explained(error: anyhow::Error) -> anyhow::Error {
    let text = error.to_string();
    match text.split(' ').next() {
        Some("NOAUTH") => {
            anyhow::anyhow!("{text} Give --user NAME with --secret-file FILE (DATA.admin-secret is admin's)")
        }
        Some("WRONGPASS") => anyhow::anyhow!("{text} See --user and --secret-file"),
        _ => error,
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
