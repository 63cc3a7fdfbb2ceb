//! fjall: log-structured trees in Rust.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::kv::{Changes, Kv, KvPeer, Overlay, Source, Table, View};
use crate::peer::{AMPLE_CACHE_BYTES, System, Transport};

/// Work in the background is waited for, but not for ever.
const SETTLE_MAX: Duration = Duration::from_secs(60);

pub(super) const SYSTEM: System = System {
    name: "fjall",
    transport: Transport::Embedded,
    encrypted: false,
    replays: true,
    about: || {
        "fjall 3.1: cache 4 GiB, LZ4, PersistMode::SyncData, loaded and rewritten by ingestion, one application write \
         lock, updates of many writers grouped by the application"
            .into()
    },
    open: |setup| {
        let cache_bytes = setup.cache_bytes.unwrap_or(AMPLE_CACHE_BYTES);
        let db = Database::builder(&setup.dir).cache_size(cache_bytes).open()?;
        let open = |table: Table| db.keyspace(table.name(), KeyspaceCreateOptions::default);
        let tables = [open(Table::Rows)?, open(Table::Usernames)?, open(Table::Emails)?, open(Table::Phones)?];
        let is_log = |name: &str| name.ends_with(".jnl");
        Ok(Box::new(KvPeer::new(Fjall { db, tables }, setup.dir.clone(), is_log)))
    },
};

struct Fjall {
    db: Database,
    tables: [Keyspace; 4],
}

struct FjallView<'k>(&'k Fjall);

struct FjallChanges<'k> {
    fjall: &'k Fjall,
    batch: fjall::OwnedWriteBatch,
    own: Overlay,
}

impl Kv for Fjall {
    type View<'k> = FjallView<'k>;

    fn view(&self) -> Result<FjallView<'_>> {
        Ok(FjallView(self))
    }

    fn transact(&self, work: &mut dyn FnMut(&mut dyn Changes) -> Result<()>) -> Result<()> {
        let batch = self.db.batch().durability(Some(PersistMode::SyncData));
        let mut changes = FjallChanges { fjall: self, batch, own: Overlay::default() };
        work(&mut changes)?;
        Ok(changes.batch.commit()?)
    }

    fn load(&self, source: &Source<'_>) -> Result<()> {
        let ingest = |table: Table| -> Result<()> {
            let mut ingestion = self.tables[table as usize].start_ingestion()?;
            source.each(table, &mut |key, value| Ok(ingestion.write(key, value)?))?;
            Ok(ingestion.finish()?)
        };
        std::thread::scope(|scope| {
            let rows = scope.spawn(|| ingest(Table::Rows));
            let aliases = [Table::Usernames, Table::Emails, Table::Phones].into_iter().try_for_each(ingest);
            rows.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a loading thread panicked"))).and(aliases)
        })?;
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    fn rewrite(&self, each: &mut dyn FnMut(&[u8], &mut Vec<u8>) -> Result<()>) -> Result<u64> {
        let rows = &self.tables[Table::Rows as usize];
        let (mut count, mut new) = (0, Vec::new());
        let before = rows.iter();
        let mut ingestion = rows.start_ingestion()?;
        for entry in before {
            let (key, old) = entry.into_inner()?;
            new.clear();
            each(&old, &mut new)?;
            ingestion.write(key, &new[..])?;
            count += 1;
        }
        ingestion.finish()?;
        self.db.persist(PersistMode::SyncAll)?;
        Ok(count)
    }

    fn settle(&self) -> Result<()> {
        for table in &self.tables {
            table.rotate_memtable_and_wait()?;
        }
        let give_up = Instant::now() + SETTLE_MAX;
        while Instant::now() < give_up && (self.db.outstanding_flushes() > 0 || self.db.active_compactions() > 0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

impl View for FjallView<'_> {
    fn get<R>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.0.tables[table as usize].get(key)?.map(|found| read(&found)))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        for entry in self.0.tables[table as usize].range(from..) {
            let (key, value) = entry.into_inner()?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Changes for FjallChanges<'_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.own.get(table, key) {
            Some(own) => Ok(Some(own)),
            None => Ok(self.fjall.tables[table as usize].get(key)?.map(|found| found.to_vec())),
        }
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.own.put(table, key, value);
        self.batch.insert(&self.fjall.tables[table as usize], key, value);
        Ok(())
    }
}
