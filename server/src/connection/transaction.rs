//! MULTI and EXEC: what was queued becomes one transaction of one pool.
//!
//! 1. Nothing is written unless every command can be: arguments are read, reads are carried out on
//!    the state before, passwords are hashed, and then all operations are committed at once.
//! 2. Access is checked again at EXEC, against the rules of that moment.
//! 3. A refusal names the command by position and name: `EXECABORT CONFLICT command 2 of 3 (USER.SET): …`;
//!    a refusal that says "later" or "outcome unknown" keeps its own first word.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use stoa_engine::Pool;
use stoa_engine::password::Arena;
use stoa_engine::pool::request::{Committed, Op, RetryToken, Transaction};

use super::execute::{is_light, pool_of};
use super::pending::Pending;
use super::session::Session;
use crate::acl::Actor;
use crate::args::Args;
use crate::command::{Entry, Flags, Run};
use crate::dispatch::{Answer, Call, Footprint, Later, Show, give_password, request_digest, write_outcome};
use crate::hashing::NewSecret;
use crate::refusal::{Refusal, Result};
use crate::resp::{OwnedRequest, Reply, Words};
use crate::shared::Shared;

/// Reads beyond which a transaction is prepared on a thread of its own.
const LIGHT_READS_MAX: usize = 32;
/// First words that say what to do next better than EXECABORT does.
const KEPT_WORDS: [&str; 12] = [
    "TRYAGAIN",
    "BUSY",
    "STALE",
    "LOADING",
    "UNREACHABLE",
    "KEYUNAVAILABLE",
    "NOREPLICAS",
    "INDOUBT",
    "MOVED",
    "READONLY",
    "FENCED",
    "KEYDISABLED",
];

/// What was queued since MULTI.
#[derive(Default)]
pub(super) struct Queue {
    requests: Vec<(&'static Entry, OwnedRequest)>,
    bytes: usize,
    refused: bool,
}

impl Queue {
    /// How many commands are queued.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// What is kept of the requests, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        if self.refused { 0 } else { self.bytes }
    }

    /// From now on the transaction can only be aborted.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
        self.requests.clear();
    }

    /// Queues one request.
    pub(super) fn add(
        &mut self,
        entry: &'static Entry,
        words: Words<'_>,
        commands_max: usize,
        bytes_max: usize,
    ) -> Result<()> {
        if entry.command.flags.has(Flags::NO_MULTI) {
            return Err(Refusal::err(format!("Command not allowed inside a transaction: {}", entry.spoken)));
        }
        if self.refused {
            return Ok(());
        }
        let request = words.to_owned();
        self.bytes += request.size_bytes();
        if self.requests.len() == commands_max || self.bytes > bytes_max {
            return Err(Refusal::limit(format!(
                "a transaction has at most {commands_max} commands and {bytes_max} bytes"
            )));
        }
        if let (Some(pool), Some(first)) = (pool_of(entry, words), self.pool())
            && pool != first
        {
            return Err(Refusal::new("CROSSPOOL", "a transaction concerns one pool; this command names another"));
        }
        self.requests.push((entry, request));
        Ok(())
    }

    fn pool(&self) -> Option<&[u8]> {
        self.requests.iter().find_map(|(entry, request)| pool_of(entry, request.words()))
    }

    fn is_light(&self) -> bool {
        let reads = self.requests.iter().filter(|(entry, _)| matches!(entry.command.run, Run::Call(..)));
        reads.clone().count() <= LIGHT_READS_MAX
            && reads.clone().all(|(entry, request)| match entry.command.run {
                Run::Call(_, heavy) => is_light(heavy, request.words().len()),
                _ => true,
            })
    }
}

/// The reply of one queued command.
enum Part {
    /// It is known.
    Written(Vec<u8>),
    /// It is the outcome of an operation.
    Outcome(Show),
    /// It runs on the connection itself, before the rest.
    Missing,
}

/// A transaction that is ready to be committed.
struct Prepared {
    parts: Vec<Part>,
    pool: Option<Pool>,
    ops: Vec<Op>,
    /// Which operation needs which password hashed.
    secrets: Vec<(usize, NewSecret)>,
    token: Option<RetryToken>,
    /// Position (from 1) and name of the command of each operation.
    places: Vec<(usize, &'static str)>,
    count: usize,
}

impl Session {
    /// `EXEC`
    pub(super) fn exec(&mut self, out: &mut Vec<u8>, pending: &mut Pending) -> Result<()> {
        let queue = self.queue.take().ok_or_else(|| Refusal::err("EXEC without MULTI"))?;
        self.client.queued.store(usize::MAX, Relaxed);
        if queue.refused {
            return Err(Refusal::new("EXECABORT", "Transaction discarded because of previous errors."));
        }
        // The rules of this moment; a user that is gone or off may do nothing.
        let held = self.actor.clone().ok_or_else(|| Refusal::new("NOAUTH", "Authentication required."))?;
        let is_dev = self.shared.dev.as_ref().is_some_and(|dev| Arc::ptr_eq(dev, &held));
        let actor =
            if is_dev { Some(held) } else { self.shared.acl.user(held.name()).filter(|actor| actor.is_enabled()) };
        let actor = actor.ok_or_else(|| Refusal::new("EXECABORT", "NOPERM this user was removed or switched off"))?;
        let count = queue.len();
        for (at, (entry, request)) in queue.requests.iter().enumerate() {
            let checked = actor.check(entry, pool_of(entry, request.words()));
            checked.map_err(|refused| at_command(&refused, at + 1, count, &entry.spoken))?;
        }
        if count == 0 {
            Reply::new(out, self.resp3).array(0);
            return Ok(());
        }
        let parts = self.run_session_parts(&queue)?;
        let entry = crate::command::table().named(b"EXEC").ok_or_else(|| Refusal::err("EXEC is not declared"))?;
        let (shared, resp3, light, bytes) = (self.shared.clone(), self.resp3, queue.is_light(), queue.bytes);
        let start = move |answer: Answer| {
            let prepare = move |answer: Answer| match prepare(&shared, &actor, &queue, parts, resp3) {
                Err(refused) => answer.give(|_| Err(refused)),
                Ok(prepared) => hash_and_commit(answer, &actor, prepared),
            };
            if light {
                prepare(answer);
            } else {
                on_thread(answer, prepare);
            }
        };
        self.start(entry, Later { footprint: Footprint::alone(), start: Box::new(start) }, pending, bytes);
        Ok(())
    }

    /// Runs what concerns the connection alone; the other parts stay missing.
    fn run_session_parts(&mut self, queue: &Queue) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(queue.len());
        for (entry, request) in &queue.requests {
            let Run::Session(run) = entry.command.run else {
                parts.push(Part::Missing);
                continue;
            };
            let mut written = Vec::new();
            let mut reply = Reply::new(&mut written, self.resp3);
            if let Err(refused) = run(self, Args::new(request.words(), entry.words()), &mut reply) {
                reply.truncate(0);
                reply.error(refused.word(), refused.sentence());
            }
            parts.push(Part::Written(written));
        }
        Ok(parts)
    }
}

/// Prepares on a thread for long work.
fn on_thread(answer: Answer, prepare: impl FnOnce(Answer) + Send + 'static) {
    let runtime = answer.shared().runtime.clone();
    let scans = answer.shared().scans.clone();
    runtime.spawn(async move {
        let Ok(permit) = scans.acquire_owned().await else { return };
        tokio::task::spawn_blocking(move || {
            prepare(answer);
            drop(permit);
        });
    });
}

/// Reads all arguments, and carries out the reads on one state.
fn prepare(shared: &Arc<Shared>, actor: &Arc<Actor>, queue: &Queue, parts: Vec<Part>, resp3: bool) -> Result<Prepared> {
    let count = queue.len();
    let mut prepared =
        Prepared { parts, pool: None, ops: Vec::new(), secrets: Vec::new(), token: None, places: Vec::new(), count };
    let pinned = match queue.pool() {
        None => None,
        Some(name) => {
            let pool = shared.store.pool(crate::args::text(name)?)?;
            let snapshot = pool.snapshot();
            prepared.pool = Some(pool);
            Some(snapshot)
        }
    };
    let mut token: Option<Bytes> = None;
    let mut reply_bytes = 0;
    for (at, (entry, request)) in queue.requests.iter().enumerate() {
        let call = Call { shared, actor, entry, pinned: pinned.as_ref() };
        let part = prepare_one(&call, request, resp3, &mut prepared, &mut token);
        let part = part.map_err(|refused| at_command(&refused, at + 1, count, &entry.spoken))?;
        match part {
            Some(Part::Outcome(show)) => {
                prepared.places.push((at + 1, &entry.spoken));
                prepared.parts[at] = Part::Outcome(show);
            }
            Some(Part::Written(bytes)) => {
                reply_bytes += bytes.len();
                prepared.parts[at] = Part::Written(bytes);
            }
            Some(Part::Missing) | None => {}
        }
        if reply_bytes > shared.config.limits.output_buffer_bytes {
            return Err(Refusal::new("EXECABORT", "LIMIT the replies of this transaction are too large"));
        }
    }
    prepared.token = token.map(|token| RetryToken {
        token,
        request: request_digest(queue.requests.iter().map(|(entry, request)| (*entry, request.words()))),
    });
    Ok(prepared)
}

/// Reads one command's arguments, and, if it is a read, carries it out.
fn prepare_one(
    call: &Call<'_>,
    request: &OwnedRequest,
    resp3: bool,
    prepared: &mut Prepared,
    token: &mut Option<Bytes>,
) -> Result<Option<Part>> {
    let args = Args::new(request.words(), call.entry.words());
    match call.entry.command.run {
        Run::Write(plan) => {
            let planned = plan(call, args)?;
            if let Some(own) = planned.token
                && token.replace(own.clone()).is_some_and(|other| other != own)
            {
                return Err(Refusal::invalid("a transaction has one TOKEN"));
            }
            if let Some(secret) = planned.secret {
                prepared.secrets.push((prepared.ops.len(), secret));
            }
            prepared.ops.push(planned.op);
            Ok(Some(Part::Outcome(planned.show)))
        }
        Run::Call(run, _) => {
            let mut written = Vec::new();
            run(call, args, &mut Reply::new(&mut written, resp3))?;
            Ok(Some(Part::Written(written)))
        }
        _ => Ok(None),
    }
}

/// Hashes the passwords, commits, and answers when that is durable.
fn hash_and_commit(answer: Answer, actor: &Arc<Actor>, mut prepared: Prepared) {
    let actor = actor.name().clone();
    if prepared.secrets.is_empty() {
        return commit(answer, actor, prepared);
    }
    let shared = answer.shared().clone();
    let params = shared.hashing.params();
    shared.hashing.run(move |arena| {
        let hash_all = |arena: &mut Arena| -> Result<()> {
            for (op, secret) in std::mem::take(&mut prepared.secrets) {
                let stored = secret.stored_form(&params, arena).map_err(|refused| match prepared.places.get(op) {
                    Some((at, name)) => at_command(&refused, *at, prepared.count, name),
                    None => aborted(refused.word(), refused.sentence()),
                })?;
                if let Some(op) = prepared.ops.get_mut(op) {
                    give_password(op, stored);
                }
            }
            Ok(())
        };
        match arena.and_then(hash_all) {
            Err(refused) if refused.word() == "EXECABORT" => answer.give(|_| Err(refused)),
            Err(refused) => answer.give(|_| Err(aborted(refused.word(), refused.sentence()))),
            Ok(()) => commit(answer, actor, prepared),
        }
    });
}

fn commit(answer: Answer, actor: Arc<str>, prepared: Prepared) {
    let Prepared { parts, pool, ops, token, places, count, .. } = prepared;
    let (Some(pool), false) = (pool, ops.is_empty()) else {
        return answer.give(|reply| {
            write_parts(reply, &parts, None);
            Ok(())
        });
    };
    let done = move |committed: stoa_engine::Result<Committed>| {
        answer.give(|reply| match committed {
            Ok(committed) => {
                write_parts(reply, &parts, Some(&committed));
                Ok(())
            }
            Err(error) => {
                let refused = Refusal::from(error);
                match refused.op().and_then(|op| places.get(op)) {
                    Some((at, name)) => Err(at_command(&refused, *at, count, name)),
                    None => Err(aborted(refused.word(), refused.sentence())),
                }
            }
        });
    };
    pool.submit(Transaction { actor, token, ops }, Box::new(done));
}

fn write_parts(reply: &mut Reply<'_>, parts: &[Part], committed: Option<&Committed>) {
    reply.array(parts.len());
    let mut op = 0;
    for part in parts {
        match (part, committed) {
            (Part::Written(bytes), _) => reply.raw(bytes),
            (Part::Outcome(show), Some(committed)) => {
                let outcome = committed.outcomes.get(op).cloned().unwrap_or_default();
                write_outcome(reply, *show, &outcome, committed.seq, committed.replayed);
                op += 1;
            }
            _ => reply.null(),
        }
    }
}

/// The refusal of a whole transaction because of one command.
fn at_command(refused: &Refusal, at: usize, count: usize, name: &str) -> Refusal {
    aborted(refused.word(), &format!("command {at} of {count} ({name}): {}", refused.sentence()))
}

fn aborted(word: &'static str, sentence: &str) -> Refusal {
    if KEPT_WORDS.contains(&word) {
        return Refusal::new(word, sentence.to_string());
    }
    Refusal::new("EXECABORT", format!("{word} {sentence}"))
}
