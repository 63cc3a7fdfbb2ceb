//! A pool's frames, opened one after the other: from history files, then from the log.
//!
//! A frame opens only with the chain digest before it. That of the oldest frame that is kept is
//! known if it is the first of all or the first after the manifest's state; otherwise the frame
//! serves as the link to the next and is not shown itself.

use std::ops::ControlFlow;

use bytes::Bytes;
use stoa_format::Seq;
use stoa_format::wal::InnerShell;

use crate::error::{Error, ErrorKind, Result};
use crate::pool::open::{OpenPool, PoolFrame, lock};
use crate::store::history::HistoryFile;
use crate::wal::read_frame;

/// Between looking where a frame is and reading it, the log can move on; not often.
const TRIES: u32 = 4;

/// Where frames are that follow each other.
#[derive(Clone, Copy)]
enum Source {
    File(HistoryFile),
    Log(PoolFrame),
}

impl Source {
    fn first_seq(&self) -> Seq {
        match self {
            Self::File(file) => file.first_seq,
            Self::Log(frame) => frame.first_seq,
        }
    }

    fn last_seq(&self) -> Seq {
        match self {
            Self::File(file) => file.last_seq,
            Self::Log(frame) => frame.last_seq,
        }
    }
}

/// What is done with each frame: its shell and its transactions.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&InnerShell, &Bytes) -> Result<ControlFlow<()>>;

impl OpenPool {
    /// Shows the frames from the one with `from` on to `visit`, until it breaks or the newest
    /// durable one was shown.
    ///
    /// # Errors
    /// `EXPIRED`, naming the oldest Seq that is left, if `from` is older; `DAMAGED`, `IOERROR`.
    pub(crate) fn walk_frames(&self, from: Seq, frames_max: usize, visit: Visit<'_>) -> Result<()> {
        if from < lock(&self.erasures).state.frames_from {
            return Err(self.expired(from));
        }
        if let Some(missing) = self.missing_history().filter(|missing| from <= *missing) {
            let what =
                format!("pool {}: history/{:016x} (offset 0): is missing. Run: stoa verify DIR", self.id, missing.0);
            return Err(Error::damaged(what));
        }
        let mut next = from;
        let mut tries = 0;
        while next.0 <= self.visible.seq().0 {
            let before = next;
            match self.walk_some(&mut next, frames_max, visit) {
                Ok(ControlFlow::Break(())) => return Ok(()),
                Ok(ControlFlow::Continue(())) if next > before => tries = 0,
                Ok(ControlFlow::Continue(())) => return Err(self.expired(before)),
                // The segment was given up meanwhile: its frames are in a history file by now.
                Err(error) if error.kind() == ErrorKind::Io && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The first Seq whose frame a history file should have, and none has.
    pub(crate) fn missing_history(&self) -> Option<Seq> {
        let frames_from = lock(&self.erasures).state.frames_from;
        lock(&self.missing_history).filter(|missing| *missing >= frames_from)
    }

    /// The oldest Seq that can be shown.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub(crate) fn oldest_change(&self) -> Result<Seq> {
        // What is before that was given up, though a file may still have it.
        let frames_from = lock(&self.erasures).state.frames_from;
        self.oldest_frame_with_link().map(|oldest| oldest.max(frames_from))
    }

    fn oldest_frame_with_link(&self) -> Result<Seq> {
        let after_all = Seq(self.visible.seq().0 + 1);
        let Some(oldest) = self.sources(Seq(0), 1).first().copied() else { return Ok(after_all) };
        if self.chain_at_start(oldest.first_seq()).is_some() {
            return Ok(oldest.first_seq());
        }
        let mut first_last = None;
        self.read_source(&oldest, &mut |inner, _| {
            first_last.get_or_insert(inner.last_seq());
            Ok(())
        })?;
        Ok(first_last.map_or(after_all, |last| Seq(last.0 + 1)))
    }

    fn walk_some(&self, next: &mut Seq, frames_max: usize, visit: Visit<'_>) -> Result<ControlFlow<()>> {
        let visible = self.visible.seq();
        let sources = self.sources(*next, frames_max);
        let Some(first) = sources.first().copied() else { return Ok(ControlFlow::Continue(())) };
        if first.first_seq() > *next {
            return Ok(ControlFlow::Continue(()));
        }
        // The first source may be there for its last chain digest alone.
        let mut chain = self.chain_at_start(first.first_seq());
        for source in &sources {
            let mut flow = ControlFlow::Continue(());
            self.read_source(source, &mut |inner, sealed| {
                let before = chain.replace(inner.chain);
                if flow.is_break() || inner.last_seq() < *next || inner.first_seq > visible {
                    return Ok(());
                }
                let Some(before) = before else { return Err(self.expired(*next)) };
                let plain = self.open_frame(inner, sealed, &before)?;
                flow = visit(inner, &plain)?;
                *next = Seq(inner.last_seq().0 + 1);
                Ok(())
            })?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn open_frame(&self, inner: &InnerShell, sealed: &[u8], chain_before: &[u8; 32]) -> Result<Bytes> {
        let damaged = |what: &str| {
            Error::damaged(format!(
                "pool {}: the frame of seq {}: {what}. Run: stoa verify DIR",
                self.id, inner.first_seq
            ))
        };
        if crate::commit::sequence::next_chain(chain_before, inner, sealed) != inner.chain {
            return Err(damaged("the chain is broken"));
        }
        let key = lock(&self.keyring).period_key(inner.period);
        let Some(key) = key else { return Err(damaged("the manifest does not name its key")) };
        let mut plain = Vec::new();
        key.open(&inner.associated_data(chain_before), sealed, &mut plain)
            .map_err(|error| damaged("tag does not match").because(error))?;
        Ok(Bytes::from(plain))
    }

    /// The source of `from`, the one before it if there is one, and some that follow; without gaps.
    /// If `from` is older than all, the oldest.
    fn sources(&self, from: Seq, frames_max: usize) -> Vec<Source> {
        let frames = lock(&self.frames);
        let history = lock(&self.history);
        let mut files: Vec<HistoryFile> = Vec::new();
        let mut follows = frames.front().map(|frame| frame.first_seq);
        for file in history.iter().rev() {
            if follows.is_some_and(|next| file.last_seq.0 + 1 != next.0) {
                break;
            }
            follows = Some(file.first_seq);
            files.push(*file);
        }
        files.reverse();
        let start = files.partition_point(|file| file.last_seq < from).saturating_sub(1);
        let mut sources: Vec<Source> = files[start..].iter().take(2).copied().map(Source::File).collect();
        let has_rest = files.len() > start + 2;
        if !has_rest {
            let start = frames.partition_point(|frame| frame.last_seq < from).saturating_sub(1);
            if start > 0 {
                sources.clear();
            }
            let rest = frames.iter().skip(start).take(frames_max.saturating_add(2));
            sources.extend(rest.copied().map(Source::Log));
        }
        sources
    }

    /// The chain digest before a Seq, if it is known without the frame before.
    fn chain_at_start(&self, first_seq: Seq) -> Option<[u8; 32]> {
        let checkpoint = lock(&self.checkpoint);
        match first_seq {
            Seq(1) => Some([0; 32]),
            seq if seq.0 == checkpoint.flushed_seq.0 + 1 => Some(checkpoint.chain),
            _ => None,
        }
    }

    fn read_source(&self, source: &Source, visit: &mut dyn FnMut(&InnerShell, &[u8]) -> Result<()>) -> Result<()> {
        let shared = &self.shared;
        match source {
            Source::File(file) => file.read(&*shared.io, self.id, &self.dir, visit),
            Source::Log(frame) => {
                let body = read_frame(&*shared.io, &shared.wal_dir(), frame.place)?;
                let (inner, sealed) = InnerShell::decode(&body).map_err(|fault| {
                    Error::damaged(format!("pool {}: a frame of the log: {fault}", self.id)).because(fault)
                })?;
                if inner.pool != self.id || inner.last_seq() != source.last_seq() {
                    return Err(Error::damaged(format!("pool {}: a frame of the log is another's", self.id)));
                }
                visit(&inner, sealed)
            }
        }
    }

    fn expired(&self, wanted: Seq) -> Error {
        let oldest = self.oldest_change().unwrap_or(Seq(wanted.0 + 1));
        let what = format!("changes from seq {wanted} on are no longer kept: the oldest that is left is {oldest}");
        Error::new(ErrorKind::Expired, what)
    }
}
