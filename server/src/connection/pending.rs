//! Replies that are still to come, in the order of their requests.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::dispatch::Footprint;
use crate::resp::Reply;

/// The most commands of one connection that are under way at once.
const PENDING_MAX: usize = 256;

enum Slot {
    Ready(Vec<u8>),
    Waiting { reply: oneshot::Receiver<Vec<u8>>, footprint: Footprint, resp3: bool, bytes: usize },
}

/// What a slot costs besides its bytes.
const SLOT_BYTES: usize = size_of::<Slot>();

/// The queue of replies.
#[derive(Default)]
pub(super) struct Pending {
    slots: VecDeque<Slot>,
    /// Replies that are known, and requests that are under way.
    bytes: usize,
}

impl Pending {
    /// Whether all requests are answered.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether nothing more is to be carried out before some of these are answered.
    pub(super) fn is_full(&self, bytes_max: usize) -> bool {
        self.slots.len() >= PENDING_MAX || self.bytes >= bytes_max
    }

    /// What is kept here, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes + self.slots.len() * SLOT_BYTES
    }

    /// Whether a command with this footprint may start now.
    pub(super) fn allows(&self, footprint: &Footprint) -> bool {
        self.slots.iter().all(|slot| match slot {
            Slot::Ready(_) => true,
            Slot::Waiting { footprint: earlier, .. } => footprint.may_overlap(earlier),
        })
    }

    /// Queues a reply that is known.
    pub(super) fn push_ready(&mut self, reply: Vec<u8>) {
        self.bytes += reply.len();
        self.slots.push_back(Slot::Ready(reply));
    }

    /// Queues a reply that will arrive, of a request of so many bytes.
    pub(super) fn push(
        &mut self,
        reply: oneshot::Receiver<Vec<u8>>,
        footprint: Footprint,
        resp3: bool,
        request_bytes: usize,
    ) {
        self.bytes += request_bytes;
        self.slots.push_back(Slot::Waiting { reply, footprint, resp3, bytes: request_bytes });
    }

    /// Moves the replies at the front that have arrived to `out`; ready if there was one.
    pub(super) fn poll_front(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<()> {
        let mut moved = false;
        while let Some(slot) = self.slots.front_mut() {
            match slot {
                Slot::Ready(reply) => {
                    self.bytes -= reply.len();
                    out.append(reply);
                }
                Slot::Waiting { reply, resp3, bytes, .. } => {
                    match Pin::new(reply).poll(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(reply)) => out.extend_from_slice(&reply),
                        Poll::Ready(Err(_)) => Reply::new(out, *resp3).error(
                            "INDOUBT",
                            "the command ended without an answer; its outcome is unknown, repeat it with the same TOKEN",
                        ),
                    }
                    self.bytes -= *bytes;
                }
            }
            self.slots.pop_front();
            moved = true;
        }
        if moved { Poll::Ready(()) } else { Poll::Pending }
    }
}
