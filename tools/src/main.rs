//! `stoa`: the one binary. Each subcommand is a module; this file names them and their exit codes.
#![allow(
    clippy::disallowed_methods,
    reason = "the command line reads and writes files of its user's; the engine's door is for stores"
)]

mod bench;
mod client;
mod dump;
mod inspect;
mod keys;
mod load;
mod passphrase;
mod passwd;
mod sample_command;
mod serve;
mod store;
mod top;
mod verify;

mod export;
mod import;
mod sample;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// An import frees on one thread what another took, which the system's allocator locks for.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Counts what a case of the fuzz targets holds of memory.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: stoa_fuzz::Counting = stoa_fuzz::Counting;

/// Stoa, an identity store.
#[derive(Parser)]
#[command(
    name = "stoa",
    version,
    about,
    long_about = None,
    arg_required_else_help = true,
    after_help = "Examples:
  stoa serve --dev                                          a server to try things out on, 127.0.0.1:7862
  stoa sample > people.ldif                                 a thousand made-up people
  stoa import --pool acme --format ldif people.ldif --to 127.0.0.1:7862
  stoa top                                                  what the server is doing
  stoa help import                                          more of one of them"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server; makes the store with a local key on first start
    Serve(serve::ServeArgs),
    /// Import users and groups from another system's export
    Import(load::ImportArgs),
    /// Export a pool to another system's format
    Export(dump::ExportArgs),
    /// Show what a file of a store holds, or all files of a directory
    Inspect(inspect::InspectArgs),
    /// Check a store; exit status 1 if anything is wrong
    Verify(verify::VerifyArgs),
    /// Make, show, rotate and guard the keys of a store
    Keys(keys::KeysArgs),
    /// Set the password of a user, or the secret of an access-control user, without showing it
    Passwd(passwd::PasswdArgs),
    /// Show what a server is doing, again and again
    Top(top::TopArgs),
    /// Write a sample directory (LDIF) with made-up people
    Sample(sample_command::SampleArgs),
    /// Load a population into a new store and measure reads and durable writes
    Bench(bench::BenchArgs),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Import(args) => load::run(args),
        Command::Export(args) => dump::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Keys(args) => keys::run(args),
        Command::Passwd(args) => passwd::run(args),
        Command::Top(args) => top::run(args),
        Command::Sample(args) => sample_command::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "stoa", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // One line: what went wrong and why, outermost first.
            let mut line = error.to_string();
            for cause in error.chain().skip(1) {
                let cause = cause.to_string();
                if !line.contains(&cause) {
                    line.push_str(": ");
                    line.push_str(&cause);
                }
            }
            eprintln!("stoa: {line}");
            ExitCode::FAILURE
        }
    }
}
