//! The two buffers of a connection and the stream between them.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use memmap2::MmapMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use zeroize::Zeroize;

use super::pending::Pending;

/// The size of an input buffer at rest: ten thousand idle connections should cost little.
const INPUT_BYTES_MIN: usize = 4096;
/// A buffer that grew beyond this is given back when it is empty.
const BYTES_KEPT: usize = 16 * 1024;

/// An input buffer of this size and more is the system's own: an allocator would keep it for a while.
const BYTES_MAPPED: usize = 256 * 1024;

/// What a connection runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// More input has arrived.
    Input,
    /// Output has left.
    Output,
    /// A reply has arrived.
    Reply,
    /// The peer sends nothing more.
    Ended,
    /// The stream failed.
    Closed,
}

/// The bytes of an input buffer, zeroes at first, zeroed when they are given back.
enum Input {
    Allocated(Box<[u8]>),
    Mapped(MmapMut),
}

impl Input {
    fn new(bytes: usize) -> Self {
        match (bytes >= BYTES_MAPPED).then(|| MmapMut::map_anon(bytes)) {
            Some(Ok(mapped)) => Self::Mapped(mapped),
            Some(Err(_)) | None => Self::Allocated(vec![0; bytes].into_boxed_slice()),
        }
    }
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Allocated(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

impl DerefMut for Input {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Allocated(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // The system zeroes what it gives to others.
        if let Self::Allocated(bytes) = self {
            bytes.zeroize();
        }
    }
}

/// The stream and its buffers.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: Input,
    start: usize,
    end: usize,
    /// Replies that have not left yet.
    pub(super) out: Vec<u8>,
    sent: usize,
    /// Nothing was ready, so that others had their turn.
    has_waited: bool,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            input: Input::new(INPUT_BYTES_MIN),
            start: 0,
            end: 0,
            out: Vec::new(),
            sent: 0,
            has_waited: false,
        }
    }

    /// What has arrived and is not consumed.
    pub(super) fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    /// Both at once: what has arrived, and where replies go.
    pub(super) fn both(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.input[self.start..self.end], &mut self.out)
    }

    /// Forgets the first `bytes` of the input, and zeroes them where they hold a secret.
    pub(super) fn consume(&mut self, bytes: usize, secret: bool) {
        if secret {
            self.input[self.start..self.start + bytes].zeroize();
        }
        self.start += bytes;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.input.len() > BYTES_KEPT {
                self.input = Input::new(INPUT_BYTES_MIN);
            }
        }
    }

    /// Gives both buffers back, and what they hold.
    pub(super) fn forget(&mut self) {
        self.input = Input::new(0);
        self.out = Vec::new();
        (self.start, self.end, self.sent) = (0, 0, 0);
    }

    /// How many bytes wait to leave.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.out.len() - self.sent
    }

    /// What both buffers take, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.input.len() + self.out.capacity()
    }

    /// How large the input buffer has to become to take more of a request of at most `max` bytes, if it has to.
    pub(super) fn growth(&self, max: usize) -> Option<usize> {
        let bytes = self.input.len();
        let is_full = self.start == 0 && self.end == bytes;
        is_full.then(|| (bytes * 2).min(max.max(bytes + INPUT_BYTES_MIN)))
    }

    /// Makes the input buffer so large; both the old one and the new one are held meanwhile.
    pub(super) fn grow(&mut self, bytes: usize) {
        let mut larger = Input::new(bytes);
        larger[..self.end].copy_from_slice(&self.input[..self.end]);
        self.input = larger;
    }

    /// Moves what has arrived to the front where there is no room behind it.
    fn make_room(&mut self) {
        if self.end == self.input.len() && self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Waits until something happens: output that can leave, a reply, or, if it `may_read`, input, for
    /// which there has to be room ([`Self::growth`]).
    pub(super) async fn event(&mut self, pending: &mut Pending, may_read: bool) -> Event {
        poll_fn(|cx| {
            let event = self.poll_event(cx, pending, may_read);
            self.has_waited |= event.is_pending();
            event
        })
        .await
    }

    /// Whether it had to wait since this was last asked.
    pub(super) fn take_waited(&mut self) -> bool {
        std::mem::take(&mut self.has_waited)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, pending: &mut Pending, may_read: bool) -> Poll<Event> {
        if pending.poll_front(cx, &mut self.out).is_ready() {
            return Poll::Ready(Event::Reply);
        }
        if self.waiting_bytes() > 0 {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.sent += written;
                    if self.sent == self.out.len() {
                        self.sent = 0;
                        self.out.clear();
                        if self.out.capacity() > BYTES_KEPT {
                            self.out = Vec::new();
                        }
                        // Errors show at the next write or read.
                        let _ = Pin::new(&mut self.stream).poll_flush(cx);
                    }
                    return Poll::Ready(Event::Output);
                }
                Poll::Ready(_) => return Poll::Ready(Event::Closed),
                Poll::Pending => {}
            }
        } else if Pin::new(&mut self.stream).poll_flush(cx).ready_and(|flushed| flushed.is_err()) {
            return Poll::Ready(Event::Closed);
        }
        if !may_read {
            return Poll::Pending;
        }
        self.make_room();
        let mut room = ReadBuf::new(&mut self.input[self.end..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                self.end += room.filled().len();
                Poll::Ready(Event::Input)
            }
            Poll::Ready(Ok(())) => Poll::Ready(Event::Ended),
            Poll::Ready(Err(_)) => Poll::Ready(Event::Closed),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sends what waits, and ends the sending side.
    pub(super) async fn finish(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.out[self.sent..]).await?;
        self.out.clear();
        self.sent = 0;
        self.stream.shutdown().await
    }

    /// Reads and forgets what the peer still sends, so that it gets to read the last reply: closing
    /// with unread input would make the system discard it.
    pub(super) async fn linger(&mut self, bytes_max: usize) {
        let mut left = bytes_max;
        while left > 0 {
            let mut sink = [0; 4096];
            let mut room = ReadBuf::new(&mut sink);
            let read = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut room)).await;
            match room.filled().len() {
                0 => return,
                _ if read.is_err() => return,
                read => left = left.saturating_sub(read),
            }
        }
    }
}

/// `Poll::ready_and`, which the standard library lacks.
trait ReadyAnd<T> {
    fn ready_and(self, test: impl FnOnce(T) -> bool) -> bool;
}

impl<T> ReadyAnd<T> for Poll<T> {
    fn ready_and(self, test: impl FnOnce(T) -> bool) -> bool {
        match self {
            Poll::Ready(value) => test(value),
            Poll::Pending => false,
        }
    }
}
