//! The leader's first half: what is newer is checked, what is left gets its numbers and is sealed,
//! one frame a pool.

use std::sync::Arc;

use stoa_format::ops::{append_transaction, begin_frame};
use stoa_format::wal::{CHAIN_LABEL, INNER_BYTES, InnerShell};
use stoa_format::{PoolId, Seq};

use super::{Done, Target};
use crate::keys::HedgeKey;
use crate::pool::draft::Prepared;
use crate::pool::open::{Sequencer, lock};
use crate::pool::request::Committed;
use crate::store::Shared;

/// One pool's part of a batch.
pub(super) struct Frame {
    pub target: Target,
    pub first_seq: Seq,
    /// The chain digest before it.
    chain_before: [u8; 32],
    pub plain: Vec<u8>,
    /// Inner shell and sealed bytes.
    pub body: Vec<u8>,
    pub answers: Vec<(Committed, Done)>,
}

/// Numbers and seals what is not beaten; answers the frames, and whom to send back.
pub(super) fn sequence(
    shared: &Shared,
    requests: impl Iterator<Item = (Target, Prepared, Done)>,
) -> (Vec<Frame>, Vec<Done>) {
    let now_ms = shared.io.now_ms();
    let mut groups: Vec<(Target, Vec<(Prepared, Done)>)> = Vec::new();
    for (target, prepared, done) in requests {
        match groups.iter_mut().find(|(other, _)| same(other, &target)) {
            Some((_, list)) => list.push((prepared, done)),
            None => groups.push((target, vec![(prepared, done)])),
        }
    }
    let (mut frames, mut beaten) = (Vec::with_capacity(groups.len()), Vec::new());
    for (target, list) in groups {
        let chain_before;
        let frame = match &target {
            Target::Pool(pool) => {
                let hedge = Arc::clone(&lock(&pool.keyring).hedge);
                let mut sequencer = lock(&pool.sequencer);
                chain_before = sequencer.chain;
                let visible = pool.visible.seq().0;
                number(shared, pool.id, &hedge, &mut sequencer, visible, list, now_ms, &mut beaten)
            }
            Target::Catalogue => {
                let mut catalogue = lock(&shared.catalogue);
                let hedge = Arc::clone(&catalogue.hedge);
                let visible = catalogue.sequencer.next_seq - 1;
                chain_before = catalogue.sequencer.chain;
                number(shared, PoolId::NIL, &hedge, &mut catalogue.sequencer, visible, list, now_ms, &mut beaten)
            }
        };
        if let Some((first_seq, plain, body, answers)) = frame {
            frames.push(Frame { target, first_seq, chain_before, plain, body, answers });
        }
    }
    (frames, beaten)
}

impl Frame {
    /// Gives its numbers back: it was not written, and never will be.
    pub(super) fn take_back(&self, shared: &Shared) {
        match &self.target {
            Target::Pool(pool) => lock(&pool.sequencer).take_back(self.first_seq, self.chain_before),
            Target::Catalogue => lock(&shared.catalogue).sequencer.take_back(self.first_seq, self.chain_before),
        }
    }
}

fn same(a: &Target, b: &Target) -> bool {
    match (a, b) {
        (Target::Pool(a), Target::Pool(b)) => Arc::ptr_eq(a, b),
        (Target::Catalogue, Target::Catalogue) => true,
        _ => false,
    }
}

type Numbered = (Seq, Vec<u8>, Vec<u8>, Vec<(Committed, Done)>);

#[allow(clippy::too_many_arguments, reason = "the parts of a pool that numbering needs, borrowed one by one")]
fn number(
    shared: &Shared,
    pool: PoolId,
    hedge: &HedgeKey,
    sequencer: &mut Sequencer,
    visible: u64,
    list: Vec<(Prepared, Done)>,
    now_ms: u64,
    beaten: &mut Vec<Done>,
) -> Option<Numbered> {
    let first_seq = Seq(sequencer.next_seq);
    // Time, and a length before each transaction.
    let bytes_max = list.iter().map(|(prepared, _)| prepared.body.len() + 10).sum::<usize>() + 8;
    let mut plain = Vec::with_capacity(bytes_max);
    begin_frame(now_ms, &mut plain);
    let mut answers = Vec::with_capacity(list.len());
    for (mut prepared, done) in list {
        if sequencer.beats(&prepared) {
            beaten.push(done);
            continue;
        }
        let seq = Seq(sequencer.next_seq);
        sequencer.next_seq += 1;
        sequencer.conflicts.note(&prepared.writes, seq.0);
        if let Some(at) = prepared.seq_at {
            prepared.body[at..at + 8].copy_from_slice(&seq.0.to_le_bytes());
        }
        append_transaction(&prepared.body, &mut plain);
        answers.push((Committed { seq, replayed: false, outcomes: prepared.outcomes }, done));
    }
    if answers.is_empty() {
        return None;
    }
    sequencer.conflicts.prune(visible);
    let sealed_len = plain.len() + crate::keys::SEAL_OVERHEAD_BYTES;
    let inner = InnerShell {
        pool,
        epoch: sequencer.epoch,
        key_epoch: sequencer.key_epoch,
        period: sequencer.period,
        count: answers.len() as u32,
        first_seq,
        sealed_len: sealed_len as u32,
        chain: [0; 32],
    };
    let mut random = [0; 16];
    // The nonce is hedged: without randomness it still repeats for the same text alone.
    let _ = shared.io.random(&mut random);
    let mut body = Vec::with_capacity(INNER_BYTES + sealed_len);
    inner.encode(&mut body);
    let ad = inner.associated_data(&sequencer.chain);
    sequencer.period_key.seal(hedge, random, &ad, &plain, &mut body);
    assert_eq!(body.len(), INNER_BYTES + sealed_len, "a seal adds nonce and tag and no more");
    let (shell, sealed) = body.split_at_mut(INNER_BYTES);
    sequencer.chain = next_chain(&sequencer.chain, &inner, sealed);
    // The chain is the last of the shell.
    shell[INNER_BYTES - sequencer.chain.len()..].copy_from_slice(&sequencer.chain);
    Some((first_seq, plain, body, answers))
}

/// The chain digest after a frame: unkeyed, so that a holder without keys can check it.
pub(crate) fn next_chain(before: &[u8; 32], inner: &InnerShell, sealed: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CHAIN_LABEL).update(&inner.pool.0).update(before).update(&inner.head()).update(sealed);
    *hasher.finalize().as_bytes()
}

impl Sequencer {
    /// Goes on from `next_seq`, as if what had it and came after it had not been numbered.
    fn take_back(&mut self, next_seq: Seq, chain: [u8; 32]) {
        (self.next_seq, self.chain) = (next_seq.0, chain);
        self.conflicts.take_back(next_seq.0 - 1);
    }

    /// Whether something that the draft rests on was written since its snapshot.
    fn beats(&self, prepared: &Prepared) -> bool {
        let base = prepared.base_seq.0;
        if prepared.exclusive {
            return base + 1 != self.next_seq;
        }
        if base + 1 == self.next_seq {
            return false;
        }
        self.conflicts.any_after(base, prepared.reads.iter().chain(&prepared.writes))
    }
}
