//! What a connection is, besides its bytes: who it is, which protocol it speaks, what it has queued.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::ClientEntry;
use super::transaction::Queue;
use crate::acl::{Actor, Refused};
use crate::audit::AuditEntry;
use crate::command::{Entry, Flags};
use crate::refusal::Refusal;
use crate::resp::Bounds;
use crate::shared::{Shared, now_ms};

/// Failed attempts to authenticate after which the connection is closed.
const FAILURES_MAX: u32 = 8;

/// The state of one connection.
pub(crate) struct Session {
    /// The server.
    pub shared: Arc<Shared>,
    /// What others see of it.
    pub client: Arc<ClientEntry>,
    /// Where it was taken, if over TCP.
    pub local: Option<SocketAddr>,
    /// Who a client certificate says it is.
    pub certified: Option<Arc<Actor>>,
    /// Who it is; none before authentication.
    pub actor: Option<Arc<Actor>>,
    /// Speaks RESP3.
    pub resp3: bool,
    /// What is queued since MULTI.
    pub(super) queue: Option<Queue>,
    /// Closes when its replies are written.
    pub closing: bool,
    failures: u32,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        client: Arc<ClientEntry>,
        local: Option<SocketAddr>,
        certified: Option<Arc<Actor>>,
    ) -> Self {
        let mut session = Self {
            shared,
            client,
            local,
            certified,
            actor: None,
            resp3: false,
            queue: None,
            closing: false,
            failures: 0,
        };
        session.reset();
        session
    }

    /// Makes it as it was when it was new.
    pub(crate) fn reset(&mut self) {
        self.queue = None;
        self.set_resp3(false);
        self.client.queued.store(usize::MAX, Relaxed);
        *self.client.names() = Default::default();
        let actor = self.certified.clone().or_else(|| self.shared.dev.clone());
        self.set_actor(actor);
    }

    /// Speaks RESP3, or RESP2, from now on.
    pub(crate) fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
        self.client.resp3.store(resp3, Relaxed);
    }

    fn set_actor(&mut self, actor: Option<Arc<Actor>>) {
        self.client.names().user = actor.as_ref().map(|actor| actor.name().to_string()).unwrap_or_default();
        self.actor = actor;
    }

    /// Authenticates.
    ///
    /// # Errors
    /// `WRONGPASS`; after several, the connection closes.
    pub(crate) fn authenticate(&mut self, name: &str, secret: &[u8]) -> Result<(), Refusal> {
        let known = self.shared.acl.authenticate(name, secret);
        // In development mode there is nothing to guard; clients that must send something may.
        let actor = known.or_else(|| self.shared.dev.clone().filter(|_| matches!(name, "default" | "admin")));
        match actor {
            Some(actor) => {
                self.set_actor(Some(actor));
                Ok(())
            }
            None => {
                self.failures += 1;
                self.closing |= self.failures >= FAILURES_MAX;
                let word = "WRONGPASS";
                self.note_refusal("auth", "auth");
                self.audit("AUTH", None, word);
                Err(Refusal::new(word, "invalid username-password pair or user is disabled."))
            }
        }
    }

    /// What the queue of a transaction keeps, in bytes.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, Queue::size_bytes)
    }

    /// What requests may cost now.
    pub(super) fn bounds(&self) -> Bounds {
        let limits = &self.shared.config.limits;
        match self.actor {
            Some(_) => Bounds {
                argument_bytes: limits.argument_bytes,
                arguments: limits.arguments,
                request_bytes: limits.request_bytes,
                inline: true,
            },
            None => Bounds {
                argument_bytes: limits.argument_bytes.min(limits.unauthenticated_bytes),
                arguments: limits.unauthenticated_arguments,
                request_bytes: limits.unauthenticated_bytes,
                inline: false,
            },
        }
    }

    /// Notes a refusal for ACL LOG.
    pub(crate) fn note_refusal(&self, reason: &'static str, object: &str) {
        let now = now_ms();
        self.shared.acl.refused.add(Refused {
            count: 1,
            reason,
            in_multi: self.queue.is_some(),
            object: object.into(),
            user: self.actor.as_ref().map_or_else(|| "".into(), |actor| actor.name().clone()),
            address: self.client.address.clone(),
            id: 0,
            created_ms: now,
            updated_ms: now,
        });
    }

    /// Writes to the audit log.
    pub(crate) fn audit(&self, command: &str, pool: Option<&[u8]>, outcome: &str) {
        let user = self.actor.as_ref().map_or("", |actor| actor.name());
        self.shared.audit.add(AuditEntry::new(user, command, pool, outcome, &self.client.address));
    }

    /// Whether the command may run before authentication.
    pub(super) fn may_run_yet(&self, entry: &Entry) -> bool {
        self.actor.is_some() || entry.command.flags.has(Flags::NO_AUTH)
    }
}
