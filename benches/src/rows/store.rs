//! Rows about the whole store: load, bytes on disk, memory, and opening it after its process was killed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::mistakes;
use crate::load::Alias;
use crate::machine;
use crate::measure::time;
use crate::peer::{Peer, Seen, Setup, System, Update};
use crate::population::Text;
use crate::suite::{Bench, Member, Sample};

/// So many updates of a thousand users before the process is killed: 560,000 at a million.
const UPDATES_OF_A_THOUSAND: usize = 560;
/// Of systems that have no log to replay, a fiftieth of that: what they open does not depend on it.
const WITHOUT_LOG_PART: usize = 50;
/// Updates that are handed over at once.
const UPDATES_AT_ONCE: usize = 50_000;
/// The cache of the row about memory.
const IDLE_CACHE_BYTES: u64 = 256 << 20;
/// One user in so many is read before that.
const IDLE_STEP: usize = 5;
/// How long a store is idle before its memory is looked at.
const IDLE: Duration = Duration::from_secs(1);

/// Loads everyone from memory into an empty store, and looks at what that takes on disk.
pub(super) fn load(bench: &mut Bench<'_>) -> Result<()> {
    let raw_bytes = bench.people.raw_bytes() as f64;
    bench.in_turns_times("load", bench.options.heavy_repetitions(), &mut |turn, member| {
        member.begin_anew()?;
        let peer = member.peer()?;
        let ((_, took), syncs) = turn.beside_syncs(|| time(|| peer.load(&turn.people.users)))?;
        peer.settle()?;
        machine::sync(&turn.options.dir)?;
        let disk = peer.disk_bytes()?;
        let loaded = turn.people.users.len() as f64 / took.as_secs_f64();
        Ok(vec![
            Sample { syncs: Some(syncs), ..Sample::of("load", loaded) },
            Sample::of("disk", disk.data as f64 / raw_bytes),
            Sample::of("log", disk.apart as f64),
        ])
    })
}

/// Memory of a process that has the store open, has read much of it, and does nothing.
pub(super) fn memory(bench: &mut Bench<'_>) -> Result<()> {
    let Some(program) = bench.options.program.clone() else { return Ok(()) };
    let subs = write_subs(bench)?;
    bench.in_turns_times("memory", 1, &mut |_, member| {
        member.close()?;
        let mut child = Killed(start(&program, member, "idle", &subs, 0)?);
        let said = child.line()?;
        drop(child);
        member.open(None)?;
        let bytes: f64 = said.trim().parse().with_context(|| format!("the process that is idle says {said:?}"))?;
        Ok(if bytes > 0.0 { vec![Sample::of("memory", bytes)] } else { Vec::new() })
    })
}

/// Has a process update users, kills it, and opens the store: how long until the first profile is read.
pub(super) fn reopen(bench: &mut Bench<'_>) -> Result<()> {
    let Some(program) = bench.options.program.clone() else { return Ok(()) };
    let subs = write_subs(bench)?;
    bench.in_turns_times("reopen", bench.options.heavy_repetitions(), &mut |turn, member| {
        let peer = member.peer()?;
        peer.settle()?;
        member.close()?;
        let mut child = Killed(start(&program, member, "update", &subs, turn.round)?);
        let said = child.line()?;
        ensure!(said.trim() == "updated", "the process that is to be killed says {said:?}");
        child.kill()?;
        let user = &turn.people.users[0];
        let (_, took) = time(|| {
            member.open(None)?;
            let mut reader = member.peer()?.reader()?;
            let found = reader.profile(Alias::Email, user.text(Text::Email), &mut Seen::default())?;
            ensure!(found, "a user is gone after a kill");
            Ok(())
        })?;
        // Every update was answered before the kill.
        let (users, mut reader) = (&turn.people.users, member.peer()?.reader()?);
        let count = updates_of(&member.system, users.len());
        for number in (0..count).step_by((count / 100).max(1)) {
            mistakes::none_in_value(
                &mut *reader,
                &users[number % users.len()].sub,
                "custom:prefs",
                &prefs_of(turn.round, number),
            )?;
        }
        Ok(vec![Sample::of("reopen", took.as_secs_f64())])
    })
}

fn updates_of(system: &System, users: usize) -> usize {
    let count = users * UPDATES_OF_A_THOUSAND / 1000;
    (if system.replays { count } else { count / WITHOUT_LOG_PART }).max(1)
}

/// Another value each round: some systems do not write what is there already.
fn prefs_of(round: usize, number: usize) -> String {
    format!("k={round}.{number:09}")
}

/// All subs in one file, for processes that need no more of the population.
fn write_subs(bench: &Bench<'_>) -> Result<PathBuf> {
    let path = bench.options.dir.join("subs");
    let bytes: Vec<u8> = bench.people.users.iter().flat_map(|user| user.sub).collect();
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// A process that does not outlive its row.
struct Killed(Child);

impl Killed {
    /// The next line that it prints.
    fn line(&mut self) -> Result<String> {
        let out = self.0.stdout.as_mut().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(out.take(1000)).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the process has ended before its time");
        Ok(line)
    }

    fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn start(program: &Path, member: &Member, chore: &str, subs: &Path, round: usize) -> Result<Child> {
    Command::new(program)
        .args(["chore", chore, "--system", member.system.name, "--dir"])
        .arg(&member.dir)
        .arg("--subs")
        .arg(subs)
        .args(["--round", &round.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))
}

/// What another process does for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Updates users until it is killed.
    Update,
    /// Reads users, then says what memory it has.
    Idle,
}

/// Does a chore in this process. Returns when standard input or its parent ends it: it is killed.
///
/// # Errors
/// What the system says.
pub fn do_chore(chore: Chore, system: &str, dir: &Path, subs: &Path, round: usize) -> Result<()> {
    // Nobody is left behind if the suite itself is killed.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let systems = crate::peer::systems();
    let system = systems.iter().find(|known| known.name == system).context("there is no such system")?;
    let subs = std::fs::read(subs)?;
    let (subs, []) = subs.as_chunks::<16>() else { bail!("the file of subs is cut") };
    let cache_bytes = (chore == Chore::Idle).then_some(IDLE_CACHE_BYTES);
    let peer = (system.open)(&Setup { dir: dir.to_owned(), cache_bytes })?;
    match chore {
        Chore::Update => {
            update(&*peer, subs, round, updates_of(system, subs.len()))?;
            println!("updated");
        }
        Chore::Idle => {
            let mut reader = peer.reader()?;
            for sub in subs.iter().step_by(IDLE_STEP) {
                reader.by_sub(sub, &mut Seen::default())?;
            }
            std::thread::sleep(IDLE);
            println!("{}", machine::memory_bytes().map_or(0, |(own, _)| own));
        }
    }
    loop {
        std::thread::park();
    }
}

fn update(peer: &dyn Peer, subs: &[[u8; 16]], round: usize, count: usize) -> Result<()> {
    for first in (0..count).step_by(UPDATES_AT_ONCE) {
        let numbers = first..(first + UPDATES_AT_ONCE).min(count);
        let prefs: Vec<String> = numbers.clone().map(|number| prefs_of(round, number)).collect();
        let of = |(number, prefs)| Update { sub: &subs[number % subs.len()], prefs };
        let updates: Vec<Update<'_>> = numbers.zip(prefs.iter().map(String::as_str)).map(of).collect();
        peer.update_many(&updates)?;
    }
    Ok(())
}
