//! A filter over all users at once: a column at a time, into bitmaps.
//!
//! Invariants:
//! 1. *Settled* users, of whom no memtable says anything, are decided by runs alone, each comparison
//!    by one pass over its column; all others are looked at one by one.
//! 2. A run says nothing of a live user who never had a value: such a user is absent, not missing.
//! 3. An index leads to candidates, never to an answer: each candidate is tested with the whole
//!    filter.

use std::ops::{Bound, ControlFlow, RangeInclusive};

use bytes::Bytes;
use roaring::RoaringBitmap;
use stoa_format::column::Sought;
use stoa_format::run::{PageEntry, PagePlace, Zone};
use stoa_format::{AttrId, Ordinal};

use super::FilterRow;
use crate::column::Look;
use crate::error::{Error, Result};
use crate::fork;
use crate::pool::collation::Collation;
use crate::pool::filter::{Field, Filter, GroupRef, Hint, Node, Order, Passing, Predicate, Test, TextOp};
use crate::pool::keyspace::{self, Key, first_number, last_number, terminate};
use crate::pool::record::{GroupRecord, SignIn};
use crate::pool::snapshot::{Snapshot, damaged};
use crate::pool::value::Value;
use crate::run::Caching;
use crate::run::marks::Marks;

/// So few users are looked at one by one rather than by passes over whole columns.
const FEW_USERS: u64 = 512;
/// From so many users on two threads share a scan.
const TWO_THREADS_USERS: u64 = 100_000;
/// An index may lead to one in so many users; beyond it a scan is cheaper.
const CANDIDATES_SHARE: u64 = 256;
/// Columns of more users are not kept in the page cache: one scan would empty it.
const KEEP_PAGES_USERS: u64 = 4_000_000;

/// One filter over one state.
struct Scan<'a> {
    snapshot: &'a Snapshot,
    filter: &'a Filter,
    groups: Vec<Option<u64>>,
    now_ms: u64,
    caching: Caching,
    /// Up to so many users are looked at one by one.
    few: u64,
}

impl Snapshot {
    /// The users that match.
    pub(crate) fn matching(&self, filter: &Filter) -> Result<RoaringBitmap> {
        Scan::new(self, filter, FEW_USERS)?.run()
    }
}

impl<'a> Scan<'a> {
    fn new(snapshot: &'a Snapshot, filter: &'a Filter, few: u64) -> Result<Self> {
        let groups = FilterRow::resolve_groups(snapshot, filter)?;
        let users = snapshot.version.runs.live.len();
        let caching = if users > KEEP_PAGES_USERS { Caching::Pass } else { Caching::Keep };
        Ok(Self { snapshot, filter, groups, now_ms: snapshot.pool.now_ms(), caching, few })
    }

    /// The users that match.
    fn run(&self) -> Result<RoaringBitmap> {
        let stored = &self.snapshot.version.runs.live;
        let most = self.few.max(stored.len() / CANDIDATES_SHARE);
        if let Some(candidates) = self.candidates(most as usize)? {
            return self.each(self.filter.root(), &candidates);
        }
        let (changed, matching) = self.changed()?;
        Ok(matching | self.settled(&(stored - &changed))?)
    }

    /// Those of whom the memtables say anything, and those of them that are live and match.
    fn changed(&self) -> Result<(RoaringBitmap, RoaringBitmap)> {
        let (mut changed, mut matching) = (Marks::new(), Marks::new());
        self.snapshot.each_changed(|user, deltas| {
            let mut row = FilterRow::under(self.snapshot, user, deltas, &self.groups);
            changed.add(user.0);
            if row.is_live() && self.filter.matches(&mut row)? {
                matching.add(user.0);
            }
            Ok(())
        })?;
        Ok((changed.into_bitmap(), matching.into_bitmap()))
    }

    /// Those of settled users that match.
    fn settled(&self, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        match these.len() {
            0..TWO_THREADS_USERS => self.node(self.filter.root(), these),
            _ => self.halves(these),
        }
    }

    /// The same by two threads, each for half of the users.
    fn halves(&self, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let root = self.filter.root();
        let middle = these.select((these.len() / 2) as u32).unwrap_or_default();
        let (mut low, mut high) = (these.clone(), these.clone());
        low.remove_range(middle..);
        high.remove_range(..middle);
        let (low, high) = fork::join(|| self.node(root, &low), || self.node(root, &high));
        Ok(low? | high?)
    }

    /// Those of settled users that match a part of the filter.
    fn node(&self, node: &Node, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        if these.len() <= self.few {
            return self.each(node, these);
        }
        match node {
            Node::Test(test) => self.test(test, these),
            Node::Not(inner) => Ok(these - &self.node(inner, these)?),
            Node::And(nodes) => {
                let mut left = these.clone();
                let mut nodes: Vec<&Node> = nodes.iter().collect();
                nodes.sort_by_key(|node| cost(node));
                for node in nodes {
                    left = self.node(node, &left)?;
                }
                Ok(left)
            }
            Node::Or(nodes) => {
                let (mut left, mut found) = (these.clone(), RoaringBitmap::new());
                for node in nodes {
                    let hits = self.node(node, &left)?;
                    left -= &hits;
                    found |= hits;
                }
                Ok(found)
            }
        }
    }

    /// Those of any users, dead ones among them, that are live and match, looked at one by one.
    fn each(&self, node: &Node, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let mut matching = RoaringBitmap::new();
        for ordinal in these {
            let user = Ordinal(u64::from(ordinal));
            let mut row = FilterRow::new(self.snapshot, user, &self.groups);
            if row.is_live() && node.matches(&mut row)? {
                matching.insert(ordinal);
            }
        }
        Ok(matching)
    }

    fn test(&self, test: &Test, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let predicate = &test.predicate;
        match test.field {
            Field::Column(attr) => self.column(attr, predicate, these),
            Field::List(attr) => self.list(attr, predicate, these),
            Field::Locked => Ok(by_flag(predicate, &self.locked(these)?, these)),
            Field::Group(group) => Ok(by_flag(predicate, &self.members(group, these)?, these)),
            Field::GroupNames => self.group_names(predicate, these),
        }
    }

    /// One pass over a column. If absent users pass, those who do not are sought, so that each
    /// pass has few hits and skips pages where it can.
    fn column(&self, attr: AttrId, predicate: &Predicate, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let absent_passes = predicate.test_absent();
        let mut passing = Passing::new(predicate, !absent_passes);
        let mut sought = match predicate {
            Predicate::Present => Sought::Any,
            Predicate::Int(test) => {
                Sought::Ints { min: test.min, max: test.max, outside: test.outside != absent_passes }
            }
            Predicate::Text(_) | Predicate::Bytes(_) => Sought::Bytes(&mut passing),
        };
        let look = |entry: &PageEntry| match &entry.place {
            PagePlace::Column { zone, .. } => look(predicate, zone),
            _ => Look::Read,
        };
        let hits = self.find(attr, these, look, &mut sought)?;
        Ok(if absent_passes { these - hits } else { hits })
    }

    /// Those of `these` whose value is sought.
    fn find(
        &self,
        attr: AttrId,
        these: &RoaringBitmap,
        look: impl Fn(&PageEntry) -> Look,
        sought: &mut Sought<'_>,
    ) -> Result<RoaringBitmap> {
        match self.snapshot.version.runs.column(attr) {
            Some(stack) => Ok(stack.find(bounds(these), self.caching, look, sought)? & these),
            None => Ok(RoaringBitmap::new()),
        }
    }

    /// Those who are locked out now.
    fn locked(&self, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let mut failed = None;
        let mut is_locked = |bytes: &[u8]| match SignIn::decode(bytes) {
            Ok(state) => state.locked_until_ms > self.now_ms,
            Err(fault) => {
                failed.get_or_insert_with(|| damaged(&fault));
                false
            }
        };
        let locked = self.find(AttrId::SIGN_IN, these, |_| Look::Read, &mut Sought::Bytes(&mut is_locked))?;
        match failed {
            Some(error) => Err(error),
            None => Ok(locked),
        }
    }

    /// One pass over the values of all lists.
    fn list(&self, attr: AttrId, predicate: &Predicate, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let Some(attribute) = self.snapshot.schema().by_id(attr) else { return Ok(RoaringBitmap::new()) };
        let (mut present, mut passing) = (RoaringBitmap::new(), RoaringBitmap::new());
        let range = bounds(these);
        let from = Key::new(keyspace::MULTI).number(*range.start()).flat();
        self.snapshot.scan(&keyspace::start_of(keyspace::MULTI), &from, |key, _| {
            let ordinal = first_number(key).unwrap_or_default();
            if ordinal > *range.end() {
                return Ok(ControlFlow::Break(()));
            }
            let Some(raw) = key[8..].strip_prefix(&attr.0.to_be_bytes()) else { return Ok(ControlFlow::Continue(())) };
            let ordinal = ordinal as u32;
            if these.contains(ordinal) {
                present.insert(ordinal);
                let value = Value::decode(attribute.ty, false, raw).map_err(|fault| damaged(&fault))?;
                if predicate.test(value.as_cell()) {
                    passing.insert(ordinal);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(if predicate.test_absent() { passing | (these - present) } else { passing })
    }

    /// Those of `these` who are in a group of the filter.
    fn members(&self, group: GroupRef, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        match self.groups.get(group.0) {
            Some(Some(id)) => self.members_of(*id, these),
            _ => Ok(RoaringBitmap::new()),
        }
    }

    fn members_of(&self, id: u64, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let prefix = Key::new(keyspace::MEMBERS).number(id);
        let range = bounds(these);
        let from = prefix.clone().number(*range.start()).flat();
        let mut members = RoaringBitmap::new();
        self.snapshot.scan(&prefix.flat(), &from, |key, _| {
            let ordinal = last_number(key).unwrap_or_default();
            if ordinal > *range.end() {
                return Ok(ControlFlow::Break(()));
            }
            members.insert(ordinal as u32);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(members & these)
    }

    /// Those in any group whose name passes; and, if those in no group pass, they.
    fn group_names(&self, predicate: &Predicate, these: &RoaringBitmap) -> Result<RoaringBitmap> {
        let absent_passes = predicate.test_absent();
        let mut groups = Vec::new();
        self.snapshot.scan_prefix(&keyspace::start_of(keyspace::GROUPS), |name, value| {
            let passes = predicate.test_bytes(name);
            if passes || absent_passes {
                groups.push((GroupRecord::decode(value).map_err(|fault| damaged(&fault))?.id, passes));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let (mut passing, mut in_any) = (RoaringBitmap::new(), RoaringBitmap::new());
        for (id, passes) in groups {
            let members = self.members_of(id, these)?;
            if passes {
                passing |= &members;
            }
            in_any |= members;
        }
        Ok(if absent_passes { passing | (these - in_any) } else { passing })
    }

    /// Everyone who can match, if an index leads to no more than `most` of them.
    fn candidates(&self, most: usize) -> Result<Option<RoaringBitmap>> {
        match self.filter.index_hint() {
            None => Ok(None),
            Some(Hint::Sub(sub)) => {
                let found = self.snapshot.find_sub(*sub)?;
                Ok(Some(found.into_iter().map(|ordinal| ordinal.0 as u32).collect()))
            }
            Some(Hint::Alias { attr, key }) => {
                let hash = self.snapshot.pool.alias_hash(key);
                let prefix = Key::alias(*attr, hash).flat();
                self.led_to(&prefix, &prefix, None, most)
            }
            Some(Hint::Member(group)) => match self.groups.get(group.0) {
                Some(Some(id)) => {
                    let prefix = Key::new(keyspace::MEMBERS).number(*id).flat();
                    self.led_to(&prefix, &prefix, None, most)
                }
                _ => Ok(Some(RoaringBitmap::new())),
            },
            Some(hint @ (Hint::Prefix { .. } | Hint::Range { .. })) => {
                let Some(stretch) = Stretch::of(hint) else { return Ok(None) };
                self.led_to(&stretch.prefix, &stretch.start, Some(&stretch.end), most)
            }
        }
    }

    /// The ordinals at the end of the keys of `prefix` from `start` to before `end`; `None` if
    /// these are more than `most` keys.
    fn led_to(&self, prefix: &Bytes, start: &Bytes, end: Option<&Bytes>, most: usize) -> Result<Option<RoaringBitmap>> {
        let (mut users, mut keys) = (RoaringBitmap::new(), 0);
        self.snapshot.scan(prefix, start, |key, _| {
            if end.is_some_and(|end| key >= &end[1..]) {
                return Ok(ControlFlow::Break(()));
            }
            let ordinal =
                last_number(key).ok_or_else(|| Error::damaged("an index key is malformed; run stoa verify"))?;
            users.insert(ordinal as u32);
            keys += 1;
            Ok(if keys > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok((keys <= most).then_some(users))
    }
}

/// A stretch of the index in order of values: the flat keys that begin with `prefix`, from `start` to before `end`.
pub(crate) struct Stretch {
    /// The searchable attribute.
    pub attr: AttrId,
    /// What they begin with.
    pub prefix: Bytes,
    /// The least.
    pub start: Bytes,
    /// Behind the greatest.
    pub end: Bytes,
}

impl Stretch {
    /// All of an attribute's.
    pub(crate) fn whole(attr: AttrId) -> Self {
        let prefix = Key::new(keyspace::ORDER).attr(attr).flat();
        Self { attr, end: behind(&prefix), start: prefix.clone(), prefix }
    }

    /// Where a hint leads to, if it is to this index.
    pub(crate) fn of(hint: &Hint) -> Option<Self> {
        match hint {
            Hint::Prefix { attr, prefix } => {
                let mut escaped = Vec::new();
                terminate(prefix, &mut escaped);
                escaped.truncate(escaped.len() - 2);
                let prefix = Key::new(keyspace::ORDER).attr(*attr).rest(&escaped).flat();
                Some(Self { attr: *attr, end: behind(&prefix), start: prefix.clone(), prefix })
            }
            Hint::Range { attr, from, to } => {
                let prefix = Key::new(keyspace::ORDER).attr(*attr);
                let start = match from {
                    Bound::Unbounded => prefix.clone().flat(),
                    Bound::Included(key) => prefix.clone().terminated(key).flat(),
                    // Behind every ordinal of that key.
                    Bound::Excluded(key) => prefix.clone().terminated(key).number(u64::MAX).flat(),
                };
                let end = match to {
                    Bound::Unbounded => behind(&prefix.clone().flat()),
                    Bound::Included(key) => prefix.clone().terminated(key).number(u64::MAX).flat(),
                    Bound::Excluded(key) => prefix.clone().terminated(key).flat(),
                };
                Some(Self { attr: *attr, prefix: prefix.flat(), start, end })
            }
            Hint::Sub(_) | Hint::Alias { .. } | Hint::Member(_) => None,
        }
    }
}

/// The least key behind all that begin with `prefix`, whose first octet is below 255.
fn behind(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while end.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// Which parts of an `and` go first: those that narrow by a pass over one column.
fn cost(node: &Node) -> u8 {
    match node {
        Node::Test(test) => match test.field {
            Field::Column(_) => 0,
            Field::Group(_) => 1,
            Field::Locked => 2,
            Field::List(_) => 4,
            Field::GroupNames => 5,
        },
        Node::Not(inner) => cost(inner),
        Node::And(nodes) | Node::Or(nodes) => 3.max(nodes.iter().map(cost).max().unwrap_or_default()),
    }
}

/// Those of `these` whose membership in `set`, as 0 or 1, passes.
fn by_flag(predicate: &Predicate, set: &RoaringBitmap, these: &RoaringBitmap) -> RoaringBitmap {
    match (predicate.test_int(1), predicate.test_int(0)) {
        (true, true) => these.clone(),
        (true, false) => these & set,
        (false, true) => these - set,
        (false, false) => RoaringBitmap::new(),
    }
}

/// The ordinals from the first to the last of a set; an empty one's hold nobody.
fn bounds(these: &RoaringBitmap) -> RangeInclusive<u64> {
    u64::from(these.min().unwrap_or_default())..=u64::from(these.max().unwrap_or_default())
}

/// What a page's zone map says of the values that are sought: those that pass, or, if absent users pass, those
/// that do not.
fn look(predicate: &Predicate, zone: &Zone) -> Look {
    let read = |may_hold: bool| if may_hold { Look::Read } else { Look::Pass };
    match (predicate, zone) {
        (Predicate::Present, _) => Look::All,
        // For `ne`, which absent users pass, too, what lies in the range is sought.
        (Predicate::Int(test), Zone::Int { min, max }) if test.min <= *min && *max <= test.max => Look::All,
        (Predicate::Int(test), zone) => read(zone.may_hold_int(test.min, test.max)),
        (Predicate::Text(test), zone)
            if test.collation() == Collation::Exact
                && matches!(test.op(), TextOp::Order(Order::Eq) | TextOp::Order(Order::Ne)) =>
        {
            read(zone.may_hold_bytes(test.key().as_bytes()))
        }
        (Predicate::Bytes(test), zone) if matches!(test.order, Order::Eq | Order::Ne) => {
            read(zone.may_hold_bytes(&test.value))
        }
        _ => Look::Read,
    }
}

#[cfg(test)]
mod tests;
