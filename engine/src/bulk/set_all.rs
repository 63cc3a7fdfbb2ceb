//! One value for all users of a filter, as columns: of each attribute that changes, of versions and of times.
//!
//! Invariants:
//! 1. The columns are a sparse run each, in one file over everything that is flushed, durable before the frame that
//!    names it ([`stoa_format::install`]). That frame is the commit: before it nobody knows the file, and a crash
//!    leaves it to be swept.
//! 2. They say something only of users of whom the memtables say nothing. Of whom they do when the frame is made,
//!    the same transaction says all that the columns say, in the log: nothing that was committed meanwhile is
//!    lost, and a filter is judged on the state right before the transaction.
//! 3. No flush and no compaction comes in between: what lies below the columns is what they were made from.
//! 4. What this cannot do (indexed and multi-valued attributes, few users, several operations at once), and what is
//!    wrong with a request, is left to the ordinary transaction.
//! 5. The digest tree is forgotten, and summed from the data when it is next needed.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use roaring::RoaringBitmap;
use stoa_format::column::{Cell, ColumnKind, Sought};
use stoa_format::install::Install;
use stoa_format::manifest::FilePlace;
use stoa_format::run::{PageEntry, PagePlace};
use stoa_format::{AttrId, FileId, Ordinal};

use super::files::NewFiles;
use crate::column::Look;
use crate::error::{ErrorKind, Result};
use crate::pool::draft::{Draft, Draught, SetColumns};
use crate::pool::open::{OpenPool, lock};
use crate::pool::request::{Committed, Input, Op, Status, Transaction};
use crate::pool::runs::{Runs, column_kind};
use crate::pool::schema::{Alias, Schema};
use crate::pool::snapshot::Snapshot;
use crate::pool::value::{CellValue, Value};
use crate::run::{Caching, ColumnShape, RunWriter};

/// After so many changes of what the columns rest on it is left to the ordinary way.
const BEGUN_MAX: u32 = 3;
/// After so many commits in between the leader prepares the transaction.
const BEATEN_MAX: u32 = 2;
/// Columns of more users are not kept in the page cache: one scan would empty it.
const KEEP_PAGES_USERS: u64 = 4_000_000;

/// One attribute's new value; `None` removes it.
struct Target {
    attr: AttrId,
    value: Option<Value>,
}

/// Carries a `USER.SETALL` out by installing columns; `None` if it is to go the ordinary way.
///
/// # Errors
/// As a commit, and `DAMAGED`, `IOERROR`, `NOSPACE` from the columns; nothing is changed then.
pub(crate) fn set_all(pool: &Arc<OpenPool>, transaction: &Transaction) -> Result<Option<Committed>> {
    let [Op::UserSetAll { filter, args, status, changes }] = &transaction.ops[..] else { return Ok(None) };
    for _ in 0..BEGUN_MAX {
        let snapshot = pool.snapshot();
        if let Some(answer) = Draft::answer_to(&snapshot, transaction)? {
            return Ok(Some(answer));
        }
        let Some(targets) = targets(snapshot.schema(), *status, changes) else { return Ok(None) };
        let users_min = pool.limits().set_all_users_min.max(1);
        if matching(&snapshot, filter.as_deref(), args)?.len() < users_min {
            return Ok(None);
        }
        drop(snapshot);
        // A pool that cannot be flushed takes it into its memtable.
        if pool.flush().is_err() {
            return Ok(None);
        }
        let committed = {
            let _flushing = lock(&pool.flushing);
            if pool.dropped.load(Relaxed) {
                return Ok(None);
            }
            let files = NewFiles::new(pool);
            let columns = write(pool, &files, filter.as_deref(), args, &targets)?;
            commit(pool, &files, transaction, Arc::new(columns))
        };
        pool.shared.run_deferred();
        match committed {
            Ok(committed) => {
                pool.shared.want_compaction(pool);
                return Ok(Some(committed));
            }
            Err(error) if error.kind() == ErrorKind::TryAgain => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// What is to be written, in order of attributes; `None` if an index hangs on it, or something is wrong with it.
fn targets(schema: &Schema, status: Option<Status>, changes: &[(Box<str>, Input)]) -> Option<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::with_capacity(changes.len() + 1);
    for (name, input) in changes {
        let attribute = schema.by_name(name)?;
        let removes = input.is_removal();
        let is_plain = attribute.mutable
            && !(attribute.multi || attribute.searchable || attribute.required && removes)
            && attribute.alias == Alias::None
            && schema.verified_alias_of(attribute.id).is_none();
        if !is_plain || targets.iter().any(|target| target.attr == attribute.id) {
            return None;
        }
        let value = if removes { None } else { Some(attribute.parse(input).ok()?) };
        targets.push(Target { attr: attribute.id, value });
    }
    if let Some(status) = status {
        targets.push(Target { attr: AttrId::STATUS, value: Some(Value::Int(status.code())) });
    }
    targets.sort_unstable_by_key(|target| target.attr);
    (!targets.is_empty()).then_some(targets)
}

fn matching(snapshot: &Snapshot, filter: Option<&str>, args: &[bytes::Bytes]) -> Result<RoaringBitmap> {
    match filter {
        None => Ok(snapshot.live()),
        Some(text) => snapshot.matching(&snapshot.filter(text, args)?),
    }
}

/// Writes the columns, durably; nobody knows of them yet. Called under `flushing`.
fn write(
    pool: &Arc<OpenPool>,
    files: &NewFiles,
    filter: Option<&str>,
    args: &[bytes::Bytes],
    targets: &[Target],
) -> Result<SetColumns> {
    let snapshot = pool.snapshot();
    let runs = Arc::clone(&snapshot.version.runs);
    let mut settled = matching(&snapshot, filter, args)?;
    settled -= snapshot.changed(Ordinal(0), Ordinal(u64::from(u32::MAX)));
    let (mut unchanged, mut changed_attrs) = (settled.clone(), Vec::new());
    for target in targets {
        let so = already_so(&runs, target, &settled)?;
        if so.len() < settled.len() {
            changed_attrs.push(target.attr);
        }
        unchanged &= so;
    }
    let changed = settled - unchanged;
    let mut columns = SetColumns {
        base_seq: snapshot.seq(),
        schema: Arc::clone(snapshot.schema()),
        users: RoaringBitmap::new(),
        others: RoaringBitmap::new(),
        attrs: targets.iter().map(|target| target.attr).collect(),
        changed: changed_attrs,
        install: None,
        runs,
    };
    match changed.len() < pool.limits().set_all_users_min {
        true => columns.others = changed,
        false => {
            columns.users = changed;
            columns.install = Some(write_file(pool, files, &columns, targets)?.encode());
        }
    }
    Ok(columns)
}

/// One file with all columns, and what puts it in its place.
fn write_file(pool: &Arc<OpenPool>, files: &NewFiles, columns: &SetColumns, targets: &[Target]) -> Result<Install> {
    let (runs, users) = (&columns.runs, &columns.users);
    let mut writer = files.create(FilePlace::Flush, 0)?;
    write_versions(runs, users, &mut writer)?;
    let now = Cell::Int(pool.now_ms() as i64);
    write_constant(runs, users, AttrId::UPDATED_AT, ColumnKind::Int, &now, &mut writer)?;
    for target in targets {
        let kind = column_kind(target.attr, &columns.schema);
        write_constant(runs, users, target.attr, kind, &target.cell(), &mut writer)?;
    }
    files.finish(writer)?;
    files.sync_names()?;
    let age = pool.next_age.load(Relaxed);
    Ok(Install {
        id: FileId(pool.next_file_id.fetch_add(1, Relaxed)),
        next_ordinal: pool.next_ordinal.load(Relaxed),
        next_group_id: pool.next_group_id.load(Relaxed),
        next_age: age + 1,
        groups: 0,
        live: None,
        dropped: Vec::new(),
        files: files.file_refs(age, |attr| shape(runs, attr) == ColumnShape::Dense),
    })
}

/// A column that lies over nothing is a base.
fn shape(runs: &Runs, attr: AttrId) -> ColumnShape {
    if runs.column(attr).is_some() { ColumnShape::Sparse } else { ColumnShape::Dense }
}

fn write_constant(
    runs: &Runs,
    users: &RoaringBitmap,
    attr: AttrId,
    kind: ColumnKind,
    cell: &Cell<'_>,
    writer: &mut RunWriter,
) -> Result<()> {
    let shape = shape(runs, attr);
    if shape == ColumnShape::Dense && *cell == Cell::Absent {
        return Ok(());
    }
    writer.begin_column(attr, kind, shape)?;
    users.iter().try_for_each(|ordinal| writer.push_cell(Ordinal(u64::from(ordinal)), cell))?;
    Ok(())
}

/// Each one's version, and one more.
fn write_versions(runs: &Runs, users: &RoaringBitmap, writer: &mut RunWriter) -> Result<()> {
    writer.begin_column(AttrId::VERSION, ColumnKind::Int, shape(runs, AttrId::VERSION))?;
    let mut users = users.iter().peekable();
    if let (Some(stack), Some(first)) = (runs.column(AttrId::VERSION), users.peek()) {
        let mut cursor = stack.cursor(Ordinal(u64::from(*first)), caching(runs))?;
        while let Some(next) = users.peek()
            && let Some((ordinal, cell)) = cursor.next()?
        {
            if ordinal.0 < u64::from(*next) {
                continue;
            }
            // Who has no version is before its first change.
            while let Some(before) = users.next_if(|next| u64::from(*next) < ordinal.0) {
                writer.push_cell(Ordinal(u64::from(before)), &Cell::Int(1))?;
            }
            if users.next_if(|next| u64::from(*next) == ordinal.0).is_some() {
                let raised = if let Cell::Int(version) = cell { version + 1 } else { 1 };
                writer.push_cell(ordinal, &Cell::Int(raised))?;
            }
        }
    }
    users.try_for_each(|rest| writer.push_cell(Ordinal(u64::from(rest)), &Cell::Int(1)))?;
    Ok(())
}

fn caching(runs: &Runs) -> Caching {
    if runs.live.len() > KEEP_PAGES_USERS { Caching::Pass } else { Caching::Keep }
}

impl Target {
    fn cell(&self) -> Cell<'_> {
        match self.value.as_ref().and_then(Value::as_cell) {
            None => Cell::Absent,
            Some(CellValue::Int(value)) => Cell::Int(value),
            Some(CellValue::Bytes(bytes)) => Cell::Bytes(bytes.into()),
        }
    }
}

/// Those of `among` who have the value already.
fn already_so(runs: &Runs, target: &Target, among: &RoaringBitmap) -> Result<RoaringBitmap> {
    let wanted = target.cell();
    let (Some(first), Some(last)) = (among.min(), among.max()) else { return Ok(RoaringBitmap::new()) };
    // If the value is removed, those who have one are sought.
    let removes = wanted == Cell::Absent;
    let mut is_wanted = |bytes: &[u8]| wanted.bytes() == Some(bytes);
    let mut sought = match wanted {
        Cell::Int(value) => Sought::Ints { min: value, max: value, outside: false },
        Cell::Bytes(_) | Cell::Fixed16(_) => Sought::Bytes(&mut is_wanted),
        Cell::Missing | Cell::Absent => Sought::Any,
    };
    let look = |entry: &PageEntry| {
        let may_hold = match (&entry.place, &wanted) {
            (PagePlace::Column { zone, .. }, Cell::Int(value)) => zone.may_hold_int(*value, *value),
            (PagePlace::Column { zone, .. }, Cell::Bytes(bytes)) => zone.may_hold_bytes(bytes),
            _ => true,
        };
        if may_hold { Look::Read } else { Look::Pass }
    };
    let found = match runs.column(target.attr) {
        Some(stack) => stack.find(u64::from(first)..=u64::from(last), caching(runs), look, &mut sought)?,
        None => RoaringBitmap::new(),
    };
    Ok(if removes { among - found } else { found & among })
}

/// Commits what is written on whatever state the pool is in by now.
fn commit(
    pool: &Arc<OpenPool>,
    files: &NewFiles,
    transaction: &Transaction,
    columns: Arc<SetColumns>,
) -> Result<Committed> {
    let committed = try_commit(pool, transaction, columns);
    let (replayed, in_doubt) = match &committed {
        Ok(committed) => (committed.replayed, false),
        Err(error) => (false, error.kind() == ErrorKind::InDoubt),
    };
    if in_doubt || committed.is_ok() && !replayed {
        files.keep();
    }
    committed
}

fn try_commit(pool: &Arc<OpenPool>, transaction: &Transaction, columns: Arc<SetColumns>) -> Result<Committed> {
    for _ in 0..BEATEN_MAX {
        let snapshot = pool.snapshot();
        match Draft::prepare_over(&snapshot, transaction, &mut Vec::new(), Some(&columns))? {
            Draught::Answer(committed) => return Ok(committed),
            Draught::Write(prepared) => {
                if let Some(committed) = pool.shared.commit_prepared(pool, prepared)? {
                    return Ok(committed);
                }
            }
        }
    }
    let transaction = transaction.clone();
    let prepare =
        move |snapshot: &Snapshot| Draft::prepare_over(snapshot, &transaction, &mut Vec::new(), Some(&columns));
    pool.shared.commit_in_turn(pool, Box::new(prepare))
}

#[cfg(test)]
mod tests;
