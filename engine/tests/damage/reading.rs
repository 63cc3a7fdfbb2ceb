//! Everything that can be read of a store, question by question, so that each answer can be held against the one
//! that the healthy store gave.

use std::collections::BTreeMap;

use stoa_engine::pool::request::UserRef;
use stoa_engine::pool::view::{Change, ChangeOp, Page, Select, UserView};
use stoa_engine::{Error, ErrorKind, PageRequest, Pool, Result, Store, UserQuery};
use stoa_format::{Seq, Sub};

use crate::life::Aliases;
use crate::model::{PoolState, sub_of};

/// Attributes that have an order.
const SORTED: [&str; 2] = ["username", "custom:n"];
/// Filters that look at columns of every kind, and at indexes.
const FILTERS: [&str; 4] = ["locale eq \"en\"", "custom:n gt 10", "username sw \"user1\"", "enabled eq false"];

/// Each question with its answer. A refusal that is no damage (`NOUSER`) is an answer too.
pub type Answers = BTreeMap<String, Result<String, Error>>;

/// What there is to ask of a pool.
#[derive(Clone, Default)]
pub struct Asked {
    pub subs: Vec<Sub>,
    pub aliases: Aliases,
    pub groups: Vec<String>,
    pub identities: Vec<(String, String)>,
    /// The oldest Seq that the change feed has.
    pub oldest: u64,
}

impl Asked {
    /// What a pool of this state can be asked, and some things that it must deny.
    pub fn of(state: &PoolState, mut aliases: Aliases) -> Self {
        aliases.extend(crate::life::aliases_of(state));
        aliases.insert(("username".into(), "nobody".into()));
        let mut subs: Vec<Sub> = state.users.keys().copied().collect();
        subs.push(sub_of(999));
        let mut groups: Vec<String> = state.groups.keys().cloned().collect();
        groups.push("nobody's".into());
        let mut identities: Vec<_> = state.users.values().flat_map(|user| user.identities.iter().cloned()).collect();
        identities.push(("idp".into(), "nobody".into()));
        Self { subs, aliases, groups, identities, oldest: 1 }
    }

    /// Looks up from which Seq on the pool tells its changes.
    pub fn find_oldest(&mut self, pool: &Pool) {
        let told = |seq: &u64| pool.changes(Seq(*seq), 1, false).is_ok();
        self.oldest = (1..=pool.seq().0 + 1).find(told).expect("the newest change is told");
    }
}

/// Asks everything of a pool.
pub fn ask_pool(store: &Store, name: &str, asked: &Asked, answers: &mut Answers) {
    let pool = match store.pool(name) {
        Ok(pool) => pool,
        Err(error) => {
            answers.insert(format!("{name}: open"), Err(error));
            return;
        }
    };
    let mut ask = |question: String, answer: Result<String>| {
        let answer = match answer {
            Err(error) if error.kind() != ErrorKind::Damaged => Ok(format!("{error}")),
            other => other,
        };
        answers.insert(format!("{name}: {question}"), answer);
    };
    let snapshot = pool.snapshot();
    ask("open".into(), Ok(String::new()));
    ask("seq".into(), Ok(pool.seq().to_string()));
    ask("schema".into(), Ok(snapshot.schema().to_text()));
    for sub in &asked.subs {
        let by = UserRef::Sub(*sub);
        ask(format!("user {sub}"), snapshot.user(&by, &Select::All).map(|view| format!("{:?}", view.map(show))));
        let password = snapshot.password(&by).map(|view| format!("{:?}", view.map(|view| (view.scheme, view.hash))));
        ask(format!("password of {sub}"), password);
        ask(format!("former passwords of {sub}"), snapshot.former_passwords(&by).map(|all| format!("{all:?}")));
        ask(format!("identities of {sub}"), snapshot.identities(&by).map(|all| format!("{all:?}")));
        ask(format!("groups of {sub}"), snapshot.group_names(&by).map(|all| format!("{all:?}")));
        let factors = snapshot.factors(&by).and_then(|all| {
            let blobs = all.iter().map(|factor| snapshot.factor(&by, &factor.kind, &factor.id));
            let blobs = blobs.collect::<Result<Vec<_>>>()?;
            Ok(format!("{:?}", blobs.into_iter().map(|found| found.map(|it| (it.id, it.blob))).collect::<Vec<_>>()))
        });
        ask(format!("factors of {sub}"), factors);
    }
    for (attr, value) in &asked.aliases {
        let by = UserRef::Alias { attr: attr.as_str().into(), value: value.as_str().into() };
        let found = snapshot.user(&by, &Select::Nothing).map(|view| format!("{:?}", view.map(|view| view.sub)));
        ask(format!("alias {attr}={value}"), found);
    }
    for (provider, subject) in &asked.identities {
        let found = snapshot.find_identity(provider, subject).map(|sub| format!("{sub:?}"));
        ask(format!("identity {provider} {subject}"), found);
    }
    ask("factor".into(), snapshot.find_factor("totp", "f").map(|sub| format!("{sub:?}")));
    for group in &asked.groups {
        ask(format!("group {group}"), snapshot.group(group).map(|view| format!("{view:?}")));
        let mut members = Vec::new();
        let walked = snapshot.each_member::<Error>(group, &mut |view| {
            members.push(view.sub);
            Ok(())
        });
        ask(format!("members of {group}"), walked.map(|()| format!("{members:?}")));
        let page = pool.list_members(group, &Select::All, &first_page());
        ask(format!("list of members of {group}"), page.map(subs));
    }
    let mut groups = Vec::new();
    let walked = snapshot.each_group::<Error>(&mut |view| {
        groups.push(view.name);
        Ok(())
    });
    ask("groups".into(), walked.map(|()| format!("{groups:?}")));
    ask("number of users".into(), snapshot.user_count().map(|count| count.to_string()));
    ask("number of groups".into(), snapshot.group_count().map(|count| count.to_string()));
    ask(
        "users".into(),
        pool.list_users(&UserQuery::default(), &first_page())
            .map(|page| format!("{:?}", page.items.into_iter().map(show).collect::<Vec<_>>())),
    );
    for sort in SORTED {
        let query = UserQuery { sort: Some(sort.into()), select: Select::Nothing, ..UserQuery::default() };
        ask(format!("users by {sort}"), pool.list_users(&query, &first_page()).map(subs));
    }
    for filter in FILTERS {
        ask(format!("number with {filter}"), snapshot.count(Some(filter), &[]).map(|count| count.to_string()));
    }
    for name in snapshot.config_names() {
        ask(format!("document {name}"), Ok(format!("{:?}", snapshot.config(&name))));
    }
    let changes = pool.changes(Seq(asked.oldest), 10_000, true);
    ask("changes".into(), changes.map(|changes| changes.iter().map(show_change).collect::<Vec<_>>().join("\n")));
    let root = pool.merkle_root();
    ask("digest".into(), root.as_ref().map(|root| format!("{root:?}")).map_err(Clone::clone));
    ask("nodes".into(), pool.merkle_nodes(1, &(0..16).collect::<Vec<_>>()).map(|nodes| format!("{nodes:?}")));
    let leaves: Vec<u64> = (0..16).collect();
    ask("leaves".into(), pool.merkle_leaf(&leaves).map(|leaves| format!("{leaves:?}")));
}

/// Asks what is the store's own.
pub fn ask_store(store: &Store, answers: &mut Answers) {
    answers.insert("pools".into(), Ok(format!("{:?}", store.pool_names())));
    answers.insert("document acl".into(), Ok(format!("{:?}", store.document("acl"))));
}

fn first_page() -> PageRequest<'static> {
    PageRequest { limit: 100, cursor: None, actor: "", max_bytes: 1 << 20, min_seq: None, state: None }
}

fn subs(page: Page<UserView>) -> String {
    format!("{:?}", page.items.iter().map(|view| view.sub).collect::<Vec<_>>())
}

/// A user in full: what values are is not part of how they are printed otherwise.
fn show(view: UserView) -> String {
    let attrs = view.attrs.iter().map(|(name, value)| format!("{name}={:?}", value.as_ref().map(|value| value.text())));
    let attrs: Vec<_> = attrs.collect();
    let UserView { sub, version, enabled, status, created_at_ms, updated_at_ms, .. } = view;
    format!("{sub} {version} {enabled} {} {created_at_ms} {updated_at_ms} {attrs:?}", status.word())
}

fn show_change(change: &Change) -> String {
    let op = |op: &ChangeOp| {
        let values = op.values.iter().flatten().map(|value| value.as_ref().map(|value| value.text().into_owned()));
        let values: Vec<_> = values.collect();
        format!("{} {:?} {:?} {:?} {:?} {values:?}", op.op, op.sub, op.group, op.version, op.attrs)
    };
    format!("{} {} {:?}", change.seq, change.time_ms, change.ops.iter().map(op).collect::<Vec<_>>())
}
