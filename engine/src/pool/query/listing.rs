//! Listings, page by page.
//!
//! Invariants:
//! 1. All pages of a listing show one Seq. The first page pins it; a lease keeps it for the others.
//! 2. A page ends at its limit, at its bytes, or at the listing's end; its cursor is `None` at the
//!    end and only then, and a page that has a cursor is never empty but for groups of another kind.
//! 3. Whoever holds a cursor can ask for its page again and gets the same.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use stoa_format::Ordinal;

use super::cursor::{Binding, Cursor};
use super::plan::{Plan, rank, sortable};
use super::rows::Rows;
use super::scan::Stretch;
use super::{Batch, PageRequest, UserQuery, UserRow};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use crate::pool::filter::Filter;
use crate::pool::keyspace::{self, Key, last_number};
use crate::pool::lease::Lease;
use crate::pool::open::lock;
use crate::pool::read::{factor_view, group_view, identity_view};
use crate::pool::record::GroupRecord;
use crate::pool::request::UserRef;
use crate::pool::snapshot::{Snapshot, damaged, no_group};
use crate::pool::view::{FactorView, GroupView, IdentityView, Page, Select, UserView};

/// The most things on a page.
pub const LIMIT_MAX: usize = 1000;
/// The most bytes of a page, whatever the caller allows.
pub const PAGE_MAX_BYTES: usize = 4 << 20;
/// So many users are read before it is known how long they are.
const ROWS_AT_FIRST: usize = 32;
/// No more users are read before the page's bytes are looked at.
const ROWS_AT_ONCE: usize = 128;
/// So many groups of another kind are passed over before a page ends early.
const GROUPS_PASSED_MAX: usize = 10_000;
/// Up to so many users that match are sorted by themselves; beyond it the index is walked.
const RANKED_MAX: u64 = 100_000;

/// One page under way.
struct Turn<'p> {
    pool: &'p Pool,
    binding: Binding,
    snapshot: Snapshot,
    plan: Arc<Plan>,
    /// None on the first page: a listing of one page needs none.
    lease: Option<u64>,
    after: Option<Vec<u8>>,
}

impl<'p> Turn<'p> {
    /// The page that `request` asks for; `plan` decides what the listing shows when it begins.
    fn begin<'a>(
        pool: &'p Pool,
        request: &PageRequest<'_>,
        command: &str,
        parts: impl Iterator<Item = &'a [u8]>,
        plan: impl FnOnce(&Snapshot) -> Result<Plan>,
    ) -> Result<Self> {
        if !(1..=LIMIT_MAX).contains(&request.limit) {
            return Err(Error::invalid(format!("LIMIT wants 1 to {LIMIT_MAX}")));
        }
        let binding = Binding::new(&pool.open, request.actor, command, parts);
        let Some(token) = request.cursor else {
            let snapshot = match request.state {
                Some(state) => state.clone().at_least(request.min_seq)?,
                None => pool.snapshot_at(request.min_seq)?,
            };
            let plan = Arc::new(plan(&snapshot)?);
            return Ok(Self { pool, binding, snapshot, plan, lease: None, after: None });
        };
        let cursor = Cursor::open(&pool.open, &binding, token)?;
        let (now_ms, ttl_ms) = (pool.open.now_ms(), pool.open.limits().cursor_ttl_ms);
        let lease = lock(&pool.open.leases).renew(cursor.lease, now_ms, ttl_ms);
        let Some(lease) = lease.filter(|lease| lease.seq == cursor.seq) else {
            let what = "this listing's state is no longer kept: begin it again without a cursor";
            return Err(Error::new(ErrorKind::Expired, what));
        };
        let snapshot = Snapshot { pool: Arc::clone(&pool.open), version: lease.version.into(), seq: lease.seq };
        Ok(Self { pool, binding, snapshot, plan: lease.plan, lease: Some(cursor.lease), after: Some(cursor.position) })
    }

    /// The page with `items`; `last` is the position of the last of them if more follow.
    fn end<T>(self, items: Vec<T>, last: Option<Vec<u8>>) -> Result<Page<T>> {
        let seq = self.snapshot.seq;
        let cursor = match last {
            Some(position) => Some(self.cursor(position)?),
            None => None,
        };
        Ok(Page { items, cursor, seq })
    }

    fn cursor(self, position: Vec<u8>) -> Result<String> {
        let open = &self.pool.open;
        let seq = self.snapshot.seq;
        let id = match self.lease {
            Some(id) => id,
            None => {
                let mut id = [0; 8];
                open.shared.random(&mut id)?;
                let id = u64::from_le_bytes(id);
                let (now_ms, limits) = (open.now_ms(), open.limits());
                let expires_ms = now_ms.saturating_add(limits.cursor_ttl_ms);
                let lease = Lease { version: Arc::clone(&self.snapshot.version), seq, plan: self.plan, expires_ms };
                lock(&open.leases).grant(id, lease, now_ms, limits.leases_max);
                id
            }
        };
        Cursor { lease: id, seq, position }.seal(open, &self.binding)
    }

    /// Shows the users that come next to `visit`.
    fn users(
        self,
        request: &PageRequest<'_>,
        select: &Select,
        mut visit: impl FnMut(UserRow<'_>),
    ) -> Result<Page<Infallible>> {
        let mut next = self.plan.users(&self.snapshot, self.after.as_deref(), request.limit + 1)?;
        let max_bytes = request.max_bytes.min(PAGE_MAX_BYTES);
        let wanted = next.len().min(request.limit);
        let (mut count, mut bytes, mut at_once, mut full) = (0, 0, ROWS_AT_FIRST, false);
        'page: while count < wanted {
            let (rows, places) = rows_of(&self.snapshot, &next[count..wanted.min(count + at_once)], select)?;
            for place in places {
                let row = rows.row(place);
                bytes += row.reply_bytes();
                if bytes > max_bytes && count > 0 {
                    full = true;
                    break 'page;
                }
                visit(row);
                count += 1;
            }
            // No more than the page has room for, if the others are like these: values may be long.
            let left = max_bytes.saturating_sub(bytes) / (bytes / count).max(1);
            at_once = left.clamp(1, ROWS_AT_ONCE);
        }
        let more = full || next.len() > count;
        let last = (more && count > 0).then(|| std::mem::take(&mut next[count - 1].1));
        self.end(Vec::new(), last)
    }

    /// The same, copied.
    fn user_views(self, request: &PageRequest<'_>, select: &Select) -> Result<Page<UserView>> {
        let mut items = Vec::with_capacity(request.limit.min(ROWS_AT_ONCE));
        let Page { cursor, seq, .. } = self.users(request, select, |row| items.push(row.view()))?;
        Ok(Page { items, cursor, seq })
    }
}

/// Users in any order: their rows, and the row of each.
fn rows_of(snapshot: &Snapshot, users: &[(Ordinal, Vec<u8>)], select: &Select) -> Result<(Rows, Vec<usize>)> {
    let mut order: Vec<usize> = (0..users.len()).collect();
    order.sort_unstable_by_key(|&at| users[at].0);
    let rows = Batch::new(snapshot, order.iter().map(|&at| users[at].0).collect()).rows(select)?;
    let mut places = vec![0; users.len()];
    order.into_iter().enumerate().for_each(|(row, at)| places[at] = row);
    Ok((rows, places))
}

/// What of a selection decides what a listing shows.
fn select_parts(select: &Select) -> Vec<&[u8]> {
    match select {
        Select::All => vec![b"all"],
        Select::Nothing => vec![b"nothing"],
        Select::Named(names) => {
            std::iter::once(&b"named"[..]).chain(names.iter().map(|name| name.as_bytes())).collect()
        }
    }
}

/// An argument that may be left out, so that empty and none differ.
fn optional(text: Option<&str>) -> [&[u8]; 2] {
    [if text.is_some() { b"1" } else { b"0" }, text.unwrap_or_default().as_bytes()]
}

impl Pool {
    /// Users, in order of creation or of an indexed attribute's values.
    ///
    /// # Errors
    /// `INVALID` for a filter, an attribute or a cursor that is none, or a limit beyond 1 to
    /// [`LIMIT_MAX`]; `EXPIRED`, `STALE`, `DAMAGED`, `IOERROR`.
    pub fn list_users(&self, query: &UserQuery, page: &PageRequest<'_>) -> Result<Page<UserView>> {
        self.users_turn(query, page)?.user_views(page, &query.select)
    }

    /// The same, shown to `visit` one by one, without a copy of each value; the page that is answered has no items.
    ///
    /// # Errors
    /// As [`Pool::list_users`]; some users may have been shown before.
    pub fn each_listed(
        &self,
        query: &UserQuery,
        page: &PageRequest<'_>,
        visit: impl FnMut(UserRow<'_>),
    ) -> Result<Page<Infallible>> {
        self.users_turn(query, page)?.users(page, &query.select, visit)
    }

    fn users_turn(&self, query: &UserQuery, page: &PageRequest<'_>) -> Result<Turn<'_>> {
        let order: &[u8] = if query.desc { b"desc" } else { b"asc" };
        let count = (query.args.len() as u64).to_le_bytes();
        let parts = optional(query.filter.as_deref())
            .into_iter()
            .chain([&count[..]])
            .chain(query.args.iter().map(|arg| &arg[..]))
            .chain(optional(query.sort.as_deref()))
            .chain([order])
            .chain(select_parts(&query.select));
        Turn::begin(self, page, "USER.LIST", parts, |snapshot| users_plan(snapshot, query))
    }

    /// The members of a group, in order of creation of the users.
    ///
    /// # Errors
    /// `NOGROUP`, and as [`Pool::list_users`].
    pub fn list_members(&self, group: &str, select: &Select, page: &PageRequest<'_>) -> Result<Page<UserView>> {
        self.members_turn(group, select, page)?.user_views(page, select)
    }

    /// The same, as [`Pool::each_listed`] shows users.
    ///
    /// # Errors
    /// As [`Pool::list_members`]; some users may have been shown before.
    pub fn each_listed_member(
        &self,
        group: &str,
        select: &Select,
        page: &PageRequest<'_>,
        visit: impl FnMut(UserRow<'_>),
    ) -> Result<Page<Infallible>> {
        self.members_turn(group, select, page)?.users(page, select, visit)
    }

    fn members_turn(&self, group: &str, select: &Select, page: &PageRequest<'_>) -> Result<Turn<'_>> {
        let parts = std::iter::once(group.as_bytes()).chain(select_parts(select));
        Turn::begin(self, page, "GROUP.MEMBERS", parts, |snapshot| {
            Ok(Plan::Members(snapshot.group_record(group)?.ok_or_else(no_group)?.id))
        })
    }

    /// Groups whose names begin with `prefix`, of this kind, in order of names.
    ///
    /// # Errors
    /// As [`Pool::list_users`].
    pub fn list_groups(
        &self,
        prefix: Option<&str>,
        kind: Option<&str>,
        page: &PageRequest<'_>,
    ) -> Result<Page<GroupView>> {
        let parts = optional(prefix).into_iter().chain(optional(kind));
        let turn = Turn::begin(self, page, "GROUP.LIST", parts, |_| Ok(Plan::Groups))?;
        let flat = Key::new(keyspace::GROUPS).rest(prefix.unwrap_or_default().as_bytes()).flat();
        let start = match &turn.after {
            Some(name) => Key::new(keyspace::GROUPS).rest(name).rest(&[0]).flat(),
            None => flat.clone(),
        };
        let max_bytes = page.max_bytes.min(PAGE_MAX_BYTES);
        let mut groups: Vec<GroupView> = Vec::new();
        let (mut bytes, mut passed) = (0, 0);
        let (mut last, mut more) = (Vec::new(), false);
        turn.snapshot.scan(&flat, &start, |name, value| {
            if groups.len() >= page.limit || bytes > max_bytes || passed >= GROUPS_PASSED_MAX {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            last = name.to_vec();
            let record = GroupRecord::decode(value).map_err(|fault| damaged(&fault))?;
            if kind.is_some_and(|kind| record.kind.as_deref() != Some(kind)) {
                passed += 1;
                return Ok(ControlFlow::Continue(()));
            }
            bytes += 200 + name.len() + value.len();
            groups.push(group_view(&String::from_utf8_lossy(name), record));
            Ok(ControlFlow::Continue(()))
        })?;
        turn.end(groups, more.then_some(last))
    }

    /// The names of the groups that a user is in, in order of creation of the groups.
    ///
    /// # Errors
    /// `NOUSER`, and as [`Pool::list_users`].
    pub fn list_groups_of(&self, user: &UserRef, page: &PageRequest<'_>) -> Result<Page<Box<str>>> {
        let (turn, ordinal) = self.turn_of(user, page, "USER.GROUPS")?;
        let next = turn.after.as_deref().and_then(last_number).map_or(0, |id| id.saturating_add(1));
        let mut ids = Vec::new();
        let mut more = false;
        let prefix = Key::new(keyspace::GROUPS_OF).ordinal(ordinal);
        let start = prefix.clone().number(next).flat();
        turn.snapshot.scan(&prefix.flat(), &start, |key, _| {
            if ids.len() >= page.limit {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            ids.extend(last_number(key));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut names = Vec::with_capacity(ids.len());
        for &id in &ids {
            names.extend(turn.snapshot.live_group_name(id)?.map(Into::into));
        }
        let last = ids.last().filter(|_| more).map(|id| id.to_be_bytes().to_vec());
        turn.end(names, last)
    }
}

impl Pool {
    /// One page of what belongs to a user.
    fn turn_of(&self, user: &UserRef, page: &PageRequest<'_>, command: &str) -> Result<(Turn<'_>, Ordinal)> {
        let named: [&[u8]; 3] = match user {
            UserRef::Sub(sub) => [b"sub", &sub.0, b""],
            UserRef::Alias { attr, value } => [b"alias", attr.as_bytes(), value.as_bytes()],
            UserRef::Login(text) => [b"login", text.as_bytes(), b""],
        };
        let turn =
            Turn::begin(self, page, command, named.into_iter(), |snapshot| Ok(Plan::OfUser(snapshot.require(user)?)))?;
        match *turn.plan {
            Plan::OfUser(ordinal) => Ok((turn, ordinal)),
            _ => Err(Error::invalid("that is no cursor of this listing")),
        }
    }

    /// A user's further factors without their secrets, in order of kind and id.
    ///
    /// # Errors
    /// `NOUSER`, and as [`Pool::list_users`].
    pub fn list_factors(&self, user: &UserRef, page: &PageRequest<'_>) -> Result<Page<FactorView>> {
        let (turn, ordinal) = self.turn_of(user, page, "CRED.LIST")?;
        turn.entries(page, Key::new(keyspace::FACTORS).ordinal(ordinal), |rest, value| {
            Ok(FactorView { blob: None, ..factor_view(rest, value)? })
        })
    }

    /// A user's linked identities, in order of provider and subject.
    ///
    /// # Errors
    /// `NOUSER`, and as [`Pool::list_users`].
    pub fn list_identities(&self, user: &UserRef, page: &PageRequest<'_>) -> Result<Page<IdentityView>> {
        let (turn, ordinal) = self.turn_of(user, page, "IDENTITY.LIST")?;
        turn.entries(page, Key::new(keyspace::IDENTITIES_OF).ordinal(ordinal), |rest, _| identity_view(rest))
    }
}

impl Turn<'_> {
    /// The entries under a user's key that come next; a position is what follows the ordinal in a key.
    fn entries<T>(
        self,
        request: &PageRequest<'_>,
        prefix: Key,
        read: impl Fn(&[u8], &[u8]) -> Result<T>,
    ) -> Result<Page<T>> {
        let start = match &self.after {
            Some(after) => prefix.clone().rest(after).rest(&[0]).flat(),
            None => prefix.clone().flat(),
        };
        let max_bytes = request.max_bytes.min(PAGE_MAX_BYTES);
        let (mut items, mut bytes) = (Vec::new(), 0);
        let (mut last, mut more) = (Vec::new(), false);
        self.snapshot.scan(&prefix.flat(), &start, |key, value| {
            if items.len() >= request.limit || bytes > max_bytes {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            let rest = &key[size_of::<u64>()..];
            items.push(read(rest, value)?);
            bytes += 200 + key.len() + value.len();
            last = rest.to_vec();
            Ok(ControlFlow::Continue(()))
        })?;
        self.end(items, more.then_some(last))
    }
}

/// What a listing of users shows.
fn users_plan(snapshot: &Snapshot, query: &UserQuery) -> Result<Plan> {
    let attribute = query.sort.as_deref().map(|name| sortable(snapshot, name)).transpose()?;
    let filter = query.filter.as_deref().map(|text| snapshot.filter(text, &query.args)).transpose()?;
    if let Some(attribute) = attribute
        && let Some(stretch) = filter.as_ref().and_then(Filter::exact_hint).and_then(Stretch::of)
        && stretch.attr == attribute.id
    {
        return Ok(Plan::Within { stretch, desc: query.desc });
    }
    let these = filter.as_ref().map(|filter| snapshot.matching(filter)).transpose()?;
    let Some(attribute) = attribute else { return Ok(these.map_or(Plan::Everyone, Plan::These)) };
    if let Some(few) = these.as_ref().filter(|these| these.len() <= RANKED_MAX) {
        return Ok(Plan::Ranked(rank(snapshot, attribute, few, query.desc)?));
    }
    let absent = snapshot.filter(&format!("not ({} pr)", attribute.name), &[])?;
    let mut without = snapshot.matching(&absent)?;
    if let Some(these) = &these {
        without &= these;
    }
    Ok(Plan::Ordered { attr: attribute.id, desc: query.desc, these, without })
}
