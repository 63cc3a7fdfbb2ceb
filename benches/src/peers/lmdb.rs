//! LMDB by heed: one writer at a time, readers without locks over mapped memory, no log.

use std::ops::{Bound, ControlFlow};

use anyhow::{Context, Result};
use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, PutFlags, RoTxn, RwTxn, WithTls};

use super::kv::{Changes, Kv, KvPeer, Source, Table, View};
use crate::peer::{System, Transport};

type Db = Database<Bytes, Bytes>;

/// The map bounds the store's size and takes no memory by itself.
const MAP_BYTES: usize = 16 << 30;

pub(super) const SYSTEM: System = System {
    name: "lmdb",
    transport: Transport::Embedded,
    encrypted: false,
    replays: false,
    about: || {
        "LMDB 0.9.70 by heed 0.22: default sync, map 16 GiB, loaded by APPEND in one transaction, a read transaction a read, \
         updates of many writers grouped by the application; its cache is the system's"
            .into()
    },
    open: |setup| {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_dbs(Table::ALL.len() as u32).max_readers(256);
        // SAFETY: the directory is the run's own: no other process changes the file while it is mapped.
        let env = unsafe { options.open(&setup.dir) }?;
        let mut txn = env.write_txn()?;
        let mut open = |table: Table| env.create_database::<Bytes, Bytes>(&mut txn, Some(table.name()));
        let tables = [open(Table::Rows)?, open(Table::Usernames)?, open(Table::Emails)?, open(Table::Phones)?];
        txn.commit()?;
        Ok(Box::new(KvPeer::new(Lmdb { env, tables }, setup.dir.clone(), |_| false)))
    },
};

struct Lmdb {
    env: Env,
    tables: [Db; 4],
}

struct LmdbView<'k> {
    tables: &'k [Db; 4],
    txn: RoTxn<'k, WithTls>,
}

struct LmdbChanges<'t, 'e> {
    tables: &'t [Db; 4],
    txn: &'t mut RwTxn<'e>,
}

impl Kv for Lmdb {
    type View<'k> = LmdbView<'k>;

    fn view(&self) -> Result<LmdbView<'_>> {
        Ok(LmdbView { tables: &self.tables, txn: self.env.read_txn()? })
    }

    fn transact(&self, work: &mut dyn FnMut(&mut dyn Changes) -> Result<()>) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        work(&mut LmdbChanges { tables: &self.tables, txn: &mut txn })?;
        Ok(txn.commit()?)
    }

    fn load(&self, source: &Source<'_>) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for table in Table::ALL {
            let db = self.tables[table as usize];
            source.each(table, &mut |key, value| Ok(db.put_with_flags(&mut txn, PutFlags::APPEND, key, value)?))?;
        }
        Ok(txn.commit()?)
    }

    fn rewrite(&self, each: &mut dyn FnMut(&[u8], &mut Vec<u8>) -> Result<()>) -> Result<u64> {
        let mut txn = self.env.write_txn()?;
        let (mut count, mut new) = (0, Vec::new());
        {
            let mut rows = self.tables[Table::Rows as usize].iter_mut(&mut txn)?;
            while let Some(row) = rows.next() {
                let (key, old) = row?;
                let key: [u8; 16] = key.try_into().context("a sub has 16 bytes")?;
                new.clear();
                each(old, &mut new)?;
                // SAFETY: key and value are copies; nothing of the map is held.
                unsafe { rows.put_current(&key, &new) }?;
                count += 1;
            }
        }
        txn.commit()?;
        Ok(count)
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

impl View for LmdbView<'_> {
    fn get<R>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.tables[table as usize].get(&self.txn, key)?.map(read))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let db = self.tables[table as usize];
        if from.is_empty() {
            return each(db.iter(&self.txn)?, visit);
        }
        each(db.range(&self.txn, &(Bound::Included(from), Bound::Unbounded))?, visit)
    }
}

fn each<'t>(
    mut entries: impl Iterator<Item = heed::Result<(&'t [u8], &'t [u8])>>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    entries
        .try_for_each(|entry| -> ControlFlow<Result<()>> {
            let visited = entry.map_err(anyhow::Error::from).and_then(|(key, value)| visit(key, value));
            match visited {
                Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                Ok(ControlFlow::Break(())) => ControlFlow::Break(Ok(())),
                Err(error) => ControlFlow::Break(Err(error)),
            }
        })
        .break_value()
        .unwrap_or(Ok(()))
}

impl Changes for LmdbChanges<'_, '_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.tables[table as usize].get(self.txn, key)?.map(<[u8]>::to_vec))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.tables[table as usize].put(self.txn, key, value)?)
    }
}
