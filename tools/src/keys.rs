//! `stoa keys`: the customer key of a store and the data keys of its pools.
//!
//! Always true:
//! 1. A key is never printed, and never taken from an option or the environment.
//! 2. A key file is made only where no store is: data without its key is lost, and a new key does not help.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use stoa_engine::io::{Disk, Io};
use stoa_engine::keys::{LocalProvider, PassphraseCost};
use stoa_engine::{JobKind, JobState, Pool, Store, StoreOptions};
use stoa_format::PoolId;
use stoa_format::manifest::{ManifestHeader, decode_file};
use stoa_format::run::{HEADER_BYTES, Header};
use stoa_format::wrapped::WrappedKey;

use crate::inspect::opener::Opener;
use crate::inspect::site::Site;
use crate::passphrase::{KeyArgs, ask_twice, read_given};

/// Makes, shows, rotates and guards the keys of a store.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  \
    stoa keys init --data DATA --passphrase-file SECRET\n  \
    stoa keys status --data DATA\n  \
    stoa keys rotate --data DATA --pool acme\n  \
    stoa keys change-passphrase --data DATA")]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Make a key file for a new store
    Init(InitArgs),
    /// Show which key guards the store, and each pool's key epochs and bytes still to reseal
    Status(StatusArgs),
    /// Give pools a new data key; what is sealed under older ones is written anew
    Rotate(RotateArgs),
    /// Guard the same key by another passphrase, or by none
    ChangePassphrase(ChangeArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct Place {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "DATA")]
    data: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
}

impl Place {
    fn site(&self) -> Site {
        Site::at(&self.data)
    }

    fn key_file(&self) -> PathBuf {
        self.key.key_file.clone().unwrap_or_else(|| self.site().default_key_file())
    }
}

#[derive(Debug, Clone, clap::Args)]
struct InitArgs {
    #[command(flatten)]
    place: Place,
    /// Guard the key by a passphrase that is asked for, or read from standard input
    #[arg(long)]
    with_passphrase: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    place: Place,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct RotateArgs {
    #[command(flatten)]
    place: Place,
    /// The pool's name
    #[arg(long, value_name = "POOL", required_unless_present = "all", conflicts_with = "all")]
    pool: Option<String>,
    /// Every pool of the store
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct ChangeArgs {
    #[command(flatten)]
    place: Place,
    /// Read the new passphrase from this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new_passphrase_fd", "no_passphrase"])]
    new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from this open file descriptor
    #[arg(long, value_name = "N", conflicts_with = "no_passphrase")]
    new_passphrase_fd: Option<u32>,
    /// Guard the key by the file's mode alone
    #[arg(long)]
    no_passphrase: bool,
}

/// Does what the arguments say.
///
/// # Errors
/// Why it could not be done; nothing has changed then.
pub(crate) fn run(args: KeysArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match &args.action {
        Action::Init(args) => init(args, &mut out),
        Action::Status(args) => status(args, &mut out),
        Action::Rotate(args) => rotate(args, &mut out),
        Action::ChangePassphrase(args) => change_passphrase(args, &mut out),
    }
}

fn init(args: &InitArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (site, key_file) = (args.place.site(), args.place.key_file());
    for name in ["STORE", "CATALOGUE"] {
        if site.root.join(name).exists() {
            anyhow::bail!(
                "{} holds a store already, which a new key cannot open: put back the key file that it was made with",
                site.root.display()
            );
        }
    }
    let key = &args.place.key;
    let mut passphrase = read_given(key.passphrase_file.as_deref(), key.passphrase_fd)?;
    if passphrase.is_none() && args.with_passphrase {
        passphrase = Some(ask_twice("New passphrase")?);
    }
    let guard = passphrase.as_ref().map(|secret| (&secret[..], PassphraseCost::default()));
    LocalProvider::create(site.io.clone(), &key_file, guard)?;
    let status = LocalProvider::status(&Disk::new(), &key_file)?;
    let guarded = if passphrase.is_some() { "guarded by its passphrase" } else { "guarded by its file mode alone" };
    writeln!(out, "made {}: key {}, {guarded}", key_file.display(), status.key_id)?;
    writeln!(out, "keep a copy in a safe place apart from the data: without it the data cannot be read")?;
    Ok(ExitCode::SUCCESS)
}

fn rotate(args: &RotateArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (site, key_file) = (args.place.site(), args.place.key_file());
    if site.is_running() {
        anyhow::bail!(
            "{} is open in another process: rotate there, by POOL.KEY pool ROTATE; nothing was changed",
            site.root.display()
        );
    }
    let mut options = StoreOptions::new(&site.root);
    options.passphrase = args.place.key.passphrase(&key_file)?;
    options.key_file = key_file;
    options.create = false;
    let store = Store::open(options)?;
    let names = args.pool.as_ref().map_or_else(|| store.pool_names(), |name| vec![name.as_str().into()]);
    let mut whole = true;
    for name in &names {
        match store.pool(name).and_then(|pool| rotate_pool(&pool)) {
            Ok(rotated) => writeln!(out, "pool {}: {}", rotated.0, rotated.1)?,
            Err(error) if args.all => {
                whole = false;
                eprintln!("stoa: a pool was left as it was: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    store.close()?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rotates, and waits until the files have been written anew; answers the pool and what was done.
fn rotate_pool(pool: &Pool) -> stoa_engine::Result<(PoolId, String)> {
    let seq = pool.rotate_key()?;
    let resealing = pool.start_job(JobKind::Reseal)?;
    let disk = Disk::new();
    loop {
        match pool.job(resealing.id) {
            Some(job) if job.state == JobState::Running => disk.sleep(Duration::from_millis(20)),
            Some(job) if job.state == JobState::Done => {
                return Ok((pool.id(), format!("new data key at seq {seq}, all files resealed")));
            }
            _ => {
                let what = format!("new data key at seq {seq}; files are resealed by and by while the store is served");
                return Ok((pool.id(), what));
            }
        }
    }
}

fn change_passphrase(args: &ChangeArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let key_file = args.place.key_file();
    let old = args.place.key.passphrase(&key_file)?;
    let provider =
        LocalProvider::open(args.place.site().io.clone(), &key_file, old.as_ref().map(|secret| &secret[..]))?;
    let new = match read_given(args.new_passphrase_file.as_deref(), args.new_passphrase_fd)? {
        None if !args.no_passphrase => Some(ask_twice("New passphrase")?),
        given => given,
    };
    provider.set_passphrase(new.as_ref().map(|secret| (&secret[..], PassphraseCost::default())))?;
    let guarded = if new.is_some() { "its new passphrase" } else { "its file mode alone" };
    writeln!(out, "{} is now guarded by {guarded}; nothing else changed", key_file.display())?;
    writeln!(out, "copies of the former key file still open with the former passphrase: replace or destroy them")?;
    Ok(ExitCode::SUCCESS)
}

/// What is known of a pool's keys.
struct PoolStatus {
    pool: PoolId,
    /// Key epochs that the manifest names, with the key that wraps each.
    epochs: Vec<(u32, String)>,
    newest: u32,
    /// Bytes of run files by the epoch that they are sealed under.
    bytes: std::collections::BTreeMap<u32, u64>,
}

impl PoolStatus {
    fn bytes_to_reseal(&self) -> u64 {
        self.bytes.iter().filter(|(epoch, _)| **epoch < self.newest).map(|(_, bytes)| bytes).sum()
    }
}

fn status(args: &StatusArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (site, key_file) = (args.place.site(), args.place.key_file());
    let status = LocalProvider::status(&Disk::new(), &key_file)?;
    let guard = status.passphrase.map(|cost| format!("Argon2id {} KiB, {} passes", cost.memory_kib, cost.passes));
    if args.json {
        let line = json!({
            "key_file": key_file.display().to_string(), "provider": "local", "key_id": status.key_id,
            "passphrase": status.passphrase.is_some()
        });
        writeln!(out, "{line}")?;
    } else {
        let guard = guard.as_ref().map_or_else(|| "none".to_owned(), |cost| format!("yes ({cost})"));
        writeln!(out, "{}: provider local, key {}, passphrase {guard}", key_file.display(), status.key_id)?;
    }
    // Pools that were never flushed have their manifest in the sealed catalogue; a key that opens without a
    // passphrase, or for which one was given, shows those too.
    let key = &args.place.key;
    let given = read_given(key.passphrase_file.as_deref(), key.passphrase_fd)?;
    let opener = match given.is_some() || status.passphrase.is_none() {
        true => Some(Opener::new(&site, &key_file, given.as_ref().map(|secret| &secret[..]))?),
        false => None,
    };
    let mut whole = true;
    for pool in pools(&site, opener.as_ref()) {
        match pool_status(&site, pool, opener.as_ref()) {
            Ok(Some(found)) => print_pool(&found, &status.key_id, args.json, out)?,
            Ok(None) => {}
            Err(fault) => {
                whole = false;
                match args.json {
                    true => writeln!(out, "{}", json!({ "pool": pool.to_string(), "error": fault }))?,
                    false => writeln!(out, "pool {pool}: {fault}. Run: stoa verify {}", site.root.display())?,
                }
            }
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn pools(site: &Site, opener: Option<&Opener<'_>>) -> Vec<PoolId> {
    let mut pools = site.pools();
    if let Some(opener) = opener {
        pools.extend(opener.catalogue.pools.keys());
    }
    pools.sort_unstable();
    pools.dedup();
    pools
}

/// What the clear parts of a pool's files say; `None` if its manifest is not on disk and no key is at hand.
fn pool_status(site: &Site, pool: PoolId, opener: Option<&Opener<'_>>) -> Result<Option<PoolStatus>, String> {
    let bytes = match site.read(&site.pool_dir(pool).join("MANIFEST")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entry = opener.and_then(|opener| opener.catalogue.pools.get(&pool));
            match entry.and_then(|entry| entry.first_manifest.clone()) {
                Some(bytes) => bytes,
                None => return Ok(None),
            }
        }
        Err(error) => return Err(error.to_string()),
    };
    let header = decode_file(&bytes).map_err(|fault| fault.to_string())?.header;
    let mut bytes = std::collections::BTreeMap::new();
    for path in site.run_files(pool) {
        if let Some((epoch, len)) = sealed_under(site, &path) {
            *bytes.entry(epoch).or_default() += len;
        }
    }
    Ok(Some(PoolStatus { pool, epochs: wrapped_by(&header)?, newest: header.newest_key_epoch().0, bytes }))
}

fn wrapped_by(header: &ManifestHeader) -> Result<Vec<(u32, String)>, String> {
    let wrapped = header.keys.iter().map(|(epoch, bytes)| {
        let key = WrappedKey::decode(bytes).map_err(|fault| fault.to_string())?;
        Ok((epoch.0, format!("{}:{}", key.provider, key.key_id)))
    });
    wrapped.collect()
}

/// A run file's key epoch and length; its header is clear.
fn sealed_under(site: &Site, path: &Path) -> Option<(u32, u64)> {
    let header = Header::decode(&site.start_of(path, HEADER_BYTES).ok()?).ok()?;
    Some((header.key_epoch.0, site.io.file_len(path).ok()?))
}

fn print_pool(found: &PoolStatus, key_id: &str, json: bool, out: &mut dyn Write) -> io::Result<()> {
    let in_use: Vec<_> = found.bytes.keys().copied().collect();
    let to_reseal = found.bytes_to_reseal();
    let ours = found.epochs.iter().any(|(epoch, by)| *epoch == found.newest && *by == format!("local:{key_id}"));
    if json {
        let epochs: Vec<_> = found.epochs.iter().map(|(epoch, by)| json!({ "key_epoch": epoch, "by": by })).collect();
        let line = json!({
            "pool": found.pool.to_string(), "key_epoch": found.newest, "epochs": epochs, "epochs_in_use": in_use,
            "bytes_to_reseal": to_reseal, "opens_with_this_key": ours
        });
        return writeln!(out, "{line}");
    }
    let epochs: Vec<_> = found.epochs.iter().map(|(epoch, by)| format!("{epoch} ({by})")).collect();
    let other = if ours { "" } else { "; NOT wrapped by this key file's key" };
    writeln!(
        out,
        "pool {}: key epoch {}, kept {}, files under {in_use:?}, {to_reseal} bytes to reseal{other}",
        found.pool,
        found.newest,
        epochs.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::testing::Fixture;

    fn place(data: &Path, passphrase: Option<&Path>) -> Place {
        let key = KeyArgs { passphrase_file: passphrase.map(Path::to_owned), ..KeyArgs::default() };
        Place { data: data.to_owned(), key }
    }

    fn shown(data: &Path, passphrase: Option<&Path>) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        status(&StatusArgs { place: place(data, passphrase), json: true }, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn secret(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        stoa_engine::io::replace(&Disk::new(), &path, text.as_bytes()).unwrap();
        path
    }

    #[test]
    fn a_key_is_made_for_a_new_store_only_and_its_guard_changes() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("DATA");
        let (one, two) = (secret(dir.path(), "one", "open sesame\n"), secret(dir.path(), "two", "close sesame"));
        let mut out = Vec::new();
        let make = InitArgs { place: place(&data, Some(&one)), with_passphrase: false };
        init(&make, &mut out).unwrap();
        assert!(init(&make, &mut out).is_err(), "a key file is never overwritten");
        let mut options = StoreOptions::new(&data);
        options.passphrase = Some(zeroize::Zeroizing::new(b"open sesame".to_vec()));
        let store = Store::open(options).unwrap();
        store.create_pool("acme", None, None).unwrap();
        store.close().unwrap();
        let other = Place {
            key: KeyArgs { key_file: Some(dir.path().join("other")), ..KeyArgs::default() },
            ..place(&data, None)
        };
        let refused = init(&InitArgs { place: other, with_passphrase: false }, &mut out).unwrap_err().to_string();
        assert!(refused.contains("holds a store already"), "{refused}");
        let lines = shown(&data, Some(&one));
        assert_eq!((&lines[0]["passphrase"], &lines[1]["key_epoch"]), (&json!(true), &json!(1)));
        assert_eq!(lines[1]["opens_with_this_key"], true);
        let change = ChangeArgs {
            place: place(&data, Some(&one)),
            new_passphrase_file: Some(two.clone()),
            new_passphrase_fd: None,
            no_passphrase: false,
        };
        change_passphrase(&change, &mut out).unwrap();
        assert!(change_passphrase(&change, &mut out).is_err(), "the old one opens it no more");
        assert_eq!(shown(&data, Some(&two))[1]["pool"], lines[1]["pool"]);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("sesame"), "{text}");
    }

    #[test]
    fn rotation_gives_a_new_epoch_and_leaves_nothing_to_reseal() {
        let (fixture, store) = Fixture::open();
        let args = RotateArgs { place: place(&fixture.data(), None), pool: Some("acme-people".into()), all: false };
        let refused = rotate(&args, &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("POOL.KEY"), "{refused}");
        store.close().unwrap();
        rotate(&args, &mut Vec::new()).unwrap();
        let line = &shown(&fixture.data(), None)[1];
        assert_eq!(line["key_epoch"], 2);
        assert_eq!(line["bytes_to_reseal"], 0, "{line}");
    }
}
