//! Redis with every change in its append-only file, synced before the answer.
//!
//! Keys: `user:<sub>` a hash of the profile, small enough for a listpack; `hash:<sub>` the password hash, apart, so that
//! no profile carries it; `email:…`, `username:…`, `phone_number:…` the sub, folded; `usernames` all usernames in order;
//! `groups:<sub>` a set; `members:<group>` subs in order. What takes several lookups is a script: one hop, and atomic.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use stoa_format::Sub;

use super::process::{Process, command, free_port, program, version};
use super::resp::{Piece, Pieces, Stop, request, unexpected, whole};
use super::talk::{Answer, Kind, PAGE_USERS, Question, Talk, group_name};
use super::{Link, Place, Served, Service};
use crate::load::Alias;
use crate::peer::{ATTRIBUTES, Seen, folded};
use crate::population::{STATUSES, Text, User};

const SERVER: &str = "redis-server";
/// Users of a load that are sent before their answers are read.
const LOADED_AT_ONCE: usize = 1000;
const ALIASES: [Alias; 3] = [Alias::Username, Alias::Email, Alias::Phone];

/// How the suite measures Redis.
pub(super) const SERVICE: Service = Service {
    name: "redis",
    encrypted: false,
    about: || {
        format!(
            "{}, appendonly yes, appendfsync always (but while it is loaded), no RDB, no rewriting of the file; a hash a user, alias keys, scripts for what takes several lookups",
            version(SERVER, "--version").split(" sha=").next().unwrap_or_default()
        )
    },
    missing: |_| program(SERVER).is_none().then(|| "there is no redis-server: benches/install.sh".into()),
    users_max: usize::MAX,
    in_order: true,
    // What looks at all users is no business of its: there is no order to page by, and no filter.
    answers: |kind| !matches!(kind, Kind::Count | Kind::Page),
    start: |place, users| Ok(Box::new(Redis::start(place, users)?)),
};

/// What the scripts do, by place in [`Redis::scripts`].
#[derive(Clone, Copy)]
enum Script {
    Profile,
    Hash,
    SignIn,
    Create,
    Prefix,
    Members,
    Delete,
}

const SCRIPTS: [&str; 7] = [
    "local s = redis.call('GET', KEYS[1]) if not s then return nil end
     return redis.call('HGETALL', 'user:' .. s)",
    "local s = redis.call('GET', KEYS[1]) if not s then return nil end
     return redis.call('GET', 'hash:' .. s)",
    "local s = redis.call('GET', KEYS[1]) if not s then return nil end
     local u = redis.call('HMGET', 'user:' .. s, 'status', 'enabled')
     return {redis.call('GET', 'hash:' .. s), u[1], u[2]}",
    // KEYS: the aliases. ARGV: sub, hash, folded username, then the fields.
    "if redis.call('EXISTS', unpack(KEYS)) > 0 then return 0 end
     local s = ARGV[1]
     for _, k in ipairs(KEYS) do redis.call('SET', k, s) end
     redis.call('SET', 'hash:' .. s, ARGV[2])
     redis.call('ZADD', 'usernames', 0, ARGV[3])
     redis.call('HSET', 'user:' .. s, unpack(ARGV, 4))
     return 1",
    "local all = {}
     for i, name in ipairs(redis.call('ZRANGE', 'usernames', ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])) do
       all[i] = redis.call('HGETALL', 'user:' .. redis.call('GET', 'username:' .. name))
     end
     return all",
    "local all = {}
     for i, s in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)) do
       all[i] = redis.call('HGETALL', 'user:' .. s)
     end
     return all",
    // KEYS: the aliases. ARGV: sub, folded username.
    "local s = ARGV[1]
     for _, g in ipairs(redis.call('SMEMBERS', 'groups:' .. s)) do redis.call('ZREM', 'members:' .. g, s) end
     redis.call('ZREM', 'usernames', ARGV[2])
     redis.call('DEL', 'hash:' .. s, 'groups:' .. s, unpack(KEYS))
     return redis.call('DEL', 'user:' .. s)",
];

struct Redis {
    process: Process,
    /// By which the server calls the scripts.
    scripts: [[u8; 40]; SCRIPTS.len()],
}

impl Redis {
    fn start(place: &Place<'_>, users: &[User]) -> Result<Self> {
        let port = free_port()?;
        let mut command = command(&program(SERVER).context("there is no redis-server")?, None);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(place.dir);
        command.args(["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        // A profile of some hundred bytes stays in one piece; the file is not rewritten beside what is measured.
        command.args(["--hash-max-listpack-value", "2048", "--auto-aof-rewrite-percentage", "0"]);
        command.args(["--loglevel", "warning", "--protected-mode", "no"]);
        let process = Process::start(command, port, place.dir.join("redis.log"))?;
        let mut line = Line::over(process.connect()?);
        // A load is synced once, by the first write after it, and from then on each write by itself.
        line.must(&[b"CONFIG", b"SET", b"appendfsync", b"no"])?;
        load(&mut line, users)?;
        line.must(&[b"CONFIG", b"SET", b"appendfsync", b"always"])?;
        line.must(&[b"SET", b"loaded", b"yes"])?;
        let mut scripts = [[0; 40]; SCRIPTS.len()];
        for (slot, script) in scripts.iter_mut().zip(SCRIPTS) {
            request(&mut line.out, &[b"SCRIPT", b"LOAD", script.as_bytes()]);
            let name = line.exchange(1)?.pop().context("a script has a name")?;
            *slot = name.as_slice().try_into().context("a script's name has 40 digits")?;
        }
        Ok(Self { process, scripts })
    }
}

impl Served for Redis {
    fn connect(&self) -> Result<Link> {
        let talk = RedisTalk { scripts: self.scripts, key: String::new() };
        Ok(Link { stream: self.process.connect()?, talk: Box::new(talk) })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        self.process.stop(Signal::TERM)
    }
}

/// A connection that waits, for loading.
struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    come: Vec<u8>,
}

impl Line {
    fn over(stream: TcpStream) -> Self {
        Self { stream, out: Vec::new(), come: Vec::new() }
    }

    /// One command, which must not fail.
    fn must(&mut self, words: &[&[u8]]) -> Result<()> {
        request(&mut self.out, words);
        self.exchange(1).map(drop)
    }

    /// Sends what there is and reads so many answers; texts among them are kept.
    fn exchange(&mut self, answers: usize) -> Result<Vec<Vec<u8>>> {
        self.send()?;
        self.read(answers)
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn read(&mut self, answers: usize) -> Result<Vec<Vec<u8>>> {
        let (mut texts, mut count, mut at, mut chunk) = (Vec::new(), 0, 0, [0; 16 << 10]);
        while count < answers {
            let mut pieces = Pieces::of(&self.come[at..]);
            match whole(pieces.next())? {
                Some(Piece::Error(error)) => bail!("Redis says: {error}"),
                Some(piece) => {
                    if let Piece::Text(text) = piece {
                        texts.push(text.to_vec());
                    }
                    at += pieces.length();
                    count += 1;
                }
                None => {
                    let more = self.stream.read(&mut chunk)?;
                    ensure!(more > 0, "Redis has closed the connection");
                    self.come.extend_from_slice(&chunk[..more]);
                }
            }
        }
        // What is left answers what was sent later.
        self.come.drain(..at);
        Ok(texts)
    }
}

/// Sends users; the answers to some are read when the next have been sent, so that nobody waits for the other.
fn load(line: &mut Line, users: &[User]) -> Result<()> {
    let mut open = 0;
    for some in users.chunks(LOADED_AT_ONCE) {
        let mut answers = 0;
        let mut send = |out: &mut Vec<u8>, words: &[&[u8]]| {
            request(out, words);
            answers += 1;
        };
        let mut usernames: Vec<String> = Vec::new();
        let mut members: BTreeMap<u16, Vec<[u8; 36]>> = BTreeMap::new();
        for user in some {
            let sub = Sub(user.sub).text();
            let keys = alias_keys(user);
            let hash_key = key("hash:", &sub);
            let mut words: Vec<&[u8]> = vec![b"MSET", &hash_key, user.text(Text::Hash).as_bytes()];
            keys.iter().for_each(|key| words.extend([key.as_slice(), &sub]));
            send(&mut line.out, &words);
            let (user_key, fields) = (key("user:", &sub), fields(user));
            let mut words: Vec<&[u8]> = vec![b"HSET", &user_key];
            fields.iter().for_each(|(name, value)| words.extend([name.as_bytes(), value.as_bytes()]));
            send(&mut line.out, &words);
            usernames.push(folded(Alias::Username, user.text(Text::Username)));
            if !user.groups.is_empty() {
                let names: Vec<String> = user.groups.iter().map(|group| group_name(*group)).collect();
                let groups_key = key("groups:", &sub);
                let mut words: Vec<&[u8]> = vec![b"SADD", &groups_key];
                words.extend(names.iter().map(String::as_bytes));
                send(&mut line.out, &words);
                user.groups.iter().for_each(|group| members.entry(*group).or_default().push(sub));
            }
        }
        let mut words: Vec<&[u8]> = vec![b"ZADD", b"usernames"];
        usernames.iter().for_each(|name| words.extend([b"0", name.as_bytes()]));
        send(&mut line.out, &words);
        for (group, subs) in &members {
            let members_key = key("members:", group_name(*group).as_bytes());
            let mut words: Vec<&[u8]> = vec![b"ZADD", &members_key];
            subs.iter().for_each(|sub| words.extend([b"0".as_slice(), sub]));
            send(&mut line.out, &words);
        }
        line.send()?;
        line.read(open)?;
        open = answers;
    }
    line.read(open).map(drop)
}

fn key(kind: &str, name: &[u8]) -> Vec<u8> {
    [kind.as_bytes(), name].concat()
}

fn alias_key(alias: Alias, value: &str) -> Vec<u8> {
    [alias.name(), ":", &folded(alias, value)].concat().into_bytes()
}

fn alias_keys(user: &User) -> Vec<Vec<u8>> {
    let held = ALIASES.iter().filter(|alias| !user.text(alias.text()).is_empty());
    held.map(|alias| alias_key(*alias, user.text(alias.text()))).collect()
}

/// All of a profile.
fn fields(user: &User) -> Vec<(&'static str, String)> {
    let mut fields: Vec<(&str, String)> = ATTRIBUTES
        .iter()
        .map(|(name, text)| (*name, user.text(*text).to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    fields.push(("sub", Sub(user.sub).to_string()));
    fields.push(("email_verified", user.email_verified.to_string()));
    if !user.text(Text::Phone).is_empty() {
        fields.push(("phone_number_verified", user.phone_verified.to_string()));
    }
    fields.push(("status", STATUSES[usize::from(user.status)].0.to_owned()));
    fields.push(("enabled", user.enabled.to_string()));
    fields.push(("created_at", user.created_at_ms.to_string()));
    fields.push(("updated_at", user.updated_at_ms.to_string()));
    fields
}

/// Redis's commands and the scripts above.
struct RedisTalk {
    scripts: [[u8; 40]; SCRIPTS.len()],
    /// A key, in the same memory each time.
    key: String,
}

impl RedisTalk {
    /// The key of an alias; most need no folding but of ASCII.
    fn alias(&mut self, alias: Alias, value: &str) {
        self.key.clear();
        self.key.extend([alias.name(), ":"]);
        let start = self.key.len();
        match (alias, value.is_ascii()) {
            (Alias::Phone, _) => self.key += value,
            (_, true) => {
                self.key += value;
                self.key[start..].make_ascii_lowercase();
            }
            (_, false) => self.key += &value.to_lowercase(),
        }
    }

    fn by_alias(&mut self, script: Script, alias: Alias, value: &str, out: &mut Vec<u8>) {
        self.alias(alias, value);
        self.call(script, &[self.key.as_bytes()], &[], out);
    }

    fn call(&self, script: Script, keys: &[&[u8]], rest: &[&[u8]], out: &mut Vec<u8>) {
        let read_only = !matches!(script, Script::Create | Script::Delete);
        let command: &[u8] = if read_only { b"EVALSHA_RO" } else { b"EVALSHA" };
        let count = keys.len().to_string();
        let head: [&[u8]; 3] = [command, &self.scripts[script as usize], count.as_bytes()];
        request(out, &[&head, keys, rest].concat());
    }
}

impl Talk for RedisTalk {
    fn ask(&mut self, question: Question<'_>, out: &mut Vec<u8>) {
        let of = |kind: &str, sub: &[u8; 16]| key(kind, &Sub(*sub).text());
        match question {
            Question::Profile(email) => self.by_alias(Script::Profile, Alias::Email, email, out),
            Question::Hash(email) => self.by_alias(Script::Hash, Alias::Email, email, out),
            Question::SignIn(alias, value) => self.by_alias(Script::SignIn, alias, value, out),
            Question::BySub(sub) => request(out, &[b"HGETALL", &of("user:", sub)]),
            Question::Groups(sub) => request(out, &[b"SMEMBERS", &of("groups:", sub)]),
            Question::Set(sub, attr, value) => {
                let (name, now) = (attr.name().as_bytes(), now_ms().to_string());
                request(out, &[b"HSET", &of("user:", sub), name, value.as_bytes(), b"updated_at", now.as_bytes()]);
            }
            Question::Password(sub, hash) => request(out, &[b"SET", &of("hash:", sub), hash.as_bytes()]),
            Question::Create(user) => {
                let (keys, fields) = (alias_keys(user), fields(user));
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let username = folded(Alias::Username, user.text(Text::Username));
                let sub = Sub(user.sub).text();
                let mut rest: Vec<&[u8]> = vec![&sub, user.text(Text::Hash).as_bytes(), username.as_bytes()];
                fields.iter().for_each(|(name, value)| rest.extend([name.as_bytes(), value.as_bytes()]));
                self.call(Script::Create, &keys, &rest, out);
            }
            // Both sides of a membership at once: a transaction, whose answer comes with EXEC.
            Question::Join(group, sub) => {
                let name = group_name(group);
                let members = key("members:", name.as_bytes());
                request(out, &[b"MULTI"]);
                request(out, &[b"SADD", &of("groups:", sub), name.as_bytes()]);
                request(out, &[b"ZADD", &members, b"0", &Sub(*sub).text()]);
                request(out, &[b"EXEC"]);
            }
            Question::Leave(group, sub) => {
                let name = group_name(group);
                let members = key("members:", name.as_bytes());
                request(out, &[b"MULTI"]);
                request(out, &[b"SREM", &of("groups:", sub), name.as_bytes()]);
                request(out, &[b"ZREM", &members, &Sub(*sub).text()]);
                request(out, &[b"EXEC"]);
            }
            Question::Prefix(prefix) => {
                let (from, limit) = (key("[", prefix.as_bytes()), PAGE_USERS.to_string());
                let to = [b"(", prefix.as_bytes(), b"\xff"].concat();
                self.call(Script::Prefix, &[b"usernames"], &[&from, &to, limit.as_bytes()], out);
            }
            Question::Members(group) => {
                let members = key("members:", group_name(group).as_bytes());
                self.call(Script::Members, &[&members], &[PAGE_USERS.to_string().as_bytes()], out);
            }
            Question::Delete(user) => {
                let keys = alias_keys(user);
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let username = folded(Alias::Username, user.text(Text::Username));
                self.call(Script::Delete, &keys, &[&Sub(user.sub).text(), username.as_bytes()], out);
            }
            // Nobody asks: `answers` says so.
            Question::Count(_) | Question::Page(_) => {}
        }
    }

    fn answer(&mut self, kind: Kind, bytes: &[u8], seen: &mut Seen) -> Result<Option<Answer>> {
        let mut pieces = Pieces::of(bytes);
        let found = whole(read(kind, &mut pieces, seen))?;
        Ok(found.map(|found| Answer::of(pieces.length(), found)))
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn read(kind: Kind, pieces: &mut Pieces<'_>, seen: &mut Seen) -> Result<bool, Stop> {
    match kind {
        Kind::Profile | Kind::BySub => user(pieces, seen),
        Kind::Hash => match pieces.next()? {
            Piece::Null => Ok(false),
            Piece::Text(hash) => {
                seen.text("hash", std::str::from_utf8(hash)?);
                Ok(true)
            }
            other => Err(unexpected(other)),
        },
        Kind::SignIn => match pieces.next()? {
            Piece::Null => Ok(false),
            Piece::Array(3) => {
                for name in ["hash", "status", "enabled"] {
                    seen.text(name, pieces.text()?);
                }
                Ok(true)
            }
            other => Err(unexpected(other)),
        },
        Kind::Groups => {
            for _ in 0..pieces.array()? {
                seen.text("group", pieces.text()?);
            }
            Ok(true)
        }
        Kind::Prefix | Kind::Members => {
            for _ in 0..pieces.array()? {
                user(pieces, seen)?;
            }
            Ok(true)
        }
        Kind::Set | Kind::Password | Kind::Count | Kind::Page => pieces.skip().map(|()| true),
        Kind::Create | Kind::Delete => match pieces.next()? {
            Piece::Number(done) => Ok(done == 1),
            other => Err(unexpected(other)),
        },
        // MULTI, two commands that are queued, EXEC.
        Kind::Join | Kind::Leave => (0..4).try_for_each(|_| pieces.skip()).map(|()| true),
    }
}

/// A user's hash; an empty one where there is none.
fn user(pieces: &mut Pieces<'_>, seen: &mut Seen) -> Result<bool, Stop> {
    let count = match pieces.next()? {
        Piece::Null | Piece::Array(0) => return Ok(false),
        Piece::Array(count) => count,
        other => return Err(unexpected(other)),
    };
    seen.begin_user();
    for _ in 0..count / 2 {
        let (name, value) = (pieces.text()?, pieces.text()?);
        match name {
            "sub" if seen.keeps() => seen.text(name, &value.replace('-', "")),
            _ => seen.text(name, value),
        }
    }
    Ok(true)
}
