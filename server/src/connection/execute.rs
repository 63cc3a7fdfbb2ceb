//! Carries out one request: finds the command, checks that it may run, and runs it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::pending::Pending;
use super::session::Session;
use super::transaction::Queue;
use crate::args::Args;
use crate::audit::AuditEntry;
use crate::command::{Entry, Flags, Heavy, Lookup, Run, help, table};
use crate::dispatch::{Answer, Call, Footprint, Later, commit_later};
use crate::refusal::{Refusal, Result};
use crate::resp::{Reply, Words};
use crate::shared::now_ms;

/// What became of a request.
pub(super) enum Step {
    /// It is answered, or will be; its bytes may go, zeroed if they hold a secret.
    Done {
        /// It held a secret.
        secret: bool,
    },
    /// Something before it has to be answered first.
    Wait,
}

const DONE: Step = Step::Done { secret: false };

impl Session {
    /// Carries out one request. Its reply goes to `out`, or behind others to `pending`.
    pub(super) fn execute(&mut self, words: Words<'_>, out: &mut Vec<u8>, pending: &mut Pending) -> Step {
        let Some(first) = words.get(0) else { return DONE };
        let entry = match self.find(first, words) {
            Ok(entry) => entry,
            Err(refused) => {
                if self.actor.is_some()
                    && let Some(queue) = &mut self.queue
                {
                    queue.refuse();
                }
                self.shared.stats.refused(refused.word());
                answer_now(self.resp3, out, pending, |reply| refuse(reply, &refused));
                return DONE;
            }
        };
        let secret = entry.command.flags.has(Flags::SECRET);
        if self.queue.is_some() && !is_transaction_word(entry) && !entry.command.flags.has(Flags::NO_AUTH) {
            self.enqueue(entry, words, out, pending);
            return Step::Done { secret };
        }
        if !pending.is_empty() && !entry.command.flags.has(Flags::OVERLAPS) {
            return Step::Wait;
        }
        self.shared.stats.requests.fetch_add(1, Relaxed);
        self.client.last_command.store(entry.index, Relaxed);
        self.client.active_ms.store(now_ms(), Relaxed);
        match self.run(entry, words, out, pending) {
            Some(Step::Wait) => Step::Wait,
            _ => Step::Done { secret },
        }
    }

    /// The command of a request, if it may run here at all.
    fn find(&self, first: &[u8], words: Words<'_>) -> Result<&'static Entry> {
        let found = table().find(first, words.get(1));
        if self.actor.is_none() && !matches!(found, Lookup::Found(entry) if self.may_run_yet(entry)) {
            return Err(Refusal::new("NOAUTH", "Authentication required."));
        }
        match found {
            Lookup::Found(entry) if entry.accepts(words.len()) => Ok(entry),
            Lookup::Found(entry) => {
                Err(Refusal::err(format!("wrong number of arguments for '{}' command", entry.name)))
            }
            Lookup::Unknown => Err(unknown_command(first)),
            Lookup::UnknownSubcommand(entry) if words.get(1).is_none() => {
                Err(Refusal::err(format!("wrong number of arguments for '{}' command", entry.name)))
            }
            Lookup::UnknownSubcommand(entry) if words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"HELP")) => {
                Ok(entry)
            }
            Lookup::UnknownSubcommand(entry) => {
                Err(Refusal::err(format!("unknown subcommand. Try {} HELP.", entry.spoken)))
            }
        }
    }

    /// Runs a command that is not queued; `None`: it is answered now.
    fn run(
        &mut self,
        entry: &'static Entry,
        words: Words<'_>,
        out: &mut Vec<u8>,
        pending: &mut Pending,
    ) -> Option<Step> {
        let started = Instant::now();
        let args = Args::new(words, entry.words());
        let shared = self.shared.clone();
        let ready = self.check(entry, words);
        let refused = match (ready, entry.command.run) {
            (Err(refused), _) => Some(refused),
            (Ok(()), Run::Session(run)) => {
                let mut reply = Reply::new(out, self.resp3);
                let before = reply.len();
                let refused = run(self, args, &mut reply).err();
                if refused.is_some() {
                    reply.truncate(before);
                }
                match refused {
                    None => {
                        shared.stats.answered(entry, started.elapsed(), None);
                        return None;
                    }
                    refused => refused,
                }
            }
            (Ok(()), Run::Container) => {
                help(entry, &mut Reply::new(out, self.resp3));
                None
            }
            (Ok(()), Run::Multi) => self.multi(out).err(),
            (Ok(()), Run::Discard) => self.discard(out).err(),
            (Ok(()), Run::Exec) => match self.exec(out, pending) {
                Ok(()) => return None,
                Err(refused) => Some(refused),
            },
            (Ok(()), Run::Call(run, heavy)) if is_light(heavy, words.len()) && !audited(entry) => {
                let actor = self.actor.as_ref()?;
                let call = Call { shared: &shared, actor, entry, pinned: None };
                let mut reply = Reply::new(out, self.resp3);
                let before = reply.len();
                let refused = run(&call, args, &mut reply).err();
                if refused.is_some() {
                    reply.truncate(before);
                }
                refused
            }
            (Ok(()), Run::Call(..)) => {
                self.call_on_thread(entry, words, pending);
                return None;
            }
            (Ok(()), Run::Write(_) | Run::Later(_)) => match self.later(entry, args) {
                Ok(later) if pending.allows(&later.footprint) => {
                    let (answer, reply) = Answer::new(&self.shared, entry, self.resp3);
                    pending.push(reply, later.footprint, self.resp3, words.size_bytes());
                    (later.start)(self.to_audit(entry, words, answer));
                    return None;
                }
                Ok(_) => return Some(Step::Wait),
                // The refusal of what it reads may rest on what is under way.
                Err(_) if !pending.is_empty() => return Some(Step::Wait),
                Err(refused) => Some(refused),
            },
        };
        let word = refused.as_ref().map(Refusal::word);
        self.shared.stats.answered(entry, started.elapsed(), word);
        if let Some(refused) = refused {
            if refused.word() != "NOPERM" && audited(entry) {
                self.audit(&entry.spoken, pool_of(entry, words), refused.word());
            }
            answer_now(self.resp3, out, pending, |reply| refuse(reply, &refused));
        }
        None
    }

    /// Refuses what the user may not run, or not on that pool.
    pub(super) fn check(&self, entry: &'static Entry, words: Words<'_>) -> Result<()> {
        let pool = pool_of(entry, words);
        let Some(actor) = &self.actor else { return Ok(()) };
        actor.check(entry, pool).inspect_err(|refused| {
            let reason = if actor.may_run(entry) { "key" } else { "command" };
            self.note_refusal(reason, &entry.name);
            if audited(entry) {
                self.audit(&entry.spoken, None, refused.word());
            }
        })
    }

    /// An answer that leaves an entry in the audit log, if the command is one of those.
    fn to_audit(&self, entry: &Entry, words: Words<'_>, answer: Answer) -> Answer {
        if !audited(entry) {
            return answer;
        }
        let user = self.actor.as_ref().map_or("", |actor| actor.name());
        let pool = pool_of(entry, words);
        answer.audited(AuditEntry::new(user, &entry.spoken, pool, "ok", &self.client.address))
    }

    /// Reads the arguments of a command that is answered later.
    fn later(&self, entry: &'static Entry, args: Args<'_>) -> Result<Later> {
        let actor = self.actor.as_ref().ok_or_else(|| Refusal::new("NOAUTH", "Authentication required."))?;
        let call = Call { shared: &self.shared, actor, entry, pinned: None };
        match entry.command.run {
            Run::Write(plan) => Ok(commit_later(&call, args, plan(&call, args)?)),
            Run::Later(plan) => plan(&call, args),
            _ => Err(Refusal::err("this command is not answered later")),
        }
    }

    /// Starts a command that is answered later.
    pub(super) fn start(&self, entry: &'static Entry, later: Later, pending: &mut Pending, request_bytes: usize) {
        let (answer, reply) = Answer::new(&self.shared, entry, self.resp3);
        pending.push(reply, later.footprint, self.resp3, request_bytes);
        (later.start)(answer);
    }

    /// Runs a command that may take long, or waits for the disk, on a thread of its own.
    fn call_on_thread(&self, entry: &'static Entry, words: Words<'_>, pending: &mut Pending) {
        let (Some(actor), Run::Call(run, heavy)) = (self.actor.clone(), entry.command.run) else { return };
        let (shared, request, client) = (self.shared.clone(), words.to_owned(), self.client.clone());
        let start = move |answer: Answer| {
            let permits = if heavy == Heavy::Waits { &shared.waits } else { &shared.scans }.clone();
            answer.give_blocking(permits, move |reply| {
                let words = request.words();
                let call = Call { shared: &shared, actor: &actor, entry, pinned: None };
                let outcome = run(&call, Args::new(words, entry.words()), reply);
                if audited(entry) {
                    let word = outcome.as_ref().map_or_else(|refused| refused.word(), |()| "ok");
                    let pool = pool_of(entry, words);
                    let done = AuditEntry::new(actor.name(), &entry.spoken, pool, word, &client.address);
                    let change = shared.audit.add(done);
                    shared.audit.save_to(&shared.store, change);
                }
                outcome
            });
        };
        let later = Later { footprint: Footprint::alone(), start: Box::new(start) };
        self.start(entry, later, pending, words.size_bytes());
    }

    /// Queues a request of an open transaction.
    fn enqueue(&mut self, entry: &'static Entry, words: Words<'_>, out: &mut Vec<u8>, pending: &mut Pending) {
        let allowed = self.check(entry, words);
        let limits = &self.shared.config.limits;
        let (commands, bytes) = (limits.transaction_commands, limits.transaction_bytes);
        let Some(queue) = &mut self.queue else { return };
        let queued = allowed.and_then(|()| queue.add(entry, words, commands, bytes));
        self.client.queued.store(queue.len(), Relaxed);
        if let Err(refused) = &queued {
            queue.refuse();
            self.shared.stats.refused(refused.word());
        }
        answer_now(self.resp3, out, pending, |reply| match &queued {
            Ok(()) => reply.simple("QUEUED"),
            Err(refused) => refuse(reply, refused),
        });
    }

    fn multi(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.queue.is_some() {
            return Err(Refusal::err("MULTI calls can not be nested"));
        }
        self.queue = Some(Queue::default());
        self.client.queued.store(0, Relaxed);
        Reply::new(out, self.resp3).ok();
        Ok(())
    }

    fn discard(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.queue.take().ok_or_else(|| Refusal::err("DISCARD without MULTI"))?;
        self.client.queued.store(usize::MAX, Relaxed);
        Reply::new(out, self.resp3).ok();
        Ok(())
    }
}

/// Whether a command of this many words reads little.
pub(super) fn is_light(heavy: Heavy, words: usize) -> bool {
    match heavy {
        Heavy::Never => true,
        Heavy::Always | Heavy::Waits => false,
        Heavy::From(many) => words < many,
    }
}

/// The pool that a request names.
pub(super) fn pool_of<'a>(entry: &Entry, words: Words<'a>) -> Option<&'a [u8]> {
    words.get(entry.pool_at()?)
}

fn audited(entry: &Entry) -> bool {
    entry.command.flags.has(Flags::AUDITED)
}

/// Commands that end or look at a transaction instead of joining it.
fn is_transaction_word(entry: &Entry) -> bool {
    matches!(entry.command.run, Run::Multi | Run::Exec | Run::Discard)
}

/// Writes a reply, behind those that are still to come.
fn answer_now(resp3: bool, out: &mut Vec<u8>, pending: &mut Pending, write: impl FnOnce(&mut Reply<'_>)) {
    if pending.is_empty() {
        write(&mut Reply::new(out, resp3));
    } else {
        let mut later = Vec::new();
        write(&mut Reply::new(&mut later, resp3));
        pending.push_ready(later);
    }
}

/// Writes a refusal.
pub(super) fn refuse(reply: &mut Reply<'_>, refused: &Refusal) {
    reply.error(refused.word(), refused.sentence());
}

/// Redis's wording, which clients recognise; arguments are not repeated, and neither is a first word
/// that looks like none of a command.
fn unknown_command(first: &[u8]) -> Refusal {
    let plain = first.len() <= 32
        && first.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'|'));
    match std::str::from_utf8(first) {
        Ok(name) if plain => Refusal::err(format!("unknown command '{name}'")),
        _ => Refusal::err("unknown command"),
    }
}
