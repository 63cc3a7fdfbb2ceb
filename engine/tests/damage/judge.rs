//! Whether a damaged store behaves: holds every answer against the healthy store's, and looks for the damage in what
//! reads and verification say.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use stoa_engine::pool::request::{Op, Transaction};
use stoa_engine::{ErrorKind, Store};

use crate::damages::{Change, Damage, FileKind, is_between_frames};
use crate::life::options;
use crate::reading::{Answers, ask_pool, ask_store};
use crate::store::{Healthy, POOLS};

/// How a damage came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The store refuses to open.
    Refused,
    /// A read said so, and verification too.
    Read,
    /// Reads gave what was stored; verification said so.
    Verified,
    /// Nothing said so, and nothing had to.
    Harmless,
}

/// The pools that a damage does not concern are read, verified and written to after one damage in so many.
const WHOLE_EACH: usize = 8;
/// No more than so many failures are told.
const TOLD_MAX: usize = 40;

/// Tries each damage on a disk of its own, on two threads; tells how many came out how, and panics if any came out
/// wrong.
pub fn try_all(healthy: &Healthy, damages: Vec<Damage>) {
    let only = std::env::var("STOA_DAMAGE").unwrap_or_default();
    let damages: Vec<_> = damages.into_iter().filter(|damage| damage.to_string().contains(&only)).collect();
    let (next, since) = (AtomicUsize::new(0), std::time::Instant::now());
    let counts = Mutex::new(BTreeMap::<(&str, FileKind, Outcome), usize>::new());
    let wrong = Mutex::new(Vec::new());
    let work = || {
        loop {
            let nth = next.fetch_add(1, Relaxed);
            let Some(damage) = damages.get(nth) else { return };
            let whole = nth % WHOLE_EACH == 0;
            let tried = catch_unwind(AssertUnwindSafe(|| try_one(healthy, damage, whole)));
            match tried.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                Ok(outcome) => {
                    let key = (damage.kind, FileKind::of(&damage.file), outcome);
                    *counts.lock().unwrap().entry(key).or_default() += 1;
                }
                Err(what) => wrong.lock().unwrap().push(format!("STOA_DAMAGE='{damage}': {what}")),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    for ((kind, file, outcome), count) in counts.into_inner().unwrap() {
        eprintln!("{kind}, {file:?}: {outcome:?} {count}");
    }
    let wrong = wrong.into_inner().unwrap();
    eprintln!("{} damages tried, {} s", damages.len(), since.elapsed().as_secs());
    let told = wrong.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} came out wrong:\n{told}", wrong.len());
}

fn try_one(healthy: &Healthy, damage: &Damage, whole: bool) -> Result<Outcome, String> {
    let disk = healthy.image();
    damage.strike(&disk);
    let store = match Store::open(options(&disk)) {
        Ok(store) => store,
        Err(error) => {
            // A key file has words of its own: which of the two does not fit the other is not known.
            let is_key = matches!(FileKind::of(&damage.file), FileKind::Key) || damage.kind == "another store's";
            let fits = (error.kind() == ErrorKind::Damaged || is_key) && names(damage, error.message());
            return if fits { Ok(Outcome::Refused) } else { Err(format!("the store does not open: {error}")) };
        }
    };
    let concerned = healthy.pool_of(&damage.file);
    let mut answers = Answers::new();
    ask_store(&store, &mut answers);
    let asked = |name: &str| whole || concerned.is_none_or(|concerned| concerned == name);
    for name in POOLS.into_iter().filter(|name| asked(name)) {
        ask_pool(&store, name, &healthy.asked[name], &mut answers);
    }
    let mut refused = 0;
    for (question, right) in &healthy.answers {
        let pool = question.split(':').next().filter(|name| POOLS.contains(name));
        if pool.is_some_and(|pool| !asked(pool)) {
            continue;
        }
        let answer = match (answers.get(question), pool) {
            (None, Some(pool)) => answers.get(&format!("{pool}: open")),
            (found, _) => found,
        };
        match answer {
            Some(Ok(answer)) if Some(answer) == right.as_ref().ok() => {}
            Some(Err(error)) if pool.is_some() && pool == concerned => {
                if !names(damage, error.message()) {
                    return Err(format!("{question}: says not where: {error}"));
                }
                refused += 1;
            }
            Some(Err(error)) => return Err(format!("{question}: refused for nothing: {error}")),
            Some(Ok(answer)) => {
                return Err(format!("{question}: {answer}\n  and not {}", right.as_ref().ok().unwrap()));
            }
            None => return Err(format!("{question}: no answer")),
        }
    }
    let found = verify(healthy, damage, &store, concerned, whole)?;
    for name in POOLS.into_iter().filter(|name| Some(*name) != concerned && whole) {
        write(&store, name)?;
    }
    match (refused > 0, found) {
        (true, true) => Ok(Outcome::Read),
        (true, false) => Err("a read says so, verification does not".into()),
        (false, true) => Ok(Outcome::Verified),
        (false, false) => match means_nothing(healthy, damage) {
            true => Ok(Outcome::Harmless),
            false => Err("nothing says so".into()),
        },
    }
}

/// Whether verification finds the damage; it must find nothing else.
fn verify(
    healthy: &Healthy,
    damage: &Damage,
    store: &Store,
    concerned: Option<&str>,
    whole: bool,
) -> Result<bool, String> {
    let findings = match concerned.filter(|_| !whole).map(|name| store.pool(name).and_then(|pool| pool.verify())) {
        None => store.verify().findings,
        Some(Ok(report)) => report.findings,
        Some(Err(error)) => return Ok(names(damage, error.message())),
    };
    let mut found = false;
    for finding in findings {
        let pool = finding.pool.and_then(|id| healthy.ids.iter().find(|(_, pool)| **pool == id)).map(|(name, _)| name);
        if pool.map(String::as_str) != concerned {
            return Err(format!("verification finds something elsewhere: {finding:?}"));
        }
        found |= names(damage, &format!("{} offset {:?}: {}", finding.file, finding.offset, finding.what));
    }
    Ok(found)
}

fn write(store: &Store, name: &str) -> Result<(), String> {
    let written = store.pool(name).and_then(|pool| {
        let ops = vec![Op::ConfigSet { name: "after".into(), if_version: None, json: "{}".into() }];
        pool.commit(Transaction { ops, ..Transaction::default() })?;
        Ok(pool.snapshot().config("after").is_some())
    });
    match written {
        Ok(true) => Ok(()),
        other => Err(format!("{name} takes no write: {other:?}")),
    }
}

/// Whether a message names the damaged file: all of its path that tells it from others in its directory.
fn names(damage: &Damage, message: &str) -> bool {
    let file = damage.file.strip_prefix("DATA/").unwrap_or(&damage.file);
    let inside = file.strip_prefix("pools/").and_then(|rest| rest.split_once('/')).map(|(_, inside)| inside);
    let name = inside.unwrap_or(file);
    // Of a history file that is gone nobody knows the last Seq, which is part of its name.
    message.contains(name) || name.starts_with("history/") && message.contains(name.split('-').next().unwrap_or(name))
}

/// Whether the formats say that what was changed means nothing, so that nobody has to find it.
fn means_nothing(healthy: &Healthy, damage: &Damage) -> bool {
    let kind = FileKind::of(&damage.file);
    let bytes = healthy.image().contents(&damage.file).unwrap();
    match (&damage.change, kind) {
        (_, FileKind::Nothing) => true,
        // Of a copy from before only the incarnation is another, which the log knows too: STORE is what the remedy for
        // its own damage puts back. An older catalogue is brought up to date from the log, or refused.
        (_, FileKind::Store | FileKind::Catalogue) => damage.kind == "older",
        // Behind the last frame there is nothing.
        (Change::Content(cut), FileKind::Segment) => {
            damage.kind == "cut"
                && kind.parts(&bytes).iter().all(|part| part.end <= cut.len() || is_between_frames(&bytes, part))
        }
        (Change::Flip { at, .. }, FileKind::Segment) => {
            kind.parts(&bytes).iter().any(|part| part.contains(at) && is_between_frames(&bytes, part))
        }
        _ => false,
    }
}
