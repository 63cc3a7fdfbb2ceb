//! Groups and memberships.

use super::Category::{Bulk, Read, Write};
use super::{Command, Heavy, Run};
use crate::dispatch::groups;

pub(super) const COMMANDS: &[Command] = &[
    Command::pool(
        "GROUP.CREATE",
        "pool group [DESCRIPTION text] [PRECEDENCE n] [ROLE text] [KIND text] [TOKEN token] [JSON json]",
        Write,
        Run::Write(groups::create),
        "map seq, version",
        "Makes a group",
    ),
    Command::pool(
        "GROUP.SET",
        "pool group [DESCRIPTION text] [PRECEDENCE n] [ROLE text] [KIND text] [TOKEN token] [JSON json]",
        Write,
        Run::Write(groups::set),
        "map seq, version",
        "Changes a group's properties",
    ),
    Command::pool(
        "GROUP.GET",
        "pool group [MINSEQ seq]",
        Read,
        Run::Call(groups::get, Heavy::Never),
        "map name, description, precedence, role, kind, json, version, created_at, updated_at; null where there is none",
        "One group",
    ),
    Command::pool(
        "GROUP.LIST",
        "pool [MINSEQ seq] [PREFIX prefix] [KIND kind] [LIMIT n] [CURSOR cursor]",
        Bulk,
        Run::Call(groups::list, Heavy::Always),
        "map groups, cursor, seq",
        "Groups by name",
    ),
    Command::pool(
        "GROUP.RENAME",
        "pool group to [TOKEN token]",
        Write,
        Run::Write(groups::rename),
        "map seq, version",
        "Gives a group another name",
    ),
    Command::pool(
        "GROUP.DELETE",
        "pool group [TOKEN token]",
        Write,
        Run::Write(groups::delete),
        "map seq, changed",
        "Deletes a group; its members stay",
    ),
    Command::pool(
        "GROUP.ADD",
        "pool group [TOKEN token] user ...",
        Write,
        Run::Write(groups::add),
        "map seq, changed",
        "Adds members, all or nothing, 1,000 at most",
    ),
    Command::pool(
        "GROUP.REMOVE",
        "pool group [TOKEN token] user ...",
        Write,
        Run::Write(groups::remove),
        "map seq, changed",
        "Removes members, all or nothing, 1,000 at most",
    ),
    Command::pool(
        "GROUP.MEMBERS",
        "pool group [MINSEQ seq] [LIMIT n] [CURSOR cursor] [ATTRS attr ...]",
        Bulk,
        Run::Call(groups::members, Heavy::Always),
        "map users, cursor, seq",
        "A group's members",
    ),
];
