//! Replies that come later, from another thread.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot};

use super::Footprint;
use crate::audit::AuditEntry;
use crate::command::Entry;
use crate::refusal::Result;
use crate::resp::Reply;
use crate::shared::Shared;

/// A command whose arguments are read, and which is answered later.
pub(crate) struct Later {
    /// What it touches.
    pub footprint: Footprint,
    /// Starts the work; called on the connection's thread, so it must not block.
    pub start: Box<dyn FnOnce(Answer) + Send>,
}

/// The right to answer one request, once. Dropped without an answer, the connection says that the
/// outcome is unknown.
pub(crate) struct Answer {
    to: oneshot::Sender<Vec<u8>>,
    resp3: bool,
    shared: Arc<Shared>,
    entry: &'static Entry,
    started: Instant,
    /// Written to the audit log with the outcome, where the command is one of those.
    audit: Option<AuditEntry>,
}

impl Answer {
    /// An answer, and where it will arrive.
    pub(crate) fn new(shared: &Arc<Shared>, entry: &'static Entry, resp3: bool) -> (Self, oneshot::Receiver<Vec<u8>>) {
        let (to, from) = oneshot::channel();
        (Self { to, resp3, shared: shared.clone(), entry, started: Instant::now(), audit: None }, from)
    }

    /// The same, which leaves an entry in the audit log.
    pub(crate) fn audited(self, audit: AuditEntry) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// Answers what `write` writes, or its refusal.
    pub(crate) fn give(self, write: impl FnOnce(&mut Reply<'_>) -> Result<()>) {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.resp3);
        let refused = write(&mut reply).err();
        if let Some(refused) = &refused {
            reply.truncate(0);
            reply.error(refused.word(), refused.sentence());
        }
        if let Some(audit) = self.audit {
            let outcome = refused.as_ref().map_or("ok", |refused| refused.word()).to_string();
            self.shared.audit.add(AuditEntry { outcome, ..audit });
        }
        self.shared.stats.answered(self.entry, self.started.elapsed(), refused.map(|refused| refused.word()));
        // The connection may be gone.
        let _ = self.to.send(out);
    }

    /// The server.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits until nobody waits for this answer any more.
    pub(crate) async fn abandoned(&mut self) {
        self.to.closed().await;
    }

    /// Answers on a thread of its own, as soon as there is one of these permits.
    pub(crate) fn give_blocking(
        self,
        permits: Arc<Semaphore>,
        write: impl FnOnce(&mut Reply<'_>) -> Result<()> + Send + 'static,
    ) {
        let runtime = self.shared.runtime.clone();
        runtime.spawn(async move {
            // Never closed while the server lives.
            let Ok(permit) = permits.acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                self.give(write);
                drop(permit);
            });
        });
    }
}
