//! `stoa sample`: a directory of made-up people, for trying things out.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::sample::{PopulationFormat, population};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa sample > people.ldif                 the password of each is stoa- and the username
  stoa sample --users 100000 --seed 7 --out people.ldif")]
pub(crate) struct SampleArgs {
    /// How many people [default: the 1000 of the quick start]
    #[arg(long)]
    users: Option<u64>,
    /// The same seed gives the same people
    #[arg(long)]
    seed: Option<u64>,
    /// What to write: LDIF with passwords and groups, or SCIM users a line each
    #[arg(long, value_enum, default_value = "ldif")]
    format: PopulationFormat,
    /// Write here instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: SampleArgs) -> Result<ExitCode> {
    let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(match &args.out {
        Some(path) => {
            Box::new(std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(std::io::stdout().lock()),
    });
    match (args.users, args.seed, args.format) {
        (None, None, PopulationFormat::Ldif) => crate::sample::write_sample(&mut out)?,
        (users, seed, format) => population(format, users.unwrap_or(1000), seed.unwrap_or(1), &mut out)?,
    };
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
