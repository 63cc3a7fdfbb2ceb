//! A transaction being prepared on its writer's own thread: old values are read at a pinned
//! snapshot, rules are checked, and physical operations come out.
//!
//! Invariants:
//! 1. Nothing outside the draft changes; dropping it undoes everything (a reserved ordinal is
//!    lost, which costs one bit in each column).
//! 2. Every decision rests on something named in `reads`: if nobody has written any of it since
//!    the snapshot, the draft is still right. The leader checks that, and only that.
//! 3. Uniqueness is judged on the state after the whole transaction, so two users can swap.

mod bounds;
mod cells;
mod conflict;
mod creds;
mod delete;
mod groups;
pub(crate) mod index;
mod output;
mod read;
mod schema;
mod setall;
mod users;

pub(crate) use conflict::schema_conflict;
pub(crate) use creds::{check_factor, check_length, check_password};
pub(crate) use groups::{apply_fields, check_name};
pub(crate) use setall::SetColumns;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use stoa_format::{AttrId, Ordinal, Seq, Sub};

use super::deltas::UserDeltas;
use super::keyspace::{self, Key};
use super::record::AnswerRecord;
use super::request::{Committed, Op, Outcome, Status, Transaction};
use super::runs::OwnedCell;
use super::schema::{Attribute, Schema};
use super::snapshot::{Snapshot, damaged};
use super::value::{CellValue, Value};
use crate::digest::fact::{fact, leaf_hash};
use crate::error::{Error, Result};
use cells::StagedCells;
use conflict::{Conflicts, key_conflict, sign_in_conflict, user_conflict};
use index::Claim;

/// A transaction that is ready for the leader.
pub(crate) struct Prepared {
    /// The snapshot that it rests on.
    pub base_seq: Seq,
    /// Conflict keys of what was read.
    pub reads: Vec<u64>,
    /// Conflict keys of what is written.
    pub writes: Vec<u64>,
    /// Rests on the whole pool: nothing at all may have been written since.
    pub exclusive: bool,
    /// The transaction's bytes for the frame: actor and operations.
    pub body: Vec<u8>,
    /// Where the leader writes the transaction's Seq into the body, if anywhere.
    pub seq_at: Option<usize>,
    /// What each operation does.
    pub outcomes: Vec<Outcome>,
}

/// What preparing a transaction came to.
pub(crate) enum Draught {
    /// To be committed.
    Write(Prepared),
    /// Everything is already so, or was answered before: nothing to write.
    Answer(Committed),
}

/// A user as the transaction leaves it.
struct UserDraft {
    sub: Sub,
    created: bool,
    deleted: bool,
    cells: StagedCells,
}

/// The work in progress.
pub(crate) struct Draft<'a> {
    snapshot: &'a Snapshot,
    schema: Arc<Schema>,
    now_ms: u64,
    op: usize,
    users: BTreeMap<Ordinal, UserDraft>,
    by_sub: BTreeMap<Sub, Ordinal>,
    keys: BTreeMap<Bytes, Option<Bytes>>,
    documents: BTreeMap<String, Option<Vec<u8>>>,
    /// In order, so that one seed writes one log.
    digests: BTreeMap<u64, u128>,
    claims: Vec<Claim>,
    events: Vec<u8>,
    reads: Conflicts,
    writes: Conflicts,
    exclusive: bool,
    reserved: &'a mut Vec<Ordinal>,
    taken: usize,
    /// What columns that are already written say of most users.
    columns: Option<&'a SetColumns>,
    /// What the memtables say of the user who was read last: one is mostly read attribute by attribute.
    deltas: RefCell<Option<(Ordinal, UserDeltas)>>,
    /// The sub whose facts were counted last, with its text and the hash of its leaf.
    last_leaf: Option<(Sub, [u8; 36], u64)>,
}

impl<'a> Draft<'a> {
    /// Prepares `transaction` on `snapshot`. `reserved` keeps ordinals from an earlier try.
    pub(crate) fn prepare(
        snapshot: &'a Snapshot,
        transaction: &Transaction,
        reserved: &'a mut Vec<Ordinal>,
    ) -> Result<Draught> {
        Self::prepare_over(snapshot, transaction, reserved, None)
    }

    /// The same, where columns say already what becomes of most users.
    ///
    /// # Errors
    /// `TRYAGAIN` too, if the columns do not fit this snapshot.
    pub(crate) fn prepare_over(
        snapshot: &'a Snapshot,
        transaction: &Transaction,
        reserved: &'a mut Vec<Ordinal>,
        columns: Option<&'a SetColumns>,
    ) -> Result<Draught> {
        let mut draft = Self { columns, ..Self::new(snapshot, reserved) };
        draft.reads.insert(schema_conflict());
        if let Some(answer) = draft.replayed(transaction)? {
            return Ok(Draught::Answer(answer));
        }
        let token_key = token_key(transaction);
        let mut outcomes = Vec::with_capacity(transaction.ops.len());
        for (i, op) in transaction.ops.iter().enumerate() {
            draft.op = i;
            outcomes.push(draft.apply(op).map_err(|error| error.at_op(i))?);
        }
        draft.check_claims()?;
        draft.check_bounds(token_key.as_ref())?;
        if draft.is_empty() && token_key.is_none() {
            return Ok(Draught::Answer(Committed { seq: snapshot.seq, replayed: false, outcomes }));
        }
        let answer = token_key.zip(transaction.token.as_ref()).map(|(flat, token)| {
            let record =
                AnswerRecord { time_ms: draft.now_ms, request: token.request, seq: Seq(0), outcomes: outcomes.clone() };
            (flat, record.encode())
        });
        Ok(Draught::Write(draft.finish(&transaction.actor, answer, outcomes)))
    }

    fn new(snapshot: &'a Snapshot, reserved: &'a mut Vec<Ordinal>) -> Self {
        Self {
            snapshot,
            schema: Arc::clone(snapshot.schema()),
            now_ms: snapshot.pool.now_ms(),
            op: 0,
            users: BTreeMap::new(),
            by_sub: BTreeMap::new(),
            keys: BTreeMap::new(),
            documents: BTreeMap::new(),
            digests: BTreeMap::new(),
            claims: Vec::new(),
            events: Vec::with_capacity(64),
            reads: Conflicts::default(),
            writes: Conflicts::default(),
            exclusive: false,
            reserved,
            taken: 0,
            columns: None,
            deltas: RefCell::new(None),
            last_leaf: None,
        }
    }

    /// The answer that a transaction of this token was given before.
    pub(crate) fn answer_to(snapshot: &Snapshot, transaction: &Transaction) -> Result<Option<Committed>> {
        Draft::new(snapshot, &mut Vec::new()).replayed(transaction)
    }

    fn replayed(&mut self, transaction: &Transaction) -> Result<Option<Committed>> {
        match (token_key(transaction), &transaction.token) {
            (Some(flat), Some(token)) => self.answered(&flat, token.request),
            _ => Ok(None),
        }
    }

    /// The answer that was given to this token before.
    fn answered(&mut self, flat: &Bytes, request: [u8; 16]) -> Result<Option<Committed>> {
        let Some(bytes) = self.key(flat)? else { return Ok(None) };
        let record = AnswerRecord::decode(&bytes).map_err(|fault| damaged(&fault))?;
        if record.time_ms.saturating_add(self.snapshot.pool.limits().token_ttl_ms) < self.now_ms {
            return Ok(None);
        }
        if record.request != request {
            return Err(Error::conflict("this token was used for another request: use a new token for a new request"));
        }
        Ok(Some(Committed { seq: record.seq, replayed: true, outcomes: record.outcomes }))
    }

    fn apply(&mut self, op: &Op) -> Result<Outcome> {
        match op {
            Op::UserCreate(new) => self.user_create(new),
            Op::UserSet { user, if_version, take_alias, changes } => {
                self.user_set(user, *if_version, *take_alias, changes)
            }
            Op::UserAdd { user, if_version, values } => self.user_multi(user, *if_version, values, true),
            Op::UserRemove { user, if_version, values } => self.user_multi(user, *if_version, values, false),
            Op::UserDelete { user, if_version } => self.user_delete(user, *if_version),
            Op::UserEnable { user, enabled } => self.user_enable(user, *enabled),
            Op::UserStatus { user, if_version, status } => self.user_status(user, *if_version, *status),
            Op::CredSet { user, if_version, temporary, password } => {
                self.cred_set(user, *if_version, *temporary, password)
            }
            Op::CredUnlock { user } => self.cred_unlock(user),
            Op::CheckRecorded(recorded) => self.check_recorded(recorded),
            Op::FactorPut { user, kind, id, if_version, label, blob } => {
                self.factor_put(user, kind, id, *if_version, label.as_deref(), blob)
            }
            Op::FactorDel { user, kind, id } => self.factor_del(user, kind, id),
            Op::FactorConsume { user, code } => self.factor_consume(user, code),
            Op::IdentityLink { user, provider, subject } => self.identity_link(user, provider, subject),
            Op::IdentityUnlink { user, provider, subject } => self.identity_unlink(user, provider, subject),
            Op::GroupCreate { name, fields } => self.group_create(name, fields),
            Op::GroupSet { name, fields } => self.group_set(name, fields),
            Op::GroupRename { name, to } => self.group_rename(name, to),
            Op::GroupDelete { name } => self.group_delete(name),
            Op::GroupSweep { id } => self.group_sweep(*id),
            Op::GroupAdd { name, users } => self.group_members(name, users, true),
            Op::GroupRemove { name, users } => self.group_members(name, users, false),
            Op::SchemaAlter { if_version, schema } => self.schema_alter(*if_version, schema),
            Op::ConfigSet { name, if_version, json } => self.config_set(name, *if_version, json),
            Op::ConfigDel { name } => self.config_del(name),
            Op::UserSetAll { filter, args, status, changes } => {
                self.user_set_all(filter.as_deref(), args, *status, changes)
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.users.values().all(|user| user.cells.is_empty() && !user.deleted)
            && self.keys.is_empty()
            && self.documents.is_empty()
            && self.digests.values().all(|delta| *delta == 0)
    }

    fn set_key(&mut self, flat: Bytes, value: Option<Bytes>) {
        self.writes.insert(key_conflict(&flat));
        self.stage_key(flat, value);
    }

    /// The same, where something else is the conflict key of what the key says.
    fn stage_key(&mut self, flat: Bytes, value: Option<Bytes>) {
        self.keys.insert(flat, value);
    }

    // ---- values, facts, indexes ----

    /// The value of an attribute in the draft.
    fn value(&self, ordinal: Ordinal, attribute: &Attribute) -> Result<Option<Value>> {
        if attribute.multi {
            let prefix = Key::new(keyspace::MULTI).ordinal(ordinal).attr(attribute.id).flat();
            let values = self.keys_with(&prefix)?;
            let values: Vec<_> = values
                .keys()
                .map(|flat| Value::decode(attribute.ty, false, &flat[prefix.len()..]).map_err(|fault| damaged(&fault)))
                .collect::<Result<_>>()?;
            // The keys are in order of encoded values, a list in order of their texts.
            let list = (!values.is_empty()).then(|| Value::multi(values)).transpose();
            return list.map_err(|fault| Error::damaged(format!("a list {fault}; run stoa verify")));
        }
        self.with_cell(ordinal, attribute.id, |cell| cell.map(|cell| cell_value(attribute, cell)).transpose())?
    }

    /// Stages a cell; `true` if that changes anything.
    fn set_cell(&mut self, ordinal: Ordinal, attr: AttrId, cell: Option<OwnedCell>) -> Result<bool> {
        if self.with_cell(ordinal, attr, |before| before == cell.as_ref().map(OwnedCell::as_cell))? {
            return Ok(false);
        }
        self.stage_cell(ordinal, attr, cell)?;
        Ok(true)
    }

    /// The same, where it is known to change something.
    fn stage_cell(&mut self, ordinal: Ordinal, attr: AttrId, cell: Option<OwnedCell>) -> Result<()> {
        let conflict = if attr == AttrId::SIGN_IN { sign_in_conflict(ordinal) } else { user_conflict(ordinal) };
        self.reads.insert(conflict);
        self.writes.insert(conflict);
        self.user(ordinal)?.cells.insert(attr, cell);
        Ok(())
    }

    /// The text of a sub and the hash of its leaf in the digest tree.
    fn leaf(&mut self, sub: Sub) -> ([u8; 36], u64) {
        match self.last_leaf {
            Some((last, text, leaf)) if last == sub => (text, leaf),
            _ => {
                let text = sub.text();
                let leaf = leaf_hash(&self.snapshot.pool.digest_key, &text);
                self.last_leaf = Some((sub, text, leaf));
                (text, leaf)
            }
        }
    }

    /// Adds (or, negated, takes out) one fact of a user.
    fn count_fact(&mut self, sub: Sub, name: &str, value: &[u8], present: bool) {
        let (text, leaf) = self.leaf(sub);
        let digest = fact(&self.snapshot.pool.digest_key, &text, name, value);
        let sum = self.digests.entry(leaf).or_default();
        *sum = if present { sum.wrapping_add(digest) } else { sum.wrapping_sub(digest) };
    }

    /// Stages a built-in cell that is a fact.
    fn set_fact_cell(&mut self, ordinal: Ordinal, attr: AttrId, cell: Option<OwnedCell>) -> Result<bool> {
        let before = self.cell(ordinal, attr)?;
        if before == cell {
            return Ok(false);
        }
        let sub = self.sub(ordinal)?;
        if let Some((name, value)) = before.as_ref().and_then(|cell| built_in_fact(attr, cell)) {
            self.count_fact(sub, name, value, false);
        }
        if let Some((name, value)) = cell.as_ref().and_then(|cell| built_in_fact(attr, cell)) {
            self.count_fact(sub, name, value, true);
        }
        self.stage_cell(ordinal, attr, cell)?;
        Ok(true)
    }

    /// Stages an attribute's value with its fact and indexes; `true` if that changes anything.
    /// The indexes of a verified alias also hang on its flag: see `reindex`.
    fn set_value(&mut self, ordinal: Ordinal, attribute: &Attribute, value: Option<Value>) -> Result<bool> {
        let before = self.value(ordinal, attribute)?;
        if before == value {
            return Ok(false);
        }
        let sub = self.sub(ordinal)?;
        if let Some(old) = &before {
            self.count_fact(sub, &attribute.name, &old.wire(), false);
        }
        if let Some(new) = &value {
            self.count_fact(sub, &attribute.name, &new.wire(), true);
        }
        if attribute.multi {
            self.set_elements(ordinal, attribute, before.as_ref(), value.as_ref());
            self.reads.insert(user_conflict(ordinal));
            self.writes.insert(user_conflict(ordinal));
            return Ok(true);
        }
        self.stage_cell(ordinal, attribute.id, value.and_then(OwnedCell::of_value))?;
        Ok(true)
    }

    fn is_live(&self, ordinal: Ordinal) -> bool {
        match self.users.get(&ordinal) {
            Some(user) => !user.deleted,
            None => self.snapshot.is_live(ordinal),
        }
    }
}

/// Where the answer to a transaction's retry token is kept.
fn token_key(transaction: &Transaction) -> Option<Bytes> {
    let token = transaction.token.as_ref()?;
    Some(Key::new(keyspace::TOKENS).terminated(transaction.actor.as_bytes()).rest(&token.token).flat())
}

/// The value of a cell under its attribute's type.
pub(crate) fn cell_value(attribute: &Attribute, cell: CellValue<'_>) -> Result<Value> {
    Value::from_cell(attribute.ty, cell).map_err(|fault| damaged(&fault))
}

/// The name and value of the fact that a built-in cell is, if it is one.
pub(crate) fn built_in_fact(attr: AttrId, cell: &OwnedCell) -> Option<(&'static str, &[u8])> {
    match (attr, cell) {
        (AttrId::ENABLED, OwnedCell::Int(value)) => Some(("$enabled", if *value != 0 { b"true" } else { b"false" })),
        (AttrId::STATUS, OwnedCell::Int(value)) => Some(("$status", Status::from_code(*value)?.word().as_bytes())),
        (AttrId::PASSWORD, OwnedCell::Bytes(hash)) => Some(("$password", hash)),
        _ => None,
    }
}
