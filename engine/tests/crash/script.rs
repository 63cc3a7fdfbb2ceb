//! What happens to a store: a script written by hand that meets every kind of change, and as many as one likes
//! that a seed decides.

use crate::life::loaded;
use crate::model::{Act, MAIL, PoolState, StoreState};

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// One transaction of a pool.
    Commit(&'static str, Vec<Act>),
    /// A pool is made, of the script's schema.
    CreatePool(&'static str),
    DropPool(&'static str),
    /// Users are loaded into a pool that was never used, past log and memtable.
    Load(&'static str, Vec<u64>),
    Flush(&'static str),
    Compact(&'static str),
    Rotate(&'static str),
    Rewrap(&'static str),
    Verify(&'static str),
    /// A store-wide document is replaced.
    Document(&'static str, &'static str),
    /// The store is closed and opened again.
    Restart,
    /// Time goes by.
    Wait(u64),
}

/// A seed's script; 0 is the one written by hand.
pub fn script(seed: u64) -> Vec<Step> {
    if seed == 0 { by_hand() } else { Dice(seed).script() }
}

fn text(text: impl ToString) -> Option<String> {
    Some(text.to_string())
}

/// What a new user has.
pub fn new_user_attrs(user: u64) -> Vec<(&'static str, String)> {
    let mut attrs = vec![("username", format!("user{user}")), ("email", format!("User{user}@Example.com"))];
    attrs.push(("locale", ["en", "de"][user as usize % 2].to_owned()));
    if user % 3 == 0 {
        attrs.push(("custom:n", (user * 7).to_string()));
    }
    attrs
}

fn create(user: u64) -> Act {
    Act::Create { user, attrs: new_user_attrs(user), password: user % 2 == 0 }
}

fn set(user: u64, changes: &[(&str, Option<String>)]) -> Act {
    Act::Set { user, changes: changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() }
}

/// Two users swap a name.
fn swap(one: u64, two: u64, names: (&str, &str)) -> Vec<Act> {
    vec![set(one, &[("username", text(names.1))]), set(two, &[("username", text(names.0))])]
}

fn by_hand() -> Vec<Step> {
    use Step::{Commit, Compact, CreatePool, Document, DropPool, Flush, Load, Restart, Rewrap, Rotate, Verify, Wait};
    let acme = |acts| Commit("acme", acts);
    vec![
        CreatePool("acme"),
        acme(vec![create(0)]),
        acme(vec![create(1), create(2)]),
        Flush("acme"),
        Document("acl", "one"),
        acme(vec![Act::GroupCreate { name: "staff", kind: Some("team") }, Act::Config { name: "a", json: text("{}") }]),
        acme(vec![Act::Join { name: "staff", users: vec![0, 1, 2], on: true }]),
        acme(swap(0, 1, ("user0", "user1"))),
        Flush("acme"),
        // Refused: the name is taken. Nothing of it may be seen.
        acme(vec![set(2, &[("nickname", text("x")), ("username", text("USER0"))])]),
        acme(vec![Act::Delete { user: 2 }]),
        acme(vec![create(3), set(0, &[("given_name", text("Ana"))]), Act::Tag { user: 1, tag: "b".into(), on: true }]),
        Restart,
        CreatePool("loaded"),
        Load("loaded", vec![40, 41, 42, 43]),
        Commit("loaded", vec![Act::Delete { user: 41 }, create(44)]),
        acme(vec![create(4), Act::Link { user: 0, subject: "s0".into(), on: true }]),
        Rotate("acme"),
        acme(vec![set(4, &[("given_name", text("Bo")), ("nickname", text("b")), (MAIL, text("m@x.org"))])]),
        acme(vec![Act::Verify { user: 4, take: false }, set(0, &[(MAIL, text("m@x.org"))])]),
        acme(vec![Act::Factor { user: 0, id: "f".into(), blob: Some(vec![1, 2, 3]) }]),
        Flush("loaded"),
        Restart,
        // An alias goes from its owner to another user, in one transaction.
        acme(vec![Act::Verify { user: 0, take: true }]),
        acme(vec![Act::Schema { attr: "custom:more".into() }]),
        acme(vec![create(5), set(3, &[("custom:more", text("yes"))])]),
        Compact("acme"),
        Document("acl", "two"),
        acme(vec![Act::GroupRename { name: "staff", to: "team" }, Act::GroupCreate { name: "tmp", kind: None }]),
        acme(vec![Act::Join { name: "tmp", users: vec![3, 5], on: true }, Act::Password { user: 1 }]),
        acme(vec![Act::GroupDelete { name: "tmp" }]),
        Restart,
        CreatePool("brief"),
        Commit("brief", vec![create(60)]),
        Flush("brief"),
        acme(vec![set(4, &[("nickname", text("bo"))]), Act::Enable { user: 3, on: false }]),
        DropPool("brief"),
        acme(vec![create(6)]),
        acme(vec![Act::SetAll { locale: Some("en"), attr: "zoneinfo", value: "UTC".into(), reset: false }]),
        Rewrap("acme"),
        Flush("acme"),
        Wait(60_000),
        acme(vec![Act::Delete { user: 0 }, Act::Join { name: "team", users: vec![1], on: false }]),
        CreatePool("brief"),
        Verify("acme"),
        // The name and the address that user 0 had are free again.
        acme(vec![Act::Create {
            user: 7,
            attrs: vec![("username", "user1".into()), ("email", "user0@example.com".into())],
            password: false,
        }]),
        Compact("loaded"),
        acme(vec![Act::SetAll { locale: None, attr: "zoneinfo", value: "CET".into(), reset: true }]),
        Flush("acme"),
        acme(vec![set(7, &[("nickname", text("seven"))]), Act::Reset { user: 3, on: false }]),
        Restart,
        acme(vec![Act::Link { user: 0, subject: "s0".into(), on: false }]),
        acme(vec![Act::Link { user: 1, subject: "s0".into(), on: true }, set(4, &[("nickname", None)])]),
    ]
}

/// A script that meets every kind of step and is soon over.
pub fn short_script() -> Vec<Step> {
    use Step::{Commit, Compact, CreatePool, Document, DropPool, Flush, Load, Restart, Rotate};
    let acme = |acts| Commit("acme", acts);
    vec![
        CreatePool("acme"),
        acme(vec![create(0), create(1)]),
        Flush("acme"),
        acme(swap(0, 1, ("user0", "user1"))),
        Document("acl", "one"),
        Restart,
        acme(vec![Act::GroupCreate { name: "staff", kind: None }, create(2)]),
        Rotate("acme"),
        acme(vec![Act::Join { name: "staff", users: vec![0, 1], on: true }]),
        CreatePool("loaded"),
        Load("loaded", vec![40, 41]),
        acme(vec![Act::Delete { user: 0 }, set(1, &[("nickname", text("x"))])]),
        Compact("acme"),
        Commit("loaded", vec![create(42)]),
        Flush("loaded"),
        acme(vec![Act::GroupDelete { name: "staff" }]),
        DropPool("loaded"),
        Restart,
        acme(vec![Act::SetAll { locale: None, attr: "zoneinfo", value: "UTC".into(), reset: false }]),
        Flush("acme"),
        acme(vec![create(4)]),
    ]
}

/// What an operation reads or writes.
#[derive(PartialEq)]
enum Place {
    User(u64),
    Group(&'static str),
    Mail,
    Identities,
    All,
}

fn places(act: &Act) -> Vec<Place> {
    match act {
        Act::Set { user, changes } if changes.iter().any(|(name, _)| name == MAIL) => {
            vec![Place::User(*user), Place::Mail]
        }
        Act::Verify { user, .. } => vec![Place::User(*user), Place::Mail],
        Act::Link { user, .. } => vec![Place::User(*user), Place::Identities],
        Act::Create { user, .. }
        | Act::Set { user, .. }
        | Act::Tag { user, .. }
        | Act::Enable { user, .. }
        | Act::Reset { user, .. }
        | Act::Password { user }
        | Act::Factor { user, .. } => vec![Place::User(*user)],
        Act::GroupCreate { name, .. } | Act::GroupSet { name, .. } => vec![Place::Group(name)],
        Act::Join { name, users, .. } => {
            users.iter().map(|user| Place::User(*user)).chain([Place::Group(name)]).collect()
        }
        Act::Delete { .. }
        | Act::GroupRename { .. }
        | Act::GroupDelete { .. }
        | Act::Schema { .. }
        | Act::Config { .. }
        | Act::SetAll { .. } => vec![Place::All],
    }
}

/// A source of chance: SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn script(&mut self) -> Vec<Step> {
        let len = 12 + self.below(20);
        let mut state = StoreState::default();
        // A load wants a pool that was never used.
        let mut unused: Vec<&'static str> = Vec::new();
        let mut steps = vec![Step::CreatePool("acme")];
        state.pools.insert("acme".into(), PoolState::default());
        while (steps.len() as u64) < len {
            let step = self.step(&state, &unused);
            match &step {
                Step::Commit(_, acts) if acts.is_empty() => continue,
                Step::Commit(pool, acts) => {
                    unused.retain(|name| name != pool);
                    if let Some(pool) = state.pools.get_mut(*pool)
                        && let Some(after) = pool.after(acts)
                    {
                        *pool = after;
                    }
                }
                Step::CreatePool(pool) => {
                    unused.push(*pool);
                    state.pools.insert((*pool).into(), PoolState::default());
                }
                Step::DropPool(pool) => {
                    unused.retain(|name| name != pool);
                    state.pools.remove(*pool);
                }
                Step::Load(pool, users) => {
                    unused.retain(|name| name != pool);
                    state.pools.insert((*pool).into(), loaded(users));
                }
                _ => {}
            }
            steps.push(step);
        }
        steps
    }

    fn step(&mut self, state: &StoreState, unused: &[&'static str]) -> Step {
        let others = ["loaded", "brief"];
        let pools: Vec<&'static str> =
            ["acme", "acme", "loaded", "brief"].into_iter().filter(|name| state.pools.contains_key(*name)).collect();
        let pool = self.one_of(&pools);
        match self.below(24) {
            0 | 1 => Step::Flush(pool),
            2 => Step::Compact(pool),
            3 => [Step::Rotate(pool), Step::Rewrap(pool), Step::Verify(pool)][self.below(3) as usize].clone(),
            4 => Step::Restart,
            5 => Step::Document("acl", self.one_of(&["one", "two"])),
            6 => Step::Wait(self.below(100_000)),
            7 | 8 => match (self.one_of(&others), self.below(3)) {
                (other, 0) if state.pools.contains_key(other) => Step::DropPool(other),
                (other, _) if !state.pools.contains_key(other) => Step::CreatePool(other),
                (other, _) if unused.contains(&other) => {
                    let first = 100 + self.below(100) * 10;
                    Step::Load(other, (first..first + 1 + self.below(6)).collect())
                }
                _ => Step::Restart,
            },
            _ => {
                let (mut acts, mut touched) = (Vec::new(), Vec::new());
                for _ in 0..1 + self.below(3) {
                    let Some(act) = self.act(&state.pools[pool]) else { continue };
                    let places = places(&act);
                    // Operations of one transaction do not see each other: they get no chance to.
                    if places.iter().all(|place| !touched.contains(place) && !touched.contains(&Place::All))
                        && (acts.is_empty() || !places.contains(&Place::All))
                    {
                        touched.extend(places);
                        acts.push(act);
                    }
                }
                Step::Commit(pool, acts)
            }
        }
    }

    /// One operation, most often on a user or group that is there. Those of one transaction may disagree, or take
    /// what is taken: then both sides refuse it.
    fn act(&mut self, pool: &PoolState) -> Option<Act> {
        const GROUPS: [&str; 3] = ["staff", "team", "tmp"];
        let users: Vec<u64> =
            pool.users.keys().map(|sub| u64::from_be_bytes(sub.0[8..].try_into().unwrap()) & !(0xff << 56)).collect();
        let name = self.one_of(&GROUPS);
        let new = self.below(40);
        if users.is_empty() || self.below(5) == 0 {
            return (!users.contains(&new)).then(|| create(new));
        }
        let user = self.one_of(&users);
        let other = self.one_of(&users);
        Some(match self.below(17) {
            0 | 1 => {
                let attr = self.one_of(&["given_name", "nickname", "locale", "custom:n"]);
                let value = (self.below(4) > 0).then(|| self.below(9).to_string());
                set(user, &[(attr, value)])
            }
            2 => set(user, &[("username", text(format!("user{}", self.below(40))))]),
            3 => set(user, &[("email", (self.below(3) > 0).then(|| format!("user{new}@example.com")))]),
            4 => set(user, &[(MAIL, (self.below(4) > 0).then(|| format!("m{}@x.org", self.below(3))))]),
            5 => Act::Verify { user, take: self.below(2) == 0 },
            6 => Act::Tag { user, tag: self.one_of(&["a", "b", "c"]).into(), on: self.below(3) > 0 },
            7 => Act::Delete { user },
            8 => Act::Enable { user, on: self.below(2) == 0 },
            9 => Act::Reset { user, on: self.below(2) == 0 },
            10 => Act::Link { user, subject: format!("s{}", self.below(3)), on: self.below(3) > 0 },
            11 => {
                let blob = (self.below(3) > 0).then(|| vec![self.below(256) as u8; 3]);
                Act::Factor { user, id: format!("f{}", self.below(2)), blob }
            }
            12 if !pool.groups.contains_key(name) => Act::GroupCreate { name, kind: None },
            12 => match self.below(3) {
                0 => Act::GroupDelete { name },
                1 => Act::GroupRename { name, to: self.one_of(&GROUPS) },
                _ => Act::GroupSet { name, description: self.below(9).to_string() },
            },
            13 | 14 => Act::Join { name, users: vec![user, other], on: self.below(3) > 0 },
            15 => match self.below(3) {
                0 => Act::Schema { attr: format!("custom:x{}", self.below(3)) },
                _ => Act::Config {
                    name: self.one_of(&["a", "b"]),
                    json: (self.below(3) > 0).then(|| format!("{{\"v\":{}}}", self.below(9))),
                },
            },
            _ => Act::SetAll {
                locale: self.one_of(&[None, Some("en"), Some("de")]),
                attr: "zoneinfo",
                value: self.below(9).to_string(),
                reset: self.below(2) == 0,
            },
        })
    }
}
