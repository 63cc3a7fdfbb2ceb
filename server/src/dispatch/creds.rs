//! Passwords.

use std::sync::Arc;

use stoa_engine::Pool;
use stoa_engine::password::{Arena, Argon2Params};
use stoa_engine::pool::request::{Op, UserRef};
use stoa_engine::pool::view::Verdict;
use stoa_format::Sub;
use zeroize::Zeroizing;

use super::write::check_own;
use super::{Answer, Call, Footprint, Later, Planned, Show, time_text};
use crate::args::{Args, Options, Secret, Takes};
use crate::hashing;
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// `CRED.SET pool user [IF version] [TOKEN token] [TEMPORARY] PASSWORD text | HASH phc`
pub(crate) fn set(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let allowed: &[(&str, Takes)] = &[("IF", Takes::Word), ("TOKEN", Takes::Word), ("TEMPORARY", Takes::Nothing)];
    let options = Options::read(&mut args, allowed)?;
    let secret = Secret::read(&mut args)?.ok_or_else(|| Refusal::invalid("PASSWORD text or HASH phc is missing"))?;
    args.end()?;
    let footprint = Footprint::of(pool.name()).on([&user]);
    let (if_version, temporary) = (options.number("IF")?, options.has("TEMPORARY"));
    let op = Op::CredSet { user, if_version, temporary, password: "".into() };
    Planned::new(pool, op, footprint, Show::Sub).with_token(options.token()?).with_secret(Some(secret))
}

/// `CRED.UNLOCK pool user [TOKEN token]`
pub(crate) fn unlock(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    args.end()?;
    let footprint = Footprint::of(pool.name()).on([&user]);
    Ok(Planned::new(pool, Op::CredUnlock { user }, footprint, Show::Sub).with_token(options.token()?))
}

/// `CRED.GET pool user [MINSEQ seq]`
pub(crate) fn get(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, &[("MINSEQ", Takes::Word)])?;
    args.end()?;
    let Some(view) = call.snapshot(&pool, &options)?.password(&user)? else {
        reply.null();
        return Ok(());
    };
    reply.map(3);
    reply.bulk("scheme");
    reply.bulk(view.scheme);
    reply.bulk("hash");
    reply.bulk(view.hash.as_bytes());
    reply.bulk("set_at");
    reply.bulk(time_text(view.set_at_ms));
    Ok(())
}

/// `CRED.VERIFY pool user [ATTEMPT id] text`
pub(crate) fn verify(call: &Call<'_>, args: Args<'_>) -> Result<Later> {
    check(call, args, false)
}

/// `CRED.CHANGE pool user [ATTEMPT id] old new`
pub(crate) fn change(call: &Call<'_>, args: Args<'_>) -> Result<Later> {
    check(call, args, true)
}

/// Checks a secret on a hashing thread, then has the outcome recorded, and answers when that is durable.
fn check(call: &Call<'_>, mut args: Args<'_>, changes: bool) -> Result<Later> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, &[("ATTEMPT", Takes::Word)])?;
    let attempt = options.text("ATTEMPT")?.map(str::to_string);
    if attempt.as_ref().is_some_and(|attempt| attempt.is_empty() || attempt.len() > 64) {
        return Err(Refusal::invalid("ATTEMPT is 1 to 64 bytes"));
    }
    let secret = Zeroizing::new(args.bytes()?.to_vec());
    let new = changes.then(|| args.bytes().map(|new| Zeroizing::new(new.to_vec()))).transpose()?;
    args.end()?;
    if let Some(new) = &new {
        // What concerns the user is judged once the old password was right: it must not be told to others.
        pool.snapshot().password_policy().check(new)?;
        // Says nothing about what is stored: both come from the request.
        if *new == secret {
            return Err(Refusal::new("REUSED", "the new password is the old one"));
        }
    }
    let footprint = Footprint { is_check: !changes, ..Footprint::of(pool.name()).on([&user]) };
    let checking = Checking { pool, user, attempt, secret, new, actor: call.actor.name().clone() };
    Ok(Later { footprint, start: Box::new(move |answer| checking.start(answer)) })
}

/// A check whose arguments are read.
struct Checking {
    pool: Pool,
    user: UserRef,
    attempt: Option<String>,
    secret: Zeroizing<Vec<u8>>,
    /// What to set if the secret is right.
    new: Option<Zeroizing<Vec<u8>>>,
    actor: Arc<str>,
}

impl Checking {
    /// Has the engine decide the lock-out, hashes, has the outcome recorded, and answers.
    fn start(self, answer: Answer) {
        let Self { pool, user, attempt, secret, new, actor } = self;
        let check = match pool.check_begin(actor, &user, attempt.as_deref()) {
            Ok(check) => check,
            Err(error) => return answer.give(|_| Err(error.into())),
        };
        let shared = answer.shared().clone();
        let params = shared.hashing.params();
        let judging = pool.clone();
        shared.hashing.run(move |arena| {
            let hashed = arena.and_then(|arena| {
                let matched = check.matches(&secret, arena);
                let upgrade = matched && new.is_none() && check.wants_upgrade(&params);
                let upgraded = upgrade.then(|| hashing::stored_form(&secret, &params, arena)).transpose()?;
                let change = match (new.filter(|_| matched), check.sub()) {
                    (Some(new), Some(sub)) => Some(changed(&judging, sub, &new, &params, arena)?),
                    _ => None,
                };
                Ok((matched, upgraded, change))
            });
            match hashed {
                Ok((matched, upgraded, change)) => {
                    let done = move |verdict: stoa_engine::Result<Verdict>| {
                        answer.give(|reply| {
                            write_verdict(reply, &verdict?);
                            Ok(())
                        });
                    };
                    pool.check_finish(check, matched, upgraded, change, Box::new(done));
                }
                Err(refused) => answer.give(|_| Err(refused)),
            }
        });
    }
}

/// The stored form of a new password that its user chose, if the pool's policy takes it.
fn changed(pool: &Pool, sub: Sub, new: &[u8], params: &Argon2Params, arena: &mut Arena) -> Result<Box<str>> {
    let snapshot = pool.snapshot();
    let user = UserRef::Sub(sub);
    check_own(&snapshot, &snapshot.password_policy(), &user, new)?;
    hashing::refuse_reused(new, &snapshot.former_passwords(&user)?, arena)?;
    hashing::stored_form(new, params, arena)
}

/// Writes the answer to a check.
fn write_verdict(reply: &mut Reply<'_>, verdict: &Verdict) {
    reply.map(10);
    reply.bulk("verified");
    reply.boolean(verdict.verified);
    reply.bulk("matched");
    reply.boolean(verdict.matched);
    reply.bulk("reason");
    reply.bulk_or_null(verdict.reason.map(|reason| reason.word()));
    reply.bulk("sub");
    reply.bulk_or_null(verdict.sub.map(|sub| sub.text()));
    reply.bulk("status");
    reply.bulk_or_null(verdict.status.map(|status| status.word()));
    reply.bulk("scheme");
    reply.bulk_or_null(verdict.scheme);
    reply.bulk("upgraded");
    reply.boolean(verdict.upgraded);
    reply.bulk("locked");
    reply.boolean(verdict.locked);
    reply.bulk("locked_until");
    reply.bulk_or_null(verdict.locked_until_ms.map(time_text));
    reply.bulk("seq");
    reply.count(verdict.seq.0);
}
