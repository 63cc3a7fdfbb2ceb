//! SQLite and SQLCipher: one library, which without a key is plain SQLite (it maps files and seals nothing then).
//!
//! A table with rowids, unique indexes on sub and the three aliases, WAL, `synchronous=FULL`. One connection writes, the
//! application groups the changes of many writers; each reader has a connection of its own.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};

use super::group::Group;
use crate::load::Alias;
use crate::machine::{self, DiskBytes};
use crate::peer::{Peer, Reader, Seen, Setup, System, Transport, Update, Writer, folded};
use crate::population::{STATUSES, Text, User};

const MMAP_BYTES: u64 = 16 << 30;
/// SQLCipher cannot map its file: it has a cache instead.
const CIPHER_CACHE_BYTES: u64 = 1_500_000_000;
/// A raw key: deriving one from a passphrase would be part of every opening.
const KEY: &str = "x'2DD29CA851E7B56E4697B0E1F08507293D761A05CE4D1B628663F411A8086D99'";
/// The log goes into the database whenever it has so many pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 16_384;
const STATEMENTS: usize = 32;
const UPDATES_AT_ONCE: usize = 1000;

pub(super) const SQLITE: System = System {
    name: "sqlite",
    transport: Transport::Embedded,
    encrypted: false,
    replays: false,
    about: || {
        format!(
            "SQLite {} (the library of SQLCipher without a key) by rusqlite 0.41: WAL, synchronous=FULL, mmap 16 GiB, rowid \
             table and 4 unique indexes (e-mail NOCASE), prepared statements, loaded without a journal, updates of many \
             writers grouped by the application",
            rusqlite::version()
        )
    },
    open: |setup| Ok(Box::new(Sqlite::open(setup, false)?)),
};

pub(super) const SQLCIPHER: System = System {
    name: "sqlcipher",
    transport: Transport::Embedded,
    encrypted: true,
    replays: false,
    about: || {
        let version = Connection::open_in_memory()
            .and_then(|connection| connection.query_row("PRAGMA cipher_version", [], |row| row.get::<_, String>(0)));
        format!(
            "SQLCipher {}: as SQLite, a raw key, the system's OpenSSL, no mmap, cache 1.5 GB",
            version.unwrap_or_else(|_| "of unknown version".into())
        )
    },
    open: |setup| Ok(Box::new(Sqlite::open(setup, true)?)),
};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY, sub BLOB NOT NULL, username TEXT NOT NULL, email TEXT COLLATE NOCASE, phone_number TEXT,
    email_verified INTEGER, phone_number_verified INTEGER, given_name TEXT, family_name TEXT, name TEXT, locale TEXT,
    tier TEXT, prefs TEXT, status INTEGER, enabled INTEGER, created_at INTEGER, updated_at INTEGER, hash TEXT)";
const INDEXES: &str = "CREATE UNIQUE INDEX IF NOT EXISTS by_sub ON users (sub);
    CREATE UNIQUE INDEX IF NOT EXISTS by_username ON users (username);
    CREATE UNIQUE INDEX IF NOT EXISTS by_email ON users (email);
    CREATE UNIQUE INDEX IF NOT EXISTS by_phone ON users (phone_number)";
const INSERT: &str = "INSERT INTO users (sub, username, email, phone_number, email_verified, phone_number_verified, \
    given_name, family_name, name, locale, tier, prefs, status, enabled, created_at, updated_at, hash) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
const UPDATE: &str = "UPDATE users SET prefs = ?2, updated_at = ?3 WHERE sub = ?1";

macro_rules! profile {
    ($rest:literal) => {
        concat!(
            "SELECT id, sub, username, email, phone_number, given_name, family_name, name, locale, tier, prefs, \
             email_verified, phone_number_verified, status, enabled, created_at, updated_at FROM users ",
            $rest
        )
    };
}

enum Change {
    Update([u8; 16], String),
    Create(Box<User>),
}

struct Sqlite {
    dir: PathBuf,
    cipher: bool,
    cache_bytes: Option<u64>,
    writing: Mutex<Connection>,
    /// Connections of readers that have gone: each has a cache of its own, which is worth keeping.
    idle: Mutex<Vec<Connection>>,
    group: Group<Change, bool>,
}

impl Sqlite {
    fn open(setup: &Setup, cipher: bool) -> Result<Self> {
        let (dir, cache_bytes) = (setup.dir.clone(), setup.cache_bytes);
        let connection = connect(&dir, cipher, cache_bytes)?;
        connection.execute_batch(TABLE)?;
        // A new table is indexed once it is loaded.
        let is_empty = connection.query_row("SELECT id FROM users LIMIT 1", [], |_| Ok(())).optional()?.is_none();
        if !is_empty {
            connection.execute_batch(INDEXES)?;
        }
        Ok(Self {
            dir,
            cipher,
            cache_bytes,
            writing: Mutex::new(connection),
            idle: Mutex::default(),
            group: Group::new(),
        })
    }

    fn writing(&self) -> MutexGuard<'_, Connection> {
        lock(&self.writing)
    }

    /// Writes changes in one transaction; answers each.
    fn write(&self, changes: Vec<Change>) -> Result<Vec<bool>> {
        let mut connection = self.writing();
        let transaction = connection.transaction()?;
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            results.push(match change {
                Change::Update(sub, prefs) => {
                    update(&transaction, &sub, &prefs)?;
                    true
                }
                Change::Create(user) => create(&transaction, &user)?,
            });
        }
        transaction.commit()?;
        Ok(results)
    }
}

fn connect(dir: &Path, cipher: bool, cache_bytes: Option<u64>) -> Result<Connection> {
    let connection = Connection::open(dir.join("users.db"))?;
    if cipher {
        connection.pragma_update(None, "key", KEY)?;
        let bytes = cache_bytes.unwrap_or(CIPHER_CACHE_BYTES);
        connection.pragma_update(None, "cache_size", -((bytes / 1024) as i64))?;
    } else {
        // What is mapped is the system's cache; its own then has only pages that are being changed.
        connection.pragma_update(None, "mmap_size", MMAP_BYTES as i64)?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn update(connection: &Connection, sub: &[u8; 16], prefs: &str) -> Result<()> {
    let count = connection.prepare_cached(UPDATE)?.execute(params![sub, prefs, now_ms()])?;
    anyhow::ensure!(count == 1, "there is no such user");
    Ok(())
}

/// False if an alias is taken.
fn create(connection: &Connection, user: &User) -> Result<bool> {
    let text = |text: Text| Some(user.text(text)).filter(|value| !value.is_empty());
    let has_phone = !user.text(Text::Phone).is_empty();
    let inserted = connection.prepare_cached(INSERT)?.execute(params![
        user.sub,
        folded(Alias::Username, user.text(Text::Username)),
        text(Text::Email),
        text(Text::Phone),
        user.email_verified,
        has_phone.then_some(user.phone_verified),
        text(Text::GivenName),
        text(Text::FamilyName),
        text(Text::Name),
        text(Text::Locale),
        text(Text::Tier),
        text(Text::Prefs),
        user.status,
        user.enabled,
        user.created_at_ms as i64,
        user.updated_at_ms as i64,
        text(Text::Hash),
    ]);
    match inserted {
        Ok(_) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Peer for Sqlite {
    fn load(&self, users: &[User]) -> Result<()> {
        let mut connection = self.writing();
        // An empty database needs no journal: a load that fails is begun anew.
        connection.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA threads = 2")?;
        let transaction = connection.transaction()?;
        for user in users {
            create(&transaction, user)?;
        }
        transaction.commit()?;
        connection.execute_batch(INDEXES)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        machine::sync(&self.dir)
    }

    fn settle(&self) -> Result<()> {
        self.writing().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.dir, self.cipher, self.cache_bytes)?,
        };
        Ok(Box::new(SqliteReader { sqlite: self, connection: Some(connection) }))
    }

    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(SqliteWriter { sqlite: self }))
    }

    fn update_many(&self, updates: &[Update<'_>]) -> Result<()> {
        let mut connection = self.writing();
        for some in updates.chunks(UPDATES_AT_ONCE) {
            let transaction = connection.transaction()?;
            some.iter().try_for_each(|each| update(&transaction, each.sub, each.prefs))?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn set_all(&self, locale: &str) -> Result<u64> {
        Ok(self.writing().execute("UPDATE users SET locale = ?1, updated_at = ?2", params![locale, now_ms()])? as u64)
    }

    fn disk_bytes(&self) -> Result<DiskBytes> {
        DiskBytes::below(&self.dir, &|path| {
            path.to_str().is_some_and(|name| name.ends_with("-wal") || name.ends_with("-shm"))
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        lock(&self.idle).clear();
        let connection = self.writing.into_inner().unwrap_or_else(PoisonError::into_inner);
        connection.close().map_err(|(_, error)| error.into())
    }
}

struct SqliteReader<'s> {
    sqlite: &'s Sqlite,
    /// There until it is dropped.
    connection: Option<Connection>,
}

impl Drop for SqliteReader<'_> {
    fn drop(&mut self) {
        lock(&self.sqlite.idle).extend(self.connection.take());
    }
}

impl SqliteReader<'_> {
    fn prepared(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>> {
        Ok(self.connection.as_ref().context("a reader has a connection")?.prepare_cached(sql)?)
    }

    fn one<P: rusqlite::Params>(&self, sql: &str, key: P, show: impl FnOnce(&Row<'_>) -> Result<()>) -> Result<bool> {
        let mut statement = self.prepared(sql)?;
        let mut rows = statement.query(key)?;
        match rows.next()? {
            None => Ok(false),
            Some(row) => show(row).map(|()| true),
        }
    }

    fn many<P: rusqlite::Params>(&self, sql: &str, key: P, seen: &mut Seen) -> Result<(usize, i64)> {
        let mut statement = self.prepared(sql)?;
        let (mut rows, mut count, mut last) = (statement.query(key)?, 0, 0);
        while let Some(row) = rows.next()? {
            show(row, seen)?;
            (count, last) = (count + 1, row.get(0)?);
        }
        Ok((count, last))
    }
}

/// Shows a row of [`profile!`].
fn show(row: &Row<'_>, seen: &mut Seen) -> Result<()> {
    const TEXTS: [&str; 9] = [
        "username",
        "email",
        "phone_number",
        "given_name",
        "family_name",
        "name",
        "locale",
        "custom:tier",
        "custom:prefs",
    ];
    seen.begin_user();
    seen.sub(row.get_ref(1)?.as_blob()?.try_into().context("a sub has 16 bytes")?);
    for (at, name) in TEXTS.iter().enumerate() {
        if let Some(text) = row.get_ref(at + 2)?.as_str_or_null()? {
            seen.text(name, text);
        }
    }
    seen.flag("email_verified", row.get(11)?);
    if let Some(verified) = row.get(12)? {
        seen.flag("phone_number_verified", verified);
    }
    show_status(row, 13, seen)?;
    seen.int("created_at", row.get::<_, i64>(15)? as u64);
    seen.int("updated_at", row.get::<_, i64>(16)? as u64);
    Ok(())
}

fn show_status(row: &Row<'_>, at: usize, seen: &mut Seen) -> Result<()> {
    let code = usize::from(row.get::<_, u8>(at)?);
    seen.text("status", STATUSES.get(code).context("a status is unknown")?.0);
    seen.flag("enabled", row.get(at + 1)?);
    Ok(())
}

fn by(alias: Alias, value: &str) -> std::borrow::Cow<'_, str> {
    // Telephone numbers are as they are, e-mail addresses are compared by NOCASE.
    match alias {
        Alias::Username => folded(alias, value).into(),
        Alias::Email | Alias::Phone => value.into(),
    }
}

impl Reader for SqliteReader<'_> {
    fn profile(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool> {
        let sql = match alias {
            Alias::Username => profile!("WHERE username = ?1"),
            Alias::Email => profile!("WHERE email = ?1"),
            Alias::Phone => profile!("WHERE phone_number = ?1"),
        };
        self.one(sql, [by(alias, value)], |row| show(row, seen))
    }

    fn hash(&mut self, email: &str, seen: &mut Seen) -> Result<bool> {
        self.one("SELECT hash FROM users WHERE email = ?1", [email], |row| {
            seen.text("hash", row.get_ref(0)?.as_str()?);
            Ok(())
        })
    }

    fn sign_in(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool> {
        let sql = match alias {
            Alias::Username => "SELECT hash, status, enabled FROM users WHERE username = ?1",
            Alias::Email => "SELECT hash, status, enabled FROM users WHERE email = ?1",
            Alias::Phone => "SELECT hash, status, enabled FROM users WHERE phone_number = ?1",
        };
        self.one(sql, [by(alias, value)], |row| {
            seen.text("hash", row.get_ref(0)?.as_str()?);
            show_status(row, 1, seen)
        })
    }

    fn by_sub(&mut self, sub: &[u8; 16], seen: &mut Seen) -> Result<bool> {
        self.one(profile!("WHERE sub = ?1"), params![sub], |row| show(row, seen))
    }

    fn count_family_name(&mut self, part: &str) -> Result<u64> {
        let sql = "SELECT count(*) FROM users WHERE family_name LIKE ?1";
        let count: i64 = self.prepared(sql)?.query_row([format!("%{part}%")], |row| row.get(0))?;
        Ok(count as u64)
    }

    fn first_by_prefix(&mut self, prefix: &str, limit: usize, seen: &mut Seen) -> Result<usize> {
        let sql = profile!("WHERE username >= ?1 AND username < ?2 ORDER BY username LIMIT ?3");
        let end = format!("{prefix}{}", char::MAX);
        Ok(self.many(sql, params![prefix, end, limit as i64], seen)?.0)
    }

    fn page(&mut self, cursor: Option<&[u8]>, limit: usize, seen: &mut Seen) -> Result<Option<Vec<u8>>> {
        let after = match cursor {
            None => 0,
            Some(bytes) => i64::from_be_bytes(bytes.try_into().context("a cursor has 8 bytes")?),
        };
        let (count, last) =
            self.many(profile!("WHERE id > ?1 ORDER BY id LIMIT ?2"), params![after, limit as i64], seen)?;
        Ok((count == limit).then(|| last.to_be_bytes().to_vec()))
    }
}

struct SqliteWriter<'s> {
    sqlite: &'s Sqlite,
}

impl Writer for SqliteWriter<'_> {
    fn update(&mut self, update: Update<'_>) -> Result<()> {
        let change = Change::Update(*update.sub, update.prefs.to_owned());
        self.sqlite.group.commit(change, |changes| self.sqlite.write(changes)).map(drop)
    }

    fn create(&mut self, user: &User) -> Result<bool> {
        self.sqlite.group.commit(Change::Create(Box::new(user.clone())), |changes| self.sqlite.write(changes))
    }
}
