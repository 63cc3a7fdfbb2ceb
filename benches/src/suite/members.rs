//! The systems of one run: those in this process, and the servers.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Options;
use crate::machine;
use crate::measure::time;
use crate::peer::{Peer, Setup, System};
use crate::population::Population;
use crate::tcp::{Place, Served, Service};

/// One system in a run.
pub struct Member {
    /// Which.
    pub system: System,
    /// Its directory.
    pub dir: PathBuf,
    peer: Option<Box<dyn Peer>>,
}

impl Member {
    /// One that is not open yet.
    pub(super) fn new(system: System, dir: PathBuf) -> Self {
        Self { system, dir, peer: None }
    }

    /// The open system.
    ///
    /// # Errors
    /// If it is closed, which is a defect of the row before.
    pub fn peer(&self) -> Result<&dyn Peer> {
        self.peer.as_deref().with_context(|| format!("{} is not open", self.system.name))
    }

    /// Opens it with a cache of that size.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&mut self, cache_bytes: Option<u64>) -> Result<()> {
        let setup = Setup { dir: self.dir.clone(), cache_bytes };
        let opened = (self.system.open)(&setup);
        self.peer = Some(opened.with_context(|| format!("{} cannot be opened", self.system.name))?);
        Ok(())
    }

    /// Closes it, if it is open.
    ///
    /// # Errors
    /// What the system says.
    pub fn close(&mut self) -> Result<()> {
        self.peer.take().map_or(Ok(()), |peer| peer.close())
    }

    /// Begins anew with an empty store.
    ///
    /// # Errors
    /// What the system says, or if its directory cannot be emptied.
    pub fn begin_anew(&mut self) -> Result<()> {
        self.close()?;
        if self.dir.exists() {
            std::fs::remove_dir_all(&self.dir).with_context(|| format!("cannot empty {}", self.dir.display()))?;
        }
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        // What the removal leaves to do must not fall into what is measured next.
        machine::sync(&self.dir)?;
        self.open(None)
    }
}

/// One server in a run.
pub struct Host {
    /// Which.
    pub service: Service,
    /// How many users of the population it holds, from the first.
    pub users: usize,
    dir: PathBuf,
    served: Option<Box<dyn Served>>,
}

impl Host {
    /// One that does not run yet.
    pub(super) fn new(service: Service, users: usize, dir: PathBuf) -> Self {
        Self { service, users, dir, served: None }
    }

    /// Whether it runs.
    pub(super) fn runs(&self) -> bool {
        self.served.is_some()
    }

    /// The running server.
    ///
    /// # Errors
    /// If it does not run, which is a defect of the suite.
    pub fn served(&self) -> Result<&dyn Served> {
        self.served.as_deref().with_context(|| format!("{} does not run", self.service.name))
    }

    /// Begins anew, with the users of the population in it.
    ///
    /// # Errors
    /// What the server says.
    pub fn start(&mut self, options: &Options, people: &Population) -> Result<()> {
        self.stop()?;
        if self.dir.exists() {
            std::fs::remove_dir_all(&self.dir).with_context(|| format!("cannot empty {}", self.dir.display()))?;
        }
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let place = Place { dir: &self.dir, stoa: options.stoa.as_ref() };
        let (started, took) = time(|| (self.service.start)(&place, &people.users[..self.users]))
            .with_context(|| format!("{} cannot be started", self.service.name))?;
        self.served = Some(started);
        if options.verbose {
            eprintln!("{}: {} users loaded and served in {:.1} s", self.service.name, self.users, took.as_secs_f64());
        }
        Ok(())
    }

    /// Ends it, if it runs.
    ///
    /// # Errors
    /// What the server says.
    pub(super) fn stop(&mut self) -> Result<()> {
        let name = self.service.name;
        self.served.take().map_or(Ok(()), |served| served.stop().with_context(|| format!("{name} cannot be stopped")))
    }
}
