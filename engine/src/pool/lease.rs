//! Listings that show one Seq on all their pages: each holds a lease on its snapshot.

use std::collections::HashMap;

use super::snapshot::Snapshot;

/// The leases of one pool.
#[derive(Default)]
pub(crate) struct Leases {
    pub by_id: HashMap<u64, Lease>,
    pub next_id: u64,
}

/// One listing's hold on a snapshot.
pub(crate) struct Lease {
    /// What its pages show.
    pub snapshot: Snapshot,
    /// When it ends, unless a page renews it.
    pub expires_ms: u64,
}
