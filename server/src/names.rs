//! Listings of names that no pool keeps: the pools, and the names of configuration documents.
//!
//! 1. All pages of a listing show what its first page saw; a lease keeps the names for the others.
//! 2. A cursor is a lease and a place under a keyed hash over who may use it for what, so it works in
//!    the one listing that it is of and is no cursor anywhere else. The key lives as long as the process.
//! 3. Each page renews its lease; there are never more than [`LEASES_MAX`], the oldest makes room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use stoa_engine::PageRequest;
use stoa_engine::pool::view::Page;
use stoa_format::Seq;
use subtle::ConstantTimeEq;

use crate::refusal::{Refusal, Result};

/// The most listings that are kept at once.
const LEASES_MAX: usize = 256;
/// How long a lease is kept unless the configuration says otherwise.
const TTL_MS_DEFAULT: u64 = 600_000;
/// A cursor: lease u64, place u64, 16 bytes of the keyed hash.
const CURSOR_BYTES: usize = 32;

struct Lease {
    seq: Seq,
    names: Arc<[Box<str>]>,
    ends: Instant,
}

#[derive(Default)]
struct State {
    next: u64,
    leases: BTreeMap<u64, Lease>,
}

/// The listings of one server.
pub(crate) struct NameLists {
    key: [u8; 32],
    ttl: Duration,
    state: Mutex<State>,
}

impl NameLists {
    /// None yet; `None` if the system gives no random bytes.
    pub(crate) fn new(ttl_ms: Option<u64>) -> Option<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).ok()?;
        let ttl = Duration::from_millis(ttl_ms.unwrap_or(TTL_MS_DEFAULT));
        Some(Self { key, ttl, state: Mutex::default() })
    }

    /// The page that `request` asks for of the listing `of`; `begin` gives all names and their Seq for
    /// the first one.
    ///
    /// # Errors
    /// `INVALID` for a cursor that is none of this listing, `EXPIRED` for one whose names are no longer
    /// kept, `STALE`.
    pub(crate) fn page(
        &self,
        of: &str,
        request: &PageRequest<'_>,
        begin: impl FnOnce() -> (Seq, Vec<Box<str>>),
    ) -> Result<Page<Box<str>>> {
        let (id, start, seq, names) = match request.cursor {
            Some(cursor) => {
                let (id, start) = self.open(of, request.actor, cursor)?;
                let (seq, names) = self.renew(id)?;
                (Some(id), start, seq, names)
            }
            None => {
                let (seq, names) = begin();
                if request.min_seq.is_some_and(|wanted| wanted > seq) {
                    let sentence = format!("the state is at seq {seq}: wait, or read without MINSEQ");
                    return Err(Refusal::new("STALE", sentence));
                }
                (None, 0, seq, names.into())
            }
        };
        let end = names.len().min(start.saturating_add(request.limit));
        let items = names.get(start..end).unwrap_or_default().to_vec();
        let cursor = (end < names.len()).then(|| {
            let id = id.unwrap_or_else(|| self.grant(seq, &names));
            self.seal(of, request.actor, id, end)
        });
        Ok(Page { items, cursor, seq })
    }

    fn grant(&self, seq: Seq, names: &Arc<[Box<str>]>) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.leases.retain(|_, lease| lease.ends > now);
        while state.leases.len() >= LEASES_MAX {
            let oldest = state.leases.iter().min_by_key(|(_, lease)| lease.ends).map(|(id, _)| *id);
            oldest.and_then(|id| state.leases.remove(&id));
        }
        state.next += 1;
        let id = state.next;
        state.leases.insert(id, Lease { seq, names: names.clone(), ends: now + self.ttl });
        id
    }

    fn renew(&self, id: u64) -> Result<(Seq, Arc<[Box<str>]>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.leases.retain(|_, lease| lease.ends > now);
        let Some(lease) = state.leases.get_mut(&id) else {
            let sentence = "this listing's state is no longer kept: begin it again without a cursor";
            return Err(Refusal::new("EXPIRED", sentence));
        };
        lease.ends = now + self.ttl;
        Ok((lease.seq, lease.names.clone()))
    }

    fn tag(&self, of: &str, actor: &str, place: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [of.as_bytes(), actor.as_bytes(), place] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let mut tag = [0; 16];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        tag
    }

    fn seal(&self, of: &str, actor: &str, id: u64, place: usize) -> String {
        let mut bytes = [0; CURSOR_BYTES];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[8..16].copy_from_slice(&(place as u64).to_le_bytes());
        let tag = self.tag(of, actor, &bytes[..16]);
        bytes[16..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open(&self, of: &str, actor: &str, cursor: &str) -> Result<(u64, usize)> {
        let invalid = || {
            Refusal::invalid("that is no cursor of this listing: repeat the command that gave it, with all its options")
        };
        let mut bytes = [0; CURSOR_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(cursor, &mut bytes) {
            Ok(CURSOR_BYTES) => {}
            _ => return Err(invalid()),
        }
        let tag = self.tag(of, actor, &bytes[..16]);
        if !bool::from(tag[..].ct_eq(&bytes[16..])) {
            return Err(invalid());
        }
        let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        Ok((number(0), number(8) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(actor: &'a str, cursor: Option<&'a str>) -> PageRequest<'a> {
        PageRequest { limit: 2, cursor, actor, max_bytes: 1 << 20, min_seq: None, state: None }
    }

    fn begin() -> (Seq, Vec<Box<str>>) {
        (Seq(7), ["a", "b", "c", "d", "e"].map(Into::into).to_vec())
    }

    #[test]
    fn pages_show_what_the_first_one_saw_and_cursors_belong_to_one_listing() {
        let lists = NameLists::new(None).unwrap();
        let mut page = lists.page("POOL.LIST", &request("ops", None), begin).unwrap();
        let mut seen = page.items.clone();
        while let Some(cursor) = page.cursor.clone() {
            let again = |of: &str, actor: &str, cursor: &str| {
                lists
                    .page(of, &request(actor, Some(cursor)), || panic!("a page begins nothing"))
                    .map_err(|refused| refused.word())
            };
            assert_eq!(again("POOL.LIST", "eve", &cursor).unwrap_err(), "INVALID");
            assert_eq!(again("POOL.CONFIG x", "ops", &cursor).unwrap_err(), "INVALID");
            let mut other = cursor.clone().into_bytes();
            other[12] ^= 1;
            assert_eq!(again("POOL.LIST", "ops", std::str::from_utf8(&other).unwrap()).unwrap_err(), "INVALID");
            assert_eq!(again("POOL.LIST", "ops", &cursor), again("POOL.LIST", "ops", &cursor));
            page = again("POOL.LIST", "ops", &cursor).unwrap();
            assert_eq!(page.seq, Seq(7));
            seen.extend(page.items.clone());
        }
        assert_eq!(seen, begin().1);
    }

    #[test]
    fn a_lease_ends_and_makes_room() {
        let lists = NameLists::new(Some(0)).unwrap();
        let cursor = lists.page("x", &request("a", None), begin).unwrap().cursor.unwrap();
        let refused = lists.page("x", &request("a", Some(&cursor)), begin).unwrap_err();
        assert_eq!(refused.word(), "EXPIRED");
        let lists = NameLists::new(None).unwrap();
        let first = lists.page("x", &request("a", None), begin).unwrap().cursor.unwrap();
        for _ in 0..LEASES_MAX {
            lists.page("x", &request("a", None), begin).unwrap();
        }
        assert_eq!(lists.page("x", &request("a", Some(&first)), begin).unwrap_err().word(), "EXPIRED");
        assert_eq!(lists.state.lock().unwrap().leases.len(), LEASES_MAX);
    }
}
