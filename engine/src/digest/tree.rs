//! The digest tree: sums of keyed digests over the users whose sub hashes to a leaf.
//!
//! Invariants:
//! 1. `sum` plus what a build would add is the digest of all facts; it is exact once `built`.
//! 2. A leaf is updated in O(1) by the delta that every transaction carries; inner nodes are sums
//!    of their children and made when asked for.
//! 3. It is derived: an import leaves it unbuilt, and a scan builds it when it is first needed.

/// Users a leaf, on average, at the depth that is chosen.
const USERS_A_LEAF: u64 = 16;
/// Levels are 16-ary: four bits each.
pub const BITS_A_LEVEL: u32 = 4;

/// The depth in bits for this many users: a multiple of four, about 16 users a leaf.
pub fn depth_for(users: u64) -> u32 {
    let mut depth = 0;
    while depth < 32 && users >> depth > USERS_A_LEAF {
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
}

impl Tree {
    /// A tree of which the sum alone is known, or nothing.
    pub fn new(sum: Option<u128>) -> Self {
        Self { sum, ..Self::default() }
    }

    /// The digest of all facts; `None` until it has been computed.
    pub fn sum(&self) -> Option<u128> {
        self.sum
    }

    /// Forgets everything: what it sums has changed otherwise than by deltas.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether the leaves are in memory.
    pub fn is_built(&self) -> bool {
        self.built
    }

    /// Bits of the hash that name a leaf.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Adds the deltas of a transaction.
    pub fn add(&mut self, deltas: &[(u64, u128)]) {
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

    /// Takes over leaves that were summed from the data.
    pub fn install(&mut self, depth: u32, leaves: Vec<u128>) {
        assert_eq!(leaves.len(), 1 << depth, "a leaf for each value of the top bits");
        self.sum = Some(leaves.iter().fold(0, |sum, leaf| sum.wrapping_add(*leaf)));
        self.leaves = leaves;
        self.depth = depth;
        self.built = true;
    }

    /// Node `index` of `level`, counted from the root, which is level 0; `None` if there is none.
    pub fn node(&self, level: u32, index: u64) -> Option<u128> {
        let bits = level.checked_mul(BITS_A_LEVEL).filter(|bits| *bits <= self.depth)?;
        if index >> bits != 0 {
            return None;
        }
        let width = 1usize << (self.depth - bits);
        let first = index as usize * width;
        Some(self.leaves.get(first..first + width)?.iter().fold(0, |sum, leaf| sum.wrapping_add(*leaf)))
    }
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
        let mut tree = Tree::new(Some(0));
        tree.install(8, (0..256).collect());
        assert_eq!(tree.node(0, 0), Some(255 * 256 / 2));
        assert_eq!(tree.sum(), tree.node(0, 0));
        for index in 0..16 {
            let children = (0..16).map(|child| tree.node(2, index * 16 + child).unwrap());
            assert_eq!(tree.node(1, index).unwrap(), children.sum::<u128>());
        }
        assert_eq!(tree.node(1, 16), None);
        assert_eq!(tree.node(3, 0), None);
        tree.add(&[(0xff << 56, 5), (0, u128::MAX)]);
        assert_eq!(tree.node(2, 255), Some(260));
        assert_eq!(tree.node(2, 0), Some(u128::MAX));
        assert_eq!(tree.sum(), tree.node(0, 0));
    }
}
