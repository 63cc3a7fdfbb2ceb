//! The call of one command: who asks, of which pool, in which state.

use std::sync::Arc;

use stoa_engine::Pool;
use stoa_engine::pool::request::UserRef;
use stoa_engine::pool::snapshot::Snapshot;
use stoa_format::Seq;

use crate::acl::Actor;
use crate::args::{Args, Options};
use crate::command::{Entry, table};
use crate::refusal::{Refusal, Result};
use crate::shared::Shared;

/// The aliases that `login=` tries where the pool's `login` document names none.
const LOGIN_DEFAULT: [&str; 3] = ["username", "email", "phone_number"];

/// The call of one command.
pub(crate) struct Call<'a> {
    /// The server.
    pub shared: &'a Arc<Shared>,
    /// Who asks.
    pub actor: &'a Arc<Actor>,
    /// Which command.
    pub entry: &'static Entry,
    /// The state that a transaction's reads see.
    pub pinned: Option<&'a Snapshot>,
}

impl Call<'_> {
    /// The pool that the next argument names. Access to it was checked before.
    pub(crate) fn pool(&self, args: &mut Args<'_>) -> Result<Pool> {
        Ok(self.shared.store.pool(args.pool()?)?)
    }

    /// The state to read: the transaction's, or the newest, or one at or after `MINSEQ`.
    pub(crate) fn snapshot(&self, pool: &Pool, options: &Options<'_>) -> Result<Snapshot> {
        let min_seq = options.number("MINSEQ")?.map(Seq);
        match self.pinned {
            Some(pinned) => Ok(pinned.clone().at_least(min_seq)?),
            None => Ok(pool.snapshot_at(min_seq)?),
        }
    }

    /// The user that the next argument names, if the caller may select by that attribute.
    pub(crate) fn user(&self, pool: &Pool, args: &mut Args<'_>) -> Result<UserRef> {
        let user = args.user()?;
        match &user {
            UserRef::Sub(_) => {}
            UserRef::Alias { attr, .. } => self.may_see(attr)?,
            UserRef::Login(_) if self.actor.sees_all() => {}
            UserRef::Login(_) => login_attributes(pool).iter().try_for_each(|attr| self.may_see(attr))?,
        }
        Ok(user)
    }

    /// Refuses an attribute that is kept from the caller.
    pub(crate) fn may_see(&self, attr: &str) -> Result<()> {
        match self.actor.may_see(attr) {
            true => Ok(()),
            false => Err(Refusal::no_perm("this user may not use one of the attributes that the request names")),
        }
    }

    /// Refuses secrets where the caller may not set them.
    pub(crate) fn may_set_secrets(&self) -> Result<()> {
        match table().named(b"CRED.SET") {
            Some(entry) if !self.actor.may_run(entry) => {
                Err(Refusal::no_perm("PASSWORD and HASH need the category @credentials"))
            }
            _ => Ok(()),
        }
    }
}

/// The attributes that `login=` looks at.
fn login_attributes(pool: &Pool) -> Vec<String> {
    let document = pool.snapshot().config("login");
    let named = document.and_then(|document| {
        let json: serde_json::Value = serde_json::from_str(&document.json).ok()?;
        let list = json.get("aliases").or_else(|| json.get("attributes")).unwrap_or(&json).as_array()?.clone();
        Some(list.iter().filter_map(|name| Some(name.as_str()?.to_string())).collect())
    });
    named.unwrap_or_else(|| LOGIN_DEFAULT.map(str::to_string).to_vec())
}
