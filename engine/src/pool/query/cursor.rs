//! Where the next page of a listing begins, as a token that its holder cannot read or change.
//!
//! base64url of nonce ‖ cipher text ‖ tag under the pool's cursor key. The associated data binds pool, access-control user,
//! command and every argument that decides what is listed; inside stand lease, Seq and position. So a token works in
//! the one listing that it is of, and everywhere else it is no cursor at all.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use stoa_format::Seq;
use stoa_format::wire::{Reader, Write};

use crate::error::{Error, Result};
use crate::pool::open::{OpenPool, lock};

const LABEL: &[u8; 16] = b"stoa cursor v1\0\0";
/// The longest token: a position is an index key at most.
const TOKEN_MAX_BYTES: usize = 32 * 1024;

/// What a cursor is bound to: pool, user, command and arguments, in brief.
pub(super) struct Binding([u8; 64]);

impl Binding {
    /// The binding of a listing. `parts` are what decides which things it lists and how they are shown.
    pub(super) fn new<'a>(pool: &OpenPool, actor: &str, command: &str, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        };
        add(actor.as_bytes());
        add(command.as_bytes());
        parts.for_each(add);
        let mut bytes = [0; 64];
        bytes[..16].copy_from_slice(LABEL);
        bytes[16..32].copy_from_slice(&pool.id.0);
        bytes[32..].copy_from_slice(hasher.finalize().as_bytes());
        Self(bytes)
    }
}

/// The inside of a token.
pub(super) struct Cursor {
    /// The listing's lease.
    pub lease: u64,
    /// The Seq that it shows.
    pub seq: Seq,
    /// The last thing of the page before, as the listing's plan writes it.
    pub position: Vec<u8>,
}

impl Cursor {
    /// The token.
    pub(super) fn seal(&self, pool: &OpenPool, binding: &Binding) -> Result<String> {
        let mut plain = Vec::with_capacity(16 + self.position.len());
        plain.put_u64(self.lease);
        plain.put_u64(self.seq.0);
        plain.put_slice(&self.position);
        let mut random = [0; 16];
        pool.shared.random(&mut random)?;
        let hedge = Arc::clone(&lock(&pool.keyring).hedge);
        let mut sealed = Vec::new();
        pool.cursor_key.seal(&hedge, random, &binding.0, &plain, &mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The inside of a token of this listing.
    pub(super) fn open(pool: &OpenPool, binding: &Binding, token: &str) -> Result<Self> {
        let invalid = || {
            Error::invalid("that is no cursor of this listing: repeat the command that gave it, with all its options")
        };
        if token.len() > TOKEN_MAX_BYTES {
            return Err(invalid());
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let mut plain = Vec::new();
        pool.cursor_key.open(&binding.0, &sealed, &mut plain).map_err(|_| invalid())?;
        let mut reader = Reader::new("cursor", &plain);
        let mut read = || -> Result<Self, stoa_format::DecodeError> {
            let (lease, seq) = (reader.u64()?, Seq(reader.u64()?));
            let rest = reader.remaining();
            Ok(Self { lease, seq, position: reader.slice(rest)?.to_vec() })
        };
        read().map_err(|_| invalid())
    }
}
