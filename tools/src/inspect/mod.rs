//! `stoa inspect`: any file of a store, open or not, sound or not, told structure by structure.
//!
//! Always true:
//! 1. Nothing is changed, and the store is not opened.
//! 2. Without `--reveal` no stored value is printed: no value, no name, no document; kinds, counts and sizes only.
//! 3. A damaged structure is told of with its offset and what is wrong; what can still be read goes on.
//! 4. Secrets of the format (keys, salts) are never printed.

mod directory;
pub(crate) mod frames;
mod log;
mod manifest;
pub(crate) mod opener;
mod page;
pub(crate) mod printer;
mod run_file;
pub(crate) mod site;
mod store_files;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::passphrase::KeyArgs;
use opener::Opener;
use printer::Printer;
use site::{Content, Site, last_name};

/// Shows what a file of a store holds, or all files of a directory.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  \
    stoa inspect DATA                                   a summary of every file\n  \
    stoa inspect DATA/pools/ID/flush/1.run --keys       its sections and pages\n  \
    stoa inspect DATA/pools/ID/col/64/7.col --page 3 --hex --reveal\n  \
    stoa inspect DATA/wal/0000000000000001.wal --json")]
pub(crate) struct InspectArgs {
    /// A file of a store, or a directory.
    path: PathBuf,
    /// Only this page of a run file (counted in the file from 0), or this block of 4096 bytes of any other.
    #[arg(long, value_name = "N")]
    page: Option<u64>,
    /// Also the bytes: as they stand, or opened with --reveal.
    #[arg(long)]
    hex: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Open the sealed parts with the key beside the store, and tell their structure.
    #[arg(long)]
    keys: bool,
    /// Open the sealed parts and print the stored values: personal data.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// What is to be shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    page: Option<u64>,
    hex: bool,
    reveal: bool,
    /// One line a file, and what is damaged.
    brief: bool,
}

/// Inspects what the arguments name; exit status 1 if anything is damaged.
///
/// # Errors
/// If there is nothing there, or the key cannot be had.
pub(crate) fn run(args: InspectArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = inspect(&args, &mut out).and_then(|sound| Ok(out.flush().map(|()| sound)?));
    match done {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Inspects what the arguments name and prints to `out`; answers whether all is sound.
fn inspect(args: &InspectArgs, out: &mut dyn Write) -> anyhow::Result<bool> {
    let path = &args.path;
    std::fs::metadata(path).with_context(|| format!("cannot inspect {}", path.display()))?;
    let site = Site::find(path).unwrap_or_else(|| beside_key_file(path));
    let brief = path.is_dir() && !args.reveal && !args.hex && args.page.is_none();
    let wanted = Wanted { page: args.page, hex: args.hex, reveal: args.reveal, brief };
    let key_file = args.key.key_file.clone().unwrap_or_else(|| site.default_key_file());
    let opener = match args.keys || args.reveal || args.key.given() {
        true => {
            let passphrase = args.key.passphrase(&key_file)?;
            Some(Opener::new(&site, &key_file, passphrase.as_ref().map(|secret| &secret[..]))?)
        }
        false => None,
    };
    let mut inspector =
        Inspector { site: &site, opener: opener.as_ref(), wanted, printer: Printer::new(out, args.json) };
    if path.is_dir() {
        directory::inspect(&mut inspector, path)?;
    } else {
        inspector.file(path)?;
    }
    Ok(inspector.printer.damaged == 0)
}

/// The data directory of a file that is in none: the one that a key file stands beside, or the file's own.
fn beside_key_file(path: &Path) -> Site {
    let stem = path.with_extension("");
    let site = (stem.is_dir() && stem != path).then(|| Site::find(&stem)).flatten();
    site.unwrap_or_else(|| Site::at(path.parent().unwrap_or(path)))
}

/// One run of the command.
pub(crate) struct Inspector<'i> {
    site: &'i Site,
    opener: Option<&'i Opener<'i>>,
    wanted: Wanted,
    printer: Printer<'i>,
}

/// Which kind of file a file is, by its first bytes or its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Store,
    Catalogue,
    Manifest,
    Segment,
    Spare,
    Run,
    History,
    KeyFile,
    Lock,
    Reserve,
}

impl FileKind {
    fn of(path: &Path, bytes: &[u8]) -> Option<Self> {
        let magics: [(&[u8], Self); 7] = [
            (b"STOASTO\n", Self::Store),
            (b"STOACAT\n", Self::Catalogue),
            (b"STOAMAN\n", Self::Manifest),
            (b"STOAWAL\n", Self::Segment),
            (b"STOARUN\0", Self::Run),
            (b"STOAHIS\n", Self::History),
            (b"STOAKEY\n", Self::KeyFile),
        ];
        // A damaged start does not make it another file.
        Self::by_name(path).or_else(|| magics.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, kind)| *kind))
    }

    fn by_name(path: &Path) -> Option<Self> {
        let name = last_name(path);
        match name.as_str() {
            "STORE" => Some(Self::Store),
            "CATALOGUE" => Some(Self::Catalogue),
            "MANIFEST" => Some(Self::Manifest),
            "LOCK" => Some(Self::Lock),
            "RESERVE" => Some(Self::Reserve),
            "spare.wal" | "next.wal" => Some(Self::Spare),
            _ if name.ends_with(".spare") => Some(Self::Spare),
            _ if name.ends_with(".wal") => Some(Self::Segment),
            _ if [".run", ".col", ".idx"].iter().any(|ending| name.ends_with(ending)) => Some(Self::Run),
            _ if name.ends_with(".frames") => Some(Self::History),
            _ if name.ends_with(".key") => Some(Self::KeyFile),
            _ => None,
        }
    }
}

impl Inspector<'_> {
    /// One file, whatever it is.
    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = self.site.name(path);
        let is_run = FileKind::by_name(path) == Some(FileKind::Run);
        let read = if is_run { self.site.map(path) } else { self.site.read(path).map(Content::Read) };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => return Ok(self.printer.damage(&name, "file", 0, &error.to_string())?),
        };
        match FileKind::of(path, &bytes) {
            Some(FileKind::Store) => store_files::store(self, &name, &bytes)?,
            Some(FileKind::Catalogue) => store_files::catalogue(self, &name, &bytes)?,
            Some(FileKind::Manifest) => manifest::inspect(self, &name, &bytes)?,
            Some(FileKind::Segment) => log::segment(self, path, &name, &bytes)?,
            Some(FileKind::Spare) => {
                let note = format!("a spare segment, {} bytes; what it holds means nothing", bytes.len());
                self.printer.note(&name, &note)?;
            }
            Some(FileKind::History) => log::history(self, &name, &bytes)?,
            Some(FileKind::Run) => return Ok(run_file::inspect(self, &name, &bytes)?),
            Some(FileKind::KeyFile) => return Ok(store_files::key_file(self, &name, &bytes)?),
            Some(FileKind::Lock) => {
                let open =
                    if self.site.is_running() { "a process has the store open" } else { "nobody has the store open" };
                self.printer.note(&name, open)?;
            }
            Some(FileKind::Reserve) => {
                let note = match bytes.len() {
                    0 => "the disk was full: the room was given back".to_owned(),
                    kept => format!("keeps {kept} bytes of room for a full disk; what it holds means nothing"),
                };
                return Ok(self.printer.note(&name, &note)?);
            }
            None => bail!("{} is no file of a store that this program knows", path.display()),
        }
        self.hex_of_file(&name, &bytes)?;
        Ok(())
    }

    /// The bytes of a file that has no pages: all, or one block.
    fn hex_of_file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        const BLOCK: usize = stoa_format::wal::BLOCK_BYTES;
        if !self.wanted.hex {
            return Ok(());
        }
        let Some(page) = self.wanted.page else {
            return self.printer.hex(name, 0, bytes, false);
        };
        let start = usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(BLOCK);
        match bytes.get(start..).filter(|rest| !rest.is_empty()) {
            Some(rest) => self.printer.hex(name, start as u64, &rest[..rest.len().min(BLOCK)], false),
            None => self.printer.note(name, "the file has no such block"),
        }
    }
}
