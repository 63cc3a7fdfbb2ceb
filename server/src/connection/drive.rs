//! Drives one connection: reads, carries out, writes, until one side ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::ClientEntry;
use super::execute::Step;
use super::pending::Pending;
use super::session::Session;
use super::wire::{Event, Stream, Wire};
use crate::acl::Actor;
use crate::resp::{Parser, ProtocolError, Reply};
use crate::shared::Shared;

/// How long a connection that was killed may take to get its last replies.
const KILLED_MS: u64 = 1000;
/// How long one connection's commands are carried out before others have their turn.
const TURN: Duration = Duration::from_micros(200);
/// How much is read behind a request that cannot be carried out yet.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// How much input is read and forgotten, and for how long, behind a last reply.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_MS: u64 = 500;

/// Serves one connection until it ends.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    client: Arc<ClientEntry>,
    stream: Box<dyn Stream>,
    local: Option<SocketAddr>,
    certified: Option<Arc<Actor>>,
) {
    let session = Session::new(shared, client, local, certified);
    let mut connection = Connection {
        session,
        wire: Wire::new(stream),
        pending: Pending::default(),
        parser: Parser::default(),
        protocol_failed: false,
        unfinished_since: None,
        turn_began: Instant::now(),
    };
    connection.run().await;
}

struct Connection {
    session: Session,
    wire: Wire,
    pending: Pending,
    parser: Parser,
    /// The input makes no sense any more; it is answered once.
    protocol_failed: bool,
    /// When the request began that has not arrived whole.
    unfinished_since: Option<Instant>,
    /// Since when no others had their turn.
    turn_began: Instant,
}

/// Whether carrying out has come to its end for now.
#[derive(PartialEq, Eq)]
enum Turn {
    /// Something has to happen first.
    Ended,
    /// There is more to do, after others.
    Paused,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.shared.buffers.forget(&self.session.client);
    }
}

impl Connection {
    async fn run(&mut self) {
        let (client, shared) = (self.session.client.clone(), self.session.shared.clone());
        let mut stopping = shared.stopping.clone();
        let stop_ms = shared.config.limits.stop_ms;
        let killed = client.killed();
        let stopped = stopping.wait_for(|stopping| *stopping);
        tokio::pin!(killed, stopped);

        let authenticate_by = Instant::now() + shared.config.limits.handshake();
        let mut last_left = Instant::now();
        // Once set, no more requests are carried out, and this is when patience ends.
        let mut end_by: Option<Instant> = None;
        // The peer sends nothing more; what it has sent is still carried out.
        let mut ended = false;
        loop {
            if client.is_evicted() {
                return self.give_up().await;
            }
            let mut turn = Turn::Ended;
            if end_by.is_none() || ended {
                turn = self.carry_out();
                if end_by.is_none() && (self.session.closing || self.protocol_failed) {
                    end_by = Some(Instant::now() + Duration::from_millis(stop_ms));
                }
            }
            let waiting = self.wire.waiting_bytes();
            if end_by.is_some() && turn == Turn::Ended && self.pending.is_empty() && waiting == 0 {
                break;
            }
            if waiting == 0 {
                last_left = Instant::now();
            }
            let read_max = self.may_read(end_by.is_some(), waiting);
            let growth = read_max.and_then(|max| self.wire.growth(max));
            self.count_buffers(growth.unwrap_or(0));
            if client.is_evicted() {
                continue;
            }
            let mut no_room = growth.and_then(|_| shared.buffers.room(shared.config.limits.buffers_bytes));
            if let Some(bytes) = growth
                && no_room.is_none()
            {
                self.wire.grow(bytes);
                self.count_buffers(0);
            }
            let may_read = read_max.is_some() && no_room.is_none();
            if !may_read {
                // It is not the peer that keeps the rest of its request back.
                self.unfinished_since = None;
            }
            let deadline = self.deadline(end_by, authenticate_by, last_left, waiting);
            if self.turn_began.elapsed() >= TURN {
                yield_now().await;
                self.turn_began = Instant::now();
                // A peer that always has more must not keep this from being noticed.
                let is_stopping = *shared.stopping.borrow();
                if end_by.is_none() && (is_stopping || client.is_killed()) {
                    end_by =
                        Some(self.turn_began + Duration::from_millis(if is_stopping { stop_ms } else { KILLED_MS }));
                    continue;
                }
            }
            let event = async {
                match deadline {
                    Some(deadline) => timeout_at(deadline, self.wire.event(&mut self.pending, may_read)).await.ok(),
                    None => Some(self.wire.event(&mut self.pending, may_read).await),
                }
            };
            tokio::select! {
                biased;
                event = event => match event {
                    Some(Event::Output) => last_left = Instant::now(),
                    Some(Event::Input | Event::Reply) => {}
                    Some(Event::Ended) => {
                        ended = true;
                        end_by.get_or_insert(Instant::now() + Duration::from_millis(stop_ms));
                    }
                    Some(Event::Closed) => return,
                    None if end_by.is_none() && waiting == 0 && self.pending.is_empty() => self.refuse_late(),
                    None => return,
                },
                () = &mut killed => {
                    killed.set(client.killed());
                    end_by.get_or_insert(Instant::now() + Duration::from_millis(KILLED_MS));
                }
                _ = &mut stopped, if end_by.is_none() => {
                    end_by = Some(Instant::now() + Duration::from_millis(stop_ms));
                }
                () = async { if let Some(given_back) = &mut no_room { given_back.await } }, if no_room.is_some() => {}
                () = std::future::ready(()), if turn == Turn::Paused => {}
            }
            if self.wire.take_waited() {
                self.turn_began = Instant::now();
            }
        }
        self.leave().await;
    }

    /// When waiting ends, if it must.
    fn deadline(
        &self,
        end_by: Option<Instant>,
        authenticate_by: Instant,
        last_left: Instant,
        waiting: usize,
    ) -> Option<Instant> {
        let limits = &self.session.shared.config.limits;
        let stall = Duration::from_millis(limits.output_stall_ms);
        let request = Duration::from_millis(limits.request_ms);
        let read_by = (waiting > 0).then(|| last_left + stall);
        if end_by.is_some() {
            return end_by.into_iter().chain(read_by).min();
        }
        let authenticate_by = self.session.actor.is_none().then_some(authenticate_by);
        let request_by = self.unfinished_since.map(|since| since + request);
        [authenticate_by, request_by, read_by].into_iter().flatten().min()
    }

    /// Counts what the buffers hold, and what they are about to; others may have to close for it, or this one.
    fn count_buffers(&self, more_bytes: usize) {
        let Session { shared, client, .. } = &self.session;
        let held = self.wire.size_bytes() + self.pending.size_bytes() + self.session.queued_bytes() + more_bytes;
        let closed = shared.buffers.count(client, held, shared.config.limits.buffers_bytes, &shared.clients);
        if closed > 0 {
            shared.stats.evicted.fetch_add(closed as u64, Relaxed);
            tracing::warn!(closed, "the buffers of all connections were full: those that held most were closed");
        }
    }

    /// Ends a connection that held most when the buffers of all were full.
    async fn give_up(&mut self) {
        let is_behind = self.wire.waiting_bytes() > 0 || !self.pending.is_empty();
        self.pending = Pending::default();
        self.session.queue = None;
        self.wire.forget();
        self.session.shared.buffers.forget(&self.session.client);
        if is_behind {
            // Replies are cut off: nothing that is sent now would be understood.
            return;
        }
        let sentence = "the buffers of all connections are full, and this one held most; \
                        what was not answered was not carried out: send less at a time";
        let reply = self.refusal("BUSY", sentence);
        self.wire.out = reply;
        self.leave().await;
    }

    /// Sends what waits, and makes sure that the peer gets to read it.
    async fn leave(&mut self) {
        let last = Duration::from_millis(LINGER_MS);
        if let Ok(Ok(())) = timeout(last, self.wire.finish()).await {
            let _ = timeout(last, self.wire.linger(LINGER_BYTES)).await;
        }
    }

    /// How large the input buffer may become, in bytes, or none while nothing is to be read.
    fn may_read(&self, ending: bool, waiting: usize) -> Option<usize> {
        let request_bytes = self.session.bounds().request_bytes;
        // What has to wait needs nothing that is behind it.
        let ahead = if self.parser.is_complete() { READ_AHEAD_BYTES } else { usize::MAX };
        let full = self.wire.input().len() >= ahead.min(request_bytes + 64);
        (!ending && !full && waiting < self.output_max()).then_some(request_bytes + 4096)
    }

    /// How many bytes of replies may wait before no more is carried out.
    fn output_max(&self) -> usize {
        let Session { shared, .. } = &self.session;
        let limits = &shared.config.limits;
        limits.output_buffer_bytes.min(shared.buffers.share_bytes(limits.buffers_bytes))
    }

    /// Carries out what has arrived, as far as it may.
    fn carry_out(&mut self) -> Turn {
        let output_max = self.output_max();
        loop {
            let bounds = self.session.bounds();
            let (input, out) = self.wire.both();
            if self.session.closing || self.protocol_failed || input.is_empty() || out.len() >= output_max {
                return Turn::Ended;
            }
            let used = match self.parser.advance(input, &bounds) {
                Ok(Some(used)) => used,
                Ok(None) => {
                    self.unfinished_since.get_or_insert_with(Instant::now);
                    return Turn::Ended;
                }
                Err(error) => {
                    self.refuse_protocol(error);
                    return Turn::Ended;
                }
            };
            self.unfinished_since = None;
            if self.pending.is_full(output_max) {
                return Turn::Ended;
            }
            let words = self.parser.words(input);
            let secret = match self.session.execute(words, out, &mut self.pending) {
                Step::Done { secret } => secret,
                Step::Wait => return Turn::Ended,
            };
            self.parser.begin();
            self.wire.consume(used, secret);
            if !self.wire.input().is_empty() && self.turn_began.elapsed() >= TURN {
                return Turn::Paused;
            }
        }
    }

    /// Refuses a peer that took too long to authenticate, or to send a request.
    fn refuse_late(&mut self) {
        let limits = &self.session.shared.config.limits;
        let (word, sentence) = match self.session.actor {
            None => ("NOAUTH", format!("Authentication required: none came within {} ms", limits.handshake_ms)),
            Some(_) => ("LIMIT", format!("a request has to arrive whole within {} ms", limits.request_ms)),
        };
        self.refuse(word, &sentence);
    }

    /// Queues the last reply.
    fn refuse(&mut self, word: &'static str, sentence: &str) {
        let reply = self.refusal(word, sentence);
        self.pending.push_ready(reply);
        self.protocol_failed = true;
    }

    fn refusal(&self, word: &'static str, sentence: &str) -> Vec<u8> {
        let mut reply = Vec::new();
        Reply::new(&mut reply, self.session.resp3).error(word, sentence);
        self.session.shared.stats.refused(word);
        reply
    }

    fn refuse_protocol(&mut self, error: ProtocolError) {
        let limits = &self.session.shared.config.limits;
        let bounds = self.session.bounds();
        let (word, sentence) = match error {
            ProtocolError::Malformed => ("ERR", "Protocol error".to_string()),
            _ if self.session.actor.is_none() => (
                "LIMIT",
                format!(
                    "before authentication a request has at most {} arguments and {} bytes",
                    limits.unauthenticated_arguments, limits.unauthenticated_bytes
                ),
            ),
            ProtocolError::ArgumentTooLong => {
                ("LIMIT", format!("an argument is longer than {} bytes", bounds.argument_bytes))
            }
            ProtocolError::TooManyArguments => {
                ("LIMIT", format!("a request has more than {} arguments", bounds.arguments))
            }
            ProtocolError::RequestTooLong => {
                ("LIMIT", format!("a request is longer than {} bytes", bounds.request_bytes))
            }
        };
        self.refuse(word, &sentence);
    }
}
