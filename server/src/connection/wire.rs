//! The two buffers of a connection and the stream between them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use zeroize::Zeroize;

use super::pending::Pending;

/// The size of an input buffer at rest: ten thousand idle connections should cost little.
const INPUT_BYTES_MIN: usize = 4096;
/// A buffer that grew beyond this is given back when it is empty.
const BYTES_KEPT: usize = 16 * 1024;

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

/// The stream and its buffers.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
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
        Self { stream, input: vec![0; INPUT_BYTES_MIN], start: 0, end: 0, out: Vec::new(), sent: 0, has_waited: false }
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
                self.input.zeroize();
                self.input = vec![0; INPUT_BYTES_MIN];
            }
        }
    }

    /// Gives both buffers back, and what they hold.
    pub(super) fn forget(&mut self) {
        self.input.zeroize();
        self.input = Vec::new();
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

    /// Makes room for more input, up to `max` bytes of one request.
    fn make_room(&mut self, max: usize) {
        if self.end < self.input.len() {
            return;
        }
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            return;
        }
        let mut larger = vec![0; (self.input.len() * 2).min(max.max(self.input.len() + INPUT_BYTES_MIN))];
        larger[..self.end].copy_from_slice(&self.input[..self.end]);
        self.input.zeroize();
        self.input = larger;
    }

    /// Waits until something happens: output that can leave, a reply, or, if `read_max` is given,
    /// input, of which at most that much is kept.
    pub(super) async fn event(&mut self, pending: &mut Pending, read_max: Option<usize>) -> Event {
        poll_fn(|cx| {
            let event = self.poll_event(cx, pending, read_max);
            self.has_waited |= event.is_pending();
            event
        })
        .await
    }

    /// Whether it had to wait since this was last asked.
    pub(super) fn take_waited(&mut self) -> bool {
        std::mem::take(&mut self.has_waited)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, pending: &mut Pending, read_max: Option<usize>) -> Poll<Event> {
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
        let Some(read_max) = read_max else { return Poll::Pending };
        self.make_room(read_max);
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

impl Drop for Wire {
    fn drop(&mut self) {
        self.input.zeroize();
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
