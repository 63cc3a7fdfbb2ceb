//! What is sealed inside a frame: the transactions of one pool in one batch, as physical
//! operations. Replaying them needs no logic, no old value and no clock.
//!
//! ```text
//! plain text    time_ms u64 ‖ transaction …           (as many as the inner shell says)
//! transaction   bytes(actor text ‖ operation …)
//! operation     code u8 ‖ what the code says
//! ```
//!
//! | code | operation | content |
//! | --- | --- | --- |
//! | 1 | put | ordinal varint ‖ flags u8 ‖ bytes(cells) |
//! | 2 | set key | keyspace u8 ‖ bytes(key) ‖ bytes(value) |
//! | 3 | delete key | keyspace u8 ‖ bytes(key) |
//! | 4 | digest | leaf hash u64 ‖ delta 16 bytes little endian |
//! | 5 | event | event u8 ‖ subject (flag u8, sub 16 or text) ‖ version varint ‖ count ‖ attribute varint … |
//! | 6 | meta | bytes(name text) ‖ flag u8 ‖ bytes(content) |
//!
//! A put's cells are `count ‖ (attribute varint ‖ tag u8 ‖ content)…` in ascending order of
//! attribute; tag 0 is absent (no content), 1 a number (zigzag varint), 2 bytes.

use crate::error::DecodeError;
use crate::ids::{AttrId, Keyspace, Ordinal, Sub};
use crate::wire::{Reader, Write};

/// The user is new: no run says anything about its ordinal.
pub const PUT_CREATES: u8 = 1;
/// The user is gone with this transaction.
pub const PUT_DELETES: u8 = 2;

/// One value of one attribute of one user, where there is something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellRef<'a> {
    /// Set to nothing.
    Absent,
    /// A number: integers, booleans (0, 1), times in milliseconds.
    Int(i64),
    /// Octets: texts, JSON, bytes, hashes.
    Bytes(&'a [u8]),
}

/// Appends the cells of a put. `cells` must be in ascending order of attribute, each once.
pub fn encode_cells<'a>(cells: impl ExactSizeIterator<Item = (AttrId, CellRef<'a>)>, out: &mut Vec<u8>) {
    out.put_varint(cells.len() as u64);
    for (attr, cell) in cells {
        out.put_varint(u64::from(attr.0));
        match cell {
            CellRef::Absent => out.put_u8(0),
            CellRef::Int(value) => {
                out.put_u8(1);
                out.put_signed(value);
            }
            CellRef::Bytes(value) => {
                out.put_u8(2);
                out.put_bytes(value);
            }
        }
    }
}

/// The cells of a put, one after the other.
#[derive(Debug, Clone)]
pub struct Cells<'a> {
    reader: Reader<'a>,
    left: usize,
    /// No attribute below this one may follow.
    least: u32,
}

impl Default for Cells<'_> {
    /// No cells.
    fn default() -> Self {
        Self { reader: Reader::new("cells", &[]), left: 0, least: 0 }
    }
}

impl<'a> Cells<'a> {
    /// Reads the cells of a put.
    ///
    /// # Errors
    /// A count that the bytes cannot hold.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("cells", bytes);
        let left = reader.count(2)?;
        Ok(Self { reader, left, least: 0 })
    }

    /// The next cell; `None` after the last.
    ///
    /// # Errors
    /// Cut short, an unknown tag, attributes that do not ascend, bytes left over after the last.
    #[inline]
    pub fn next_cell(&mut self) -> Result<Option<(AttrId, CellRef<'a>)>, DecodeError> {
        if self.left == 0 {
            return self.reader.end().map(|()| None);
        }
        self.left -= 1;
        let attr = u16::try_from(self.reader.varint()?).map_err(|_| self.reader.fault("attribute exceeds 16 bits"))?;
        // `find` stops at the first attribute above the one sought.
        if u32::from(attr) < self.least {
            return Err(self.reader.fault("attributes do not ascend"));
        }
        self.least = u32::from(attr) + 1;
        let cell = match self.reader.u8()? {
            0 => CellRef::Absent,
            1 => CellRef::Int(self.reader.signed()?),
            2 => CellRef::Bytes(self.reader.bytes()?),
            _ => return Err(self.reader.fault("tag is unknown")),
        };
        Ok(Some((AttrId(attr), cell)))
    }

    /// The cell of `attr`, if there is one.
    ///
    /// # Errors
    /// As [`Cells::next_cell`].
    pub fn find(mut self, attr: AttrId) -> Result<Option<CellRef<'a>>, DecodeError> {
        while let Some((found, cell)) = self.next_cell()? {
            if found >= attr {
                return Ok((found == attr).then_some(cell));
            }
        }
        Ok(None)
    }
}

/// What happened, for the change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A user was made.
    UserCreate = 1,
    /// Attributes were set or removed.
    UserSet = 2,
    /// A user was deleted.
    UserDelete = 3,
    /// Sign-in was enabled.
    UserEnable = 4,
    /// Sign-in was disabled.
    UserDisable = 5,
    /// The status was set.
    UserStatus = 6,
    /// The password was set.
    CredSet = 7,
    /// A password check was recorded.
    CredVerify = 8,
    /// The failure counter was cleared.
    CredUnlock = 9,
    /// A further factor was stored.
    CredPut = 10,
    /// A further factor was removed.
    CredDel = 11,
    /// A recovery code was used.
    CredConsume = 12,
    /// An identity was linked.
    IdentityLink = 13,
    /// An identity was unlinked.
    IdentityUnlink = 14,
    /// A group was made.
    GroupCreate = 15,
    /// A group was changed.
    GroupSet = 16,
    /// A group was renamed.
    GroupRename = 17,
    /// A group was deleted.
    GroupDelete = 18,
    /// A user joined a group.
    GroupAdd = 19,
    /// A user left a group.
    GroupRemove = 20,
    /// The schema was changed.
    PoolAlter = 21,
    /// A configuration document was set.
    ConfigSet = 22,
    /// A configuration document was removed.
    ConfigDel = 23,
    /// The data key was rotated or wrapped anew.
    PoolKey = 24,
    /// Users were imported in bulk.
    PoolImport = 25,
    /// One value was set for many users.
    UserSetAll = 26,
    /// The pool was made.
    PoolCreate = 27,
    /// The pool was dropped.
    PoolDrop = 28,
}

impl EventKind {
    /// All kinds, in the order of their numbers from 1.
    pub const ALL: [Self; 28] = [
        Self::UserCreate,
        Self::UserSet,
        Self::UserDelete,
        Self::UserEnable,
        Self::UserDisable,
        Self::UserStatus,
        Self::CredSet,
        Self::CredVerify,
        Self::CredUnlock,
        Self::CredPut,
        Self::CredDel,
        Self::CredConsume,
        Self::IdentityLink,
        Self::IdentityUnlink,
        Self::GroupCreate,
        Self::GroupSet,
        Self::GroupRename,
        Self::GroupDelete,
        Self::GroupAdd,
        Self::GroupRemove,
        Self::PoolAlter,
        Self::ConfigSet,
        Self::ConfigDel,
        Self::PoolKey,
        Self::PoolImport,
        Self::UserSetAll,
        Self::PoolCreate,
        Self::PoolDrop,
    ];

    /// The name in the change feed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserCreate => "user.create",
            Self::UserSet => "user.set",
            Self::UserDelete => "user.delete",
            Self::UserEnable => "user.enable",
            Self::UserDisable => "user.disable",
            Self::UserStatus => "user.status",
            Self::CredSet => "cred.set",
            Self::CredVerify => "cred.verify",
            Self::CredUnlock => "cred.unlock",
            Self::CredPut => "cred.put",
            Self::CredDel => "cred.del",
            Self::CredConsume => "cred.consume",
            Self::IdentityLink => "identity.link",
            Self::IdentityUnlink => "identity.unlink",
            Self::GroupCreate => "group.create",
            Self::GroupSet => "group.set",
            Self::GroupRename => "group.rename",
            Self::GroupDelete => "group.delete",
            Self::GroupAdd => "group.add",
            Self::GroupRemove => "group.remove",
            Self::PoolAlter => "pool.alter",
            Self::ConfigSet => "config.set",
            Self::ConfigDel => "config.del",
            Self::PoolKey => "pool.key",
            Self::PoolImport => "pool.import",
            Self::UserSetAll => "user.setall",
            Self::PoolCreate => "pool.create",
            Self::PoolDrop => "pool.drop",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).wrapping_sub(1)).copied()
    }
}

/// Whom or what an event concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The pool itself.
    Pool,
    /// A user.
    User(Sub),
    /// A group or a document, by name.
    Named(&'a str),
    /// A user and a group: a membership.
    Member(Sub, &'a str),
}

/// One physical operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Cells of one user.
    Put {
        /// Whose.
        ordinal: Ordinal,
        /// [`PUT_CREATES`], [`PUT_DELETES`] or 0.
        flags: u8,
        /// Encoded by [`encode_cells`].
        cells: &'a [u8],
    },
    /// Sets a key.
    SetKey {
        /// Where.
        keyspace: Keyspace,
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Deletes a key.
    DeleteKey {
        /// Where.
        keyspace: Keyspace,
        /// The key.
        key: &'a [u8],
    },
    /// Changes one leaf of the digest tree.
    Digest {
        /// The hash whose top bits name the leaf.
        leaf: u64,
        /// What to add, modulo 2^128.
        delta: u128,
    },
    /// Says what happened, for the change feed.
    Event {
        /// What.
        event: EventKind,
        /// To whom.
        subject: Subject<'a>,
        /// The version after it; 0 where there is none.
        version: u64,
        /// Which attributes: encoded as `count ‖ varint…`.
        attrs: Vec<AttrId>,
    },
    /// Sets or removes a document of the pool: schema, configuration, keyring.
    Meta {
        /// The document's name.
        name: &'a str,
        /// Its content; `None` removes it.
        content: Option<&'a [u8]>,
    },
}

impl Operation<'_> {
    /// Appends the operation.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put { ordinal, flags, cells } => {
                out.put_u8(1);
                out.put_varint(ordinal.0);
                out.put_u8(*flags);
                out.put_bytes(cells);
            }
            Self::SetKey { keyspace, key, value } => {
                out.put_u8(2);
                out.put_u8(keyspace.0);
                out.put_bytes(key);
                out.put_bytes(value);
            }
            Self::DeleteKey { keyspace, key } => {
                out.put_u8(3);
                out.put_u8(keyspace.0);
                out.put_bytes(key);
            }
            Self::Digest { leaf, delta } => {
                out.put_u8(4);
                out.put_u64(*leaf);
                out.put_slice(&delta.to_le_bytes());
            }
            Self::Event { event, subject, version, attrs } => {
                out.put_u8(5);
                out.put_u8(*event as u8);
                match subject {
                    Subject::Pool => out.put_u8(0),
                    Subject::User(sub) => {
                        out.put_u8(1);
                        out.put_slice(&sub.0);
                    }
                    Subject::Named(name) => {
                        out.put_u8(2);
                        out.put_bytes(name.as_bytes());
                    }
                    Subject::Member(sub, name) => {
                        out.put_u8(3);
                        out.put_slice(&sub.0);
                        out.put_bytes(name.as_bytes());
                    }
                }
                out.put_varint(*version);
                out.put_varint(attrs.len() as u64);
                attrs.iter().for_each(|attr| out.put_varint(u64::from(attr.0)));
            }
            Self::Meta { name, content } => {
                out.put_u8(6);
                out.put_bytes(name.as_bytes());
                out.put_u8(u8::from(content.is_some()));
                out.put_bytes(content.unwrap_or_default());
            }
        }
    }
}

/// One transaction inside a frame.
#[derive(Debug, Clone)]
pub struct TransactionReader<'a> {
    /// The access-control user who asked for it.
    pub actor: &'a str,
    reader: Reader<'a>,
}

impl<'a> TransactionReader<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("transaction", bytes);
        Ok(Self { actor: reader.text()?, reader })
    }

    /// The next operation; `None` after the last.
    ///
    /// # Errors
    /// Cut short, or an unknown code.
    pub fn next_op(&mut self) -> Result<Option<Operation<'a>>, DecodeError> {
        let reader = &mut self.reader;
        if reader.remaining() == 0 {
            return Ok(None);
        }
        let operation = match reader.u8()? {
            1 => Operation::Put { ordinal: Ordinal(reader.varint()?), flags: reader.u8()?, cells: reader.bytes()? },
            2 => Operation::SetKey { keyspace: Keyspace(reader.u8()?), key: reader.bytes()?, value: reader.bytes()? },
            3 => Operation::DeleteKey { keyspace: Keyspace(reader.u8()?), key: reader.bytes()? },
            4 => Operation::Digest { leaf: reader.u64()?, delta: u128::from_le_bytes(reader.array()?) },
            5 => decode_event(reader)?,
            6 => {
                let name = reader.text()?;
                Operation::Meta { name, content: reader.optional_bytes()? }
            }
            _ => return Err(reader.fault("operation code is unknown")),
        };
        Ok(Some(operation))
    }
}

fn decode_event<'a>(reader: &mut Reader<'a>) -> Result<Operation<'a>, DecodeError> {
    let event = EventKind::from_number(reader.u8()?).ok_or_else(|| reader.fault("event is unknown"))?;
    let subject = match reader.u8()? {
        0 => Subject::Pool,
        1 => Subject::User(Sub(reader.array()?)),
        2 => Subject::Named(reader.text()?),
        3 => Subject::Member(Sub(reader.array()?), reader.text()?),
        _ => return Err(reader.fault("subject is unknown")),
    };
    let version = reader.varint()?;
    let count = reader.count(1)?;
    let mut attrs = Vec::with_capacity(count);
    for _ in 0..count {
        let attr = u16::try_from(reader.varint()?).map_err(|_| reader.fault("attribute exceeds 16 bits"))?;
        attrs.push(AttrId(attr));
    }
    Ok(Operation::Event { event, subject, version, attrs })
}

/// Starts a frame's plain text.
pub fn begin_frame(time_ms: u64, out: &mut Vec<u8>) {
    out.put_u64(time_ms);
}

/// Appends one transaction, whose `body` is `text(actor) ‖ operation…`.
pub fn append_transaction(body: &[u8], out: &mut Vec<u8>) {
    out.put_bytes(body);
}

/// A frame's plain text.
#[derive(Debug, Clone)]
pub struct FrameReader<'a> {
    /// When the batch was committed, milliseconds since the Unix epoch.
    pub time_ms: u64,
    reader: Reader<'a>,
}

impl<'a> FrameReader<'a> {
    /// Reads a frame's plain text.
    ///
    /// # Errors
    /// Cut short.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("transactions", bytes);
        Ok(Self { time_ms: reader.u64()?, reader })
    }

    /// The next transaction; `None` after the last.
    ///
    /// # Errors
    /// Cut short.
    pub fn next_transaction(&mut self) -> Result<Option<TransactionReader<'a>>, DecodeError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        TransactionReader::decode(self.reader.bytes()?).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_round_trips() {
        let mut cells = Vec::new();
        let list = [(AttrId(2), CellRef::Int(-5)), (AttrId(64), CellRef::Bytes(b"ana")), (AttrId(65), CellRef::Absent)];
        encode_cells(list.into_iter(), &mut cells);
        let ops = [
            Operation::Put { ordinal: Ordinal(7), flags: PUT_CREATES, cells: &cells },
            Operation::SetKey { keyspace: Keyspace(1), key: b"k", value: b"v" },
            Operation::DeleteKey { keyspace: Keyspace(2), key: b"k2" },
            Operation::Digest { leaf: 9, delta: u128::MAX },
            Operation::Event {
                event: EventKind::GroupAdd,
                subject: Subject::Member(Sub([1; 16]), "g"),
                version: 3,
                attrs: vec![AttrId(64)],
            },
            Operation::Meta { name: "schema", content: Some(b"{}") },
            Operation::Meta { name: "config/x", content: None },
        ];
        let mut body = Vec::new();
        body.put_bytes(b"admin");
        ops.iter().for_each(|op| op.encode(&mut body));
        let mut plain = Vec::new();
        begin_frame(1234, &mut plain);
        append_transaction(&body, &mut plain);
        let mut frame = FrameReader::decode(&plain).unwrap();
        assert_eq!(frame.time_ms, 1234);
        let mut transaction = frame.next_transaction().unwrap().unwrap();
        assert_eq!(transaction.actor, "admin");
        for op in &ops {
            assert_eq!(transaction.next_op().unwrap().as_ref(), Some(op));
        }
        assert_eq!(transaction.next_op().unwrap(), None);
        assert!(frame.next_transaction().unwrap().is_none());
        assert_eq!(Cells::decode(&cells).unwrap().find(AttrId(64)).unwrap(), Some(CellRef::Bytes(b"ana")));
        assert_eq!(Cells::decode(&cells).unwrap().find(AttrId(63)).unwrap(), None);
    }

    #[test]
    fn event_numbers_are_their_places() {
        for event in EventKind::ALL {
            assert_eq!(EventKind::from_number(event as u8), Some(event));
        }
        assert_eq!(EventKind::from_number(0), None);
        assert_eq!(EventKind::from_number(29), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_a_value(bytes: Vec<u8>) {
            if let Ok(mut frame) = FrameReader::decode(&bytes) {
                while let Ok(Some(mut transaction)) = frame.next_transaction() {
                    while let Ok(Some(op)) = transaction.next_op() {
                        if let Operation::Put { cells, .. } = op
                            && let Ok(mut cells) = Cells::decode(cells)
                        {
                            while let Ok(Some(_)) = cells.next_cell() {}
                        }
                    }
                }
            }
        }
    }
}
