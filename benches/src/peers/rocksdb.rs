//! RocksDB, Debian's, by the crate's C interface. Its own group commit shares syncs among threads.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DataBlockIndexType,
    IngestExternalFileOptions, Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};

use super::kv::{Changes, Kv, KvPeer, Overlay, Source, Table, View};
use crate::peer::{AMPLE_CACHE_BYTES, System, Transport};

const MEMTABLE_BYTES: usize = 256 << 20;
const MEMTABLES: i32 = 4;
const BLOOM_BITS: f64 = 10.0;
/// Work in the background is waited for, but not for ever.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// A file that is ingested ends at about so many bytes, so that compactions can take parts.
const INGESTED_FILE_BYTES: u64 = 128 << 20;

pub(super) const SYSTEM: System = System {
    name: "rocksdb",
    transport: Transport::Embedded,
    encrypted: false,
    replays: true,
    about: || {
        "RocksDB 7.8 (Debian) by crate rocksdb 0.20: 4 column families, LZ4, bloom 10 bit, data-block hash index, cache 4 GiB, \
         memtables 256 MB × 4, sync=true with its own group commit under locks of the application, SST ingestion for \
         the load and for rewriting"
            .into()
    },
    open: |setup| {
        let options = options(setup.cache_bytes.unwrap_or(AMPLE_CACHE_BYTES) as usize)?;
        let families = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), options.clone()));
        let db = DB::open_cf_descriptors(&options, &setup.dir, families)?;
        let mut writing = WriteOptions::default();
        writing.set_sync(true);
        let dir = setup.dir.clone();
        let rocks = RocksDb { db, options, reading: ReadOptions::default(), writing, dir: dir.clone() };
        Ok(Box::new(KvPeer::new(rocks, dir, |name| name.ends_with(".log"))))
    },
};

fn options(cache_bytes: usize) -> Result<Options> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(cache_bytes)?);
    blocks.set_bloom_filter(BLOOM_BITS, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(MEMTABLES);
    options.set_block_based_table_factory(&blocks);
    Ok(options)
}

struct RocksDb {
    db: DB,
    options: Options,
    reading: ReadOptions,
    writing: WriteOptions,
    dir: PathBuf,
}

struct RocksView<'k>(&'k RocksDb);

struct RocksChanges<'k> {
    rocks: &'k RocksDb,
    batch: WriteBatch,
    own: Overlay,
}

/// Files to be ingested, one after the other.
struct Files<'o> {
    options: &'o Options,
    dir: PathBuf,
    table: Table,
    writer: Option<SstFileWriter<'o>>,
    paths: Vec<PathBuf>,
}

impl<'o> Files<'o> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.writer.as_ref().is_some_and(|writer| writer.file_size() >= INGESTED_FILE_BYTES) {
            self.finish()?;
        }
        if self.writer.is_none() {
            let path = self.dir.join(format!("{}-{}.ingest", self.table.name(), self.paths.len()));
            let writer = SstFileWriter::create(self.options);
            writer.open(&path)?;
            self.paths.push(path);
            self.writer = Some(writer);
        }
        let writer = self.writer.as_mut().context("a file is open")?;
        Ok(writer.put(key, value)?)
    }

    fn finish(&mut self) -> Result<()> {
        self.writer.take().map_or(Ok(()), |mut writer| Ok(writer.finish()?))
    }
}

impl RocksDb {
    fn family(&self, table: Table) -> Result<&ColumnFamily> {
        self.db.cf_handle(table.name()).context("the column family is open")
    }

    fn files(&self, table: Table) -> Files<'_> {
        Files { options: &self.options, dir: self.dir.clone(), table, writer: None, paths: Vec::new() }
    }

    fn ingest(&self, mut files: Files<'_>) -> Result<()> {
        files.finish()?;
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        match files.paths.is_empty() {
            true => Ok(()),
            false => Ok(self.db.ingest_external_file_cf_opts(self.family(files.table)?, &how, files.paths)?),
        }
    }
}

impl Kv for RocksDb {
    type View<'k> = RocksView<'k>;

    const GROUPS_COMMITS: bool = true;

    fn view(&self) -> Result<RocksView<'_>> {
        Ok(RocksView(self))
    }

    fn transact(&self, work: &mut dyn FnMut(&mut dyn Changes) -> Result<()>) -> Result<()> {
        let mut changes = RocksChanges { rocks: self, batch: WriteBatch::default(), own: Overlay::default() };
        work(&mut changes)?;
        Ok(self.db.write_opt(changes.batch, &self.writing)?)
    }

    fn load(&self, source: &Source<'_>) -> Result<()> {
        let ingest = |table: Table| -> Result<()> {
            let mut files = self.files(table);
            source.each(table, &mut |key, value| files.put(key, value))?;
            self.ingest(files)
        };
        std::thread::scope(|scope| {
            let rows = scope.spawn(|| ingest(Table::Rows));
            let aliases = [Table::Usernames, Table::Emails, Table::Phones].into_iter().try_for_each(ingest);
            rows.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a loading thread panicked"))).and(aliases)
        })
    }

    fn rewrite(&self, each: &mut dyn FnMut(&[u8], &mut Vec<u8>) -> Result<()>) -> Result<u64> {
        let (mut files, mut count, mut new) = (self.files(Table::Rows), 0, Vec::new());
        self.view()?.scan(Table::Rows, &[], &mut |key, old| {
            new.clear();
            each(old, &mut new)?;
            files.put(key, &new)?;
            count += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        self.ingest(files)?;
        Ok(count)
    }

    fn settle(&self) -> Result<()> {
        for table in Table::ALL {
            self.db.flush_cf(self.family(table)?)?;
        }
        let give_up = Instant::now() + SETTLE_MAX;
        let busy = |name: &str| self.db.property_int_value(name).map(|value| value.unwrap_or(0) > 0);
        while Instant::now() < give_up
            && (busy("rocksdb.compaction-pending")? || busy("rocksdb.num-running-compactions")?)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

impl View for RocksView<'_> {
    fn get<R>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let found = self.0.db.get_pinned_cf_opt(self.0.family(table)?, key, &self.0.reading)?;
        Ok(found.map(|found| read(&found)))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut entries = self.0.db.raw_iterator_cf(self.0.family(table)?);
        entries.seek(from);
        while let Some((key, value)) = entries.item() {
            if visit(key, value)?.is_break() {
                return Ok(());
            }
            entries.next();
        }
        Ok(entries.status()?)
    }
}

impl Changes for RocksChanges<'_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.own.get(table, key) {
            Some(own) => Ok(Some(own)),
            None => Ok(self.rocks.db.get_cf(self.rocks.family(table)?, key)?),
        }
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.own.put(table, key, value);
        self.batch.put_cf(self.rocks.family(table)?, key, value);
        Ok(())
    }
}
