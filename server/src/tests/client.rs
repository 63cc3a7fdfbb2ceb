//! A tiny RESP client.

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A reply of any kind.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Simple(String),
    Error(String),
    Number(i64),
    Bool(bool),
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The value under a key of a map (or of a flat array, as RESP2 has it).
    pub(crate) fn at(&self, key: &str) -> &Value {
        let found = match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| name.text() == key).map(|(_, value)| value),
            Self::Array(items) => items.chunks(2).find(|pair| pair[0].text() == key).map(|pair| &pair[1]),
            _ => None,
        };
        found.unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Simple(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    pub(crate) fn items(&self) -> &[Value] {
        match self {
            Self::Array(items) => items,
            other => panic!("{other:?} is no array"),
        }
    }

    /// The text of an error.
    pub(crate) fn error(&self) -> &str {
        match self {
            Self::Error(error) => error,
            other => panic!("{other:?} is no error"),
        }
    }

    /// The keys of a map, in order.
    pub(crate) fn keys(&self) -> Vec<&str> {
        match self {
            Self::Map(pairs) => pairs.iter().map(|(name, _)| name.text()).collect(),
            other => panic!("{other:?} is no map"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(name, value)| (name, value))).finish(),
        }
    }
}

pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for S {}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Transport>,
    input: Vec<u8>,
    at: usize,
}

impl Client {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn over(stream: impl Transport + 'static) -> Self {
        Self { stream: Box::new(stream), input: Vec::new(), at: 0 }
    }

    /// Sends a line of words, separated by blanks, and reads the reply.
    pub(crate) async fn call(&mut self, line: &str) -> Value {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.words(&words).await
    }

    /// Sends words and reads the reply.
    pub(crate) async fn words(&mut self, words: &[&str]) -> Value {
        self.send(&encode(words)).await;
        self.read().await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends bytes, and reads and forgets what has come; answers whether the connection lives.
    pub(super) async fn flood(&mut self, bytes: &[u8]) -> bool {
        let (mut reads, mut writes) = tokio::io::split(&mut self.stream);
        let mut left = bytes;
        let mut sink = [0; 64 * 1024];
        while !left.is_empty() {
            tokio::select! {
                sent = writes.write(left) => match sent {
                    Ok(sent @ 1..) => left = &left[sent..],
                    _ => return false,
                },
                read = reads.read(&mut sink) => if !matches!(read, Ok(1..)) {
                    return false;
                },
            }
        }
        true
    }

    /// Sends nothing more.
    pub(crate) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next reply; an error if the server has closed the connection.
    pub(crate) async fn try_read(&mut self) -> Option<Value> {
        loop {
            let mut at = self.at;
            if let Some(value) = parse(&self.input, &mut at) {
                self.at = at;
                return Some(value);
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece).await {
                Ok(read) if read > 0 => self.input.extend_from_slice(&piece[..read]),
                _ => return None,
            }
        }
    }

    pub(crate) async fn read(&mut self) -> Value {
        self.try_read().await.expect("the server has closed the connection")
    }
}

pub(crate) fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn parse(input: &[u8], at: &mut usize) -> Option<Value> {
    let rest = &input[*at..];
    let end = rest.windows(2).position(|end| end == b"\r\n")?;
    let line = std::str::from_utf8(&rest[1..end]).unwrap().to_string();
    let kind = rest[0];
    *at += end + 2;
    let number = || line.parse::<i64>().unwrap();
    Some(match kind {
        b'+' => Value::Simple(line),
        b'-' => Value::Error(line),
        b':' => Value::Number(number()),
        b'#' => Value::Bool(line == "t"),
        b'_' => Value::Null,
        b'$' if number() < 0 => Value::Null,
        b'$' => {
            let text = input.get(*at..*at + number() as usize + 2)?;
            *at += text.len();
            Value::Text(String::from_utf8_lossy(&text[..text.len() - 2]).into_owned())
        }
        b'*' => Value::Array((0..number()).map(|_| parse(input, at)).collect::<Option<_>>()?),
        b'%' => Value::Map((0..number()).map(|_| Some((parse(input, at)?, parse(input, at)?))).collect::<Option<_>>()?),
        other => panic!("a reply begins with {other}"),
    })
}
