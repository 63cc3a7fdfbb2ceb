//! `stoa verify`: every checksum of a store; with the key every tag, link and order too, and whether indexes and
//! columns agree.
//!
//! Always true:
//! 1. Nothing is changed, on a running store either: what the engine must write to open a store goes to memory.
//! 2. A file that vanishes meanwhile is no finding: flush and compaction replace files, and the manifest is read
//!    anew before anything is said to be missing.
//! 3. What was not checked is said.

mod content;
#[cfg(test)]
mod damage_tests;
mod erasure;
mod log;
mod overlay;
mod pools;
mod report;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use stoa_format::store::{CatalogueFile, StoreFile};
use stoa_format::{DecodeError, PoolId, StoreId};

use crate::inspect::opener::Opener;
use crate::inspect::site::Site;
use crate::passphrase::{KeyArgs, Secret};
use report::{Finding, Report};

const FROM_BACKUP: &str = "Restore it from a backup";

/// Checks a store; exit status 1 if anything is wrong. The store may be running.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  \
    stoa verify DATA                 every checksum; needs no key\n  \
    stoa verify DATA --keys          also tags, chains, order, indexes against columns\n  \
    stoa verify DATA --erasure       also whether deleted users' values are gone, or when they will be\n  \
    stoa verify DATA --keys --pool 0192d6c0-0000-4000-8000-000000000000 --json")]
pub(crate) struct VerifyArgs {
    /// The data directory.
    dir: PathBuf,
    /// Also what needs the key.
    #[arg(long)]
    keys: bool,
    /// Also whether the values of deleted users are gone, and what is still to be erased; needs the key.
    #[arg(long)]
    erasure: bool,
    /// Only this pool, by its UUID or (with keys) its name.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// Verifies and prints the report.
///
/// # Errors
/// If the directory holds no store, or the key cannot be had.
pub(crate) fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let site = Site::at(&args.dir);
    let looks_like_one = ["STORE", "CATALOGUE", "wal", "pools"].iter().any(|name| args.dir.join(name).exists());
    if !looks_like_one {
        eprintln!("{} holds no store: give its data directory", args.dir.display());
        return Ok(ExitCode::from(2));
    }
    let report = verify(&site, &args)?;
    let keys = args.with_keys();
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.json {
        true => report.print_json(&mut out, keys)?,
        false => report.print_text(&mut out, keys)?,
    }
    out.flush()?;
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl VerifyArgs {
    fn with_keys(&self) -> bool {
        self.keys || self.erasure || self.key.given()
    }
}

/// One verification.
pub(crate) struct Verification<'v> {
    site: &'v Site,
    opener: Option<Rc<Opener<'v>>>,
    running: bool,
    /// Only this pool.
    only: Option<PoolId>,
    report: Report,
}

impl Verification<'_> {
    fn wants(&self, pool: PoolId) -> bool {
        self.only.is_none_or(|only| only == pool)
    }

    /// A finding of the store's own.
    fn find(&mut self, file: &str, offset: u64, what: impl Into<String>, remedy: &'static str) {
        self.find_in(None, file, offset, what, remedy);
    }

    fn find_in(
        &mut self,
        pool: Option<PoolId>,
        file: &str,
        offset: u64,
        what: impl Into<String>,
        remedy: &'static str,
    ) {
        let (file, what) = (file.to_owned(), what.into());
        self.report.find(Finding { pool, file, offset: Some(offset), page: None, attribute: None, what, remedy });
    }

    /// On a running store things change while they are looked at: a moment later they may be in order.
    fn settle(&self) {
        self.site.io.sleep(Duration::from_millis(100));
    }
}

fn verify(site: &Site, args: &VerifyArgs) -> anyhow::Result<Report> {
    let key_file = args.key.key_file.clone().unwrap_or_else(|| site.default_key_file());
    let mut passphrase: Option<Secret> = None;
    let opener = match args.with_keys() {
        true => {
            passphrase = args.key.passphrase(&key_file)?;
            Some(Opener::new(site, &key_file, passphrase.as_ref().map(|secret| &secret[..]))?)
        }
        false => None,
    };
    let only = match &args.pool {
        Some(wanted) => Some(which_pool(opener.as_ref(), wanted)?),
        None => None,
    };
    let running = site.is_running();
    let mut verification = Verification { site, opener: opener.map(Rc::new), running, only, report: Report::default() };
    let store = verification.store_files();
    verification.log(store);
    let pools = verification.pools();
    for &pool in &pools {
        verification.pool(pool);
    }
    if args.erasure {
        verification.erasures(&pools);
    }
    match &verification.opener {
        Some(_) => content::check(&mut verification, &key_file, passphrase, args.erasure),
        None => verification.report.leave_out(
            None,
            "tags, order, the chain of frames against their keys, indexes against columns, digest sums",
            "they need the key: give --keys",
        ),
    }
    Ok(verification.report)
}

/// The pool of this UUID or name.
fn which_pool(opener: Option<&Opener<'_>>, wanted: &str) -> anyhow::Result<PoolId> {
    if let Some(id) = PoolId::parse(wanted) {
        return Ok(id);
    }
    let named = |opener: &Opener<'_>| opener.catalogue.pools.values().find(|entry| entry.name == wanted).map(|e| e.id);
    opener
        .and_then(named)
        .ok_or_else(|| anyhow::anyhow!("there is no such pool: give its UUID, or its name together with --keys"))
}

impl Verification<'_> {
    /// `STORE` and `CATALOGUE`. Answers the store's id.
    fn store_files(&mut self) -> Option<StoreId> {
        let store = self.whole_file("STORE", StoreFile::decode, true).map(|file| file.id);
        let catalogue = self.whole_file("CATALOGUE", CatalogueFile::decode, false);
        if let (Some(store), Some(catalogue)) = (store, &catalogue)
            && catalogue.store != store
        {
            self.find("CATALOGUE", 12, "it belongs to another store", FROM_BACKUP);
        }
        let Some(opener) = self.opener.clone() else { return store };
        // What does not even decode has been told of.
        if let Some(fault) = opener.store_fault.as_ref().filter(|_| store.is_some()) {
            self.find("STORE", 0, fault.clone(), "Use the key that this store was made with, or restore STORE");
        }
        if let Some(fault) = opener.catalogue_fault.as_ref().filter(|_| catalogue.is_some() && store.is_some()) {
            self.find("CATALOGUE", 0, fault.clone(), FROM_BACKUP);
        }
        store
    }

    /// A small file that is replaced whole, never written in place.
    fn whole_file<T>(&mut self, name: &str, decode: fn(&[u8]) -> Result<T, DecodeError>, must_be: bool) -> Option<T> {
        match self.site.read(&self.site.root.join(name)) {
            Ok(bytes) => match decode(&bytes) {
                Ok(decoded) => return Some(decoded),
                Err(fault) => {
                    let what = format!("{}: {}", fault.structure, fault.reason);
                    self.find(name, fault.offset as u64, what, FROM_BACKUP);
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_be => {}
            Err(error) => self.find(name, 0, error.to_string(), FROM_BACKUP),
        }
        None
    }

    /// The pools to check: those that have a directory, and those that the catalogue names.
    fn pools(&self) -> Vec<PoolId> {
        let mut pools = self.site.pools();
        if let Some(opener) = &self.opener {
            pools.extend(opener.catalogue.pools.keys());
        }
        pools.sort_unstable();
        pools.dedup();
        pools.retain(|pool| self.wants(*pool));
        pools
    }
}
