//! What is measured: groups of rows, in the order in which they run. Reads come first, since writes change what is read.
//!
//! A group runs every system in turns and checks what it answers. To add one: a function over [`Bench`] that calls
//! [`Bench::in_turns`], its line in [`GROUPS`], and its rows in [`row`].

mod mistakes;
mod mixes;
mod read;
mod scan;
mod served;
mod store;
mod whole;
mod write;
mod ycsb;

use anyhow::{Result, ensure};

use crate::peer::Transport;
use crate::suite::{Bench, ECHOES, ECHOES_DEEP, ECHOES_MANY};

pub use store::{Chore, do_chore};

/// Rows that are measured together.
pub struct Group {
    /// Its name on the command line.
    pub name: &'static str,
    /// Only if it is asked for.
    pub optional: bool,
    /// Which systems it measures.
    pub transport: Transport,
    /// Measures it.
    pub run: Measure,
}

/// What measures a group.
pub type Measure = fn(&mut Bench<'_>) -> Result<()>;

/// All groups, in order: those over TCP last, when what is embedded has been closed.
pub const GROUPS: &[Group] = &[
    embedded("load", store::load),
    embedded("profile", read::profiles),
    embedded("hash", read::hashes),
    embedded("sign-in", read::sign_ins),
    embedded("filter", scan::filter),
    embedded("prefix", scan::prefix),
    embedded("page", scan::pages),
    embedded("memory", store::memory),
    optional("small-cache", read::small_cache),
    embedded("update", write::updates),
    embedded("create", write::creations),
    embedded("ycsb", ycsb::workloads),
    embedded("single-updates", write::single_updates),
    embedded("set-all", write::set_all),
    embedded("reopen", store::reopen),
    served("tcp-profile", served::profiles),
    served("tcp-hash", served::hashes),
    served("tcp-update", served::updates),
    served("mixes", mixes::mixes),
    served("whole-pool", whole::all),
];

const fn embedded(name: &'static str, run: Measure) -> Group {
    Group { name, optional: false, transport: Transport::Embedded, run }
}

const fn optional(name: &'static str, run: Measure) -> Group {
    Group { name, optional: true, transport: Transport::Embedded, run }
}

const fn served(name: &'static str, run: Measure) -> Group {
    Group { name, optional: false, transport: Transport::Tcp, run }
}

/// The groups of these names, in their own order; all but the optional ones if there are no names. What is embedded has to be
/// loaded first.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Group>> {
    for name in names {
        let known: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        ensure!(known.contains(&name.as_str()), "there are no rows {name}: {}", known.join(", "));
    }
    let is_embedded = |name: &String| GROUPS.iter().any(|of| of.name == name && of.transport == Transport::Embedded);
    let needs_load = names.iter().any(is_embedded);
    let wanted = |group: &&Group| match names.is_empty() {
        true => !group.optional,
        false => names.iter().any(|name| name == group.name) || (group.name == "load" && needs_load),
    };
    Ok(GROUPS.iter().filter(wanted).collect())
}

/// What a row's figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How often in a second: more is better.
    PerSecond,
    /// Seconds that one takes: less is better.
    Seconds,
    /// Bytes: less is better.
    Bytes,
    /// A share of something: less is better.
    Ratio,
}

impl Unit {
    /// Whether more is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond)
    }
}

/// What Stoa is to reach in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// So many times better than the best peer.
    Times(f64),
    /// A figure no greater than this.
    AtMost(f64),
    /// This share of the machine's synced writes.
    OfSyncs(f64),
    /// None is set.
    None,
}

/// The limit of the machine that bounds a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Synced writes: one a durable operation, unless several share one.
    Syncs,
    /// What the loopback and the client allow in this shape: the limit of that name.
    Echoes(&'static str),
    /// None of those that are measured.
    None,
}

/// One row of the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is measured.
    pub title: String,
    /// In what.
    pub unit: Unit,
    /// What is to be reached.
    pub goal: Goal,
    /// Goals beside that against single systems: so many times better than each.
    pub also: &'static [(&'static str, f64)],
    /// What bounds it.
    pub bound: Bound,
    /// Which systems are compared.
    pub transport: Transport,
}

/// The row of an id, whose trailing number is its threads; `None` if there is no such row.
pub fn row(id: &str) -> Option<Row> {
    let (stem, count) = match id.rsplit_once('-') {
        Some((stem, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => (stem, digits.parse().unwrap_or(1)),
        _ => (id, 1),
    };
    let (one, many) = (count == 1, count >= 64);
    let echoes = Bound::Echoes(if one { ECHOES } else { ECHOES_MANY });
    let threads = |what: &str, kind: &str| format!("{what}, {count} {kind}{}", if one { "" } else { "s" });
    let at = |title: String, unit, goal| Row {
        title,
        unit,
        goal,
        also: &[],
        bound: Bound::None,
        transport: Transport::Embedded,
    };
    use Goal::{AtMost, OfSyncs, Times};
    use Unit::{Bytes, PerSecond, Ratio, Seconds};
    let ycsb = |what: &str| at(format!("YCSB {what}, 16 threads"), PerSecond, Goal::None);
    let mix = |what: &str, unit| Row { transport: Transport::Tcp, ..at(format!("TCP: mix {what}"), unit, Goal::None) };
    Some(match stem {
        "load" => at("bulk load from memory, all indexes, durable: users".into(), PerSecond, Times(3.0)),
        "disk" => at("bytes on disk for each raw byte".into(), Ratio, AtMost(0.65)),
        "log" => at("log and reserve beside it".into(), Bytes, Goal::None),
        "profile" => Row {
            also: &[("rocksdb", 3.0)],
            ..at(threads("e-mail → whole profile", "thread"), PerSecond, Times(if one { 1.75 } else { 1.5 }))
        },
        "hash" => at(threads("e-mail → password hash", "thread"), PerSecond, Times(if one { 3.0 } else { 2.0 })),
        "sign-in" => at(threads("sign-in read, Zipf 0.99", "thread"), PerSecond, Goal::None),
        "filter" => at("count by a filter, no index".into(), Seconds, Times(10.0)),
        "prefix" => at("first 60 by a prefix".into(), Seconds, Times(1.5)),
        "page-first" => at("listing: page 1 of 60".into(), Seconds, Goal::None),
        "page-far" => at("listing: page 10,000 (or at 3/5 of fewer)".into(), Seconds, Goal::None),
        "memory" => {
            at("memory, idle, with a cache of 256 MiB".into(), Bytes, AtMost((256 + 64 + 200) as f64 * 1048576.0))
        }
        "small-profile" => Row {
            also: &[("sqlcipher", 1.0), ("rocksdb", 0.4)],
            ..at("e-mail → whole profile, cache a tenth".into(), PerSecond, Goal::None)
        },
        "small-sign-in" => Row {
            also: &[("rocksdb", 1.0), ("sqlcipher", 1.0)],
            ..at("sign-in read, cache a tenth".into(), PerSecond, Goal::None)
        },
        "update" => Row {
            bound: Bound::Syncs,
            ..at(
                threads("durable update", "writer"),
                PerSecond,
                match (one, many) {
                    (true, _) => OfSyncs(0.85),
                    (_, true) => Times(4.0),
                    _ => Goal::None,
                },
            )
        },
        "create" => Row {
            bound: Bound::Syncs,
            ..at(
                threads("durable creation, 3 aliases", "writer"),
                PerSecond,
                match (one, many) {
                    (true, _) => Times(1.5),
                    (_, true) => Times(4.0),
                    _ => Goal::None,
                },
            )
        },
        "single-updates" => at("single updates in flight".into(), PerSecond, Times(1.5)),
        "single-updates-written" => at("bytes written for each of them".into(), Bytes, Times(5.0)),
        "set-all" => at("one attribute of all users, settled".into(), Seconds, Times(4.0)),
        "set-all-written" => at("bytes written for that".into(), Bytes, Times(20.0)),
        "reopen" => {
            Row { also: &[("fjall", 5.0)], ..at("reopen after kill -9, to the first read".into(), Seconds, Goal::None) }
        }
        "tcp-profile" => Row {
            bound: echoes,
            transport: Transport::Tcp,
            ..at(
                threads("TCP: e-mail → whole profile", "connection"),
                PerSecond,
                if count == 32 { Times(2.5) } else { Goal::None },
            )
        },
        "tcp-profile-deep" => Row {
            also: &[("redis", 3.0)],
            bound: Bound::Echoes(ECHOES_DEEP),
            transport: Transport::Tcp,
            ..at(threads("TCP: the same, 16 deep", "connection"), PerSecond, Goal::None)
        },
        "tcp-hash" => Row {
            bound: echoes,
            transport: Transport::Tcp,
            ..at(threads("TCP: e-mail → password hash", "connection"), PerSecond, Goal::None)
        },
        "ycsb-a" => ycsb("A: 50 % reads, 50 % updates"),
        "ycsb-b" => ycsb("B: 95 % reads, 5 % updates"),
        "ycsb-c" => ycsb("C: reads"),
        "ycsb-d" => ycsb("D: 95 % reads of the newest, 5 % insertions"),
        "ycsb-e" => ycsb("E: 95 % scans, 5 % insertions"),
        "ycsb-f" => ycsb("F: 50 % reads, 50 % read-modify-writes"),
        "mix-a" => mix("A, steady: operations", PerSecond),
        "mix-a-sign-in" => mix("A: 99 of 100 sign-in reads within", Seconds),
        "mix-b" => mix("B, sign-in peak: operations", PerSecond),
        "mix-b-sign-in" => mix("B: 99 of 100 sign-in reads within", Seconds),
        "mix-c" => mix("C, writes: operations", PerSecond),
        "mix-d" => mix("D, credential stuffing, 90 % misses: operations", PerSecond),
        "mix-d-sign-in" => mix("D: 99 of 100 sign-in reads within", Seconds),
        "mix-e" => mix("E, A beside a backfill: operations", PerSecond),
        "mix-e-sign-in" => mix("E: 99 of 100 sign-in reads within", Seconds),
        "mix-e-backfill" => mix("E: users of the backfill", PerSecond),
        "mix-f-scan" => mix("F: count by a filter, no index", Seconds),
        "mix-f-export" => mix("F: export, users", PerSecond),
        "mix-f-delete" => mix("F: deletions", PerSecond),
        "tcp-update" => Row {
            also: if many { &[("redis", 2.0)] } else { &[] },
            bound: Bound::Syncs,
            transport: Transport::Tcp,
            ..at(threads("TCP: durable update", "connection"), PerSecond, Goal::None)
        },
        _ => return None,
    })
}
