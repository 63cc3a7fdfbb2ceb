//! Listings that show one Seq on all their pages: each holds a lease on the state it began with.
//!
//! Invariants:
//! 1. A lease holds no pool, so a pool with leases can still be closed when it is idle.
//! 2. Each page renews its lease; one that was not renewed for `cursor_ttl` is gone, whoever asks.
//! 3. There are never more than `leases_max`: the one renewed longest ago makes room.

use std::collections::HashMap;
use std::sync::Arc;

use stoa_format::Seq;

use super::query::Plan;
use super::version::Version;

/// The leases of one pool.
#[derive(Default)]
pub(crate) struct Leases {
    by_id: HashMap<u64, Lease>,
}

/// One listing's hold on a state.
#[derive(Clone)]
pub(crate) struct Lease {
    /// What its pages show: with `seq`, a snapshot.
    pub version: Arc<Version>,
    /// The Seq of all its pages.
    pub seq: Seq,
    /// Which things it lists, in which order.
    pub plan: Arc<Plan>,
    /// When it ends, unless a page renews it; milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

impl Leases {
    /// Keeps a lease under a new id.
    pub fn grant(&mut self, id: u64, lease: Lease, now_ms: u64, leases_max: usize) {
        self.sweep(now_ms);
        while self.by_id.len() >= leases_max.max(1) {
            let oldest = self.by_id.iter().min_by_key(|(_, lease)| lease.expires_ms).map(|(id, _)| *id);
            oldest.map(|id| self.by_id.remove(&id));
        }
        self.by_id.insert(id, lease);
    }

    /// The lease of that id, renewed; `None` if it has ended.
    pub fn renew(&mut self, id: u64, now_ms: u64, ttl_ms: u64) -> Option<Lease> {
        self.sweep(now_ms);
        let lease = self.by_id.get_mut(&id)?;
        lease.expires_ms = now_ms.saturating_add(ttl_ms);
        Some(lease.clone())
    }

    /// Ends all of them, whoever lists.
    pub fn end_all(&mut self) {
        self.by_id.clear();
    }

    /// Lets go of what nobody has renewed in time.
    pub fn sweep(&mut self, now_ms: u64) {
        self.by_id.retain(|_, lease| lease.expires_ms > now_ms);
    }
}
