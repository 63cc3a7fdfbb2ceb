//! Stoa over TCP: `stoa serve` as users run it, its log synced before each answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use stoa_format::Sub;

use super::process::{Process, command};
use super::resp::{Piece, Pieces, Stop, refused, request, unexpected, whole};
use super::talk::{Answer, Attr, EXPORTED_USERS, Kind, PAGE_USERS, Question, Talk, group_name};
use super::{Link, Place, Served, Service};
use crate::peer::{AMPLE_CACHE_BYTES, ATTRIBUTES, Peer, Seen, Setup};
use crate::peers::stoa::Stoa;
use crate::population::{GROUP_COUNT, Text, User};

/// The pool of [`Stoa`].
const POOL: &str = "people";
/// The most users that one command puts into a group.
const JOINED_AT_ONCE: usize = 1000;

/// How the suite measures `stoa serve`.
pub(super) const SERVICE: Service = Service {
    name: "stoa-tcp",
    encrypted: true,
    about: || {
        format!(
            "`stoa serve --dev` {}: page cache 4 GiB, XAES-256-GCM, log synced before each answer, RESP2; loaded beforehand by the engine",
            env!("CARGO_PKG_VERSION")
        )
    },
    missing: |place| match place.stoa {
        Some(path) if path.exists() => None,
        Some(path) => Some(format!("there is no {}: cargo build --release -p stoa", path.display())),
        None => Some("no stoa program is given".into()),
    },
    users_max: usize::MAX,
    in_order: true,
    answers: |_| true,
    start: |place, users| Ok(Box::new(StoaServed::start(place, users)?)),
};

struct StoaServed {
    process: Process,
}

impl StoaServed {
    fn start(place: &Place<'_>, users: &[User]) -> Result<Self> {
        let program = place.stoa.context("no stoa program is given")?;
        // As `stoa import` does: the store is filled before it is served.
        let loaded = Stoa::open(&Setup { dir: place.dir.to_owned(), cache_bytes: None })?;
        loaded.load(users)?;
        Box::new(loaded).close()?;
        let served = Self { process: serve(program, place.dir)? };
        served.add_what_is_asked(users)?;
        Ok(served)
    }

    /// The attribute and the memberships that embedded systems are not asked for.
    fn add_what_is_asked(&self, users: &[User]) -> Result<()> {
        let (mut stream, pool) = (self.process.connect()?, POOL.as_bytes());
        let schema = format!(r#"{{"attributes":{{"{}":{{"type":"string"}}}}}}"#, Attr::LastSignIn.name());
        let mut members = vec![Vec::new(); usize::from(GROUP_COUNT)];
        for user in users {
            user.groups.iter().for_each(|group| members[usize::from(*group)].push(Sub(user.sub).text()));
        }
        let mut out = Vec::new();
        request(&mut out, &[b"POOL.ALTER", pool, b"SCHEMA", schema.as_bytes()]);
        must(&mut stream, &mut out)?;
        for (group, subs) in members.iter().enumerate() {
            let name = group_name(group as u16);
            request(&mut out, &[b"GROUP.CREATE", pool, name.as_bytes()]);
            must(&mut stream, &mut out)?;
            for some in subs.chunks(JOINED_AT_ONCE) {
                let words: [&[u8]; 3] = [b"GROUP.ADD", pool, name.as_bytes()];
                let words: Vec<&[u8]> = words.into_iter().chain(some.iter().map(|sub| &sub[..])).collect();
                request(&mut out, &words);
                must(&mut stream, &mut out)?;
            }
        }
        Ok(())
    }
}

/// Sends a request, which must not be refused.
fn must(stream: &mut TcpStream, out: &mut Vec<u8>) -> Result<()> {
    stream.write_all(out)?;
    out.clear();
    let (mut bytes, mut chunk) = (Vec::new(), [0; 512]);
    loop {
        let count = stream.read(&mut chunk)?;
        ensure!(count > 0, "the server has closed the connection");
        bytes.extend_from_slice(&chunk[..count]);
        if whole(Pieces::of(&bytes).skip())?.is_some() {
            return Ok(());
        }
    }
}

fn serve(program: &Path, dir: &Path) -> Result<Process> {
    let settings = dir.join("stoa.toml");
    std::fs::write(&settings, format!("[store]\ncache_bytes = {AMPLE_CACHE_BYTES}\n"))?;
    let mut command = command(program, None);
    command.args(["serve", "--dev", "--log", "warn", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    command.arg("--config").arg(&settings).arg("--data").arg(dir.join("DATA"));
    Process::start_announced(command, "stoa is ready on ", dir.join("stoa.log"))
}

impl Served for StoaServed {
    fn connect(&self) -> Result<Link> {
        Ok(Link { stream: self.process.connect()?, talk: Box::new(StoaTalk { selector: String::new() }) })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        self.process.stop(Signal::TERM)
    }
}

/// Stoa's commands.
struct StoaTalk {
    /// `attr=value`, in the same memory each time.
    selector: String,
}

impl StoaTalk {
    fn by(&mut self, attr: &str, value: &str) -> &[u8] {
        self.selector.clear();
        self.selector.extend([attr, "=", value]);
        self.selector.as_bytes()
    }
}

impl Talk for StoaTalk {
    fn ask(&mut self, question: Question<'_>, out: &mut Vec<u8>) {
        let pool = POOL.as_bytes();
        let limit = PAGE_USERS.to_string();
        match question {
            Question::Profile(email) => request(out, &[b"USER.GET", pool, self.by("email", email)]),
            Question::Hash(email) => request(out, &[b"CRED.GET", pool, self.by("email", email)]),
            Question::SignIn(alias, value) => {
                // Two commands in one hop: no single one shows both.
                let user = self.by(alias.name(), value);
                request(out, &[b"USER.GET", pool, user, b"status", b"enabled"]);
                request(out, &[b"CRED.GET", pool, user]);
            }
            Question::BySub(sub) => request(out, &[b"USER.GET", pool, &Sub(*sub).text()]),
            Question::Groups(sub) => request(out, &[b"USER.GROUPS", pool, &Sub(*sub).text()]),
            Question::Set(sub, attr, value) => {
                request(out, &[b"USER.SET", pool, &Sub(*sub).text(), attr.name().as_bytes(), value.as_bytes()]);
            }
            Question::Password(sub, hash) => {
                request(out, &[b"CRED.SET", pool, &Sub(*sub).text(), b"HASH", hash.as_bytes()]);
            }
            Question::Create(user) => create(user, out),
            Question::Join(group, sub) => {
                request(out, &[b"GROUP.ADD", pool, group_name(group).as_bytes(), &Sub(*sub).text()]);
            }
            Question::Leave(group, sub) => {
                request(out, &[b"GROUP.REMOVE", pool, group_name(group).as_bytes(), &Sub(*sub).text()]);
            }
            Question::Prefix(prefix) => {
                let words: [&[u8]; 10] = [
                    b"USER.LIST",
                    pool,
                    b"FILTER",
                    b"username sw $1",
                    b"ARGS",
                    b"1",
                    prefix.as_bytes(),
                    b"SORT",
                    b"username",
                    b"LIMIT",
                ];
                request(out, &[&words[..], &[limit.as_bytes()]].concat());
            }
            Question::Members(group) => {
                request(out, &[b"GROUP.MEMBERS", pool, group_name(group).as_bytes(), b"LIMIT", limit.as_bytes()]);
            }
            Question::Count(part) => {
                request(out, &[b"USER.COUNT", pool, b"FILTER", b"family_name co $1", b"ARGS", b"1", part.as_bytes()]);
            }
            Question::Page(cursor) => {
                let limit = EXPORTED_USERS.to_string();
                let mut words: Vec<&[u8]> = vec![b"USER.LIST", pool, b"LIMIT", limit.as_bytes()];
                cursor.iter().for_each(|cursor| words.extend([b"CURSOR".as_slice(), cursor.as_bytes()]));
                request(out, &words);
            }
            Question::Delete(user) => request(out, &[b"USER.DELETE", pool, &Sub(user.sub).text()]),
        }
    }

    fn answer(&mut self, kind: Kind, bytes: &[u8], seen: &mut Seen) -> Result<Option<Answer>> {
        let mut pieces = Pieces::of(bytes);
        let read = match kind {
            Kind::Page => page(&mut pieces, seen).map(|cursor| (true, cursor)),
            kind => read(kind, &mut pieces, seen).map(|found| (found, None)),
        };
        Ok(whole(read)?.map(|(found, cursor)| Answer { length: pieces.length(), found, cursor }))
    }
}

fn create(user: &User, out: &mut Vec<u8>) {
    let sub = Sub(user.sub).text();
    let mut words: Vec<&[u8]> = vec![b"USER.CREATE", POOL.as_bytes(), b"SUB", &sub];
    for (name, text) in ATTRIBUTES {
        let value = user.text(text);
        if !value.is_empty() {
            words.extend([name.as_bytes(), value.as_bytes()]);
        }
    }
    words.extend([b"HASH".as_slice(), user.text(Text::Hash).as_bytes()]);
    request(out, &words);
}

fn read(kind: Kind, pieces: &mut Pieces<'_>, seen: &mut Seen) -> Result<bool, Stop> {
    match kind {
        Kind::Profile | Kind::BySub => user(pieces, seen),
        Kind::Hash => hash(pieces, seen),
        Kind::SignIn => {
            let (user, hash) = (user(pieces, seen)?, hash(pieces, seen)?);
            Ok(user && hash)
        }
        Kind::Groups => listed(pieces, |pieces| {
            seen.text("group", pieces.text()?);
            Ok(())
        }),
        Kind::Prefix | Kind::Members => listed(pieces, |pieces| user(pieces, seen).map(drop)),
        Kind::Page => page(pieces, seen).map(|_| true),
        Kind::Count => match pieces.next()? {
            Piece::Number(count) => {
                seen.int("count", count as u64);
                Ok(true)
            }
            other => Err(unexpected(other)),
        },
        Kind::Set | Kind::Password | Kind::Join | Kind::Leave | Kind::Delete => pieces.skip().map(|()| true),
        Kind::Create => match pieces.next()? {
            Piece::Array(count) => (0..count).try_for_each(|_| pieces.skip()).map(|()| true),
            Piece::Error(error) if error.starts_with("DUPLICATE ") || error.starts_with("EXISTS ") => Ok(false),
            other => Err(unexpected(other)),
        },
    }
}

/// A user's map, or null.
fn user(pieces: &mut Pieces<'_>, seen: &mut Seen) -> Result<bool, Stop> {
    let count = match pieces.next()? {
        Piece::Null => return Ok(false),
        Piece::Array(count) => count,
        other => return Err(unexpected(other)),
    };
    seen.begin_user();
    for _ in 0..count / 2 {
        let name = pieces.text()?;
        match pieces.next()? {
            Piece::Text(value) => show(name, std::str::from_utf8(value)?, seen)?,
            Piece::Number(_) if name == "version" => {}
            Piece::Number(truth) => seen.flag(name, truth == 1),
            other => return Err(unexpected(other)),
        }
    }
    Ok(true)
}

/// Values in the suite's own form, where somebody compares them.
fn show(name: &str, value: &str, seen: &mut Seen) -> Result<(), Stop> {
    match name {
        "sub" if seen.keeps() => seen.text(name, &value.replace('-', "")),
        "created_at" | "updated_at" if seen.keeps() => {
            let ms = milliseconds(value).ok_or_else(|| anyhow!("{name} is no time: {value}"))?;
            seen.int(name, ms);
        }
        _ => seen.text(name, value),
    }
    Ok(())
}

fn hash(pieces: &mut Pieces<'_>, seen: &mut Seen) -> Result<bool, Stop> {
    let count = match pieces.next()? {
        Piece::Array(count) => count,
        Piece::Null => return Ok(false),
        Piece::Error(error) if error.starts_with("NOUSER ") => return Ok(false),
        other => return Err(unexpected(other)),
    };
    for _ in 0..count / 2 {
        match pieces.text()? {
            "hash" => seen.text("hash", pieces.text()?),
            _ => pieces.skip()?,
        }
    }
    Ok(true)
}

/// A page of a listing: the things first, then cursor and seq.
fn listed<'a>(
    pieces: &mut Pieces<'a>,
    mut item: impl FnMut(&mut Pieces<'a>) -> Result<(), Stop>,
) -> Result<bool, Stop> {
    let count = match pieces.next()? {
        Piece::Array(count) => count,
        Piece::Error(error) => return Err(refused(error)),
        other => return Err(unexpected(other)),
    };
    for at in 0..count / 2 {
        pieces.skip()?;
        match at {
            0 => {
                let items = pieces.array()?;
                (0..items).try_for_each(|_| item(pieces))?;
            }
            _ => pieces.skip()?,
        }
    }
    Ok(true)
}

/// A page of all users; where the next begins.
fn page(pieces: &mut Pieces<'_>, seen: &mut Seen) -> Result<Option<String>, Stop> {
    let mut cursor = None;
    for _ in 0..pieces.array()? / 2 {
        match pieces.text()? {
            "users" => {
                let users = pieces.array()?;
                (0..users).try_for_each(|_| user(pieces, seen).map(drop))?;
            }
            "cursor" => match pieces.next()? {
                Piece::Text(text) => cursor = Some(std::str::from_utf8(text)?.to_owned()),
                Piece::Null => {}
                other => return Err(unexpected(other)),
            },
            _ => pieces.skip()?,
        }
    }
    Ok(cursor)
}

/// Milliseconds since the Unix epoch of `YYYY-MM-DDThh:mm:ss.mmmZ`. Days by Howard Hinnant's `days_from_civil`.
fn milliseconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, ms) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_milliseconds() {
        assert_eq!(milliseconds("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(milliseconds("2024-02-29T12:34:56.789Z"), Some(1_709_210_096_789));
        assert_eq!(milliseconds("2026-11-23T03:01:22.062Z"), Some(1_795_402_882_062));
        assert_eq!(milliseconds("yesterday"), None);
    }
}
