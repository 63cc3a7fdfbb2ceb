//! `stoa bench`: Stoa's own rows of the benchmark suite, on this machine and disk, without peers.
//!
//! What is measured, and how, is the library of `benches`; the suite with peers is `make bench`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use stoa_benches::results::Results;
use stoa_benches::suite::Options;
use stoa_benches::{report, suite};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa bench                       100,000 users
  stoa bench --users 1000000 --seconds 5 --json")]
pub(crate) struct BenchArgs {
    /// How many users
    #[arg(long, default_value_t = 100_000)]
    users: usize,
    /// How long each row runs
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Threads of the rows with several readers
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Writers of the rows with several writers
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// Where the store is made and removed again
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    let (mut readers, mut writers) = (vec![1, args.threads.max(1)], vec![1, args.writers.max(1)]);
    readers.dedup();
    writers.dedup();
    let options = Options {
        systems: vec!["stoa".into()],
        repetitions: 1,
        time: Duration::from_secs(args.seconds.max(1)),
        readers,
        writers,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        verbose: false,
        ..Options::full(args.users, args.dir)
    };
    let results = Results { runs: vec![suite::run(&options)?] };
    match args.json {
        true => print!("{}", results.to_json()?),
        false => print!("{}", report::markdown(&results)),
    }
    results.check()?;
    Ok(ExitCode::SUCCESS)
}
