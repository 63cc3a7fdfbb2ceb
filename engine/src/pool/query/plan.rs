//! Which things a listing shows and in which order, decided once, when it begins; and where each of
//! its pages goes on.
//!
//! Invariants:
//! 1. A position names the last thing shown; the next page begins right behind it, by a seek, so
//!    that page 10,000 costs what page 1 costs.
//! 2. A plan refers to one snapshot only: that of its lease.

use std::ops::ControlFlow;

use bytes::Bytes;
use roaring::RoaringBitmap;
use stoa_format::{AttrId, Ordinal};

use super::Batch;
use super::scan::Stretch;
use crate::error::{Error, Result};
use crate::pool::draft::cell_value;
use crate::pool::keyspace::{self, Key, last_number};
use crate::pool::open::OpenPool;
use crate::pool::schema::Attribute;
use crate::pool::snapshot::Snapshot;

/// Users are sorted so many at a time.
const SORT_CHUNK: usize = 4096;

/// What a listing goes through.
pub(crate) enum Plan {
    /// All live users in order of creation.
    Everyone,
    /// These users in order of creation.
    These(RoaringBitmap),
    /// These users in this order.
    Ranked(Vec<u32>),
    /// The users of an index in order of values, and those without a value behind (or, descending,
    /// before) them.
    Ordered {
        /// The searchable attribute.
        attr: AttrId,
        /// The greatest value first.
        desc: bool,
        /// Only these; all where there is none.
        these: Option<RoaringBitmap>,
        /// Those of them that have no value.
        without: RoaringBitmap,
    },
    /// The users of a stretch of an index in order of values.
    Within {
        /// The stretch.
        stretch: Stretch,
        /// The greatest value first.
        desc: bool,
    },
    /// The members of the group of this id, in order of creation.
    Members(u64),
    /// Groups in order of names.
    Groups,
    /// What belongs to this user: groups in order of their creation, factors, linked identities.
    OfUser(Ordinal),
}

/// In front of a position in [`Plan::Ordered`] and [`Plan::Within`]: a key of the index follows.
const IN_INDEX: u8 = 0;
/// In front of a position in [`Plan::Ordered`]: the ordinal of a user without a value follows.
const WITHOUT: u8 = 1;

impl Plan {
    /// The next `count` users behind `after`, each with its position.
    pub(super) fn users(
        &self,
        snapshot: &Snapshot,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Ordinal, Vec<u8>)>> {
        let number = after.and_then(last_number);
        let next = number.map_or(0, |number| number.saturating_add(1));
        let placed = |ordinal: Ordinal| (ordinal, ordinal.0.to_be_bytes().to_vec());
        match self {
            Self::Everyone => Ok(snapshot.live_ordinals(Ordinal(next)).take(count).map(placed).collect()),
            Self::These(these) => Ok(from(these, next).take(count).map(placed).collect()),
            Self::Ranked(ranked) => {
                let places = (0u64..).zip(ranked).skip(next as usize).take(count);
                Ok(places.map(|(at, ordinal)| (Ordinal(u64::from(*ordinal)), at.to_be_bytes().to_vec())).collect())
            }
            Self::Members(group) => {
                let prefix = OpenPool::members_prefix(*group);
                let start = Key::new(keyspace::MEMBERS).number(*group).number(next).flat();
                let mut members = Vec::new();
                snapshot.scan(&prefix, &start, |key, _| {
                    let ordinal = last_number(key).map(Ordinal);
                    members.extend(ordinal.filter(|ordinal| snapshot.is_live(*ordinal)).map(placed));
                    Ok(if members.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
                Ok(members)
            }
            Self::Ordered { attr, desc, these, without } => {
                let whole = Stretch::whole(*attr);
                let index = Index { snapshot, stretch: &whole, desc: *desc, these: these.as_ref() };
                let in_rest = |after: Option<&[u8]>| match after {
                    Some([WITHOUT, rest @ ..]) => last_number(rest),
                    _ => None,
                };
                let mut users = Vec::new();
                if !desc {
                    if in_rest(after).is_none() {
                        index.next(in_index(after), count, &mut users)?;
                    }
                    let next = in_rest(after).map_or(0, |ordinal| ordinal + 1);
                    users.extend(from(without, next).take(count - users.len()).map(unvalued));
                } else {
                    if in_index(after).is_none() {
                        users.extend(below(without, in_rest(after)).take(count).map(unvalued));
                    }
                    index.next(in_index(after), count, &mut users)?;
                }
                Ok(users)
            }
            Self::Within { stretch, desc } => {
                let (mut users, index) = (Vec::new(), Index { snapshot, stretch, desc: *desc, these: None });
                index.next(in_index(after), count, &mut users)?;
                Ok(users)
            }
            Self::Groups | Self::OfUser(_) => Ok(Vec::new()),
        }
    }
}

/// Of a set, those from `next` on.
fn from(set: &RoaringBitmap, next: u64) -> impl Iterator<Item = Ordinal> + '_ {
    let mut ordinals = set.iter();
    match u32::try_from(next) {
        Ok(next) => ordinals.advance_to(next),
        Err(_) => ordinals.advance_to(u32::MAX),
    }
    ordinals.map(|ordinal| Ordinal(u64::from(ordinal))).filter(move |ordinal| ordinal.0 >= next)
}

/// Of a set, the greatest first, those below `below`.
fn below(set: &RoaringBitmap, below: Option<u64>) -> impl Iterator<Item = Ordinal> + '_ {
    let below = below.unwrap_or(u64::MAX);
    let mut ordinals = set.iter();
    ordinals.advance_back_to(u32::try_from(below).unwrap_or(u32::MAX));
    ordinals.rev().map(|ordinal| Ordinal(u64::from(ordinal))).skip_while(move |ordinal| ordinal.0 >= below)
}

/// A user without a value and the position.
fn unvalued(ordinal: Ordinal) -> (Ordinal, Vec<u8>) {
    let mut position = vec![WITHOUT];
    position.extend_from_slice(&ordinal.0.to_be_bytes());
    (ordinal, position)
}

/// A stretch of the index of an attribute in order of values, as a listing walks it.
struct Index<'a> {
    snapshot: &'a Snapshot,
    stretch: &'a Stretch,
    desc: bool,
    these: Option<&'a RoaringBitmap>,
}

impl Index<'_> {
    /// Adds the users behind `key` until there are `count`.
    fn next(&self, key: Option<Vec<u8>>, count: usize, users: &mut Vec<(Ordinal, Vec<u8>)>) -> Result<()> {
        if users.len() >= count {
            return Ok(());
        }
        let Stretch { attr, prefix, start, end } = self.stretch;
        let visit = |key: &[u8], _: &[u8]| {
            if !self.desc && *key >= end[1..] || self.desc && *key < start[1..] {
                return Ok(ControlFlow::Break(()));
            }
            let Some(ordinal) = last_number(key) else { return Ok(ControlFlow::Continue(())) };
            if self.these.is_none_or(|these| these.contains(ordinal as u32)) {
                let mut position = vec![IN_INDEX];
                position.extend_from_slice(&key[2..]);
                users.push((Ordinal(ordinal), position));
            }
            Ok(if users.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let place = |key: &[u8]| Key::new(keyspace::ORDER).attr(*attr).rest(key);
        match (self.desc, key) {
            (false, None) => self.snapshot.scan(prefix, start, visit),
            // Nothing sorts between a key and the same with a zero behind it.
            (false, Some(key)) => self.snapshot.scan(prefix, &place(&key).rest(&[0]).flat(), visit),
            (true, None) => self.snapshot.scan_down(prefix, end, visit),
            (true, Some(key)) => self.snapshot.scan_down(prefix, &place(&key).flat(), visit),
        }
    }
}

/// The key of the index in a position, if it names one.
fn in_index(after: Option<&[u8]>) -> Option<Vec<u8>> {
    match after {
        Some([IN_INDEX, key @ ..]) => Some(key.to_vec()),
        _ => None,
    }
}

/// The attribute that a listing may be sorted by.
pub(super) fn sortable<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Attribute> {
    let attribute = snapshot
        .schema()
        .by_name(name)
        .ok_or_else(|| Error::invalid("SORT names an attribute that is not in this pool's schema: see POOL.INFO"))?;
    if attribute.multi {
        return Err(Error::invalid(format!("{} holds several values: sort by an attribute of one", attribute.name)));
    }
    if !attribute.searchable {
        let what = format!("{} has no index in order of values: make it searchable with POOL.ALTER", attribute.name);
        return Err(Error::invalid(what));
    }
    Ok(attribute)
}

/// These users in order of an attribute's values; those without a value last, and first if
/// descending (RFC 7644, 3.4.2.3).
pub(super) fn rank(snapshot: &Snapshot, attribute: &Attribute, these: &RoaringBitmap, desc: bool) -> Result<Vec<u32>> {
    let mut keyed: Vec<(Option<Bytes>, u32)> = Vec::with_capacity(these.len() as usize);
    let mut ordinals = these.iter().peekable();
    while ordinals.peek().is_some() {
        let chunk = ordinals.by_ref().take(SORT_CHUNK).map(|ordinal| Ordinal(u64::from(ordinal))).collect();
        let batch = Batch::new(snapshot, chunk);
        for (cell, ordinal) in batch.column(attribute.id)?.into_iter().zip(batch.ordinals()) {
            let key = cell.map(|cell| cell_value(attribute, cell.as_cell())).transpose()?.and_then(|value| {
                let mut key = Vec::new();
                attribute.order_key(value.as_cell()?, &mut key);
                Some(Bytes::from(key))
            });
            keyed.push((key, ordinal.0 as u32));
        }
    }
    keyed.sort_unstable_by(|(a, x), (b, y)| (a.is_none(), a, x).cmp(&(b.is_none(), b, y)));
    let ranked = keyed.into_iter().map(|(_, ordinal)| ordinal);
    Ok(if desc { ranked.rev().collect() } else { ranked.collect() })
}
