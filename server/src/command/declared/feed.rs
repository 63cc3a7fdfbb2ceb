//! The change feed, and the digests by which two sides are compared.

use super::Category::{Bulk, Migration};
use super::{Command, Flags, Heavy, Run};
use crate::dispatch::{changes, merkle};

pub(super) const COMMANDS: &[Command] = &[
    Command::pool(
        "CHANGES",
        "pool FROM seq [COUNT count] [BLOCK ms] [VALUES]",
        Bulk,
        Run::Later(changes::changes),
        "array of maps seq, time, ops",
        "What was committed from a Seq on",
    )
    .with(Flags::NO_MULTI.and(Flags::BLOCKS)),
    Command::pool(
        "MERKLE.KEY",
        "pool",
        Migration,
        Run::Call(merkle::key, Heavy::Never),
        "map key_id, key",
        "The pool's digest key",
    )
    .with(Flags::NO_MULTI.and(Flags::AUDITED)),
    Command::pool(
        "MERKLE.ROOT",
        "pool [MINSEQ seq]",
        Migration,
        Run::Call(merkle::root, Heavy::Always),
        "map seq, depth, users, digest",
        "The digest of the whole pool",
    )
    .with(Flags::NO_MULTI),
    Command::pool(
        "MERKLE.NODES",
        "pool level [MINSEQ seq] index ...",
        Migration,
        Run::Call(merkle::nodes, Heavy::Always),
        "map seq, digests",
        "Digests of nodes of one level",
    )
    .with(Flags::NO_MULTI),
    Command::pool(
        "MERKLE.LEAF",
        "pool [MINSEQ seq] leaf ...",
        Migration,
        Run::Call(merkle::leaf, Heavy::Always),
        "map seq, leaves: of each an array of [sub, version, digest]",
        "The users of leaves",
    )
    .with(Flags::NO_MULTI),
];
