//! Writes: one operation of a transaction each, alone or together with others.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use stoa_engine::Pool;
use stoa_engine::password::Caps;
use stoa_engine::pool::policy::{OWN_ATTRIBUTES, PasswordPolicy};
use stoa_engine::pool::request::{Committed, Input, Op, Outcome, RetryToken, Transaction, UserRef};
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::value::Value;
use stoa_engine::pool::view::Select;
use stoa_format::Seq;
use zeroize::Zeroizing;

use super::{Answer, Call, Footprint};
use crate::args::{Args, Secret};
use crate::command::Entry;
use crate::hashing::{self, NewSecret};
use crate::refusal::Result;
use crate::resp::{Reply, Words};

/// Which keys a write's reply has besides `seq`, and `changed` where the engine counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// `sub`, `version`, `seq`.
    SubVersion,
    /// `sub`, `seq`.
    Sub,
    /// `seq`, `version`.
    Version,
    /// `seq`.
    Seq,
}

/// A write whose arguments are read.
pub(crate) struct Planned {
    /// Where.
    pub pool: Pool,
    /// What.
    pub op: Op,
    /// Makes it safe to repeat.
    pub token: Option<Bytes>,
    /// The text of a password, to be hashed into the operation.
    pub secret: Option<NewSecret>,
    /// What it touches.
    pub footprint: Footprint,
    /// How it is answered.
    pub show: Show,
}

impl Planned {
    /// A write without token and secret.
    pub(crate) fn new(pool: Pool, op: Op, footprint: Footprint, show: Show) -> Self {
        Self { pool, op, token: None, secret: None, footprint, show }
    }

    /// The same with this token.
    pub(crate) fn with_token(mut self, token: Option<Bytes>) -> Self {
        self.footprint.token.clone_from(&token);
        self.token = token;
        self
    }

    /// The same with this secret: a hash is checked now, a text is hashed later.
    ///
    /// # Errors
    /// `INVALID` for a hash of no known scheme, `LIMIT` for one that costs too much, `WEAK` for a
    /// text that the pool's `password` document refuses.
    pub(crate) fn with_secret(mut self, secret: Option<Secret>) -> Result<Self> {
        match secret {
            None => {}
            Some(Secret::Hash(hash)) => {
                stoa_engine::password::parse(&hash, &Caps::default()).map_err(hashing::refusal)?;
                give_password(&mut self.op, hash);
            }
            Some(Secret::Text(text)) => {
                self.secret = Some(self.judge(text)?);
            }
        }
        Ok(self)
    }

    /// Judges the text of a new password by the pool's policy; whether it was used before shows when it is hashed.
    fn judge(&self, text: Zeroizing<Vec<u8>>) -> Result<NewSecret> {
        let snapshot = self.pool.snapshot();
        let policy = snapshot.password_policy();
        policy.check(&text)?;
        let mut former = Vec::new();
        match &self.op {
            Op::UserCreate(user) => {
                let own = user.attrs.iter().filter(|(name, _)| OWN_ATTRIBUTES.contains(&&**name));
                let own: Vec<_> = own.filter_map(|(_, input)| given_text(input)).collect();
                policy.check_own(&text, own.iter().map(AsRef::as_ref))?;
            }
            Op::CredSet { user, temporary, .. } => {
                check_own(&snapshot, &policy, user, &text)?;
                // What an operator gives out for one use is not chosen by the user.
                let looks_back = policy.history > 0 && !temporary && snapshot.resolve(user)?.is_some();
                former = if looks_back { snapshot.former_passwords(user)? } else { Vec::new() };
            }
            _ => {}
        }
        Ok(NewSecret { text, former })
    }
}

/// The text of an attribute as it was sent.
fn given_text(input: &Input) -> Option<Cow<'_, str>> {
    match input {
        Input::Raw(raw) => Some(String::from_utf8_lossy(raw)),
        Input::Json(json) => json.as_str().map(Cow::Borrowed),
    }
}

/// Judges a new password by what is stored of its user, if the policy asks for that.
///
/// # Errors
/// `WEAK`, and what reading the user fails with.
pub(crate) fn check_own(snapshot: &Snapshot, policy: &PasswordPolicy, user: &UserRef, secret: &[u8]) -> Result<()> {
    if !policy.deny_attributes {
        return Ok(());
    }
    let known = OWN_ATTRIBUTES.iter().filter(|name| snapshot.schema().by_name(name).is_some());
    let select = Select::Named(known.map(|name| Box::from(*name)).collect());
    let Some(view) = snapshot.user(user, &select)? else { return Ok(()) };
    let own: Vec<_> = view.attrs.iter().filter_map(|(_, value)| value.as_ref()).map(Value::text).collect();
    Ok(policy.check_own(secret, own.iter().map(AsRef::as_ref))?)
}

/// Puts the stored form of the password into an operation that sets one.
pub(crate) fn give_password(op: &mut Op, stored: Box<str>) {
    match op {
        Op::UserCreate(user) => user.password = Some(stored),
        Op::CredSet { password, .. } => *password = stored,
        _ => {}
    }
}

/// A digest of a whole request, so that a token with other content is told: 16 bytes of BLAKE3 over
/// the command's name and its arguments, each with its length before it.
pub(crate) fn request_digest<'a>(requests: impl Iterator<Item = (&'static Entry, Words<'a>)>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for (entry, words) in requests {
        hasher.update(&(words.len() as u64).to_le_bytes());
        let name = entry.name.as_bytes();
        for word in std::iter::once(name).chain(words.iter().skip(entry.words())) {
            hasher.update(&(word.len() as u64).to_le_bytes());
            hasher.update(word);
        }
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

/// Commits one planned write, and answers when it is durable.
pub(crate) fn commit_later(call: &Call<'_>, args: Args<'_>, planned: Planned) -> super::Later {
    let Planned { pool, mut op, token, secret, footprint, show } = planned;
    let actor: Arc<str> = call.actor.name().clone();
    let token =
        token.map(|token| RetryToken { token, request: request_digest([(call.entry, args.words())].into_iter()) });
    let submit = move |answer: Answer, op: Op| {
        let done = move |committed: stoa_engine::Result<Committed>| {
            answer.give(|reply| {
                let committed = committed?;
                let outcome = committed.outcomes.first().cloned().unwrap_or_default();
                write_outcome(reply, show, &outcome, committed.seq, committed.replayed);
                Ok(())
            });
        };
        pool.submit(Transaction { actor, token, ops: vec![op] }, Box::new(done));
    };
    let start = move |answer: Answer| match secret {
        None => submit(answer, op),
        Some(secret) => {
            let shared = answer.shared().clone();
            let params = shared.hashing.params();
            shared.hashing.run(move |arena| match arena.and_then(|arena| secret.stored_form(&params, arena)) {
                Err(refused) => answer.give(|_| Err(refused)),
                Ok(stored) => {
                    give_password(&mut op, stored);
                    submit(answer, op);
                }
            });
        }
    };
    super::Later { footprint, start: Box::new(start) }
}

/// Writes the reply of one operation.
pub(crate) fn write_outcome(reply: &mut Reply<'_>, show: Show, outcome: &Outcome, seq: Seq, replayed: bool) {
    let shows_sub = matches!(show, Show::SubVersion | Show::Sub);
    let version = outcome.version.filter(|_| matches!(show, Show::SubVersion | Show::Version));
    let fields = 1
        + usize::from(shows_sub)
        + usize::from(version.is_some())
        + usize::from(outcome.changed.is_some())
        + usize::from(replayed);
    reply.map(fields);
    if shows_sub {
        reply.bulk("sub");
        reply.bulk_or_null(outcome.sub.map(|sub| sub.text()));
    }
    if let (Some(version), Show::SubVersion) = (version, show) {
        reply.bulk("version");
        reply.count(version);
    }
    reply.bulk("seq");
    reply.count(seq.0);
    if let (Some(version), Show::Version) = (version, show) {
        reply.bulk("version");
        reply.count(version);
    }
    if let Some(changed) = outcome.changed {
        reply.bulk("changed");
        reply.count(changed);
    }
    if replayed {
        reply.bulk("replayed");
        reply.boolean(true);
    }
}
