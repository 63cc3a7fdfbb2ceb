//! The digest tree: sums of keyed digests over the users whose sub hashes to a leaf.
//!
//! Invariants:
//! 1. `sum` plus what a build would add is the digest of all facts; it is exact once `built`.
//! 2. A leaf is updated in O(1) by the delta that every transaction carries; inner nodes are sums
//!    of their children and made when asked for.
//! 3. It is derived: an import leaves it unbuilt, and a scan builds it when it is first needed.
//! 4. A build sums the users as of one Seq while commits go on: what they add meanwhile is kept
//!    aside and added when the sums are installed.

use stoa_format::Seq;

/// Users a leaf, on average, at the depth that is chosen.
const USERS_A_LEAF: u64 = 16;
/// Levels are 16-ary: four bits each.
pub const BITS_A_LEVEL: u32 = 4;

/// The depth of the greatest tree.
pub const DEPTH_MAX: u32 = 32;

/// The depth in bits for this many users: a multiple of four, about 16 users a leaf.
pub fn depth_for(users: u64) -> u32 {
    let mut depth = 0;
    while depth < DEPTH_MAX && users >> depth > USERS_A_LEAF {
        depth += BITS_A_LEVEL;
    }
    depth
}

/// A pool's tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// The digest of all facts, if it is known.
    sum: Option<u128>,
    /// The leaves, if they are in memory; `leaves.len() == 1 << depth`.
    leaves: Vec<u128>,
    depth: u32,
    built: bool,
    /// Everything up to here is in.
    seq: Seq,
    /// What was added since a build began; none where none is under way.
    aside: Option<Vec<(u64, u128)>>,
}

/// What a build came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// The tree is there.
    Installed,
    /// Everything was forgotten meanwhile: begin again.
    Forgotten,
    /// The data does not add up to the sum that was kept.
    Differs,
}

impl Tree {
    /// A tree of which the sum as of `seq` alone is known, or nothing.
    pub fn new(sum: Option<u128>, seq: Seq) -> Self {
        Self { sum, seq, ..Self::default() }
    }

    /// Up to which Seq everything is in.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The digest of all facts; `None` until it has been computed.
    pub fn sum(&self) -> Option<u128> {
        self.sum
    }

    /// Forgets everything: what it sums has changed otherwise than by deltas.
    pub fn forget(&mut self) {
        *self = Self { seq: self.seq, ..Self::default() };
    }

    /// Whether the leaves are in memory.
    pub fn is_built(&self) -> bool {
        self.built
    }

    /// Bits of the hash that name a leaf.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Adds the deltas of the transactions up to `seq`.
    pub fn add(&mut self, seq: Seq, deltas: &[(u64, u128)]) {
        self.seq = self.seq.max(seq);
        if let Some(aside) = &mut self.aside {
            aside.extend_from_slice(deltas);
        }
        for &(hash, delta) in deltas {
            if let Some(sum) = &mut self.sum {
                *sum = sum.wrapping_add(delta);
            }
            if self.built {
                let leaf = super::fact::leaf_index(hash, self.depth) as usize;
                self.leaves[leaf] = self.leaves[leaf].wrapping_add(delta);
            }
        }
    }

    /// Begins a build: the state to be summed is that as of [`Tree::seq`] now.
    pub fn begin(&mut self) {
        self.aside = Some(Vec::new());
    }

    /// Takes over leaves that were summed from the data as of when the build began.
    pub fn install(&mut self, depth: u32, leaves: Vec<u128>) -> Built {
        assert_eq!(leaves.len(), 1 << depth, "a leaf for each value of the top bits");
        let Some(aside) = self.aside.take() else { return Built::Forgotten };
        let mut tree = Self { sum: Some(sum_of(&leaves)), leaves, depth, built: true, seq: self.seq, aside: None };
        tree.add(self.seq, &aside);
        if self.sum.is_some_and(|sum| Some(sum) != tree.sum) {
            return Built::Differs;
        }
        *self = tree;
        Built::Installed
    }

    /// Node `index` of `level`, counted from the root, which is level 0; `None` if there is none.
    pub fn node(&self, level: u32, index: u64) -> Option<u128> {
        let bits = level.checked_mul(BITS_A_LEVEL).filter(|bits| *bits <= self.depth)?;
        if index >> bits != 0 {
            return None;
        }
        let width = 1usize << (self.depth - bits);
        let first = index as usize * width;
        self.leaves.get(first..first + width).map(sum_of)
    }
}

fn sum_of(leaves: &[u128]) -> u128 {
    leaves.iter().fold(0, |sum, leaf| sum.wrapping_add(*leaf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_grows_with_the_users() {
        assert_eq!(depth_for(0), 0);
        assert_eq!(depth_for(16), 0);
        assert_eq!(depth_for(17), 4);
        assert_eq!(depth_for(1_000_000), 16);
    }

    #[test]
    fn nodes_are_sums_of_their_children() {
        let mut tree = Tree::new(None, Seq(3));
        tree.begin();
        assert_eq!(tree.install(8, (0..256).collect()), Built::Installed);
        assert_eq!(tree.node(0, 0), Some(255 * 256 / 2));
        assert_eq!(tree.sum(), tree.node(0, 0));
        for index in 0..16 {
            let children = (0..16).map(|child| tree.node(2, index * 16 + child).unwrap());
            assert_eq!(tree.node(1, index).unwrap(), children.sum::<u128>());
        }
        assert_eq!(tree.node(1, 16), None);
        assert_eq!(tree.node(3, 0), None);
        tree.add(Seq(4), &[(0xff << 56, 5), (0, u128::MAX)]);
        assert_eq!(tree.node(2, 255), Some(260));
        assert_eq!(tree.node(2, 0), Some(u128::MAX));
        assert_eq!((tree.sum(), tree.seq()), (tree.node(0, 0), Seq(4)));
    }

    #[test]
    fn what_is_committed_during_a_build_is_in_it() {
        let mut tree = Tree::new(Some(10), Seq(1));
        tree.begin();
        tree.add(Seq(2), &[(0, 7)]);
        assert_eq!(tree.install(0, vec![10]), Built::Installed);
        assert_eq!((tree.sum(), tree.seq()), (Some(17), Seq(2)));
        tree.begin();
        assert_eq!(tree.install(0, vec![16]), Built::Differs);
        assert_eq!(tree.sum(), Some(17));
        tree.begin();
        tree.forget();
        assert_eq!(tree.install(0, vec![17]), Built::Forgotten);
        assert_eq!((tree.sum(), tree.is_built()), (None, false));
    }
}
