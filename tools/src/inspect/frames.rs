//! The frames of a segment of the log (and of a history file), found as recovery finds them, but without opening anything.
//!
//! Frames stand one after the other, each with the next Lsn, a batch on a fresh block. Where that ends, later
//! frames of the same segment are *stray*: left of a batch that was torn, or shut off by damage. Which of the two
//! it is, [`Segment::stray_claim`] and the next segment tell.

use stoa_format::history::{HEADER_BYTES as HISTORY_HEADER_BYTES, HistoryHeader, RECORD_BYTES, Records};
use stoa_format::wal::{
    BLOCK_BYTES, CHAIN_LABEL, FRAME_ALIGN, FrameKind, InnerShell, OUTER_BYTES, OuterShell, SegmentHeader,
};
use stoa_format::{DecodeError, Lsn, SegmentNumber};

/// A frame that is whole, by its checksum.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Where its outer shell starts in the file.
    pub offset: usize,
    /// The part of it that belongs to the store; `None` once it has left the log.
    pub outer: Option<OuterShell>,
    /// Where its body is in the file.
    body: std::ops::Range<usize>,
}

impl Frame {
    /// Length of the whole frame in bytes.
    pub(crate) fn len(&self) -> usize {
        self.body.end - self.offset
    }

    /// Its position in the log; 0 once it has left it.
    pub(crate) fn lsn(&self) -> Lsn {
        self.outer.as_ref().map_or(Lsn(0), |outer| outer.lsn)
    }

    /// Whether it carries transactions.
    pub(crate) fn is_data(&self) -> bool {
        self.outer.as_ref().is_none_or(|outer| outer.kind == FrameKind::Data)
    }

    /// The pool's part, with the sealed bytes; `None` for a seal frame.
    pub(crate) fn inner<'a>(&self, file: &'a [u8]) -> Option<Result<(InnerShell, &'a [u8]), DecodeError>> {
        self.is_data().then(|| InnerShell::decode(file.get(self.body.clone()).unwrap_or_default()))
    }
}

/// What a segment's file holds.
pub(crate) struct Segment {
    /// Its header, or what is wrong with it.
    pub header: Result<SegmentHeader, DecodeError>,
    /// The frames, in order, none missing.
    pub frames: Vec<Frame>,
    /// The offset after the last of them.
    pub end: usize,
    /// Where a frame of this segment begins that is not whole, and what is wrong with it.
    pub stop: Option<(usize, DecodeError)>,
    /// Whole frames of this segment behind a gap.
    pub stray: Vec<Frame>,
}

impl Segment {
    /// The Lsn that would come next.
    pub(crate) fn next_lsn(&self) -> Option<Lsn> {
        let after = self.frames.last().map(|frame| Lsn(frame.lsn().0 + 1));
        after.or_else(|| self.header.as_ref().ok().map(|header| header.first_lsn))
    }

    /// Why the frames end where they do, if that is damage: something claims that the log was durable beyond. The
    /// offset of the bad place, and what is wrong.
    pub(crate) fn damage(&self, next: Option<&SegmentHeader>) -> Option<(usize, String)> {
        let at = self.stop.as_ref().map_or(self.end, |(at, _)| *at);
        if let Some(next) = next {
            let whole = next.previous_end == self.end as u64 && self.next_lsn().is_none_or(|lsn| lsn == next.first_lsn);
            let what = format!("frames are missing that segment {} says were here", next.number);
            return (!whole).then_some((at, what));
        }
        let claim = self.stray_claim().filter(|claim| self.next_lsn().is_none_or(|next| *claim >= next))?;
        let what = self.stop.as_ref().map_or("no frame", |(_, fault)| fault.reason);
        Some((at, format!("{what}, and valid frames follow (durable up to lsn {claim})")))
    }

    /// The highest Lsn that a stray frame says was durable when it was written.
    pub(crate) fn stray_claim(&self) -> Option<Lsn> {
        self.stray.iter().filter_map(|frame| frame.outer.as_ref()).map(|outer| outer.durable_lsn).max()
    }
}

/// Finds the frames of segment `number` in its file's bytes. `ended_at` is where the next segment says that this
/// one ended; what lies behind was cut and is never believed.
pub(crate) fn scan(bytes: &[u8], number: SegmentNumber, ended_at: Option<u64>) -> Segment {
    let header = SegmentHeader::decode(bytes).and_then(|header| match header.number == number {
        true => Ok(header),
        false => Err(DecodeError::new("segment header", 32, "is that of the segment that this file was before")),
    });
    let owner = header.as_ref().ok().map(|header| header.incarnation);
    let own = |at: usize| {
        let (outer, body) = OuterShell::decode_frame(bytes.get(at..)?).ok()?;
        let ours = outer.segment == number && owner.is_none_or(|incarnation| incarnation == outer.incarnation);
        let start = at + OUTER_BYTES;
        ours.then(|| Frame { offset: at, body: start..start + body.len(), outer: Some(outer) })
    };
    let limit = ended_at.map_or(bytes.len(), |end| (end as usize).min(bytes.len()));
    let mut expected = header.as_ref().ok().map(|header| header.first_lsn);
    let (mut frames, mut at, mut end) = (Vec::new(), BLOCK_BYTES, BLOCK_BYTES);
    while let Some(frame) = [at, at.next_multiple_of(BLOCK_BYTES)]
        .into_iter()
        .filter_map(own)
        .find(|frame| frame.body.end <= limit && expected.is_none_or(|lsn| lsn == frame.lsn()))
    {
        end = frame.body.end;
        at = end.next_multiple_of(FRAME_ALIGN);
        expected = Some(Lsn(frame.lsn().0 + 1));
        frames.push(frame);
    }
    let begun = |at: &usize| {
        // Magic and segment number: what a recycled file held before has another number.
        bytes.get(*at..*at + 4) == Some(b"SFRM") && bytes.get(*at + 16..*at + 24) == Some(&number.0.to_le_bytes())
    };
    let stop = [at, at.next_multiple_of(BLOCK_BYTES)].into_iter().find(begun);
    let stop = stop.filter(|&at| at < limit).and_then(|at| Some((at, OuterShell::decode_frame(&bytes[at..]).err()?)));
    let mut stray = Vec::new();
    let mut from = at.next_multiple_of(BLOCK_BYTES);
    while from < bytes.len() {
        let mut next = from + BLOCK_BYTES;
        let mut place = from;
        // The frames of one batch follow each other; a batch starts on a block.
        while let Some(frame) = own(place) {
            place = frame.body.end.next_multiple_of(FRAME_ALIGN);
            next = place.next_multiple_of(BLOCK_BYTES);
            stray.push(frame);
        }
        from = next;
    }
    Segment { header, frames, end, stop, stray }
}

/// What a file of frames that have left the log holds.
pub(crate) struct History {
    /// Its header, or what is wrong with it.
    pub header: Result<HistoryHeader, DecodeError>,
    /// The frames that are whole.
    pub frames: Vec<Frame>,
    /// Records that are not, with what is wrong; offsets from the start of the file.
    faults: Vec<DecodeError>,
}

impl History {
    /// Everything that is wrong, with its place in the file.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (usize, &DecodeError)> {
        self.header.as_ref().err().into_iter().chain(&self.faults).map(|fault| (fault.offset, fault))
    }
}

/// Finds the frames of a history file; without its header none.
pub(crate) fn scan_history(bytes: &[u8]) -> History {
    let (header, mut records) = match Records::decode(bytes) {
        Ok((header, records)) => (header, records),
        Err(fault) => return History { header: Err(fault), frames: Vec::new(), faults: Vec::new() },
    };
    let (mut frames, mut faults, mut at) = (Vec::new(), Vec::new(), HISTORY_HEADER_BYTES);
    loop {
        let length =
            bytes.get(at..at + 4).and_then(|field| field.first_chunk()).map(|field| u32::from_le_bytes(*field));
        let end = at + RECORD_BYTES + length.unwrap_or_default() as usize;
        match records.next_record() {
            Ok(Some(_)) => frames.push(Frame { offset: at, body: at + RECORD_BYTES..end, outer: None }),
            Ok(None) => break,
            Err(fault) => {
                faults.push(fault.at(at));
                // A damaged body leaves the next record where it is; a damaged length does not.
                if end > bytes.len() || faults.len() > frames.len() + header.count as usize {
                    break;
                }
            }
        }
        at = end;
    }
    History { header: Ok(header), frames, faults }
}

/// The chain digest after a frame: BLAKE3(label ‖ pool ‖ chain before ‖ bytes 0 to 47 of the shell ‖ sealed bytes).
pub(crate) fn next_chain(before: &[u8; 32], inner: &InnerShell, sealed: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CHAIN_LABEL).update(&inner.pool.0).update(before).update(&inner.head()).update(sealed);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stoa_format::history::append_record;
    use stoa_format::{Epoch, KeyEpoch, Period, PoolId, Seq};

    fn body(seq: u64) -> Vec<u8> {
        let (pool, epoch, key_epoch, period) = (PoolId([7; 16]), Epoch(0), KeyEpoch(1), Period(1));
        let (first_seq, count, sealed_len) = (Seq(seq), 1, 50);
        let mut out = Vec::new();
        InnerShell { pool, epoch, key_epoch, period, count, first_seq, sealed_len, chain: [1; 32] }.encode(&mut out);
        out.extend_from_slice(&[9; 50]);
        out
    }

    #[test]
    fn a_damaged_record_of_a_history_file_leaves_the_others() {
        let header = HistoryHeader { pool: PoolId([7; 16]), first_seq: Seq(1), last_seq: Seq(3), count: 3 };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        (1..4).for_each(|seq| append_record(&body(seq), &mut bytes));
        let whole = scan_history(&bytes);
        assert_eq!((whole.frames.len(), whole.faults().count()), (3, 0));
        let second = whole.frames[1].offset;
        bytes[second + 20] ^= 1;
        let found = scan_history(&bytes);
        let seqs: Vec<_> =
            found.frames.iter().map(|frame| frame.inner(&bytes).unwrap().unwrap().0.first_seq.0).collect();
        assert_eq!(seqs, [1, 3]);
        assert_eq!(found.faults().map(|(at, _)| at).collect::<Vec<_>>(), [second]);
        bytes[20] ^= 1;
        assert!(scan_history(&bytes).header.is_err());
    }
}
