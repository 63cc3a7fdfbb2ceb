//! The end of a load: everything durable, then in its place in one step.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use roaring::RoaringBitmap;
use stoa_format::install::Install;
use stoa_format::manifest::FilePlace;
use stoa_format::ops::EventKind;
use stoa_format::{AttrId, FileId, Keyspace, Seq};

use super::aliases::Aliases;
use super::columns::Column;
use super::files::NewFiles;
use super::groups::GroupWrite;
use super::install::{Announcement, commit};
use super::load::{BulkDone, BulkLoad, broken, check_unused};
use super::sorted::{self, Keys};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::keyspace;
use crate::pool::open::{OpenPool, lock};
use crate::pool::schema::Schema;

/// How often a commit is tried that something else keeps beating.
const BEATEN_MAX: u32 = 8;

impl BulkLoad {
    /// Writes what is left, makes everything durable and puts it in its place in one step.
    ///
    /// # Errors
    /// `TRYAGAIN` if the pool was changed meanwhile, `IOERROR`, `NOSPACE`: the pool is as it was then;
    /// `INDOUBT`: reopening tells.
    pub fn finish(self) -> Result<BulkDone> {
        if self.failed {
            return Err(broken());
        }
        if self.taken == 0 && self.groups.len() == 0 {
            return Ok(BulkDone { users: 0, seq: self.pool.snapshot().seq() });
        }
        let Self { pool, schema, base, taken, columns, aliases, orders, groups, loading, .. } = self;
        let files = Arc::clone(&columns.files);
        let group_count = groups.len() as u64;
        let columns = columns.finish()?;
        let mut work: Vec<Work> = Vec::new();
        // The longest first, so that two threads end at about the same time.
        if orders.iter().any(|(_, keys)| !keys.is_empty()) {
            work.push(Work::Order(orders));
        }
        if !aliases.is_empty() {
            work.push(Work::Aliases(aliases));
        }
        work.extend(groups.into_writes().into_iter().map(Work::Groups));
        let lists = [
            (keyspace::MULTI, self.multi),
            (keyspace::IDENTITIES, self.identities),
            (keyspace::IDENTITIES_OF, self.identities_of),
            (keyspace::FACTORS, self.factors),
            (keyspace::FACTOR_IDS, self.factor_ids),
        ];
        work.extend(
            lists.into_iter().filter(|(_, keys)| !keys.is_empty()).map(|(keyspace, keys)| Work::Keys(keyspace, keys)),
        );
        work.extend(columns.into_iter().map(Work::Column));
        let threads = if pool.shared.has_threads() { 2 } else { 1 };
        run_all(work, threads, &files)?;
        files.sync_names()?;
        let seq = install(&pool, &schema, &files, base, taken, group_count)?;
        drop(loading);
        // The frame holds everything; a manifest saves replaying it. If it fails, the pool says so.
        let _ = pool.flush();
        Ok(BulkDone { users: u64::from(taken), seq })
    }
}

/// Commits the files, on whatever configuration documents were written meanwhile.
fn install(
    pool: &Arc<OpenPool>,
    schema: &Arc<Schema>,
    files: &NewFiles,
    base: u32,
    taken: u32,
    groups: u64,
) -> Result<Seq> {
    let _flushing = lock(&pool.flushing);
    for _ in 0..BEATEN_MAX {
        let snapshot = pool.snapshot();
        check_unused(pool, &snapshot.version)?;
        if snapshot.schema().version() != schema.version() {
            let what = "the pool's schema was changed while users were loaded: load them again";
            return Err(Error::new(ErrorKind::TryAgain, what));
        }
        let mut live = RoaringBitmap::new();
        live.insert_range(base..base + taken);
        live.optimize();
        let mut bytes = Vec::with_capacity(live.serialized_size());
        live.serialize_into(&mut bytes).expect("writing to memory does not fail");
        let age = pool.next_age.load(Relaxed);
        let install = Install {
            id: FileId(pool.next_file_id.fetch_add(1, Relaxed)),
            next_ordinal: u64::from(base) + u64::from(taken),
            next_group_id: pool.next_group_id.load(Relaxed),
            next_age: age + 1,
            groups,
            live: Some(bytes),
            dropped: Vec::new(),
            files: files.file_refs(age, |_| true),
        };
        let says =
            Announcement { actor: "", event: EventKind::PoolImport, attrs: Vec::new(), changed: u64::from(taken) };
        if let Some(seq) = commit(pool, files, &install, snapshot.seq(), says)? {
            return Ok(seq);
        }
    }
    Err(Error::new(ErrorKind::TryAgain, "the pool is changing: load the users again"))
}

/// One piece of what a load leaves for its end; pieces do not know of each other.
enum Work {
    Order(Vec<(AttrId, Keys)>),
    Aliases(Aliases),
    Groups(GroupWrite),
    Keys(Keyspace, Keys),
    Column(Column),
}

impl Work {
    fn run(self, files: &NewFiles) -> Result<()> {
        let keyspace = match &self {
            Self::Order(_) => keyspace::ORDER,
            Self::Aliases(_) => keyspace::ALIASES,
            Self::Keys(keyspace, _) => *keyspace,
            Self::Groups(_) | Self::Column(_) => Keyspace(0),
        };
        let begin = || {
            let mut writer = files.create(FilePlace::Index, u16::from(keyspace.0))?;
            sorted::begin(&mut writer, keyspace)?;
            Ok::<_, Error>(writer)
        };
        match self {
            Self::Order(orders) => {
                let mut writer = begin()?;
                for (attr, mut keys) in orders {
                    keys.sort();
                    keys.write(&attr.0.to_be_bytes(), &mut writer)?;
                }
                files.finish(writer)
            }
            Self::Aliases(mut aliases) => {
                let mut writer = begin()?;
                aliases.write(&mut writer)?;
                files.finish(writer)
            }
            Self::Keys(_, mut keys) => {
                let mut writer = begin()?;
                keys.sort();
                keys.write(&[], &mut writer)?;
                files.finish(writer)
            }
            Self::Groups(write) => write.run(files),
            Self::Column(mut column) => column.finish(files),
        }
    }
}

/// Does all the work, on the caller's thread alone or with others.
fn run_all(work: Vec<Work>, threads: usize, files: &NewFiles) -> Result<()> {
    let queue = Mutex::new(work.into_iter());
    let run = || -> Result<()> {
        loop {
            let next = lock(&queue).next();
            let Some(work) = next else { return Ok(()) };
            work.run(files)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        let panicked = || Error::new(ErrorKind::Other, "a thread of the load panicked");
        others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(panicked()))).fold(mine, Result::and)
    })
}
