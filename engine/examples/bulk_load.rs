//! Loads generated users straight into column files, reads some, sets a value for all of them, and says how fast and
//! what it takes.
//!
//! Run it with `cargo run --release -p stoa-engine --example bulk_load -- 1000000 DIR`.
//!
//! The users are those of a large consumer pool: username, e-mail, telephone for a third of them, names, locale,
//! two custom attributes, a stored hash, some groups; all made before the clock starts.

#![allow(clippy::disallowed_methods, reason = "a program of its own, not the engine")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use stoa_engine::bulk::{BulkUser, BulkValue, Pushed};
use stoa_engine::pool::request::{GroupFields, Input, Op, Status, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{Store, StoreOptions};
use stoa_format::{AttrId, Sub};

const SCHEMA: &str = r#"{"attributes":{"custom:tier":{"type":"string"},"custom:visits":{"type":"integer"}}}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let count: usize = args.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(100_000);
    let data = args.next().map_or_else(
        || std::env::temp_dir().join(format!("stoa-bulk-{}", std::process::id())).join("DATA"),
        PathBuf::from,
    );
    if let Some(parent) = data.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let people = people(count);
    let raw_bytes: usize = people.iter().map(Person::raw_bytes).sum();
    println!("{count} users made, {:.1} MB raw; {} resident", raw_bytes as f64 / 1e6, resident());

    let store = Store::open(StoreOptions::new(&data))?;
    store.create_pool("people", Some(SCHEMA), None)?;
    let pool = store.pool("people")?;
    let started = Instant::now();
    let mut load = pool.bulk_load()?;
    let ids = Ids::of(&load)?;
    for n in 0..200 {
        load.group(&format!("g{n:04}"), &GroupFields::default())?;
    }
    let mut deferred = 0;
    for person in &people {
        if person.push(&mut load, &ids)? == Pushed::Deferred {
            deferred += 1;
        }
    }
    let pushed = started.elapsed();
    let done = load.finish()?;
    let total = started.elapsed();

    let rate = |time: std::time::Duration| done.users as f64 / time.as_secs_f64();
    println!("pushed   {:>9.0} users/s ({:.2} s)", rate(pushed), pushed.as_secs_f64());
    println!("durable  {:>9.0} users/s ({:.2} s), seq {}", rate(total), total.as_secs_f64(), done.seq);
    println!("deferred {deferred}; {} resident at the most", resident());
    let disk = bytes_below(&data.join("pools"))?;
    println!("{:.1} MB on disk, {:.2} of raw", disk as f64 / 1e6, disk as f64 / raw_bytes as f64);

    let started = Instant::now();
    let snapshot = pool.snapshot();
    for person in people.iter().step_by((count / 1000).max(1)) {
        let by = UserRef::Alias { attr: "email".into(), value: person.email.as_str().into() };
        let found = snapshot.user(&by, &Select::All)?.ok_or("a loaded user is not there")?;
        assert_eq!(found.sub, person.sub);
    }
    println!("a thousand profiles by e-mail, cold: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    let pro = snapshot.count(Some("custom:tier eq \"pro\""), &[])?;
    println!("{pro} users in tier pro, counted in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let set_all = Op::UserSetAll {
        filter: None,
        args: Vec::new(),
        status: Some(Status::ResetRequired),
        changes: vec![("locale".into(), Input::Raw("fr-FR".into()))],
    };
    let before = bytes_below(&data)?;
    let started = Instant::now();
    let committed = pool.commit(Transaction { ops: vec![set_all], ..Transaction::default() })?;
    let (changed, time) = (committed.outcomes[0].changed.unwrap_or_default(), started.elapsed());
    let written = bytes_below(&data)?.saturating_sub(before);
    println!("locale and status of {changed} users set in {:.3} s, {written} bytes more", time.as_secs_f64());
    drop((snapshot, pool));
    store.close()?;
    Ok(())
}

/// The attributes that are set.
struct Ids([AttrId; 11]);

impl Ids {
    fn of(load: &stoa_engine::bulk::BulkLoad) -> Result<Self, &'static str> {
        let mut ids = [AttrId::FIRST_USER; 11];
        let names = [
            "username",
            "email",
            "email_verified",
            "given_name",
            "family_name",
            "name",
            "locale",
            "custom:tier",
            "custom:visits",
            "phone_number",
            "phone_number_verified",
        ];
        for (id, name) in ids.iter_mut().zip(names) {
            *id = load.schema().by_name(name).ok_or("the schema lacks an attribute")?.id;
        }
        Ok(Self(ids))
    }
}

struct Person {
    sub: Sub,
    username: String,
    email: String,
    phone: Option<String>,
    given: &'static str,
    family: String,
    name: String,
    locale: &'static str,
    tier: &'static str,
    visits: i64,
    verified: bool,
    hash: String,
    created_at_ms: u64,
    groups: Vec<u32>,
}

impl Person {
    fn raw_bytes(&self) -> usize {
        let texts = [&self.username, &self.email, &self.family, &self.name, &self.hash];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let short = self.given.len() + self.locale.len() + self.tier.len() + self.phone.as_ref().map_or(0, String::len);
        16 + texts + short + 8 * 3 + 2
    }

    fn push(&self, load: &mut stoa_engine::bulk::BulkLoad, ids: &Ids) -> stoa_engine::Result<Pushed> {
        let ids = &ids.0;
        let attrs = [
            (ids[0], BulkValue::Text(&self.username)),
            (ids[1], BulkValue::Text(&self.email)),
            (ids[2], BulkValue::Bool(self.verified)),
            (ids[3], BulkValue::Text(self.given)),
            (ids[4], BulkValue::Text(&self.family)),
            (ids[5], BulkValue::Text(&self.name)),
            (ids[6], BulkValue::Text(self.locale)),
            (ids[7], BulkValue::Text(self.tier)),
            (ids[8], BulkValue::Int(self.visits)),
            (ids[9], BulkValue::Text(self.phone.as_deref().unwrap_or_default())),
            (ids[10], BulkValue::Bool(self.verified)),
        ];
        load.push(&BulkUser {
            sub: Some(self.sub),
            attrs: if self.phone.is_some() { &attrs } else { &attrs[..9] },
            password: Some(&self.hash),
            created_at_ms: Some(self.created_at_ms),
            updated_at_ms: Some(self.created_at_ms + 1000),
            groups: &self.groups,
            ..BulkUser::default()
        })
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): numbers for the sample.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn text(&mut self, alphabet: &[u8], len: usize) -> String {
        (0..len).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }
}

fn people(count: usize) -> Vec<Person> {
    const GIVEN: [&str; 8] = ["Ana", "Maria", "John", "Zoë", "José", "Linda", "Robert", "Łukasz"];
    const DOMAINS: [&str; 6] = ["gmail.com", "gmail.com", "yahoo.com", "hotmail.com", "outlook.com", "example.org"];
    const LOCALES: [&str; 5] = ["en-US", "en-US", "en-GB", "es-ES", "de-DE"];
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut numbers = Numbers(1);
    let person = |n: usize| {
        let given = GIVEN[numbers.below(GIVEN.len())];
        let len = 4 + numbers.below(6);
        let family = numbers.text(b"abcdefghijklmnoprstuvz", len);
        let username = format!("{}.{family}{n}", given.to_lowercase());
        let domain = DOMAINS[numbers.below(DOMAINS.len())];
        let mut email = format!("{username}@{domain}");
        if numbers.below(20) == 0 {
            email = email.to_uppercase();
        }
        let (salt, hash) = (numbers.text(BASE64, 22), numbers.text(BASE64, 42));
        let mut sub = [0; 16];
        sub[..8].copy_from_slice(&numbers.next().to_be_bytes());
        sub[8..].copy_from_slice(&numbers.next().to_be_bytes());
        Person {
            sub: Sub(sub),
            email,
            phone: (numbers.below(3) == 0).then(|| format!("+1{:010}", 2_000_000_000 + n)),
            name: format!("{given} {family}"),
            given,
            family,
            username,
            locale: LOCALES[numbers.below(LOCALES.len())],
            tier: if numbers.below(5) == 0 { "pro" } else { "free" },
            visits: numbers.below(1000) as i64,
            verified: numbers.below(5) > 0,
            hash: format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${hash}A"),
            created_at_ms: 1_420_070_400_000 + numbers.next() % 378_691_200_000,
            groups: if numbers.below(3) == 0 { vec![numbers.below(200) as u32] } else { Vec::new() },
        }
    };
    (0..count).map(person).collect()
}

fn bytes_below(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// What Linux says of this process's memory.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".into(), |line| line.trim().to_owned())
}
