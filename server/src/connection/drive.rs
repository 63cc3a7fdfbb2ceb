//! Drives one connection: reads, carries out, writes, until one side ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
}

impl Connection {
    async fn run(&mut self) {
        let client = self.session.client.clone();
        let mut stopping = self.session.shared.stopping.clone();
        let stop_ms = self.session.shared.config.limits.stop_ms;
        let killed = client.killed();
        let stopped = stopping.wait_for(|stopping| *stopping);
        tokio::pin!(killed, stopped);

        let authenticate_by = Instant::now() + self.session.shared.config.limits.handshake();
        let mut last_left = Instant::now();
        // Once set, no more requests are carried out, and this is when patience ends.
        let mut end_by: Option<Instant> = None;
        // The peer sends nothing more; what it has sent is still carried out.
        let mut ended = false;
        loop {
            if end_by.is_none() || ended {
                self.carry_out();
                if end_by.is_none() && (self.session.closing || self.protocol_failed) {
                    end_by = Some(Instant::now() + Duration::from_millis(stop_ms));
                }
            }
            let waiting = self.wire.waiting_bytes();
            if end_by.is_some() && self.pending.is_empty() && waiting == 0 {
                break;
            }
            if waiting == 0 {
                last_left = Instant::now();
            }
            let deadline = self.deadline(end_by, authenticate_by, last_left, waiting);
            let read_max = self.may_read(end_by.is_some(), waiting);
            let event = async {
                match deadline {
                    Some(deadline) => timeout_at(deadline, self.wire.event(&mut self.pending, read_max)).await.ok(),
                    None => Some(self.wire.event(&mut self.pending, read_max).await),
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
                    Some(Event::Closed) | None => return,
                },
                () = &mut killed, if end_by.is_none() => {
                    end_by = Some(Instant::now() + Duration::from_millis(KILLED_MS));
                }
                _ = &mut stopped, if end_by.is_none() => {
                    end_by = Some(Instant::now() + Duration::from_millis(stop_ms));
                }
            }
        }
        let last = Duration::from_millis(LINGER_MS);
        if let Ok(Ok(())) = timeout(last, self.wire.finish()).await {
            let _ = timeout(last, self.wire.linger(LINGER_BYTES)).await;
        }
    }

    /// When waiting ends, if it must.
    fn deadline(
        &self,
        end_by: Option<Instant>,
        authenticate_by: Instant,
        last_left: Instant,
        waiting: usize,
    ) -> Option<Instant> {
        let stall = Duration::from_millis(self.session.shared.config.limits.output_stall_ms);
        [end_by, self.session.actor.is_none().then_some(authenticate_by), (waiting > 0).then(|| last_left + stall)]
            .into_iter()
            .flatten()
            .min()
    }

    /// How large the input buffer may become, or none while nothing is to be read.
    fn may_read(&self, ending: bool, waiting: usize) -> Option<usize> {
        let limits = &self.session.shared.config.limits;
        let bounds = self.session.bounds();
        let full = self.wire.input().len() >= bounds.request_bytes + 64;
        (!ending && !full && waiting < limits.output_buffer_bytes).then_some(bounds.request_bytes + 4096)
    }

    /// Carries out what has arrived, as far as it may.
    fn carry_out(&mut self) {
        let output_max = self.session.shared.config.limits.output_buffer_bytes;
        loop {
            let bounds = self.session.bounds();
            let (input, out) = self.wire.both();
            if self.session.closing || self.protocol_failed || input.is_empty() || out.len() >= output_max {
                return;
            }
            let used = match self.parser.advance(input, &bounds) {
                Ok(Some(used)) => used,
                Ok(None) => return,
                Err(error) => return self.refuse_protocol(error),
            };
            let words = self.parser.words(input);
            let secret = match self.session.execute(words, out, &mut self.pending) {
                Step::Done { secret } => secret,
                Step::Wait => return,
            };
            self.parser.begin();
            self.wire.consume(used, secret);
        }
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
        let mut reply = Vec::new();
        Reply::new(&mut reply, self.session.resp3).error(word, &sentence);
        self.session.shared.stats.refused(word);
        self.pending.push_ready(reply);
        self.protocol_failed = true;
    }
}
