//! The digest tree as callers see it, and how it is summed from the data when it is first needed.
//!
//! Nodes are hints: each answer carries its Seq, two answers may show two Seqs, and a user that
//! differs counts after a second read.

use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;
use stoa_format::{AttrId, Ordinal, Seq, Sub};
use zeroize::Zeroizing;

use super::Pool;
use super::handle::Hold;
use super::keyspace::{self, Key, last_number};
use super::open::{OpenPool, lock};
use super::query::{Batch, pool_facts};
use super::snapshot::Snapshot;
use crate::digest::fact::{leaf_hash, leaf_index};
use crate::digest::tree::{Built, DEPTH_MAX, depth_for};
use crate::error::{Error, ErrorKind, Result};
use crate::fork;

/// The most nodes or leaves of one call.
pub const INDEXES_MAX: usize = 4096;
/// Users are summed so many at a time.
const CHUNK_USERS: usize = 16_384;
/// From so many users on two threads sum them.
const TWO_THREADS_USERS: u64 = 100_000;
/// With so many users a leaf on average, the tree is built anew and deeper.
const USERS_A_LEAF_MAX: u64 = 256;
/// A build that everything was forgotten under is begun again so often.
const BUILDS_MAX: u32 = 8;

/// The root of a pool's digest tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MerkleRoot {
    /// The Seq that it shows.
    pub seq: Seq,
    /// Bits of the hash that name a leaf: a multiple of four.
    pub depth: u32,
    /// How many users there are.
    pub users: u64,
    /// The sum of all facts, modulo 2^128.
    pub digest: u128,
}

impl Pool {
    /// The pool's digest key, with an id by which two sides see that they use the same.
    ///
    /// # Errors
    /// None now; kept for keys that must be fetched.
    pub fn merkle_key(&self) -> Result<(String, Zeroizing<[u8; 32]>)> {
        let key = Zeroizing::new(*self.open.digest_key.bytes());
        let id = blake3::derive_key("stoa digest key id v1", &*key);
        Ok((id[..8].iter().map(|byte| format!("{byte:02x}")).collect(), key))
    }

    /// The root of the digest tree, which is built if it is not there yet.
    ///
    /// # Errors
    /// `DAMAGED`, also if the users do not add up to what the log has summed; `IOERROR`.
    pub fn merkle_root(&self) -> Result<MerkleRoot> {
        let users = self.snapshot().user_count()?;
        self.built(users)?;
        let tree = lock(&self.open.tree);
        let digest = tree.sum().ok_or_else(forgotten)?;
        Ok(MerkleRoot { seq: tree.seq(), depth: tree.depth(), users, digest })
    }

    /// Nodes of a level, of which the root is 0 and each next one has 16 times as many nodes.
    ///
    /// # Errors
    /// `INVALID` for a node that there is not, `LIMIT`, and as [`Pool::merkle_root`].
    pub fn merkle_nodes(&self, level: u32, indexes: &[u64]) -> Result<(Seq, Vec<u128>)> {
        check_count(indexes)?;
        self.built(0)?;
        let tree = lock(&self.open.tree);
        if !tree.is_built() {
            return Err(forgotten());
        }
        let nodes = indexes.iter().map(|&index| tree.node(level, index).ok_or_else(no_node)).collect::<Result<_>>()?;
        Ok((tree.seq(), nodes))
    }

    /// The users of leaves: sub, version and digest of each. The pool's own facts stand under the
    /// nil UUID in its leaf, with the schema's version.
    ///
    /// # Errors
    /// As [`Pool::merkle_nodes`].
    pub fn merkle_leaf(&self, leaves: &[u64]) -> Result<(Seq, Vec<Vec<(Sub, u64, u128)>>)> {
        check_count(leaves)?;
        self.built(0)?;
        let depth = lock(&self.open.tree).depth();
        let snapshot = self.snapshot();
        let users = leaves.iter().map(|&leaf| {
            if depth < 64 && leaf >> depth != 0 {
                return Err(no_node());
            }
            leaf_users(&snapshot, depth, leaf)
        });
        Ok((snapshot.seq, users.collect::<Result<_>>()?))
    }

    /// Builds the tree unless it is there and deep enough for this many users.
    fn built(&self, users: u64) -> Result<()> {
        let fits = || {
            let tree = lock(&self.open.tree);
            tree.is_built() && users >> tree.depth() <= USERS_A_LEAF_MAX
        };
        if fits() {
            return Ok(());
        }
        let _building = lock(&self.open.tree_building);
        if fits() {
            return Ok(());
        }
        for _ in 0..BUILDS_MAX {
            let snapshot = self.open.begin_tree();
            let (depth, leaves) = sum_leaves(&snapshot)?;
            match lock(&self.open.tree).install(depth, leaves) {
                Built::Installed => return Ok(()),
                Built::Forgotten => {}
                Built::Differs => {
                    let what = "the users do not add up to the digest that the log has summed; run stoa verify";
                    return Err(Error::damaged(what));
                }
            }
        }
        Err(forgotten())
    }
}

impl OpenPool {
    /// Begins a build of the tree, and pins the state that it must sum.
    fn begin_tree(self: &Arc<Self>) -> Snapshot {
        // Whoever applies a transaction holds this lock while its deltas are added and its documents come in. The
        // transaction is in the memtable then, durable, and about to become visible.
        let mut tree = lock(&self.tree);
        tree.begin();
        let (version, seq) = (self.version.load_full(), tree.seq());
        assert!(version.flushed_seq() <= seq, "what is flushed was applied");
        Snapshot { pool: Hold::new(self), version: version.into(), seq }
    }
}

fn check_count(indexes: &[u64]) -> Result<()> {
    match indexes.len() {
        0..=INDEXES_MAX => Ok(()),
        _ => Err(Error::limit(format!("{INDEXES_MAX} indexes at most in one request: send several"))),
    }
}

fn no_node() -> Error {
    Error::invalid("the digest tree has no such node: see MERKLE.ROOT for its depth")
}

fn forgotten() -> Error {
    Error::new(ErrorKind::TryAgain, "the pool is being filled: ask for its digest again in a moment")
}

impl Snapshot {
    /// The sum of all facts, made from the data.
    pub(crate) fn digest(&self) -> Result<u128> {
        let (_, leaves) = sum_leaves(self)?;
        Ok(leaves.iter().fold(0, |sum, leaf| sum.wrapping_add(*leaf)))
    }
}

/// The leaves over all users of a state, and their depth.
fn sum_leaves(snapshot: &Snapshot) -> Result<(u32, Vec<u128>)> {
    let live = snapshot.live();
    let depth = depth_for(live.len());
    let mut leaves = if live.len() >= TWO_THREADS_USERS {
        let middle = live.select((live.len() / 2) as u32).unwrap_or_default();
        let (low, high) = fork::join(
            || sum_range(snapshot, &live, 0..=middle.saturating_sub(1), depth),
            || sum_range(snapshot, &live, middle..=u32::MAX, depth),
        );
        let mut leaves = low?;
        for (leaf, other) in leaves.iter_mut().zip(high?) {
            *leaf = leaf.wrapping_add(other);
        }
        leaves
    } else {
        sum_range(snapshot, &live, 0..=u32::MAX, depth)?
    };
    let nil = nil_leaf(snapshot, depth) as usize;
    leaves[nil] = leaves[nil].wrapping_add(pool_facts(snapshot)?);
    Ok((depth, leaves))
}

fn nil_leaf(snapshot: &Snapshot, depth: u32) -> u64 {
    leaf_index(leaf_hash(&snapshot.pool.digest_key, &Sub::NIL.text()), depth)
}

fn sum_range(
    snapshot: &Snapshot,
    live: &RoaringBitmap,
    range: std::ops::RangeInclusive<u32>,
    depth: u32,
) -> Result<Vec<u128>> {
    let key = &snapshot.pool.digest_key;
    let mut leaves = vec![0u128; 1 << depth];
    let mut groups = Default::default();
    let mut users = live.range(range).map(|ordinal| Ordinal(u64::from(ordinal))).peekable();
    while users.peek().is_some() {
        let batch = Batch::new(snapshot, users.by_ref().take(CHUNK_USERS).collect());
        for (sub, digest) in batch.digests(&mut groups)? {
            let leaf = &mut leaves[leaf_index(leaf_hash(key, &sub.text()), depth) as usize];
            *leaf = leaf.wrapping_add(digest);
        }
    }
    Ok(leaves)
}

const _: () = assert!(DEPTH_MAX <= keyspace::ALIAS_HASH_BITS, "the index of subs tells leaves apart");

/// The users of one leaf: they stand together in the index of subs, whose hash is the leaf's.
fn leaf_users(snapshot: &Snapshot, depth: u32, leaf: u64) -> Result<Vec<(Sub, u64, u128)>> {
    let first = if depth == 0 { 0 } else { leaf << (64 - depth) };
    let prefix = Key::new(keyspace::ALIASES).attr(AttrId::SUB);
    let mut ordinals = Vec::new();
    snapshot.scan(&prefix.clone().flat(), &prefix.number(first).flat(), |key, _| {
        let hash = keyspace::first_number(&key[2..]).unwrap_or_default();
        if leaf_index(hash, depth) != leaf {
            return Ok(ControlFlow::Break(()));
        }
        let ordinal = last_number(key).map(Ordinal);
        ordinals.extend(ordinal.filter(|ordinal| snapshot.is_live(*ordinal)));
        Ok(ControlFlow::Continue(()))
    })?;
    ordinals.sort_unstable();
    let batch = Batch::new(snapshot, ordinals);
    let versions = batch.ints(AttrId::VERSION)?;
    let digests = batch.digests(&mut Default::default())?;
    let mut users: Vec<_> =
        digests.into_iter().zip(versions).map(|((sub, digest), version)| (sub, version as u64, digest)).collect();
    if nil_leaf(snapshot, depth) == leaf {
        users.push((Sub::NIL, snapshot.schema().version(), pool_facts(snapshot)?));
    }
    users.sort_unstable_by_key(|(sub, ..)| *sub);
    Ok(users)
}
