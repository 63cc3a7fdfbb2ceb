//! `suite`: measures Stoa and its peers, and draws the report.
#![allow(clippy::disallowed_methods, reason = "a program of its own, not the engine")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use stoa_benches::results::Results;
use stoa_benches::rows::{Chore, do_chore};
use stoa_benches::suite::Options;
use stoa_benches::{report, suite};

/// What the `stoa` binary allocates with; the peers written in Rust have it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Stoa beside its peers, in one run, row by row in turns.
#[derive(Parser)]
#[command(
    name = "suite",
    after_help = "Examples:
  suite --users 1000000                          all rows, all systems of this build
  suite --quick --users 20000                    to see that it works
  suite --peers stoa,lmdb --rows profile,hash    some of it
  suite --users 100000,1000000                   two sizes, for the plots of growth
  suite --report target/bench/results.json       draw the report of an earlier run again"
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many users; several sizes run one after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000])]
    users: Vec<usize>,
    /// Which systems [default: all of this build]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Which groups of rows [default: all but the optional ones]
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Short repetitions: to see that everything works, not for figures
    #[arg(long)]
    quick: bool,
    /// How often each row is repeated
    #[arg(long)]
    repetitions: Option<usize>,
    /// How long a repetition of a rate lasts
    #[arg(long)]
    seconds: Option<f64>,
    /// The same seed gives the same users and questions
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where stores are made and removed again, and where the report goes
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    dir: PathBuf,
    /// Print the results as JSON instead of the tables
    #[arg(long)]
    json: bool,
    /// Measure nothing: draw the report of these results again
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// What the suite has other processes do
    #[command(hide = true)]
    Chore {
        /// Which
        #[arg(value_parser = ["update", "idle"])]
        chore: String,
        #[arg(long)]
        system: String,
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        subs: PathBuf,
        #[arg(long)]
        round: usize,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("suite: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    if let Some(Command::Chore { chore, system, dir, subs, round }) = &args.command {
        let chore = if chore == "update" { Chore::Update } else { Chore::Idle };
        return do_chore(chore, system, dir, subs, *round);
    }
    let results = match &args.report {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Results::from_json(&text).with_context(|| format!("{} is no results.json", path.display()))?
        }
        None => measure(&args)?,
    };
    let written = report::write(&results, &args.dir)?;
    match args.json {
        true => print!("{}", results.to_json()?),
        false => print!("{}", report::markdown(&results)),
    }
    for path in written {
        eprintln!("written: {}", path.display());
    }
    results.check()
}

fn measure(args: &Args) -> Result<Results> {
    let mut results = Results::default();
    for users in &args.users {
        let made = if args.quick { Options::quick } else { Options::full };
        let mut options = made(*users, args.dir.clone());
        options.seed = args.seed;
        options.systems = args.peers.clone();
        options.rows = args.rows.clone();
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        options.stoa = Some(program.with_file_name("stoa"));
        options.program = Some(program);
        options.command = std::env::args().collect::<Vec<_>>().join(" ");
        if let Some(repetitions) = args.repetitions {
            options.repetitions = repetitions.max(1);
        }
        if let Some(seconds) = args.seconds {
            options.time = Duration::try_from_secs_f64(seconds).context("--seconds wants a time")?;
        }
        results.runs.push(suite::run(&options)?);
        if results.check().is_err() {
            break;
        }
    }
    Ok(results)
}
