//! The numbers that name things, each a type of its own.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A user's row number in every column of its pool: dense, minted in order of creation, never reused.
    Ordinal(u64)
}
number! {
    /// An attribute of one pool's schema; below [`AttrId::FIRST_USER`] are the built-in columns.
    AttrId(u16)
}
number! {
    /// A sorted keyspace of a pool: an index, a membership list, the groups.
    Keyspace(u8)
}
number! {
    /// A frame's position in the store's log: 1 for the first frame, +1 for each one after it.
    Lsn(u64)
}
number! {
    /// A pool's transaction number, below 2^53, +1 for each committed transaction.
    Seq(u64)
}
number! {
    /// A pool's leadership term. Each epoch's Seqs start at the next multiple of 2^32.
    Epoch(u32)
}
number! {
    /// A generation of a pool's data key; +1 at each rotation.
    KeyEpoch(u32)
}
number! {
    /// A run file of a pool; minted from the manifest, never reused.
    FileId(u64)
}
number! {
    /// A segment of the store's log.
    SegmentNumber(u64)
}
number! {
    /// A flush period of a pool: the frames between two flushes are sealed under one period key.
    Period(u32)
}

impl AttrId {
    /// The user's immutable UUID.
    pub const SUB: Self = Self(0);
    /// 1 while the user exists; absent after deletion.
    pub const LIVE: Self = Self(1);
    /// +1 for each change of the user's profile or credentials.
    pub const VERSION: Self = Self(2);
    /// Creation time, milliseconds since the Unix epoch.
    pub const CREATED_AT: Self = Self(3);
    /// Time of the last change, milliseconds since the Unix epoch.
    pub const UPDATED_AT: Self = Self(4);
    /// 1 or 0.
    pub const ENABLED: Self = Self(5);
    /// The sign-in status, as a small integer.
    pub const STATUS: Self = Self(6);
    /// The stored password hash, as taken.
    pub const PASSWORD: Self = Self(7);
    /// Failure counter, lock and last sign-in.
    pub const SIGN_IN: Self = Self(8);
    /// When the password was set, milliseconds since the Unix epoch.
    pub const PASSWORD_SET_AT: Self = Self(9);
    /// The legacy system's version of this user, while a migration is on.
    pub const SOURCE_VERSION: Self = Self(10);
    /// The first id that a schema attribute can have.
    pub const FIRST_USER: Self = Self(64);
}

macro_rules! uuid_like {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The nil UUID.
            pub const NIL: Self = Self([0; 16]);

            /// Parses the 36-character text form, either case.
            pub fn parse(text: &str) -> Option<Self> {
                parse_uuid(text.as_bytes()).map(Self)
            }

            /// The 36-character lower-case text form.
            pub fn text(&self) -> [u8; 36] {
                uuid_text(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = self.text();
                f.pad(std::str::from_utf8(&text).unwrap_or_default())
            }
        }
    };
}

uuid_like! {
    /// A pool's UUID; names its directory.
    PoolId
}
uuid_like! {
    /// A user's immutable UUID.
    Sub
}
uuid_like! {
    /// A store's UUID, minted when it is created.
    StoreId
}

/// Where the four hyphens stand in a UUID's text.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut out = [0u8; 16];
    let mut nibbles = 0;
    for (i, &byte) in text.iter().enumerate() {
        if HYPHENS.contains(&i) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = (byte as char).to_digit(16)? as u8;
        out[nibbles / 2] = out[nibbles / 2] << 4 | digit;
        nibbles += 1;
    }
    Some(out)
}

fn uuid_text(bytes: &[u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'-'; 36];
    let mut at = 0;
    for byte in bytes {
        if HYPHENS.contains(&at) {
            at += 1;
        }
        out[at] = DIGITS[usize::from(byte >> 4)];
        out[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_round_trips() {
        let text = "36cdc8af-909f-48d3-909d-313a9fdfe6c1";
        assert_eq!(Sub::parse(text).unwrap().to_string(), text);
        assert_eq!(Sub::parse(&text.to_uppercase()).unwrap().to_string(), text);
        for bad in ["", "36cdc8af", "36cdc8af-909f-48d3-909d-313a9fdfe6c", "36cdc8afx909f-48d3-909d-313a9fdfe6c1"] {
            assert_eq!(Sub::parse(bad), None);
        }
    }
}
