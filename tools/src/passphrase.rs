//! How secrets come to the command line: from a file, from a file descriptor, or from standard input without
//! being shown. Never as an option or from the environment, where others could read them.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use stoa_engine::io::{Disk, read_whole};
use stoa_engine::keys::{LocalProvider, PASSPHRASE_BYTES_MAX};
use zeroize::Zeroizing;

/// A secret; wiped when dropped.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// Which key file, and where its passphrase comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct KeyArgs {
    /// The key file; beside the data directory unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Read the key file's passphrase from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the key file's passphrase from this open file descriptor.
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

impl KeyArgs {
    /// Whether any of them was given.
    pub(crate) fn given(&self) -> bool {
        self.key_file.is_some() || self.passphrase_file.is_some() || self.passphrase_fd.is_some()
    }

    /// The passphrase, if one was given, or if the key file at `key_file` asks for one and standard input has it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn passphrase(&self, key_file: &Path) -> anyhow::Result<Option<Secret>> {
        if let Some(secret) = read_given(self.passphrase_file.as_deref(), self.passphrase_fd)? {
            return Ok(Some(secret));
        }
        match LocalProvider::status(&Disk::new(), key_file) {
            Ok(status) if status.passphrase.is_some() => {
                let secret = read_stdin(&format!("Passphrase of {}: ", key_file.display()));
                secret.map(Some).with_context(|| format!("{} needs its passphrase", key_file.display()))
            }
            _ => Ok(None),
        }
    }
}

/// The secret in a file or behind a descriptor, whichever is given.
///
/// # Errors
/// If it cannot be read, is empty or too long.
pub(crate) fn read_given(file: Option<&Path>, fd: Option<u32>) -> anyhow::Result<Option<Secret>> {
    match (file, fd) {
        (Some(path), _) => {
            let bytes_max = PASSPHRASE_BYTES_MAX as u64 + 3;
            let bytes = read_whole(&Disk::new(), path, bytes_max);
            checked(bytes.with_context(|| format!("the secret in {}", path.display()))?.into()).map(Some)
        }
        (None, Some(fd)) => read_fd(fd).map(Some),
        (None, None) => Ok(None),
    }
}

/// The secret behind an open file descriptor, to its end.
fn read_fd(fd: u32) -> anyhow::Result<Secret> {
    use std::io::Read;
    let path = format!("/dev/fd/{fd}");
    // A descriptor may be a pipe, of which the engine's files know nothing.
    #[expect(clippy::disallowed_methods, reason = "a pipe is read to its end, not by position")]
    let file = std::fs::File::open(&path).with_context(|| format!("the secret from file descriptor {fd}"))?;
    let mut secret = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 3));
    file.take(PASSPHRASE_BYTES_MAX as u64 + 3).read_to_end(&mut secret)?;
    checked(secret)
}

/// One line of standard input; at a terminal after `prompt`, and without showing what is typed.
///
/// # Errors
/// If there is none.
pub(crate) fn read_stdin(prompt: &str) -> anyhow::Result<Secret> {
    let stdin = io::stdin();
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 3));
    if stdin.is_terminal() {
        let silence = Silence::begin(&stdin)?;
        eprint!("{prompt}");
        io::stderr().flush()?;
        let read = stdin.lock().read_until(b'\n', &mut line);
        drop(silence);
        eprintln!();
        read?;
    } else {
        stdin.lock().read_until(b'\n', &mut line)?;
    }
    checked(line).context("standard input gave no secret: give it there, or by --…-file or --…-fd")
}

/// A new secret: one line of standard input; at a terminal asked for twice.
///
/// # Errors
/// If there is none, or the two differ.
pub(crate) fn ask_twice(what: &str) -> anyhow::Result<Secret> {
    let secret = read_stdin(&format!("{what}: "))?;
    if io::stdin().is_terminal() && read_stdin(&format!("{what} again: "))? != secret {
        bail!("the two are not the same; nothing was changed");
    }
    Ok(secret)
}

/// The secret without the end of its line.
fn checked(mut secret: Secret) -> anyhow::Result<Secret> {
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    if secret.is_empty() {
        bail!("the secret is empty");
    }
    if secret.len() > PASSPHRASE_BYTES_MAX {
        bail!("the secret is longer than {PASSPHRASE_BYTES_MAX} bytes");
    }
    Ok(secret)
}

/// A terminal that shows nothing of what is typed, for as long as this lives.
struct Silence<'i> {
    stdin: &'i io::Stdin,
    before: Termios,
}

impl<'i> Silence<'i> {
    fn begin(stdin: &'i io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &silent)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_no_part_of_a_secret() {
        let secret = |text: &[u8]| checked(Zeroizing::new(text.to_vec())).map(|secret| secret.to_vec()).ok();
        assert_eq!(secret(b"open sesame\r\n").as_deref(), Some(&b"open sesame"[..]));
        assert_eq!(secret(b" a b ").as_deref(), Some(&b" a b "[..]));
        assert_eq!(secret(b"\na\n\n").as_deref(), Some(&b"\na"[..]));
        assert_eq!(secret(b"\n"), None);
        assert_eq!(secret(&vec![b'x'; PASSPHRASE_BYTES_MAX + 1]), None);
    }

    #[test]
    fn a_file_gives_its_first_and_only_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        stoa_engine::io::replace(&Disk::new(), &path, b"correct horse\n").unwrap();
        assert_eq!(read_given(Some(&path), None).unwrap().unwrap().as_slice(), b"correct horse");
        assert!(read_given(Some(&dir.path().join("none")), None).is_err());
        assert!(read_given(None, None).unwrap().is_none());
    }
}
