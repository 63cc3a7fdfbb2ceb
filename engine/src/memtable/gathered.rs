//! Users' deltas on their way into a memtable that nobody reads yet: all at once they are put in order by one pass
//! through memory, where one by one each takes a walk down a tree.

use std::collections::BTreeMap;

use stoa_format::{Ordinal, Seq};

use super::Delta;

/// So many ordinals that follow each other are put in order together: what one cache holds.
pub(super) const STRETCH_ORDINALS: u64 = 1 << 14;

/// Users' deltas, as they come from the log.
#[derive(Default)]
pub struct Gathered {
    stretches: BTreeMap<u64, Vec<(Ordinal, Seq, Delta)>>,
}

impl Gathered {
    /// Adds a user's delta; none before it has a higher Seq.
    pub fn put(&mut self, ordinal: Ordinal, seq: Seq, delta: Delta) {
        self.stretches.entry(ordinal.0 / STRETCH_ORDINALS).or_default().push((ordinal, seq, delta));
    }

    /// How many deltas.
    pub(super) fn len(&self) -> usize {
        self.stretches.values().map(Vec::len).sum()
    }

    /// Of each user all deltas as one, at the Seq of the last; ordinals ascend.
    pub(super) fn newest_of_each(self) -> impl Iterator<Item = (Ordinal, Seq, Delta)> {
        self.stretches.into_values().flat_map(newest_in)
    }
}

fn newest_in(mut stretch: Vec<(Ordinal, Seq, Delta)>) -> impl Iterator<Item = (Ordinal, Seq, Delta)> {
    // Those of one user stay in their order.
    stretch.sort_by_key(|(ordinal, ..)| *ordinal);
    let mut deltas = stretch.into_iter().peekable();
    std::iter::from_fn(move || {
        let (ordinal, mut seq, mut newest) = deltas.next()?;
        while let Some((_, later, delta)) = deltas.next_if(|(next, ..)| *next == ordinal) {
            (seq, newest) = (later, delta.over(&newest));
        }
        Some((ordinal, seq, newest))
    })
}
