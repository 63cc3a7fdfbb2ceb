//! Writes: one operation of a transaction each, alone or together with others.

use std::sync::Arc;

use bytes::Bytes;
use stoa_engine::Pool;
use stoa_engine::password::Caps;
use stoa_engine::pool::request::{Committed, Op, Outcome, RetryToken, Transaction};
use stoa_format::Seq;
use zeroize::Zeroizing;

use super::{Answer, Call, Footprint};
use crate::args::{Args, Secret};
use crate::command::Entry;
use crate::hashing;
use crate::refusal::{Refusal, Result};
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
    pub secret: Option<Zeroizing<Vec<u8>>>,
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
                check_policy(&self.pool, &text)?;
                self.secret = Some(text);
            }
        }
        Ok(self)
    }
}

/// The pool's `password` document: `{"min_length": n, "max_length": n}`, in characters.
pub(crate) fn check_policy(pool: &Pool, secret: &[u8]) -> Result<()> {
    if secret.is_empty() {
        return Err(Refusal::new("WEAK", "an empty password is none"));
    }
    let Some(document) = pool.snapshot().config("password") else { return Ok(()) };
    let Ok(policy) = serde_json::from_str::<serde_json::Value>(&document.json) else { return Ok(()) };
    let length = String::from_utf8_lossy(secret).chars().count() as u64;
    let bound = |name: &str| policy.get(name).and_then(serde_json::Value::as_u64);
    match (bound("min_length"), bound("max_length")) {
        (Some(min), _) if length < min => Err(Refusal::new(
            "WEAK",
            format!("the password is shorter than the {min} characters of this pool's policy"),
        )),
        (_, Some(max)) if length > max => {
            Err(Refusal::limit(format!("the password is longer than the {max} characters of this pool's policy")))
        }
        _ => Ok(()),
    }
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
            shared.hashing.run(move |arena| {
                match arena.and_then(|arena| hashing::stored_form(&secret, &params, arena)) {
                    Err(refused) => answer.give(|_| Err(refused)),
                    Ok(stored) => {
                        give_password(&mut op, stored);
                        submit(answer, op);
                    }
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
