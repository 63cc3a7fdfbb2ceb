//! Users.

use super::Category::{Bulk, Read, Write};
use super::{Command, Flags, Heavy, Run};
use crate::dispatch::{users, users_write};

const USER: &str = "map sub, version, seq";

pub(super) const COMMANDS: &[Command] = &[
    Command::pool(
        "USER.CREATE",
        "pool [SUB uuid] [TOKEN token] [TAKEALIAS] [TEMPORARY] [(attr value) ... | JSON json] [PASSWORD text | HASH phc]",
        Write,
        Run::Write(users_write::create),
        USER,
        "Makes a user",
    )
    .with(Flags::SECRET),
    Command::pool(
        "USER.GET",
        "pool user [MINSEQ seq] [attr ...]",
        Read,
        Run::Call(users::get, Heavy::Never),
        "map of attributes with sub, version, enabled, status, created_at, updated_at, or just the named ones; null where there is no such user",
        "One user",
    ),
    Command::pool(
        "USER.MGET",
        "pool [MINSEQ seq] user ...",
        Read,
        Run::Call(users::mget, Heavy::From(18)),
        "array of what USER.GET answers, at most 1,000",
        "Several users",
    ),
    Command::pool(
        "USER.SET",
        "pool user [IF version] [TOKEN token] [TAKEALIAS] ((attr value) ... | JSON json)",
        Write,
        Run::Write(users_write::set),
        USER,
        "Sets attributes",
    ),
    Command::pool(
        "USER.UNSET",
        "pool user [IF version] [TOKEN token] attr ...",
        Write,
        Run::Write(users_write::unset),
        USER,
        "Removes attributes",
    ),
    Command::pool(
        "USER.ADD",
        "pool user [IF version] [TOKEN token] ((attr value) ... | JSON json)",
        Write,
        Run::Write(users_write::add),
        USER,
        "Adds values to multi-valued attributes",
    ),
    Command::pool(
        "USER.REMOVE",
        "pool user [IF version] [TOKEN token] ((attr value) ... | JSON json)",
        Write,
        Run::Write(users_write::remove),
        USER,
        "Removes values from multi-valued attributes",
    ),
    Command::pool(
        "USER.DELETE",
        "pool user [IF version] [TOKEN token]",
        Write,
        Run::Write(users_write::delete),
        "map sub, seq, changed",
        "Deletes a user with all that belongs to it",
    ),
    Command::pool(
        "USER.ENABLE",
        "pool user [TOKEN token]",
        Write,
        Run::Write(users_write::enable),
        USER,
        "Allows a user to sign in",
    ),
    Command::pool(
        "USER.DISABLE",
        "pool user [TOKEN token]",
        Write,
        Run::Write(users_write::disable),
        USER,
        "Keeps a user from signing in",
    ),
    Command::pool(
        "USER.STATUS",
        "pool user [IF version] [TOKEN token] status",
        Write,
        Run::Write(users_write::status),
        USER,
        "Sets the sign-in status",
    ),
    Command::pool(
        "USER.SETALL",
        "pool [FILTER filter [ARGS n value ...]] [STATUS status] [TOKEN token] [(attr value) ... | JSON json]",
        Write,
        Run::Later(users_write::set_all),
        "map job, state, seq, changed",
        "Sets one value for every user of a filter, as one transaction",
    )
    .with(Flags::WRITE.and(Flags::NO_MULTI).and(Flags::AUDITED)),
    Command::pool(
        "USER.LIST",
        "pool [MINSEQ seq] [FILTER filter [ARGS n value ...]] [SORT attr [DESC]] [LIMIT n] [CURSOR cursor] [ATTRS attr ...]",
        Bulk,
        Run::Call(users::list, Heavy::Always),
        "map users, cursor, seq",
        "Users, in order of creation or of an indexed attribute",
    ),
    Command::pool(
        "USER.COUNT",
        "pool [MINSEQ seq] [FILTER filter [ARGS n value ...]]",
        Bulk,
        Run::Call(users::count, Heavy::Always),
        "integer",
        "How many users there are, or match a filter",
    ),
    Command::pool(
        "USER.GROUPS",
        "pool user [MINSEQ seq] [LIMIT n] [CURSOR cursor]",
        Read,
        Run::Call(users::groups, Heavy::Never),
        "map groups, cursor, seq",
        "The groups of a user",
    ),
];
