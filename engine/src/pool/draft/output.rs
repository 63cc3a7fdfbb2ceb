//! A draft as the log has it: its events, then what it does to users, keys, digests and documents.

use bytes::Bytes;
use smallvec::SmallVec;
use stoa_format::AttrId;
use stoa_format::ops::{CellRef, EventKind, Operation, PUT_CREATES, PUT_DELETES, Subject, encode_cells};
use stoa_format::wire::Write;

use super::conflict::{key_conflict, schema_conflict};
use super::{Draft, Prepared};
use crate::pool::keyspace::split_flat;
use crate::pool::record::AnswerRecord;
use crate::pool::request::Outcome;
use crate::pool::runs::OwnedCell;

impl Draft<'_> {
    /// Adds to what the change feed tells.
    pub(super) fn event(&mut self, event: EventKind, subject: Subject<'_>, version: u64, attrs: Vec<AttrId>) {
        Operation::Event { event, subject, version, attrs }.encode(&mut self.events);
    }

    /// What the leader gets: the transaction's bytes, and what it rests on and changes.
    pub(super) fn finish(mut self, actor: &str, answer: Option<(Bytes, Vec<u8>)>, outcomes: Vec<Outcome>) -> Prepared {
        let mut body = Vec::with_capacity(512);
        body.put_bytes(actor.as_bytes());
        body.put_slice(&self.events);
        let mut cells = Vec::with_capacity(body.capacity());
        for (ordinal, user) in &self.users {
            let flags = if user.created { PUT_CREATES } else { 0 } | if user.deleted { PUT_DELETES } else { 0 };
            if (user.cells.is_empty() && flags == 0) || (user.created && user.deleted) {
                continue;
            }
            let staged = user.cells.iter().filter(|(_, cell)| !(user.deleted || user.created && cell.is_none()));
            let list: SmallVec<[_; 24]> = staged.map(|(attr, cell)| (*attr, cell_ref(cell.as_ref()))).collect();
            cells.clear();
            encode_cells(list.into_iter(), &mut cells);
            Operation::Put { ordinal: *ordinal, flags, cells: &cells }.encode(&mut body);
        }
        for (flat, value) in &self.keys {
            let (keyspace, key) = split_flat(flat);
            match value {
                Some(value) => Operation::SetKey { keyspace, key, value }.encode(&mut body),
                None => Operation::DeleteKey { keyspace, key }.encode(&mut body),
            }
        }
        for (&leaf, &delta) in self.digests.iter().filter(|(_, delta)| **delta != 0) {
            Operation::Digest { leaf, delta }.encode(&mut body);
        }
        for (name, content) in &self.documents {
            Operation::Meta { name, content: content.as_deref() }.encode(&mut body);
        }
        let seq_at = answer.map(|(flat, record)| {
            self.reads.insert(key_conflict(&flat));
            self.writes.insert(key_conflict(&flat));
            let (keyspace, key) = split_flat(&flat);
            Operation::SetKey { keyspace, key, value: &record }.encode(&mut body);
            body.len() - record.len() + AnswerRecord::SEQ_AT
        });
        if self.exclusive || !self.documents.is_empty() {
            self.writes.insert(schema_conflict());
        }
        let writes = self.writes.into_sorted();
        // What is written is looked up too: no need to have it twice.
        let mut reads = self.reads.into_sorted();
        reads.retain(|key| writes.binary_search(key).is_err());
        Prepared { base_seq: self.snapshot.seq, reads, writes, exclusive: self.exclusive, body, seq_at, outcomes }
    }
}

fn cell_ref(cell: Option<&OwnedCell>) -> CellRef<'_> {
    match cell {
        None => CellRef::Absent,
        Some(cell) => cell.as_cell().into(),
    }
}
