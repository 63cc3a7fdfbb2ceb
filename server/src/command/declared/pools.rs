//! Pools: their schema and configuration.

use super::Category::{Dangerous, Read, Schema};
use super::{Command, Flags, Heavy, Run};
use crate::dispatch::pools;

const CHANGE: Flags = Flags::WRITE.and(Flags::NO_MULTI).and(Flags::AUDITED);
const JOB: Flags = Flags::NO_MULTI;

pub(super) const COMMANDS: &[Command] = &[
    Command::pool(
        "POOL.CREATE",
        "pool [SCHEMA json] [KEY uri]",
        Schema,
        Run::Call(pools::create, Heavy::Waits),
        "map id, seq",
        "Makes a pool",
    )
    .with(CHANGE),
    Command::new(
        "POOL.LIST",
        "[MINSEQ seq] [LIMIT n] [CURSOR cursor]",
        Read,
        Run::Call(pools::list, Heavy::Never),
        "map pools, cursor, seq",
        "The names of the pools that this user may see",
    )
    .with(JOB),
    Command::pool(
        "POOL.ALTER",
        "pool [IF version] [TOKEN token] SCHEMA json",
        Schema,
        Run::Call(pools::alter, Heavy::Waits),
        "map version, seq",
        "Changes the schema, if the data allows it",
    )
    .with(CHANGE),
    Command::pool(
        "POOL.CONFIG",
        "pool (SET name [IF version] [TOKEN token] json | GET name [MINSEQ seq] | LIST [MINSEQ seq] [LIMIT n] [CURSOR cursor] | DEL name [TOKEN token])",
        Schema,
        Run::Call(pools::config, Heavy::Waits),
        "map version, seq · map version, json · map names, cursor, seq · map seq, changed",
        "Configuration documents: login, lockout, password, protection and the client's own",
    )
    .with(CHANGE),
    Command::pool(
        "POOL.DROP",
        "pool CONFIRM pool",
        Dangerous,
        Run::Call(pools::drop, Heavy::Waits),
        "map seq, changed",
        "Destroys a pool, its wrapped keys first",
    )
    .with(CHANGE),
];
