//! Which commands of one connection may be under way at the same time.
//!
//! A connection's requests take effect in order. Two may overlap only if the order cannot be told:
//! they concern different users (named by sub, as an alias could be anybody's), and the later one
//! claims no alias that the earlier one may give up. Everything else waits for the replies of what
//! came before.

use bytes::Bytes;
use stoa_engine::pool::request::UserRef;
use stoa_format::Sub;

/// What one command touches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Footprint {
    /// The pool.
    pub pool: Box<str>,
    /// Checks a secret and changes nothing but sign-in state.
    pub is_check: bool,
    /// Users named by sub.
    pub subs: Vec<Sub>,
    /// Users named in another way: each could be anybody.
    pub aliases: Vec<UserRef>,
    /// May give up an alias.
    pub releases: bool,
    /// Takes an alias.
    pub claims: bool,
    /// Groups that it names.
    pub groups: Vec<Box<str>>,
    /// Its retry token.
    pub token: Option<Bytes>,
    /// Nothing may overlap with it.
    pub is_alone: bool,
}

impl Footprint {
    /// Of a command that nothing may overlap with.
    pub(crate) fn alone() -> Self {
        Self { is_alone: true, ..Self::default() }
    }

    /// Of a command of this pool.
    pub(crate) fn of(pool: &str) -> Self {
        Self { pool: pool.into(), ..Self::default() }
    }

    /// The same, concerning these users too.
    pub(crate) fn on<'u>(mut self, users: impl IntoIterator<Item = &'u UserRef>) -> Self {
        for user in users {
            match user {
                UserRef::Sub(sub) => self.subs.push(*sub),
                alias => self.aliases.push(alias.clone()),
            }
        }
        self
    }

    /// Whether this one may start before `earlier` is answered.
    pub(crate) fn may_overlap(&self, earlier: &Self) -> bool {
        if self.is_alone || earlier.is_alone {
            return false;
        }
        if self.pool != earlier.pool {
            return true;
        }
        let same_token = self.token.is_some() && self.token == earlier.token;
        let same_user = self.subs.iter().any(|sub| earlier.subs.contains(sub));
        if self.is_check && earlier.is_check {
            // Checks of one user count against its lock-out while they are under way; one by one they do not.
            return !same_user && !self.aliases.iter().any(|alias| earlier.aliases.contains(alias));
        }
        let same_group = self.groups.iter().any(|group| earlier.groups.contains(group));
        let moves_alias = earlier.releases && self.claims;
        let names_alias = !self.aliases.is_empty() || !earlier.aliases.is_empty();
        !(same_token || same_user || same_group || moves_alias || names_alias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(sub: u8) -> Footprint {
        Footprint::of("p").on([&UserRef::Sub(Sub([sub; 16]))])
    }

    fn alias() -> Footprint {
        Footprint::of("p").on([&UserRef::parse("email=a@b").unwrap()])
    }

    #[test]
    fn only_what_cannot_be_told_overlaps() {
        let check = |footprint: Footprint| Footprint { is_check: true, ..footprint };
        let claims = |footprint: Footprint| Footprint { claims: true, ..footprint };
        let releases = |footprint: Footprint| Footprint { releases: true, ..footprint };
        let elsewhere = |footprint: Footprint| Footprint { pool: "q".into(), ..footprint };
        let create = claims(Footprint::of("p"));
        for (earlier, later, expected) in [
            (user(1), user(2), true),
            (user(1), user(1), false),
            (user(1), alias(), false),
            (alias(), user(1), false),
            (alias(), elsewhere(alias()), true),
            (create.clone(), create.clone(), true),
            (create.clone(), alias(), false),
            (releases(user(1)), create.clone(), false),
            (create, releases(user(1)), true),
            (check(alias()), check(alias()), false),
            (check(alias()), check(user(1)), true),
            (check(user(1)), check(user(1)), false),
            (check(alias()), alias(), false),
            (user(1), Footprint::alone(), false),
            (Footprint::alone(), user(1), false),
        ] {
            assert_eq!(later.may_overlap(&earlier), expected, "{earlier:?} {later:?}");
        }
    }
}
