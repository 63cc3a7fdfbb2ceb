//! A customer key in memory: what wraps and unwraps with it.

use std::io;

use stoa_format::keyfile::{CUSTOMER_KEY_INFO, KeyFileId};
use zeroize::Zeroizing;

use crate::io::Io;
use crate::keys::derive::{DataKey, expand, part};
use crate::keys::seal::{HedgeKey, SealKey};

/// A customer key, and what comes of it: it wraps under a derived key, never itself.
pub(super) struct CustomerKey {
    bytes: Zeroizing<[u8; 32]>,
    wrapping: SealKey,
    hedge: HedgeKey,
    id: KeyFileId,
    id_text: String,
}

impl CustomerKey {
    pub(super) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let derived = expand::<80>(&bytes, None, CUSTOMER_KEY_INFO, &[]);
        let mut id = KeyFileId::default();
        id.copy_from_slice(&derived[64..]);
        Self {
            bytes,
            wrapping: SealKey::new(&part(&derived, 0)),
            hedge: HedgeKey::new(&part(&derived, 32)),
            id,
            id_text: id_text(&id),
        }
    }

    /// For its key file only.
    pub(super) fn secret_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub(super) fn id(&self) -> &KeyFileId {
        &self.id
    }

    pub(super) fn id_text(&self) -> &str {
        &self.id_text
    }

    pub(super) fn wrap(&self, io: &dyn Io, key: &DataKey, context: &[u8]) -> io::Result<Vec<u8>> {
        let (mut random, mut out) = ([0; 16], Vec::new());
        io.random(&mut random)?;
        self.wrapping.seal(&self.hedge, random, context, key.secret_bytes(), &mut out);
        Ok(out)
    }

    pub(super) fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Option<DataKey> {
        let mut plain = Zeroizing::new(Vec::with_capacity(wrapped.len()));
        self.wrapping.open(context, wrapped, &mut plain).ok()?;
        plain.as_slice().try_into().ok().map(DataKey::from_bytes)
    }
}

/// A key id as wrapped keys carry it: 32 hexadecimal digits.
pub(super) fn id_text(id: &KeyFileId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}
