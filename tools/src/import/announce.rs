//! Groups that users name before anything defines them.
//!
//! Each part of an import keeps its own [`Announcer`], so that a group is known before its first member whatever part is
//! read first; a bare announcement changes nothing of a group that is there.

use std::collections::HashSet;

use super::record::{ImportGroup, ImportUser, Item, Text};

/// Remembers which groups a part has yielded.
#[derive(Default)]
pub(crate) struct Announcer {
    known: HashSet<String>,
}

impl Announcer {
    /// Notes a group that is about to be yielded; false if it was before.
    pub(crate) fn note(&mut self, name: &str) -> bool {
        !self.known.contains(name) && self.known.insert(name.to_owned())
    }

    /// Yields a bare group for each group of the user that was not yielded; `kind` says what kind it is by its name.
    pub(crate) fn announce<'a>(
        &mut self,
        user: &ImportUser<'a>,
        kind: impl Fn(&str) -> Option<Text<'a>>,
        out: &mut Vec<Item<'a>>,
    ) {
        for name in &user.groups {
            if self.note(name) {
                let (line, kind) = (user.line, kind(name));
                out.push(Item::Group(ImportGroup { line, name: name.clone(), kind, ..ImportGroup::default() }));
            }
        }
    }

    /// Yields an item, and before it what it needs.
    pub(crate) fn push<'a>(&mut self, item: Item<'a>, out: &mut Vec<Item<'a>>) {
        match &item {
            Item::User(user) => self.announce(user, |_| None, out),
            Item::Group(group) => {
                self.note(&group.name);
            }
            _ => {}
        }
        out.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_announced_once_and_before_its_member() {
        let user = |groups: &[&'static str]| {
            let groups = groups.iter().map(|name| (*name).into()).collect();
            Item::User(ImportUser { groups, ..ImportUser::default() })
        };
        let (mut announcer, mut out) = (Announcer::default(), Vec::new());
        announcer.push(Item::Group(ImportGroup { name: "a".into(), ..ImportGroup::default() }), &mut out);
        announcer.push(user(&["a", "b"]), &mut out);
        announcer.push(user(&["b"]), &mut out);
        let names: Vec<_> = out
            .iter()
            .map(|item| match item {
                Item::Group(group) => group.name.to_string(),
                _ => "user".to_owned(),
            })
            .collect();
        assert_eq!(names, ["a", "b", "user", "user"]);
    }
}
