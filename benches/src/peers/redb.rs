//! redb: copy-on-write B-trees in one file, no log.

use std::ops::ControlFlow;

use anyhow::Result;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use super::kv::{Changes, Kv, KvPeer, Source, Table, View};
use crate::peer::{AMPLE_CACHE_BYTES, System, Transport};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Open<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

pub(super) const SYSTEM: System = System {
    name: "redb",
    transport: Transport::Embedded,
    encrypted: false,
    replays: false,
    about: || {
        "redb 4: cache 4 GiB, Durability::Immediate, loaded in order of keys in one transaction, a read transaction a read, \
         updates of many writers grouped by the application"
            .into()
    },
    open: |setup| {
        let cache_bytes = setup.cache_bytes.unwrap_or(AMPLE_CACHE_BYTES) as usize;
        let db = Database::builder().set_cache_size(cache_bytes).create(setup.dir.join("users.redb"))?;
        let txn = db.begin_write()?;
        for table in Table::ALL {
            txn.open_table(definition(table))?;
        }
        txn.commit()?;
        Ok(Box::new(KvPeer::new(Redb { db }, setup.dir.clone(), |_| false)))
    },
};

const fn definition(table: Table) -> Definition {
    Definition::new(table.name())
}

struct Redb {
    db: Database,
}

struct RedbView {
    txn: ReadTransaction,
}

struct RedbChanges<'t> {
    tables: [Open<'t>; 4],
}

impl Redb {
    fn within(&self, work: impl FnOnce(&mut RedbChanges<'_>) -> Result<()>) -> Result<()> {
        let txn = self.db.begin_write()?;
        {
            let open = |table| txn.open_table(definition(table));
            let tables = [open(Table::Rows)?, open(Table::Usernames)?, open(Table::Emails)?, open(Table::Phones)?];
            work(&mut RedbChanges { tables })?;
        }
        Ok(txn.commit()?)
    }
}

impl Kv for Redb {
    type View<'k> = RedbView;

    fn view(&self) -> Result<RedbView> {
        Ok(RedbView { txn: self.db.begin_read()? })
    }

    fn transact(&self, work: &mut dyn FnMut(&mut dyn Changes) -> Result<()>) -> Result<()> {
        self.within(|changes| work(changes))
    }

    fn load(&self, source: &Source<'_>) -> Result<()> {
        self.within(|changes| {
            Table::ALL.into_iter().try_for_each(|table| {
                source.each(table, &mut |key, value| {
                    changes.tables[table as usize].insert(key, value)?;
                    Ok(())
                })
            })
        })
    }

    fn rewrite(&self, each: &mut dyn FnMut(&[u8], &mut Vec<u8>) -> Result<()>) -> Result<u64> {
        // What was there before the transaction is read beside it.
        let (before, mut count) = (self.view()?, 0);
        self.within(|changes| {
            let mut new = Vec::new();
            before.scan(Table::Rows, &[], &mut |key, old| {
                new.clear();
                each(old, &mut new)?;
                changes.tables[Table::Rows as usize].insert(key, &new[..])?;
                count += 1;
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(count)
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

impl View for RedbView {
    fn get<R>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.txn.open_table(definition(table))?.get(key)?.map(|found| read(found.value())))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        for entry in self.txn.open_table(definition(table))?.range(from..)? {
            let (key, value) = entry?;
            if visit(key.value(), value.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Changes for RedbChanges<'_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.tables[table as usize].get(key)?.map(|found| found.value().to_vec()))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.tables[table as usize].insert(key, value)?;
        Ok(())
    }
}
