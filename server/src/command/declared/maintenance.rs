//! Maintenance of pools, done in the background.

use super::Category::Admin;
use super::{Command, Flags, Heavy, Run};
use crate::dispatch::jobs;

const JOB: Flags = Flags::NO_MULTI;

pub(super) const COMMANDS: &[Command] = &[
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
