//! What a power loss leaves: the durable image, and of the unsynced changes whichever the disk had got to.

use std::sync::Arc;

use super::random::Chance;
use super::tree::{Change, Image, Tree};

/// Which unsynced changes survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All: as if everything had been synced just in time.
    All,
    /// None: nothing but what was synced.
    None,
    /// Only the one with this index (from 0, of [`SimDisk::pending_count`](super::SimDisk::pending_count)).
    One(usize),
    /// All but the one with this index.
    AllBut(usize),
    /// Each by the toss of a coin that this seed decides.
    Random(u64),
    /// The same, and the writes that survive reach the disk in an order that the seed decides. Changes of names
    /// keep theirs: a name has been each of the things that it was, one after the other.
    Shuffled(u64),
}

/// How writes are torn: each sector of a write that is neither wholly kept nor wholly lost survives by the toss
/// of a coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tear {
    /// What the disk writes as one: 512, 4,096 or 16,384.
    pub sector_bytes: u64,
    /// Decides the coins.
    pub seed: u64,
    /// A sector that does not survive holds noise, where it else holds what it held before: the disk was in the
    /// middle of it. This destroys synced bytes that share a sector with an unsynced write, so it is for sectors
    /// of at most 4,096 bytes: the block that the log never shares between batches.
    pub noise: bool,
}

/// A way to lose power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// Which unsynced changes survive.
    pub keep: Keep,
    /// Whether writes are torn: with [`Keep::One`] and [`Keep::AllBut`] the one with the index, else all that
    /// survive.
    pub tear: Option<Tear>,
}

impl Crash {
    /// Each unsynced change survives whole or not at all.
    pub fn whole(keep: Keep) -> Self {
        Self { keep, tear: None }
    }

    /// As [`Crash`] says, torn at sectors of this size.
    pub fn torn(keep: Keep, sector_bytes: u64, seed: u64) -> Self {
        Self { keep, tear: Some(Tear { sector_bytes, seed, noise: false }) }
    }

    /// As [`Crash::torn`], and what is torn away holds noise.
    pub fn noisy(keep: Keep, sector_bytes: u64, seed: u64) -> Self {
        Self { keep, tear: Some(Tear { sector_bytes, seed, noise: true }) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Torn,
    Lost,
}

/// The tree after that crash.
pub(super) fn crash(tree: &Tree, how: Crash) -> Tree {
    let mut after = tree.clone();
    after.pending.clear();
    let mut keep_chance = Chance::new(match how.keep {
        Keep::Random(seed) | Keep::Shuffled(seed) => seed,
        _ => 0,
    });
    let mut tear = how.tear.map(|tear| (tear, Chance::new(tear.seed)));
    let fated = tree.pending.iter().enumerate().map(|(i, change)| (fate(how, i, &mut keep_chance), change));
    let mut fated: Vec<_> = fated.filter(|(fate, _)| *fate != Fate::Lost).collect();
    if matches!(how.keep, Keep::Shuffled(_)) {
        shuffle_writes(&mut fated, &mut keep_chance);
    }
    for (fate, change) in fated {
        match (fate, &mut tear) {
            (Fate::Lost, _) => {}
            (Fate::Torn, Some((tear, chance))) => apply_torn(&mut after, change, *tear, chance),
            (Fate::Kept | Fate::Torn, _) => after.apply(change, Image::Durable),
        }
    }
    after.settle();
    after
}

fn fate(how: Crash, i: usize, chance: &mut Chance) -> Fate {
    let torn_or = |otherwise| if how.tear.is_some() { Fate::Torn } else { otherwise };
    match how.keep {
        Keep::All => torn_or(Fate::Kept),
        Keep::None => Fate::Lost,
        Keep::One(one) if i == one => torn_or(Fate::Kept),
        Keep::One(_) => Fate::Lost,
        Keep::AllBut(one) if i == one => torn_or(Fate::Lost),
        Keep::AllBut(_) => Fate::Kept,
        Keep::Random(_) | Keep::Shuffled(_) if chance.coin() => torn_or(Fate::Kept),
        Keep::Random(_) | Keep::Shuffled(_) => Fate::Lost,
    }
}

/// Puts the changes of contents among them into another order (Fisher and Yates); those of names stay in theirs.
fn shuffle_writes(fated: &mut Vec<(Fate, &Change)>, chance: &mut Chance) {
    let (mut writes, names): (Vec<_>, Vec<_>) = fated.drain(..).partition(|(_, change)| change.file().is_some());
    for i in (1..writes.len()).rev() {
        writes.swap(i, chance.below(i as u64 + 1) as usize);
    }
    fated.extend(writes.into_iter().chain(names));
}

/// Applies the sectors of a write that the coins favour. Names and lengths change whole.
fn apply_torn(tree: &mut Tree, change: &Change, tear: Tear, chance: &mut Chance) {
    let (file, offset, len) = match change {
        Change::Write { file, offset, bytes } => (*file, *offset, bytes.len() as u64),
        Change::Zero { file, offset, len } => (*file, *offset, *len),
        _ => return tree.apply(change, Image::Durable),
    };
    let end = offset + len;
    let mut at = offset;
    while at < end {
        let sector = at - at % tear.sector_bytes;
        let stop = end.min(sector + tear.sector_bytes);
        if chance.coin() {
            let part = match change {
                Change::Write { bytes, .. } => {
                    let bytes: Arc<[u8]> = bytes[(at - offset) as usize..(stop - offset) as usize].into();
                    Change::Write { file, offset: at, bytes }
                }
                _ => Change::Zero { file, offset: at, len: stop - at },
            };
            tree.apply(&part, Image::Durable);
        } else if tear.noise {
            tree.with_content(file, Image::Durable, |content| {
                // The sector as a whole, but the file does not grow by what was never written to it.
                let sector_end = (sector + tear.sector_bytes).min(content.len().max(stop));
                let mut noise = vec![0; (sector_end - sector) as usize];
                chance.fill(&mut noise);
                content.write(&noise, sector);
            });
        }
        at = stop;
    }
    // The length is metadata: it may have reached the disk although the last sectors did not.
    if chance.coin() {
        tree.with_content(file, Image::Durable, |content| {
            if content.len() < end {
                content.set_len(end);
            }
        });
    }
}
