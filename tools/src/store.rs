//! Opening a store from the command line: where it is, and how its key file's passphrase comes.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use stoa_engine::{Store, StoreOptions};
use zeroize::Zeroizing;

/// A passphrase is no longer than this.
const PASSPHRASE_MAX_BYTES: u64 = 4096;

/// Where a store is and how its key is reached. Secrets never come by an option or the environment.
#[derive(clap::Args, Clone)]
pub(crate) struct StoreArgs {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "DATA")]
    pub(crate) data: PathBuf,
    /// The key file; DATA.key beside the data directory unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Read the key file's passphrase from this file
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the key file's passphrase from this open file descriptor
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<i32>,
}

impl StoreArgs {
    /// The options that the arguments say; `create` makes the store where there is none.
    pub(crate) fn options(&self, create: bool) -> Result<StoreOptions> {
        let mut options = StoreOptions::new(&self.data);
        options.create = create;
        if let Some(key_file) = &self.key_file {
            options.key_file.clone_from(key_file);
        }
        options.passphrase = self.passphrase()?;
        Ok(options)
    }

    /// Opens the store.
    pub(crate) fn open(&self, create: bool) -> Result<Store> {
        Ok(Store::open(self.options(create)?)?)
    }

    fn passphrase(&self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let mut bytes = Zeroizing::new(Vec::new());
        if let Some(path) = &self.passphrase_file {
            let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            file.take(PASSPHRASE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
        } else if let Some(fd) = self.passphrase_fd {
            if fd < 0 {
                bail!("--passphrase-fd wants an open file descriptor");
            }
            let file = std::fs::File::open(format!("/proc/self/fd/{fd}")).context("cannot read --passphrase-fd")?;
            file.take(PASSPHRASE_MAX_BYTES + 1).read_to_end(&mut bytes).context("cannot read --passphrase-fd")?;
        } else {
            return Ok(None);
        }
        if bytes.len() as u64 > PASSPHRASE_MAX_BYTES {
            bail!("the passphrase is longer than {PASSPHRASE_MAX_BYTES} bytes");
        }
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        Ok(Some(bytes))
    }
}
