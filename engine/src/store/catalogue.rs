//! The store's own state: which pools there are, and store-wide documents. It is changed by frames
//! of the log like a pool's, under the nil pool id, and checkpointed in the file `CATALOGUE`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use stoa_format::ops::{FrameReader, Operation};
use stoa_format::store::{CatalogueBody, CatalogueEntry, LOG_DOCUMENT, LogDocument};
use stoa_format::wire::{Reader, Write};
use stoa_format::{DecodeError, Epoch, KeyEpoch, Period, PoolId, Seq};

use crate::commit::conflicts::ConflictTable;
use crate::error::{Error, Result};
use crate::keys::{HedgeKey, SealKey};
use crate::pool::draft::Prepared;
use crate::pool::open::Sequencer;

/// Pools and documents of a store.
pub(crate) struct Catalogue {
    pub sequencer: Sequencer,
    pub hedge: Arc<HedgeKey>,
    pub pools: HashMap<PoolId, CatalogueEntry>,
    pub documents: BTreeMap<String, Bytes>,
    /// Dropped pools whose files may still be there.
    pub dropped: BTreeSet<PoolId>,
    /// The number of the newest checkpoint.
    pub number: u64,
}

/// One change of the catalogue.
pub(crate) enum CatalogueChange<'a> {
    /// A pool was made, or its newest manifest is another.
    Pool(&'a CatalogueEntry),
    /// A pool was dropped.
    Drop(PoolId),
    /// Documents were replaced.
    Documents(&'a [(&'a str, Bytes)]),
}

impl CatalogueChange<'_> {
    /// The transaction's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_bytes(b"");
        match self {
            Self::Pool(entry) => {
                let mut content = Vec::new();
                entry.encode(&mut content);
                Operation::Meta { name: &format!("pool/{}", entry.id), content: Some(&content) }.encode(&mut body);
            }
            Self::Drop(id) => Operation::Meta { name: &format!("pool/{id}"), content: None }.encode(&mut body),
            Self::Documents(documents) => {
                for (name, content) in *documents {
                    Operation::Meta { name: &format!("doc/{name}"), content: Some(content) }.encode(&mut body);
                }
            }
        }
        body
    }
}

impl Catalogue {
    /// The catalogue of a checkpoint.
    pub(crate) fn new(number: u64, body: CatalogueBody, key: &Arc<SealKey>, hedge: Arc<HedgeKey>) -> Self {
        let sequencer = Sequencer {
            next_seq: body.seq.0 + 1,
            chain: body.chain,
            epoch: Epoch(0),
            period: Period(0),
            period_key: Arc::clone(key),
            key_epoch: KeyEpoch(0),
            conflicts: ConflictTable::new(body.seq.0),
        };
        Self {
            sequencer,
            hedge,
            pools: body.pools.into_iter().map(|entry| (entry.id, entry)).collect(),
            documents: body
                .documents
                .into_iter()
                .filter(|(name, _)| name != LOG_DOCUMENT)
                .map(|(name, content)| (name, Bytes::from(content)))
                .collect(),
            dropped: BTreeSet::new(),
            number,
        }
    }

    /// A change that rests on nothing: the caller holds the store's own lock.
    pub(crate) fn prepared(body: Vec<u8>) -> Prepared {
        Prepared {
            base_seq: Seq(u64::MAX >> 1),
            reads: Vec::new(),
            writes: Vec::new(),
            exclusive: false,
            body,
            seq_at: None,
            outcomes: Vec::new(),
        }
    }

    /// Applies a frame's transactions.
    pub(crate) fn apply(&mut self, first_seq: Seq, plain: &Bytes) -> Result<()> {
        let fault =
            |fault: DecodeError| Error::damaged(format!("catalogue at seq {first_seq}: {fault}")).because(fault);
        let mut frame = FrameReader::decode(plain).map_err(fault)?;
        while let Some(mut transaction) = frame.next_transaction().map_err(fault)? {
            while let Some(op) = transaction.next_op().map_err(fault)? {
                if let Operation::Meta { name, content } = op {
                    self.set(name, content).map_err(fault)?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, content: Option<&[u8]>) -> Result<(), DecodeError> {
        if let Some(id) = name.strip_prefix("pool/").and_then(PoolId::parse) {
            match content {
                Some(content) => {
                    let entry = CatalogueEntry::decode(&mut Reader::new("catalogue entry", content))?;
                    self.pools.insert(id, entry);
                }
                None => {
                    self.pools.remove(&id);
                    self.dropped.insert(id);
                }
            }
        } else if let Some(name) = name.strip_prefix("doc/") {
            match content {
                Some(content) => drop(self.documents.insert(name.to_owned(), Bytes::copy_from_slice(content))),
                None => drop(self.documents.remove(name)),
            }
        }
        Ok(())
    }

    /// The state for a checkpoint.
    pub(crate) fn body(&self, durable_lsn: u64, log: &LogDocument) -> CatalogueBody {
        let mut pools: Vec<_> = self.pools.values().cloned().collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        let documents = self.documents.iter().map(|(name, content)| (name.clone(), content.to_vec()));
        let log = (LOG_DOCUMENT.to_owned(), log.encode());
        CatalogueBody {
            seq: Seq(self.sequencer.next_seq - 1),
            chain: self.sequencer.chain,
            durable_lsn,
            pools,
            documents: documents.chain([log]).collect(),
        }
    }
}
