//! Users that one import has already met.
//!
//! A source may hold the same user twice (several searches in one LDIF file, a row copied in a spreadsheet). The first one
//! counts, the others are refused: taking each in turn would change the user at every run of the same file.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

use super::{attrs::standard, record::ImportUser};

/// Remembers users by fingerprints of their sub and username: some 50 bytes a user.
#[derive(Default)]
pub(crate) struct Seen {
    lines: HashMap<u128, u64>,
}

impl Seen {
    /// Notes a user; says where an earlier user with the same sub or username stands, if there is one.
    pub(crate) fn note(&mut self, user: &ImportUser<'_>) -> Option<u64> {
        let by_sub = user.sub.map(|sub| xxh3_128(&[b"sub ", &sub[..]].concat()));
        // Usernames are compared as the pool compares them by default; what differs more finely it tells itself.
        let by_name = user.text(standard::USERNAME).map(|name| xxh3_128(name.to_lowercase().as_bytes()));
        let earlier = [by_sub, by_name].into_iter().flatten().find_map(|print| self.lines.get(&print).copied());
        if earlier.is_none() {
            self.lines.extend([by_sub, by_name].into_iter().flatten().map(|print| (print, user.line)));
        }
        earlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::record::ImportValue;

    #[test]
    fn the_second_of_a_name_or_sub_is_found() {
        let user = |line, name: &'static str, sub: Option<u8>| ImportUser {
            line,
            sub: sub.map(|b| [b; 16]),
            attrs: vec![(standard::USERNAME, ImportValue::Str(name.into()))],
            ..ImportUser::default()
        };
        let mut seen = Seen::default();
        assert_eq!(seen.note(&user(1, "a", Some(1))), None);
        assert_eq!(seen.note(&user(2, "b", None)), None);
        assert_eq!(seen.note(&user(3, "A", None)), Some(1));
        assert_eq!(seen.note(&user(4, "c", Some(1))), Some(1));
    }
}
