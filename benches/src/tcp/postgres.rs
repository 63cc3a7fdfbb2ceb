//! PostgreSQL: one table of users with typed columns and unique indexes, one of memberships, prepared statements.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::pgwire::{self, Field, Row};
use super::process::{Process, command, free_port, program, run_well, user_of, version};
use super::talk::{Answer, Attr, Kind, Question, Talk, group_name};
use super::{Link, Place, Served, Service};
use crate::load::Alias;
use crate::peer::{ATTRIBUTES, Seen, folded};
use crate::population::{STATUSES, Text, User};

const SERVER: &str = "postgres";
/// Who runs the server (it refuses root) and who the client is.
const USER: &str = "postgres";
/// Bytes of a load that are sent at once.
const SENT_BYTES: usize = 1 << 20;
/// PostgreSQL counts from 2000, in microseconds: milliseconds of Unix time at that moment.
const EPOCH_MS: i64 = 946_684_800_000;

/// How the suite measures PostgreSQL.
pub(super) const SERVICE: Service = Service {
    name: "postgresql",
    encrypted: false,
    about: || {
        format!(
            "{}: shared_buffers 4 GB, fsync and synchronous_commit on, wal_level minimal, max_wal_size 8 GB, fillfactor 90, collation C; prepared statements, values in binary; loaded by COPY BINARY, then indexes, VACUUM, CHECKPOINT",
            version(SERVER, "--version")
        )
    },
    missing: |_| {
        let lacks = ["initdb", SERVER].into_iter().find(|name| program(name).is_none());
        lacks.map(|name| format!("there is no {name}: benches/install.sh"))
    },
    users_max: usize::MAX,
    in_order: true,
    answers: |_| true,
    start: |place, users| Ok(Box::new(Postgres::start(place, users)?)),
};

const TABLES: &str = "BEGIN;
CREATE TABLE users (sub uuid NOT NULL, username text NOT NULL, email text NOT NULL, phone_number text,
  given_name text, family_name text, name text, locale text, tier text, prefs text, hash text,
  email_verified boolean, phone_verified boolean, status smallint, enabled boolean,
  created_at timestamptz, updated_at timestamptz, last_sign_in text) WITH (fillfactor = 90);
CREATE TABLE memberships (sub uuid NOT NULL, name text NOT NULL);";
const COPY_USERS: &str =
    "COPY users (sub, username, email, phone_number, given_name, family_name, name, locale, tier, prefs, hash,
  email_verified, phone_verified, status, enabled, created_at, updated_at) FROM STDIN (FORMAT binary)";
const COPY_MEMBERSHIPS: &str = "COPY memberships FROM STDIN (FORMAT binary)";
const INDEXES: &str = "ALTER TABLE users ADD PRIMARY KEY (sub);
CREATE UNIQUE INDEX ON users (lower(username));
CREATE UNIQUE INDEX ON users (lower(email));
CREATE UNIQUE INDEX ON users (phone_number);
ALTER TABLE memberships ADD PRIMARY KEY (name, sub);
CREATE INDEX ON memberships (sub);
COMMIT;";

macro_rules! profile {
    ($rest:literal) => {
        concat!(
            "SELECT u.sub, username, email, phone_number, given_name, family_name, u.name, locale, tier, prefs, ",
            "email_verified, phone_verified, status, enabled, created_at, updated_at FROM ",
            $rest
        )
    };
}

/// Name and text of each statement.
const STATEMENTS: [(&str, &str); 18] = [
    ("profile", profile!("users u WHERE lower(email) = $1")),
    ("hash", "SELECT hash FROM users WHERE lower(email) = $1"),
    ("sign-in username", "SELECT hash, status, enabled FROM users WHERE lower(username) = $1"),
    ("sign-in email", "SELECT hash, status, enabled FROM users WHERE lower(email) = $1"),
    ("sign-in phone_number", "SELECT hash, status, enabled FROM users WHERE phone_number = $1"),
    ("by sub", profile!("users u WHERE sub = $1")),
    ("groups", "SELECT name FROM memberships WHERE sub = $1"),
    ("prefs", "UPDATE users SET prefs = $2, updated_at = now() WHERE sub = $1"),
    ("last sign-in", "UPDATE users SET last_sign_in = $2 WHERE sub = $1"),
    ("password", "UPDATE users SET hash = $2 WHERE sub = $1"),
    (
        "create",
        "INSERT INTO users VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT DO NOTHING",
    ),
    ("join", "INSERT INTO memberships VALUES ($1, $2) ON CONFLICT DO NOTHING"),
    ("leave", "DELETE FROM memberships WHERE sub = $1 AND name = $2"),
    (
        "prefix",
        profile!("users u WHERE lower(username) >= $1 AND lower(username) < $2 ORDER BY lower(username) LIMIT 60"),
    ),
    ("members", profile!("memberships m JOIN users u USING (sub) WHERE m.name = $1 ORDER BY m.sub LIMIT 60")),
    ("count", "SELECT count(*) FROM users WHERE family_name ILIKE $1"),
    ("page", profile!("users u WHERE sub > $1 ORDER BY sub LIMIT 500")),
    ("delete", "WITH gone AS (DELETE FROM memberships WHERE sub = $1) DELETE FROM users WHERE sub = $1"),
];

struct Postgres {
    process: Process,
}

impl Postgres {
    fn start(place: &Place<'_>, users: &[User]) -> Result<Self> {
        let data = place.dir.join("data");
        let user = runs_as(place.dir)?;
        let mut init = command(&program("initdb").context("there is no initdb")?, user);
        // What it makes is synced with all the rest before anything is measured.
        init.arg("-D").arg(&data).args(["--no-sync", "-U", USER, "-A", "trust", "-E", "UTF8"]);
        // Order by bytes, and letters of all scripts folded.
        init.args(["--lc-collate", "C", "--lc-ctype", "C.UTF-8"]).current_dir("/");
        run_well(init)?;
        let port = free_port()?;
        let mut command = command(&program(SERVER).context("there is no postgres")?, user);
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string()).current_dir("/");
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "shared_buffers=4GB",
            "fsync=on",
            "synchronous_commit=on",
            "wal_level=minimal",
            "max_wal_senders=0",
            "max_wal_size=8GB",
            "maintenance_work_mem=1GB",
            "plan_cache_mode=force_generic_plan",
            "random_page_cost=1.1",
        ] {
            command.args(["-c", setting]);
        }
        let process = Process::start(command, port, place.dir.join("postgres.log"))?;
        let mut line = Line::to(&process)?;
        load(&mut line, users)?;
        Ok(Self { process })
    }
}

/// Who the server is to run as, with the directory made theirs: root may not run it.
fn runs_as(dir: &Path) -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let user = user_of(USER).with_context(|| format!("there is no user {USER} to run it as"))?;
    std::os::unix::fs::chown(dir, Some(user.0), Some(user.1))
        .with_context(|| format!("cannot give {} to {USER}", dir.display()))?;
    Ok(Some(user))
}

impl Served for Postgres {
    fn connect(&self) -> Result<Link> {
        let mut line = Line::to(&self.process)?;
        for (name, statement) in STATEMENTS {
            pgwire::parse(&mut line.out, name, statement);
        }
        pgwire::sync(&mut line.out);
        line.round()?;
        Ok(Link { stream: line.stream, talk: Box::new(PostgresTalk) })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        // "Fast": connections are closed, the rest is in order.
        self.process.stop(Signal::INT)
    }
}

/// A connection that waits for each answer.
struct Line {
    stream: TcpStream,
    out: Vec<u8>,
}

impl Line {
    fn to(process: &Process) -> Result<Self> {
        let mut give_up = 100;
        loop {
            let mut line = Self { stream: process.connect()?, out: Vec::new() };
            pgwire::startup(&mut line.out, USER);
            match line.round() {
                Ok(()) => return Ok(line),
                // It listens before it takes connections.
                Err(error) if error.to_string().contains("57P03") && give_up > 0 => {
                    give_up -= 1;
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn query(&mut self, statements: &str) -> Result<()> {
        pgwire::query(&mut self.out, statements);
        self.round()
    }

    /// Sends what there is and waits until the server is ready for more.
    fn round(&mut self) -> Result<()> {
        self.until(|bytes| Ok(pgwire::round(bytes, |_| Ok(()))?.map(drop)))
    }

    fn until(&mut self, mut is_whole: impl FnMut(&[u8]) -> Result<Option<()>>) -> Result<()> {
        self.send()?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 8 << 10]);
        while is_whole(&bytes)?.is_none() {
            let count = self.stream.read(&mut chunk)?;
            ensure!(count > 0, "the server has closed the connection");
            bytes.extend_from_slice(&chunk[..count]);
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn copy<T>(&mut self, statement: &str, rows: impl Iterator<Item = T>, put: impl Fn(T, &mut Vec<u8>)) -> Result<()> {
        pgwire::query(&mut self.out, statement);
        self.until(pgwire::copies)?;
        pgwire::copy_head(&mut self.out);
        for row in rows {
            put(row, &mut self.out);
            if self.out.len() > SENT_BYTES {
                self.send()?;
            }
        }
        pgwire::copy_end(&mut self.out);
        self.round()
    }
}

fn load(line: &mut Line, users: &[User]) -> Result<()> {
    line.query(TABLES)?;
    line.copy(COPY_USERS, users.iter(), |user, out| pgwire::copy_row(out, &Columns::of(user).fields(user)))?;
    let memberships = users.iter().flat_map(|user| user.groups.iter().map(move |group| (user, *group)));
    line.copy(COPY_MEMBERSHIPS, memberships, |(user, group), out| {
        pgwire::copy_row(out, &[Some(&user.sub), Some(group_name(group).as_bytes())]);
    })?;
    line.query(INDEXES)?;
    line.query("VACUUM ANALYZE users")?;
    line.query("VACUUM ANALYZE memberships")?;
    line.query("CHECKPOINT")
}

/// What of a user is no text, as it travels.
struct Columns {
    flags: [[u8; 1]; 3],
    status: [u8; 2],
    times: [[u8; 8]; 2],
}

impl Columns {
    fn of(user: &User) -> Self {
        let time = |ms: u64| ((ms as i64 - EPOCH_MS) * 1000).to_be_bytes();
        Self {
            flags: [user.email_verified, user.phone_verified, user.enabled].map(|is| [u8::from(is)]),
            status: u16::from(user.status).to_be_bytes(),
            times: [time(user.created_at_ms), time(user.updated_at_ms)],
        }
    }

    /// All columns but the last sign-in; empty texts are null.
    fn fields<'a>(&'a self, user: &'a User) -> [Field<'a>; 17] {
        let text = |text: Text| Some(user.text(text).as_bytes()).filter(|value| !value.is_empty());
        let mut fields = [None; 17];
        fields[0] = Some(&user.sub[..]);
        for (slot, (_, of)) in fields[1..].iter_mut().zip(ATTRIBUTES) {
            *slot = text(of);
        }
        let has_phone = text(Text::Phone).is_some();
        fields[10] = text(Text::Hash);
        fields[11] = Some(&self.flags[0]);
        fields[12] = has_phone.then_some(&self.flags[1][..]);
        fields[13] = Some(&self.status);
        fields[14] = Some(&self.flags[2]);
        fields[15] = Some(&self.times[0]);
        fields[16] = Some(&self.times[1]);
        fields
    }
}

/// The prepared statements.
struct PostgresTalk;

impl Talk for PostgresTalk {
    fn ask(&mut self, question: Question<'_>, out: &mut Vec<u8>) {
        let run = |out: &mut Vec<u8>, name: &str, values: &[&[u8]]| {
            let mut fields = [None; 2];
            fields.iter_mut().zip(values).for_each(|(slot, value)| *slot = Some(*value));
            pgwire::execute(out, name, &fields[..values.len()]);
        };
        match question {
            Question::Profile(email) => run(out, "profile", &[folded(Alias::Email, email).as_bytes()]),
            Question::Hash(email) => run(out, "hash", &[folded(Alias::Email, email).as_bytes()]),
            Question::SignIn(alias, value) => {
                let name = match alias {
                    Alias::Username => "sign-in username",
                    Alias::Email => "sign-in email",
                    Alias::Phone => "sign-in phone_number",
                };
                run(out, name, &[folded(alias, value).as_bytes()]);
            }
            Question::BySub(sub) => run(out, "by sub", &[sub]),
            Question::Groups(sub) => run(out, "groups", &[sub]),
            Question::Set(sub, Attr::Prefs, value) => run(out, "prefs", &[sub, value.as_bytes()]),
            Question::Set(sub, Attr::LastSignIn, value) => run(out, "last sign-in", &[sub, value.as_bytes()]),
            Question::Password(sub, hash) => run(out, "password", &[sub, hash.as_bytes()]),
            Question::Create(user) => pgwire::execute(out, "create", &Columns::of(user).fields(user)),
            Question::Join(group, sub) => run(out, "join", &[sub, group_name(group).as_bytes()]),
            Question::Leave(group, sub) => run(out, "leave", &[sub, group_name(group).as_bytes()]),
            // Up to the greatest character after the prefix: an index serves a range, and a prepared LIKE not.
            Question::Prefix(prefix) => {
                run(out, "prefix", &[prefix.as_bytes(), format!("{prefix}\u{10ffff}").as_bytes()]);
            }
            Question::Members(group) => run(out, "members", &[group_name(group).as_bytes()]),
            Question::Count(part) => run(out, "count", &[format!("%{part}%").as_bytes()]),
            // After the sub of the last user of the page before, as hexadecimal digits; none is below all zeros.
            Question::Page(cursor) => {
                let last = u128::from_str_radix(cursor.unwrap_or("0"), 16).unwrap_or_default();
                run(out, "page", &[&last.to_be_bytes()]);
            }
            Question::Delete(user) => run(out, "delete", &[&user.sub]),
        }
    }

    fn answer(&mut self, kind: Kind, bytes: &[u8], seen: &mut Seen) -> Result<Option<Answer>> {
        let mut last = None;
        let round = pgwire::round(bytes, |mut row| match kind {
            Kind::Page => {
                last = Some(profile(&mut row, seen)?);
                Ok(())
            }
            Kind::Count => {
                let count = row.field()?.and_then(|count| count.first_chunk()).context("a count is cut")?;
                seen.int("count", u64::from_be_bytes(*count));
                Ok(())
            }
            Kind::Profile | Kind::BySub | Kind::Prefix | Kind::Members => profile(&mut row, seen).map(drop),
            Kind::Hash => text(&mut row, "hash", seen),
            Kind::SignIn => {
                text(&mut row, "hash", seen)?;
                status(&mut row, seen)?;
                flag(&mut row, "enabled", seen)
            }
            Kind::Groups => text(&mut row, "group", seen),
            Kind::Set | Kind::Password | Kind::Create | Kind::Join | Kind::Leave | Kind::Delete => Ok(()),
        })?;
        let may_be_none =
            matches!(kind, Kind::Groups | Kind::Prefix | Kind::Members | Kind::Page | Kind::Join | Kind::Leave);
        let cursor = last.map(|sub| format!("{:032x}", u128::from_be_bytes(sub)));
        Ok(round.map(|round| Answer { length: round.length, found: round.rows > 0 || may_be_none, cursor }))
    }
}

/// Shows a user; answers its sub.
fn profile(row: &mut Row<'_>, seen: &mut Seen) -> Result<[u8; 16]> {
    seen.begin_user();
    let sub = row.field()?.and_then(|sub| sub.first_chunk()).context("a user without a sub")?;
    seen.sub(sub);
    for (name, _) in ATTRIBUTES {
        text(row, name, seen)?;
    }
    flag(row, "email_verified", seen)?;
    flag(row, "phone_number_verified", seen)?;
    status(row, seen)?;
    flag(row, "enabled", seen)?;
    time(row, "created_at", seen)?;
    time(row, "updated_at", seen)?;
    Ok(*sub)
}

fn text(row: &mut Row<'_>, name: &str, seen: &mut Seen) -> Result<()> {
    if let Some(value) = row.field()? {
        seen.text(name, std::str::from_utf8(value)?);
    }
    Ok(())
}

fn flag(row: &mut Row<'_>, name: &str, seen: &mut Seen) -> Result<()> {
    if let Some(value) = row.field()? {
        seen.flag(name, value == [1]);
    }
    Ok(())
}

fn status(row: &mut Row<'_>, seen: &mut Seen) -> Result<()> {
    let code = row.field()?.and_then(<[u8]>::last).context("a user without a status")?;
    seen.text("status", STATUSES.get(usize::from(*code)).map_or("", |(word, _)| word));
    Ok(())
}

fn time(row: &mut Row<'_>, name: &str, seen: &mut Seen) -> Result<()> {
    let us = row.field()?.and_then(|time| time.first_chunk()).context("a user without a time")?;
    seen.int(name, (i64::from_be_bytes(*us) / 1000 + EPOCH_MS) as u64);
    Ok(())
}
