//! Reads requests: arrays of bulk strings, or one line of words.
//!
//! 1. A word is never copied: it is a span of the input buffer (of the parser's own scratch for a
//!    quoted inline word).
//! 2. Reading resumes where it stopped: each byte of a request is looked at once, however many
//!    pieces it arrives in.
//! 3. What a header declares is checked against the bounds before it is believed; nothing is
//!    allocated for arguments that have not arrived.

use super::inline;

/// The longest header line (`*16384`, `$1048576`) that is waited for, in bytes.
const HEADER_BYTES_MAX: usize = 24;
/// The longest inline command, in bytes.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What a request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The longest argument.
    pub argument_bytes: usize,
    /// The most arguments, the command's name included.
    pub arguments: usize,
    /// The longest request as it travels, framing included.
    pub request_bytes: usize,
    /// A line of words is taken too.
    pub inline: bool,
}

/// Why reading stopped for good: the connection answers once and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    /// Not RESP: another protocol, or a broken client.
    Malformed,
    /// One argument is longer than the bound.
    ArgumentTooLong,
    /// More arguments than the bound.
    TooManyArguments,
    /// The request is longer than the bound.
    RequestTooLong,
}

/// Where a word lies, relative to the start of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The words of one request.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Words<'a> {
    /// How many words there are, the command's name included.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The word at `index`, if there is one.
    pub(crate) fn get(&self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        self.bytes.get(span.start as usize..span.end as usize)
    }

    /// All words in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (bytes, spans) = (self.bytes, self.spans);
        spans.iter().map(move |span| &bytes[span.start as usize..span.end as usize])
    }

    /// The bytes of all words.
    pub(crate) fn size_bytes(self) -> usize {
        self.spans.iter().map(|span| (span.end - span.start) as usize).sum()
    }

    /// A copy that outlives the input buffer.
    pub(crate) fn to_owned(self) -> OwnedRequest {
        let mut bytes = Vec::with_capacity(self.size_bytes());
        let spans = self
            .iter()
            .map(|word| {
                let start = bytes.len() as u32;
                bytes.extend_from_slice(word);
                Span { start, end: bytes.len() as u32 }
            })
            .collect();
        OwnedRequest { bytes: zeroize::Zeroizing::new(bytes), spans }
    }
}

/// A request that was copied out of the input buffer; zeroed when dropped, as it may hold a secret.
#[derive(Clone)]
pub(crate) struct OwnedRequest {
    bytes: zeroize::Zeroizing<Vec<u8>>,
    spans: Vec<Span>,
}

impl OwnedRequest {
    /// The words.
    pub(crate) fn words(&self) -> Words<'_> {
        Words { bytes: &self.bytes, spans: &self.spans }
    }

    /// The bytes that it keeps in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    /// A request made of these words.
    #[cfg(test)]
    pub(crate) fn of(words: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for word in words {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(word);
            spans.push(Span { start, end: bytes.len() as u32 });
        }
        Self { bytes: zeroize::Zeroizing::new(bytes), spans }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    /// At the first byte of a request.
    #[default]
    Start,
    /// At a `$` header.
    Header,
    /// In a word of this many bytes.
    Word(usize),
}

/// Reads one request after another.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    step: Step,
    /// Bytes of the present request that are done with.
    at: usize,
    /// Words that are still to come.
    missing: usize,
    spans: Vec<Span>,
    /// The words of an inline command, unquoted.
    scratch: Vec<u8>,
    is_inline: bool,
    complete: bool,
}

impl Parser {
    /// Goes on reading the request that starts at `input[0]`.
    ///
    /// `Some(n)`: the request is complete and `n` bytes long; [`Parser::words`] gives its words
    /// until [`Parser::begin`] is called. `None`: more bytes are needed.
    pub(crate) fn advance(&mut self, input: &[u8], bounds: &Bounds) -> Result<Option<usize>, ProtocolError> {
        if self.complete {
            return Ok(Some(self.at));
        }
        loop {
            match self.step {
                Step::Start => match input.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some((count, at)) = header(input, 1)? else { return Ok(None) };
                        if count > bounds.arguments as u64 {
                            return Err(ProtocolError::TooManyArguments);
                        }
                        (self.missing, self.at, self.step) = (count as usize, at, Step::Header);
                    }
                    Some(first) if bounds.inline && inline::may_begin(*first) => {
                        return self.advance_inline(input, bounds);
                    }
                    Some(_) => return Err(ProtocolError::Malformed),
                },
                Step::Header if self.missing == 0 => {
                    self.complete = true;
                    return Ok(Some(self.at));
                }
                Step::Header => {
                    match input.get(self.at) {
                        None => return Ok(None),
                        Some(b'$') => {}
                        Some(_) => return Err(ProtocolError::Malformed),
                    }
                    let Some((length, at)) = header(input, self.at + 1)? else { return Ok(None) };
                    if length > bounds.argument_bytes as u64 {
                        return Err(ProtocolError::ArgumentTooLong);
                    }
                    if at + length as usize + 2 > bounds.request_bytes {
                        return Err(ProtocolError::RequestTooLong);
                    }
                    (self.at, self.step) = (at, Step::Word(length as usize));
                }
                Step::Word(length) => {
                    let end = self.at + length;
                    let Some(tail) = input.get(end..end + 2) else { return Ok(None) };
                    if tail != b"\r\n" {
                        return Err(ProtocolError::Malformed);
                    }
                    self.spans.push(Span { start: self.at as u32, end: end as u32 });
                    self.missing -= 1;
                    (self.at, self.step) = (end + 2, Step::Header);
                }
            }
        }
    }

    /// Whether a whole request has arrived and waits for [`Parser::begin`].
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    fn advance_inline(&mut self, input: &[u8], bounds: &Bounds) -> Result<Option<usize>, ProtocolError> {
        let longest = INLINE_BYTES_MAX.min(bounds.request_bytes);
        let Some(newline) = memchr::memchr(b'\n', &input[..input.len().min(longest)]) else {
            return if input.len() >= longest { Err(ProtocolError::RequestTooLong) } else { Ok(None) };
        };
        let line = input[..newline].strip_suffix(b"\r").unwrap_or(&input[..newline]);
        self.scratch.clear();
        inline::split(line, bounds, &mut self.scratch, &mut self.spans)?;
        (self.is_inline, self.complete, self.at) = (true, true, newline + 1);
        Ok(Some(self.at))
    }

    /// The words of a request that [`Parser::advance`] found complete in the same `input`.
    pub(crate) fn words<'a>(&'a self, input: &'a [u8]) -> Words<'a> {
        Words { bytes: if self.is_inline { &self.scratch } else { input }, spans: &self.spans }
    }

    /// Forgets the request that was read; the next one starts at the input's first byte.
    pub(crate) fn begin(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.scratch);
        self.spans.clear();
        (self.step, self.at, self.missing) = (Step::Start, 0, 0);
        (self.is_inline, self.complete) = (false, false);
    }
}

/// Reads the number of a header line from `start`, and where the line ends; `None`: not all there.
fn header(input: &[u8], start: usize) -> Result<Option<(u64, usize)>, ProtocolError> {
    let mut number = 0u64;
    for (offset, byte) in input[start..].iter().take(HEADER_BYTES_MAX).enumerate() {
        match byte {
            b'0'..=b'9' => number = number.saturating_mul(10).saturating_add(u64::from(byte - b'0')),
            b'\r' if offset > 0 => {
                return match input.get(start + offset + 1) {
                    None => Ok(None),
                    Some(b'\n') => Ok(Some((number, start + offset + 2))),
                    Some(_) => Err(ProtocolError::Malformed),
                };
            }
            _ => return Err(ProtocolError::Malformed),
        }
    }
    if input.len() - start >= HEADER_BYTES_MAX { Err(ProtocolError::Malformed) } else { Ok(None) }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
