//! Opening a store from the command line: where it is, and how its key file's passphrase comes.

use std::path::PathBuf;

use anyhow::{Result, bail};
use stoa_engine::{Store, StoreOptions};

use crate::passphrase::KeyArgs;

/// Where a store is and how its key is reached. Secrets never come by an option or the environment.
#[derive(clap::Args, Clone)]
pub(crate) struct StoreArgs {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "DATA")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

impl StoreArgs {
    /// The options that the arguments say; `create` makes the store where there is none.
    pub(crate) fn options(&self, create: bool) -> Result<StoreOptions> {
        if self.data.exists() && !self.data.is_dir() {
            bail!("{} is a file: --data names the directory of a store", self.data.display());
        }
        let mut options = StoreOptions::new(&self.data);
        options.create = create;
        if let Some(key_file) = &self.key.key_file {
            options.key_file.clone_from(key_file);
        }
        options.passphrase = self.key.passphrase(&options.key_file)?;
        Ok(options)
    }

    /// Opens the store.
    pub(crate) fn open(&self, create: bool) -> Result<Store> {
        Ok(Store::open(self.options(create)?)?)
    }
}
