//! How pools are, their keys, and their maintenance.

use super::Category::{Admin, Keys, Read};
use super::{Command, Flags, Heavy, Run};
use crate::dispatch::{jobs, maintenance};

const CHANGE: Flags = Flags::WRITE.and(Flags::NO_MULTI).and(Flags::AUDITED);
const JOB: Flags = Flags::NO_MULTI;

pub(super) const COMMANDS: &[Command] = &[
    Command::pool(
        "POOL.INFO",
        "pool [MINSEQ seq]",
        Read,
        Run::Call(maintenance::info, Heavy::Always),
        "map id, state, state_reason, users, groups, seq, durable_seq, epoch, role, chain, digest, phase, schema, key, …",
        "How a pool is",
    )
    .with(JOB),
    Command::pool(
        "POOL.KEY",
        "pool (STATUS | ROTATE | REWRAP uri)",
        Keys,
        Run::Call(maintenance::key, Heavy::Always),
        "map provider, key_id, key_epoch, epochs_in_use, bytes_to_reseal, seq",
        "The pool's keys",
    )
    .with(CHANGE),
    Command::pool(
        "POOL.FLUSH",
        "pool",
        Admin,
        Run::Call(jobs::flush, Heavy::Always),
        "map job, state, …",
        "Writes what is in memory to files",
    )
    .with(JOB),
    Command::pool(
        "POOL.COMPACT",
        "pool",
        Admin,
        Run::Call(jobs::compact, Heavy::Always),
        "map job, state, …",
        "Merges the pool's files",
    )
    .with(JOB),
    Command::pool(
        "POOL.VERIFY",
        "pool",
        Admin,
        Run::Call(jobs::verify, Heavy::Always),
        "map job, state, …",
        "Checks every page of the pool",
    )
    .with(JOB),
    Command::pool(
        "JOB.STATUS",
        "pool job",
        Admin,
        Run::Call(jobs::status, Heavy::Never),
        "map job, kind, state, done, total, message",
        "How a job is",
    )
    .with(JOB),
    Command::pool(
        "JOB.LIST",
        "pool",
        Admin,
        Run::Call(jobs::list, Heavy::Never),
        "map jobs, cursor, seq",
        "The pool's jobs",
    )
    .with(JOB),
    Command::pool(
        "JOB.CANCEL",
        "pool job",
        Admin,
        Run::Call(jobs::cancel, Heavy::Always),
        "as JOB.STATUS",
        "Ends a job",
    )
    .with(JOB),
];
