//! Digests of users and of a pool's own facts, out of the data: what the deltas of all transactions must add up to.

use std::collections::HashMap;
use std::ops::ControlFlow;

use stoa_format::{AttrId, Sub};

use super::Batch;
use crate::digest::fact::{DigestKey, fact};
use crate::error::{Error, Result};
use crate::pool::draft::{built_in_fact, cell_value};
use crate::pool::keyspace::{self, last_number, split_terminated};
use crate::pool::record::{FactorRecord, GroupRecord, decode_document};
use crate::pool::runs::OwnedCell;
use crate::pool::snapshot::{Snapshot, damaged};
use crate::pool::version::CONFIG_PREFIX;

/// The digests of a batch under way.
struct Sums<'k> {
    key: &'k DigestKey,
    texts: Vec<[u8; 36]>,
    sums: Vec<u128>,
}

impl Sums<'_> {
    fn add(&mut self, at: usize, name: &str, value: &[u8]) {
        let digest = fact(self.key, &self.texts[at], name, value);
        self.sums[at] = self.sums[at].wrapping_add(digest);
    }
}

/// Group names by id, looked up once each. A deleted group that is being swept still has its name.
pub(crate) type GroupNames = HashMap<u64, Option<String>>;

impl Batch<'_> {
    /// Everyone's sub and digest: the sum of all facts of the user.
    pub(crate) fn digests(&self, groups: &mut GroupNames) -> Result<Vec<(Sub, u128)>> {
        let subs = self.subs()?;
        let texts = subs.iter().map(Sub::text).collect();
        let mut sums = Sums { key: &self.snapshot().pool.digest_key, texts, sums: vec![0; subs.len()] };
        for attribute in self.snapshot().schema().attributes().iter().filter(|attribute| !attribute.multi) {
            for (at, cell) in self.column(attribute.id)?.into_iter().enumerate() {
                match cell {
                    None => {}
                    // Octets travel as they are.
                    Some(OwnedCell::Bytes(bytes)) => sums.add(at, &attribute.name, &bytes),
                    Some(cell) => sums.add(at, &attribute.name, &cell_value(attribute, cell.as_cell())?.wire()),
                }
            }
        }
        for ((at, attr), list) in self.lists(|_| true)? {
            if let Some(attribute) = self.snapshot().schema().by_id(attr) {
                sums.add(at, &attribute.name, &list.wire());
            }
        }
        for attr in [AttrId::ENABLED, AttrId::STATUS, AttrId::PASSWORD] {
            for (at, cell) in self.column(attr)?.into_iter().enumerate() {
                if let Some((name, value)) = cell.as_ref().and_then(|cell| built_in_fact(attr, cell)) {
                    sums.add(at, name, value);
                }
            }
        }
        self.add_keyed(&mut sums, groups)?;
        Ok(subs.into_iter().zip(sums.sums).collect())
    }

    /// Adds the facts that stand in keyspaces.
    fn add_keyed(&self, sums: &mut Sums<'_>, groups: &mut GroupNames) -> Result<()> {
        let malformed = || Error::damaged("an index key is malformed; run stoa verify");
        self.each_key(keyspace::FACTORS, |at, key, value| {
            let (kind, id) = split_terminated(key).ok_or_else(malformed)?;
            let record = FactorRecord::decode(value).map_err(|fault| damaged(&fault))?;
            let (kind, id) = (String::from_utf8_lossy(&kind), String::from_utf8_lossy(id));
            sums.add(at, &format!("$factor:{kind}:{id}"), &record.blob);
            Ok(())
        })?;
        self.each_key(keyspace::IDENTITIES_OF, |at, key, _| {
            let (provider, subject) = split_terminated(key).ok_or_else(malformed)?;
            sums.add(at, &format!("$identity:{}", String::from_utf8_lossy(&provider)), subject);
            Ok(())
        })?;
        self.each_key(keyspace::GROUPS_OF, |at, key, _| {
            let id = last_number(key).ok_or_else(malformed)?;
            if let std::collections::hash_map::Entry::Vacant(unknown) = groups.entry(id) {
                unknown.insert(self.snapshot().group_name(id)?.map(|name| format!("$group:{name}")));
            }
            if let Some(Some(name)) = groups.get(&id) {
                sums.add(at, name, b"");
            }
            Ok(())
        })
    }
}

/// The sum of the pool's own facts, which stand under the nil UUID.
pub(crate) fn pool_facts(snapshot: &Snapshot) -> Result<u128> {
    let nil = Sub::NIL.text();
    let digest = |name: &str, value: &[u8]| fact(&snapshot.pool.digest_key, &nil, name, value);
    let documents = &snapshot.version.documents;
    let mut sum = digest("$schema", documents.schema.to_text().as_bytes());
    for (name, content) in &documents.by_name {
        if let Some(name) = name.strip_prefix(CONFIG_PREFIX) {
            let (_, json) = decode_document(content).map_err(|fault| damaged(&fault))?;
            sum = sum.wrapping_add(digest(&format!("$config:{name}"), json.as_bytes()));
        }
    }
    snapshot.scan_prefix(&keyspace::start_of(keyspace::GROUPS), |name, value| {
        let record = GroupRecord::decode(value).map_err(|fault| damaged(&fault))?;
        let name = String::from_utf8_lossy(name);
        sum = sum.wrapping_add(digest(&format!("$group:{name}"), record.canonical_json().as_bytes()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(sum)
}
