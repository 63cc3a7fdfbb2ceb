//! One run: opens the systems, takes them through the rows in turns (A B C A B C), and writes down what came.

mod members;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::limits;
use crate::machine;
use crate::measure::{Latencies, no_latencies};
use crate::peer::{System, Transport, dir_of};
use crate::population::Population;
use crate::results::{Facts, Figure, Latency, Limit, RowResult, Run};
use crate::rows::{self, Group};
use crate::tcp::client::Shape;
use crate::tcp::{Place, Service, echo};

pub use members::{Host, Member};

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many users.
    pub users: usize,
    /// What they are made from.
    pub seed: u64,
    /// Names of systems; all that there are if none are given.
    pub systems: Vec<String>,
    /// Names of groups of rows; all but the optional ones if none are given.
    pub rows: Vec<String>,
    /// How often each row is repeated.
    pub repetitions: usize,
    /// How long a repetition of a rate lasts.
    pub time: Duration,
    /// Threads of the reading rows.
    pub readers: Vec<usize>,
    /// Threads of the writing rows.
    pub writers: Vec<usize>,
    /// Connections of the reading rows over TCP, ascending.
    pub connections: Vec<usize>,
    /// Connections of the writing rows over TCP, ascending.
    pub tcp_writers: Vec<usize>,
    /// Questions under way on each connection in the rows that have several.
    pub depth: usize,
    /// Where stores are made, and removed again.
    pub dir: PathBuf,
    /// The program that does chores for rows about processes (`chore`, see [`rows::do_chore`]); without it those rows
    /// are left out.
    pub program: Option<PathBuf>,
    /// The `stoa` program, for the rows over TCP.
    pub stoa: Option<PathBuf>,
    /// Leaves out a server that is not installed, and says so, instead of failing.
    pub skip_missing: bool,
    /// The command that this is, for the report.
    pub command: String,
    /// Says what is under way on standard error.
    pub verbose: bool,
}

impl Options {
    /// The full form: what figures are quoted from.
    pub fn full(users: usize, dir: PathBuf) -> Self {
        Self {
            users,
            seed: 1,
            systems: Vec::new(),
            rows: Vec::new(),
            repetitions: 3,
            time: Duration::from_millis(800),
            readers: vec![1, 2],
            writers: vec![1, 4, 16, 64],
            connections: vec![1, 8, 32],
            tcp_writers: vec![1, 8, 64],
            depth: 16,
            dir,
            program: None,
            stoa: None,
            skip_missing: false,
            command: String::new(),
            verbose: true,
        }
    }

    /// The quick form: the same rows in a short while, to see that they work.
    pub fn quick(users: usize, dir: PathBuf) -> Self {
        Self { repetitions: 2, time: Duration::from_millis(150), ..Self::full(users, dir) }
    }

    /// How often a row is repeated that takes many seconds each time, or that has no goal.
    pub(crate) fn heavy_repetitions(&self) -> usize {
        self.repetitions.min(2)
    }

    /// How long the disk is probed beside a durable repetition.
    pub(crate) fn probe_time(&self) -> Duration {
        self.time / 8
    }
}

/// One sample of one row.
pub struct Sample {
    /// Which row.
    pub row: String,
    /// In the row's unit.
    pub value: f64,
    /// What the disk allowed beside it.
    pub syncs: Option<f64>,
    /// Of single operations.
    pub latencies: Option<Latencies>,
}

impl Sample {
    /// A sample of a row, without anything beside it.
    pub fn of(row: impl Into<String>, value: f64) -> Self {
        Self { row: row.into(), value, syncs: None, latencies: None }
    }
}

/// What rows work with.
pub struct Bench<'o> {
    /// What was asked for.
    pub options: &'o Options,
    /// Who is in the stores.
    pub people: Population,
    members: Vec<Member>,
    hosts: Vec<Host>,
    samples: Vec<(&'static str, Sample)>,
}

/// What a row sees of the run while it measures one system.
pub struct Turn<'b> {
    /// What was asked for.
    pub options: &'b Options,
    /// Who is in the stores.
    pub people: &'b Population,
    /// Which repetition, from 0.
    pub round: usize,
}

impl Turn<'_> {
    /// Which of ascending counts are measured in this repetition: what lies between the first and the last is for the
    /// plot, once is enough.
    pub fn measured(&self, counts: &[usize]) -> Vec<usize> {
        let is_end = |at: usize| at == 0 || at + 1 == counts.len();
        let wanted = |at: &usize| self.round == 0 || is_end(*at);
        (0..counts.len()).filter(wanted).map(|at| counts[at]).collect()
    }

    /// Measures something durable, with what the disk allows before and after it.
    ///
    /// # Errors
    /// What it fails with, or if the disk cannot be probed.
    pub fn beside_syncs<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let before = limits::syncs_per_second(&self.options.dir, self.options.probe_time())?;
        let result = act()?;
        let after = limits::syncs_per_second(&self.options.dir, self.options.probe_time())?;
        Ok((result, (before + after) / 2.0))
    }
}

impl Bench<'_> {
    /// Takes every system through `act`, in turns, so often as the options say.
    ///
    /// # Errors
    /// What `act` fails with, with the system's name.
    pub fn in_turns(
        &mut self,
        what: &str,
        mut act: impl FnMut(&Turn<'_>, &mut Member) -> Result<Vec<Sample>>,
    ) -> Result<()> {
        self.in_turns_times(what, self.options.repetitions, &mut act)
    }

    /// The same, so often as is said here.
    ///
    /// # Errors
    /// What `act` fails with, with the system's name.
    pub fn in_turns_times(
        &mut self,
        what: &str,
        times: usize,
        act: &mut dyn FnMut(&Turn<'_>, &mut Member) -> Result<Vec<Sample>>,
    ) -> Result<()> {
        let Self { options, people, members, samples, .. } = self;
        for round in 0..times {
            for member in members.iter_mut() {
                let turn = Turn { options, people, round };
                let name = member.system.name;
                let found = act(&turn, member).with_context(|| format!("{what}: {name}"))?;
                take(samples, &turn, (what, times), name, found);
            }
        }
        Ok(())
    }

    /// Takes every server through `act`, in turns.
    ///
    /// # Errors
    /// What `act` fails with, with the server's name.
    pub fn hosts_in_turns(
        &mut self,
        what: &str,
        times: usize,
        act: &mut dyn FnMut(&Turn<'_>, &mut Host) -> Result<Vec<Sample>>,
    ) -> Result<()> {
        let Self { options, people, hosts, samples, .. } = self;
        for round in 0..times {
            for host in hosts.iter_mut() {
                let turn = Turn { options, people, round };
                let name = host.service.name;
                let found = act(&turn, host).with_context(|| format!("{what}: {name}"))?;
                take(samples, &turn, (what, times), name, found);
            }
        }
        Ok(())
    }

    /// Makes ready for rows of this transport: servers run only while they are measured, and what is embedded is closed
    /// then and leaves no work behind.
    fn turn_to(&mut self, transport: Transport) -> Result<()> {
        if transport == Transport::Embedded || self.hosts.iter().all(Host::runs) {
            return Ok(());
        }
        for member in &mut self.members {
            member.close()?;
            if member.dir.exists() {
                std::fs::remove_dir_all(&member.dir)?;
            }
        }
        for host in &mut self.hosts {
            host.start(self.options, &self.people)?;
        }
        machine::sync(&self.options.dir)
    }

    fn end(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(Member::close)?;
        self.hosts.iter_mut().try_for_each(Host::stop)
    }

    fn rows(&mut self) -> Vec<RowResult> {
        let mut rows: Vec<(RowResult, Vec<Latencies>)> = Vec::new();
        for (system, sample) in self.samples.drain(..) {
            let at = rows.iter().position(|(row, _)| row.id == sample.row).unwrap_or_else(|| {
                rows.push((RowResult { id: sample.row.clone(), figures: Vec::new() }, Vec::new()));
                rows.len() - 1
            });
            let (row, latencies) = &mut rows[at];
            let of = row.figures.iter().position(|figure| figure.system == system).unwrap_or_else(|| {
                row.figures.push(Figure {
                    system: system.into(),
                    samples: Vec::new(),
                    syncs: Vec::new(),
                    latency: None,
                });
                latencies.push(no_latencies());
                row.figures.len() - 1
            });
            row.figures[of].samples.push(sample.value);
            row.figures[of].syncs.extend(sample.syncs);
            if let Some(more) = sample.latencies {
                // Histograms of one shape always add up.
                let _ = latencies[of].add(more);
                row.figures[of].latency = Latency::of(&latencies[of]);
            }
        }
        rows.into_iter().map(|(row, _)| row).collect()
    }
}

/// Keeps what one system's turn came to, and says it.
fn take(
    samples: &mut Vec<(&'static str, Sample)>,
    turn: &Turn<'_>,
    (what, times): (&str, usize),
    name: &'static str,
    found: Vec<Sample>,
) {
    if turn.options.verbose {
        for sample in &found {
            eprintln!("{what} {}/{times} {name}: {} = {:.6}", turn.round + 1, sample.row, sample.value);
        }
    }
    samples.extend(found.into_iter().map(|sample| (name, sample)));
}

/// Runs the suite over one population. A system that fails, or answers wrongly, ends it: [`Run::failed`] names row and
/// system, and what was measured before is there.
///
/// # Errors
/// If it cannot begin, or the machine's limits cannot be measured.
pub fn run(options: &Options) -> Result<Run> {
    let groups = rows::chosen(&options.rows)?;
    let (systems, services) = chosen(options, groups.iter().any(|group| group.transport == Transport::Tcp))?;
    // A directory of this process's own: two suites beside each other do not meet.
    // Servers that run elsewhere, as other users, are told where theirs are.
    let dir = std::path::absolute(&options.dir)?.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let _removed = Removed(&dir);
    let options = Options { dir: dir.clone(), ..options.clone() };
    let people = Population::new(options.users, options.seed);
    let raw_bytes = people.raw_bytes();
    let members = systems.iter().map(|system| Member::new(*system, dir_of(&dir, system)));
    let members = members.collect();
    let hosts = services
        .iter()
        .map(|service| Host::new(*service, options.users.min(service.users_max), dir.join(service.name)));
    let hosts = hosts.collect();
    let mut bench = Bench { options: &options, people, members, hosts, samples: Vec::new() };
    let is_served = !services.is_empty();
    let before = machine_limits(&options, is_served)?;
    let mut measured = Ok(());
    for Group { name, run, transport, .. } in groups {
        let takes_part = if *transport == Transport::Tcp { is_served } else { !systems.is_empty() };
        if takes_part && measured.is_ok() {
            let begun = Instant::now();
            measured = bench.turn_to(*transport).and_then(|()| run(&mut bench)).with_context(|| format!("rows {name}"));
            if options.verbose {
                eprintln!("{name}: measured in {:.1} s", begun.elapsed().as_secs_f64());
            }
        }
    }
    let rows = bench.rows();
    measured = measured.and(bench.end());
    let mut limits = before;
    for (limit, after) in limits.iter_mut().zip(machine_limits(&options, is_served)?) {
        limit.samples.extend(after.samples);
    }
    Ok(Run {
        users: options.users as u64,
        raw_bytes,
        seed: options.seed,
        seconds: options.time.as_secs_f64(),
        machine: machine::describe(),
        command: options.command.clone(),
        systems: systems
            .iter()
            .map(|system| Facts {
                name: system.name.into(),
                about: (system.about)(),
                transport: system.transport,
                encrypted: system.encrypted,
            })
            .chain(bench.hosts.iter().map(facts_of))
            .collect(),
        limits,
        rows,
        failed: measured.err().map(|error| format!("{error:#}")),
    })
}

/// Removes a directory when it is dropped, whatever happened before.
struct Removed<'d>(&'d Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}

fn facts_of(host: &Host) -> Facts {
    let mut about = (host.service.about)();
    if host.users == host.service.users_max {
        about += &format!("; holds the first {} users only", host.users);
    }
    Facts { name: host.service.name.into(), about, transport: Transport::Tcp, encrypted: host.service.encrypted }
}

/// Systems and servers of the names that the options have, all if there are none; servers only if they are needed, and
/// only those that are installed.
fn chosen(options: &Options, serves: bool) -> Result<(Vec<System>, Vec<Service>)> {
    let (systems, services) = (crate::peer::systems(), crate::tcp::services());
    let all = systems.iter().map(|system| system.name).chain(services.iter().map(|service| service.name));
    let known: Vec<&str> = all.collect();
    let names = &options.systems;
    for name in names {
        ensure!(known.contains(&name.as_str()), "there is no system {name} in this build: {}", known.join(", "));
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let systems = systems.into_iter().filter(|system| wanted(system.name)).collect();
    let mut found = Vec::new();
    for service in services.into_iter().filter(|service| serves && wanted(service.name)) {
        match (service.missing)(&Place { dir: &options.dir, stoa: options.stoa.as_ref() }) {
            None => found.push(service),
            Some(missing) if options.skip_missing => eprintln!("{} is left out: {missing}", service.name),
            Some(missing) => anyhow::bail!("{}: {missing}", service.name),
        }
    }
    Ok((systems, found))
}

/// The limit of durable rows, by name.
pub const SYNCS: &str = "512 B overwritten and synced";
/// The limit of one connection over TCP.
pub const ECHOES: &str = "64 B asked, 512 B answered over the loopback by the suite's client, 1 connection";
/// The limit of many.
pub const ECHOES_MANY: &str = "the same, 32 connections";
/// The limit of many with many questions under way on each.
pub const ECHOES_DEEP: &str = "the same, 32 connections, 16 deep";

fn machine_limits(options: &Options, is_served: bool) -> Result<Vec<Limit>> {
    let time = options.time / 2;
    let (seal, open) = limits::sealed_bytes_per_second(time)?;
    let of = |name: &str, unit: &str, value| Limit { name: name.into(), unit: unit.into(), samples: vec![value] };
    let mut limits = vec![
        of(SYNCS, "writes", limits::syncs_per_second(&options.dir, time)?),
        of("memory copied", "bytes", limits::copied_bytes_per_second(time)),
        of("AES-256-GCM sealed, 16 KiB", "bytes", seal),
        of("AES-256-GCM opened, 16 KiB", "bytes", open),
    ];
    if is_served {
        for (name, connections, depth) in [(ECHOES, 1, 1), (ECHOES_MANY, 32, 1), (ECHOES_DEEP, 32, 16)] {
            let value = echo::answers_per_second(Shape { connections, depth }, time)?;
            limits.push(of(name, "answers", value));
        }
    }
    Ok(limits)
}
