//! One run: opens the systems, takes them through the rows in turns (A B C A B C), and writes down what came.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::limits;
use crate::machine;
use crate::measure::{Latencies, no_latencies};
use crate::peer::{Peer, Setup, System, dir_of};
use crate::population::Population;
use crate::results::{Facts, Figure, Latency, Limit, RowResult, Run};
use crate::rows::{self, Group};

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
    /// Where stores are made, and removed again.
    pub dir: PathBuf,
    /// The program that does chores for rows about processes (`chore`, see [`rows::do_chore`]); without it those rows
    /// are left out.
    pub program: Option<PathBuf>,
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
            time: Duration::from_secs(1),
            readers: vec![1, 2],
            writers: vec![1, 4, 16, 64],
            dir,
            program: None,
            command: String::new(),
            verbose: true,
        }
    }

    /// The quick form: the same rows in a short while, to see that they work.
    pub fn quick(users: usize, dir: PathBuf) -> Self {
        Self { repetitions: 2, time: Duration::from_millis(150), ..Self::full(users, dir) }
    }

    /// How often a row is repeated that takes many seconds each time.
    pub(crate) fn heavy_repetitions(&self) -> usize {
        self.repetitions.min(2)
    }

    /// How long the disk is probed beside a durable repetition.
    pub(crate) fn probe_time(&self) -> Duration {
        self.time / 8
    }
}

/// One system in a run.
pub struct Member {
    /// Which.
    pub system: System,
    /// Its directory.
    pub dir: PathBuf,
    peer: Option<Box<dyn Peer>>,
}

impl Member {
    /// The open system.
    ///
    /// # Errors
    /// If it is closed, which is a defect of the row before.
    pub fn peer(&self) -> Result<&dyn Peer> {
        self.peer.as_deref().with_context(|| format!("{} is not open", self.system.name))
    }

    /// Opens it with a cache of that size.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&mut self, cache_bytes: Option<u64>) -> Result<()> {
        let setup = Setup { dir: self.dir.clone(), cache_bytes };
        let opened = (self.system.open)(&setup);
        self.peer = Some(opened.with_context(|| format!("{} cannot be opened", self.system.name))?);
        Ok(())
    }

    /// Closes it, if it is open.
    ///
    /// # Errors
    /// What the system says.
    pub fn close(&mut self) -> Result<()> {
        self.peer.take().map_or(Ok(()), |peer| peer.close())
    }

    /// Begins anew with an empty store.
    ///
    /// # Errors
    /// What the system says, or if its directory cannot be emptied.
    pub fn begin_anew(&mut self) -> Result<()> {
        self.close()?;
        if self.dir.exists() {
            std::fs::remove_dir_all(&self.dir).with_context(|| format!("cannot empty {}", self.dir.display()))?;
        }
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        // What the removal leaves to do must not fall into what is measured next.
        machine::sync(&self.dir)?;
        self.open(None)
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
    samples: Vec<(String, &'static str, Sample)>,
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
        for round in 0..times {
            for member in &mut self.members {
                let context = Turn { options: self.options, people: &self.people, round };
                let name = member.system.name;
                let samples = act(&context, member).with_context(|| format!("{what}: {name}"))?;
                if self.options.verbose {
                    for sample in &samples {
                        eprintln!("{what} {}/{times} {name}: {} = {:.6}", round + 1, sample.row, sample.value);
                    }
                }
                self.samples.extend(samples.into_iter().map(|sample| (what.to_owned(), name, sample)));
            }
        }
        Ok(())
    }

    fn rows(&mut self) -> Vec<RowResult> {
        let mut rows: Vec<(RowResult, Vec<Latencies>)> = Vec::new();
        for (_, system, sample) in self.samples.drain(..) {
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

/// Runs the suite over one population.
///
/// # Errors
/// If a system fails, or answers wrongly; the message names row and system.
pub fn run(options: &Options) -> Result<Run> {
    let systems = chosen_systems(&options.systems)?;
    let groups = rows::chosen(&options.rows)?;
    // A directory of this process's own: two suites beside each other do not meet.
    let dir = options.dir.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let _removed = Removed(&dir);
    let options = Options { dir: dir.clone(), ..options.clone() };
    let people = Population::new(options.users, options.seed);
    let raw_bytes = people.raw_bytes();
    let members = systems.iter().map(|system| Member { system: *system, dir: dir_of(&dir, system), peer: None });
    let members = members.collect();
    let mut bench = Bench { options: &options, people, members, samples: Vec::new() };
    let before = machine_limits(&options)?;
    for Group { run, .. } in groups {
        run(&mut bench)?;
    }
    let rows = bench.rows();
    for member in &mut bench.members {
        member.close()?;
    }
    let mut limits = before;
    for (limit, after) in limits.iter_mut().zip(machine_limits(&options)?) {
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
            .collect(),
        limits,
        rows,
    })
}

/// Removes a directory when it is dropped, whatever happened before.
struct Removed<'d>(&'d Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}

fn chosen_systems(names: &[String]) -> Result<Vec<System>> {
    let all = crate::peer::systems();
    let known: Vec<&str> = all.iter().map(|system| system.name).collect();
    for name in names {
        ensure!(known.contains(&name.as_str()), "there is no system {name} in this build: {}", known.join(", "));
    }
    let wanted = |system: &System| names.is_empty() || names.iter().any(|name| name == system.name);
    Ok(all.into_iter().filter(wanted).collect())
}

/// The limit of durable rows, by name.
pub const SYNCS: &str = "512 B overwritten and synced";
/// The limit of rows over TCP.
pub const ECHOES: &str = "100 B echoed over the loopback";

fn machine_limits(options: &Options) -> Result<Vec<Limit>> {
    let time = options.time / 2;
    let (seal, open) = limits::sealed_bytes_per_second(time)?;
    let of = |name: &str, unit: &str, value| Limit { name: name.into(), unit: unit.into(), samples: vec![value] };
    Ok(vec![
        of(SYNCS, "writes", limits::syncs_per_second(&options.dir, time)?),
        of("memory copied", "bytes", limits::copied_bytes_per_second(time)),
        of("AES-256-GCM sealed, 16 KiB", "bytes", seal),
        of("AES-256-GCM opened, 16 KiB", "bytes", open),
        of(ECHOES, "echoes", limits::echoes_per_second(time)?),
    ])
}
