//! Access control: who may run which command on which pool and attribute.
//!
//! 1. The users stand in one sealed document of the store; what is in memory is what the document
//!    says, and a change is durable before it is answered.
//! 2. A connection holds the [`Actor`] that it authenticated as. Changing or deleting a user closes
//!    the user's connections, so a held actor is never older than the document for long.
//! 3. A pool outside a user's patterns answers the same whether or not it exists.
//! 4. Secrets are kept as keyed hashes and compared in constant time.

mod actor;
mod document;
mod first;
mod glob;
mod refused;
mod rule;
mod secret;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use stoa_engine::Store;

pub(crate) use actor::Actor;
pub use first::{FirstSecret, mint_admin, reset_secret};
pub(crate) use glob::matches;
pub(crate) use refused::{Refused, RefusedLog};
pub(crate) use secret::generate;

use crate::refusal::{Refusal, Result};

/// The store's document that the users stand in.
const DOCUMENT: &str = "acl";
/// Who is served in development mode, without authentication.
pub(crate) const DEV_USER: &str = "admin";

/// The users of this server.
pub(crate) struct Acl {
    users: ArcSwap<BTreeMap<Arc<str>, Arc<Actor>>>,
    /// One change at a time.
    writing: Mutex<()>,
    /// What was refused lately.
    pub(crate) refused: RefusedLog,
}

impl Acl {
    /// The users that the store's document names; none where there is no document.
    ///
    /// # Errors
    /// A document that this version does not understand.
    pub(crate) fn load(store: &Store) -> Result<Self, String> {
        let users = match store.document(DOCUMENT) {
            Some(content) => document::decode(&content)?,
            None => BTreeMap::new(),
        };
        Ok(Self { users: ArcSwap::from_pointee(users), writing: Mutex::new(()), refused: RefusedLog::default() })
    }

    /// All users by name.
    pub(crate) fn users(&self) -> Arc<BTreeMap<Arc<str>, Arc<Actor>>> {
        self.users.load_full()
    }

    /// The user of this name.
    pub(crate) fn user(&self, name: &str) -> Option<Arc<Actor>> {
        self.users.load().get(name).cloned()
    }

    /// The user whose name and secret these are, if enabled. Takes the same time whether or not
    /// there is such a user.
    pub(crate) fn authenticate(&self, name: &str, secret: &[u8]) -> Option<Arc<Actor>> {
        match self.user(name) {
            Some(actor) => (actor.has_secret(secret) && actor.is_enabled()).then_some(actor),
            None => {
                secret::check_none(secret);
                None
            }
        }
    }

    /// Makes or changes a user: applies `rules` in order, and stores the outcome.
    pub(crate) fn set_user(&self, store: &Store, name: &str, rules: &[&[u8]]) -> Result<()> {
        if !is_user_name(name) {
            return Err(Refusal::invalid("a user's name is 1 to 64 of A-Z a-z 0-9 _ . : @ -"));
        }
        self.change(store, |users| {
            let mut actor = users.get(name).map_or_else(|| Actor::new(name), |actor| Actor::clone(actor));
            for (at, rule) in rules.iter().enumerate() {
                actor.apply(rule).map_err(|reason| Refusal::invalid(format!("rule {} {reason}", at + 1)))?;
            }
            users.insert(name.into(), Arc::new(actor));
            Ok(())
        })
    }

    /// Deletes users, and answers how many there were.
    pub(crate) fn delete_users(&self, store: &Store, names: &[&str]) -> Result<usize> {
        self.change(store, |users| Ok(names.iter().filter(|name| users.remove(**name).is_some()).count()))
    }

    fn change<T>(
        &self,
        store: &Store,
        change: impl FnOnce(&mut BTreeMap<Arc<str>, Arc<Actor>>) -> Result<T>,
    ) -> Result<T> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users = BTreeMap::clone(&self.users.load());
        let changed = change(&mut users)?;
        store.set_document(DOCUMENT, document::encode(&users))?;
        self.users.store(Arc::new(users));
        Ok(changed)
    }
}

fn is_user_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'@' | b'-'))
}

#[cfg(test)]
mod tests;
