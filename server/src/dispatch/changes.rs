//! The change feed: pulled, durable transactions only.

use std::sync::Arc;
use std::time::Duration;

use stoa_engine::Pool;
use stoa_engine::pool::view::{Change, ChangeOp};
use stoa_format::Seq;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::users::write_value;
use super::{Answer, Call, Footprint, Later, time_text};
use crate::acl::Actor;
use crate::args::{Args, Options, Takes};
use crate::command::Entry;
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;
use crate::shared::Shared;

/// Transactions of one reply unless told.
const COUNT_DEFAULT: u64 = 100;
/// The most transactions of one reply.
const COUNT_MAX: u64 = 1000;
/// A reply ends at this many bytes, behind its first transaction.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// `CHANGES pool FROM seq [COUNT count] [BLOCK ms] [VALUES]`
pub(crate) fn changes(call: &Call<'_>, mut args: Args<'_>) -> Result<Later> {
    let pool = call.pool(&mut args)?;
    let options = Options::read(
        &mut args,
        &[("FROM", Takes::Word), ("COUNT", Takes::Word), ("BLOCK", Takes::Word), ("VALUES", Takes::Nothing)],
    )?;
    args.end()?;
    let from = options.number("FROM")?.ok_or_else(|| Refusal::invalid("FROM seq is missing"))?;
    let count = options.number("COUNT")?.unwrap_or(COUNT_DEFAULT);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(Refusal::invalid(format!("COUNT is 1 to {COUNT_MAX}")));
    }
    let block_ms = options.number("BLOCK")?.unwrap_or(0).min(call.shared.config.limits.block_ms);
    let (actor, entry) = (call.actor.clone(), call.entry);
    let feed = Feed { pool, from: Seq(from), count: count as usize, values: options.has("VALUES") };
    let start = move |answer: Answer| {
        let runtime = answer.shared().runtime.clone();
        runtime.spawn(async move { feed.answer(answer, actor, entry, block_ms).await });
    };
    Ok(Later { footprint: Footprint::alone(), start: Box::new(start) })
}

struct Feed {
    pool: Pool,
    from: Seq,
    count: usize,
    values: bool,
}

impl Feed {
    /// Waits for something to answer, if asked to, and answers.
    async fn answer(self, mut answer: Answer, actor: Arc<Actor>, entry: &'static Entry, block_ms: u64) {
        if block_ms > 0 && self.pool.seq() < self.from {
            let arrived = Arc::new(Notify::new());
            let told = arrived.clone();
            self.pool.wait_for_seq(self.from, Box::new(move || told.notify_one()));
            let mut stopping = answer.shared().stopping.clone();
            tokio::select! {
                _ = timeout(Duration::from_millis(block_ms), arrived.notified()) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
                () = answer.abandoned() => return,
            }
        }
        let shared = answer.shared().clone();
        answer.give_blocking(shared.scans.clone(), move |reply| {
            let actor = current(&shared, &actor, entry, self.pool.name())?;
            let changes = self.pool.changes(self.from, self.count, self.values)?;
            // What does not fit is asked for next, from the Seq behind the last one.
            reply.array_within(&changes, REPLY_BYTES_MAX, |reply, change| write_change(reply, change, &actor));
            Ok(())
        });
    }
}

/// The caller under the rules of this moment: they may have changed while waiting.
fn current(shared: &Arc<Shared>, held: &Arc<Actor>, entry: &'static Entry, pool: &str) -> Result<Arc<Actor>> {
    if shared.dev.as_ref().is_some_and(|dev| Arc::ptr_eq(dev, held)) {
        return Ok(held.clone());
    }
    let actor = shared.acl.user(held.name()).filter(|actor| actor.is_enabled());
    let actor = actor.ok_or_else(|| Refusal::no_perm("this user was removed or switched off"))?;
    actor.check(entry, Some(pool.as_bytes()))?;
    Ok(actor)
}

fn write_change(reply: &mut Reply<'_>, change: &Change, actor: &Actor) {
    reply.map(3);
    reply.bulk("seq");
    reply.count(change.seq.0);
    reply.bulk("time");
    reply.bulk(time_text(change.time_ms));
    reply.bulk("ops");
    reply.array(change.ops.len());
    change.ops.iter().for_each(|op| write_op(reply, op, actor));
}

/// Writes an operation; attributes that the caller may not see do not show.
fn write_op(reply: &mut Reply<'_>, op: &ChangeOp, actor: &Actor) {
    let seen: Vec<usize> = (0..op.attrs.len()).filter(|at| actor.may_see(&op.attrs[*at])).collect();
    reply.map(5 + usize::from(op.group.is_some()) + usize::from(op.values.is_some()));
    reply.bulk("op");
    reply.bulk(op.op);
    reply.bulk("sub");
    reply.bulk_or_null(op.sub.map(|sub| sub.text()));
    if let Some(group) = &op.group {
        reply.bulk("group");
        reply.bulk(group.as_bytes());
    }
    reply.bulk("version");
    reply.count_or_null(op.version);
    reply.bulk("attrs");
    reply.bulks(seen.iter().map(|at| op.attrs[*at].as_bytes()));
    reply.bulk("origin");
    reply.bulk(op.origin.as_bytes());
    if let Some(values) = &op.values {
        reply.bulk("values");
        reply.map(seen.len());
        for at in seen {
            reply.bulk(op.attrs[at].as_bytes());
            write_value(reply, values.get(at).and_then(Option::as_ref));
        }
    }
}
