//! What is measured: groups of rows, in the order in which they run. Reads come first, since writes change what is read.
//!
//! A group runs every system in turns and checks what it answers. To add one: a function over [`Bench`] that calls
//! [`Bench::in_turns`], its line in [`GROUPS`], and its rows in [`row`].

mod mistakes;
mod read;
mod scan;
mod store;
mod write;

use anyhow::{Result, ensure};

use crate::peer::Transport;
use crate::suite::Bench;

pub use store::{Chore, do_chore};

/// Rows that are measured together.
pub struct Group {
    /// Its name on the command line.
    pub name: &'static str,
    /// Only if it is asked for.
    pub optional: bool,
    /// Measures it.
    pub run: fn(&mut Bench<'_>) -> Result<()>,
}

/// All groups, in order.
pub const GROUPS: &[Group] = &[
    Group { name: "load", optional: false, run: store::load },
    Group { name: "profile", optional: false, run: read::profiles },
    Group { name: "hash", optional: false, run: read::hashes },
    Group { name: "sign-in", optional: false, run: read::sign_ins },
    Group { name: "filter", optional: false, run: scan::filter },
    Group { name: "prefix", optional: false, run: scan::prefix },
    Group { name: "page", optional: false, run: scan::pages },
    Group { name: "memory", optional: false, run: store::memory },
    Group { name: "small-cache", optional: true, run: read::small_cache },
    Group { name: "update", optional: false, run: write::updates },
    Group { name: "create", optional: false, run: write::creations },
    Group { name: "single-updates", optional: false, run: write::single_updates },
    Group { name: "set-all", optional: false, run: write::set_all },
    Group { name: "reopen", optional: false, run: store::reopen },
];

/// The groups of these names, in their own order; all but the optional ones if there are no names. Every run loads.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Group>> {
    for name in names {
        let known: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        ensure!(known.contains(&name.as_str()), "there are no rows {name}: {}", known.join(", "));
    }
    let wanted = |group: &&Group| match names.is_empty() {
        true => !group.optional,
        false => group.name == "load" || names.iter().any(|name| name == group.name),
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
    /// Echoes over the loopback.
    Echoes,
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
        _ => return None,
    })
}
