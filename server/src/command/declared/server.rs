//! Commands about the server: what it can do, how it is, and who may use it.

use super::Category::{Admin, Audit, Connection};
use super::{Command, Flags, Heavy, Run};
use crate::dispatch::{access, cluster, server};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        run: Run::Session(server::command),
        answers: "array of name, arity, flags, first, last, step, categories, tips, key specifications, subcommands",
        ..Command::container("COMMAND", Connection, COMMAND, "What this server can do")
    },
    Command::new(
        "INFO",
        "[section ...]",
        Connection,
        Run::Call(server::info, Heavy::Never),
        "lines of name:value",
        "How the server is",
    ),
    Command::container("CONFIG", Admin, CONFIG, "The server's settings"),
    Command::new(
        "ROLE",
        "",
        Connection,
        Run::Call(server::role, Heavy::Never),
        "array master, offset, replicas",
        "Whether this is a primary",
    ),
    Command::new(
        "WAIT",
        "n ms",
        Connection,
        Run::Call(server::wait, Heavy::Never),
        "integer",
        "How many replicas hold this connection's last write",
    )
    .with(Flags::NO_MULTI),
    Command::container("CLUSTER", Connection, CLUSTER, "Where pools are: all of them here"),
    Command::container("ACL", Admin, ACL, "Who may do what"),
    Command::new(
        "AUDIT",
        "[FROM n] [COUNT count]",
        Audit,
        Run::Call(server::audit, Heavy::Never),
        "array of maps n, time, user, command, pool, outcome, address, count",
        "The audit log, oldest first",
    )
    .with(Flags::NO_MULTI),
    Command::new(
        "STATS",
        "",
        Audit,
        Run::Call(server::stats, Heavy::Never),
        "map commands, errors",
        "Counters by command and by error word",
    ),
];

const COMMAND: &[Command] = &[
    Command::new(
        "COUNT",
        "",
        Connection,
        Run::Session(server::command_count),
        "integer",
        "How many commands there are",
    ),
    Command::new(
        "INFO",
        "[command ...]",
        Connection,
        Run::Session(server::command_info),
        "as COMMAND, of these; null where there is none",
        "What these commands are",
    ),
    Command::new(
        "DOCS",
        "[command ...]",
        Connection,
        Run::Session(server::command_docs),
        "map of maps",
        "Summaries and arguments",
    ),
    Command::new(
        "LIST",
        "[FILTERBY (MODULE module | ACLCAT category | PATTERN pattern)]",
        Connection,
        Run::Session(server::command_list),
        "array of names",
        "The names of the commands",
    ),
    Command::new(
        "GETKEYS",
        "command [arg ...]",
        Connection,
        Run::Session(server::command_getkeys),
        "array with the pool's name",
        "By which word a request is routed",
    ),
];

const CONFIG: &[Command] = &[Command::new(
    "GET",
    "pattern ...",
    Admin,
    Run::Call(server::config_get, Heavy::Never),
    "map of settings",
    "Settings that Redis's clients ask for",
)];

const CLUSTER: &[Command] = &[
    Command::new("INFO", "", Connection, Run::Call(cluster::info, Heavy::Never), "lines", "State of the cluster"),
    Command::new("MYID", "", Connection, Run::Call(cluster::my_id, Heavy::Never), "text", "This node's id"),
    Command::new("SLOTS", "", Connection, Run::Session(cluster::slots), "array", "Which node has which slots"),
    Command::new("SHARDS", "", Connection, Run::Session(cluster::shards), "array", "The shards and their nodes"),
    Command::new("NODES", "", Connection, Run::Session(cluster::nodes), "lines", "The nodes"),
    Command::new(
        "KEYSLOT",
        "key",
        Connection,
        Run::Call(cluster::key_slot, Heavy::Never),
        "integer",
        "The slot of a pool's name",
    ),
];

const ACL: &[Command] = &[
    Command::new("WHOAMI", "", Connection, Run::Call(access::who_am_i, Heavy::Never), "text", "This connection's user"),
    Command::new("LIST", "", Admin, Run::Call(access::list, Heavy::Never), "array of lines", "All users' rules"),
    Command::new("USERS", "", Admin, Run::Call(access::users, Heavy::Never), "array of names", "All users' names"),
    Command::new(
        "SETUSER",
        "username [rule ...]",
        Admin,
        Run::Call(access::set_user, Heavy::Waits),
        "OK",
        "Makes or changes a user, and closes the user's connections",
    )
    .with(Flags::NO_MULTI.and(Flags::SECRET).and(Flags::AUDITED)),
    Command::new(
        "DELUSER",
        "username ...",
        Admin,
        Run::Call(access::del_user, Heavy::Waits),
        "integer",
        "Deletes users, and closes their connections",
    )
    .with(Flags::NO_MULTI.and(Flags::AUDITED)),
    Command::new(
        "GETUSER",
        "username",
        Admin,
        Run::Call(access::get_user, Heavy::Never),
        "map flags, passwords, commands, keys, channels, selectors; null if there is none",
        "One user's rules; `channels` are the attribute patterns",
    ),
    Command::new(
        "CAT",
        "[category]",
        Connection,
        Run::Call(access::categories, Heavy::Never),
        "array of names",
        "The categories, or the commands of one",
    ),
    Command::new(
        "DRYRUN",
        "username command [arg ...]",
        Admin,
        Run::Call(access::dry_run, Heavy::Never),
        "OK, or why not",
        "Whether a user might run a command",
    ),
    Command::new(
        "GENPASS",
        "[bits]",
        Connection,
        Run::Call(access::gen_pass, Heavy::Never),
        "hexadecimal text",
        "A random secret",
    ),
    Command::new(
        "LOG",
        "[count | RESET]",
        Admin,
        Run::Call(access::log, Heavy::Never),
        "array of maps",
        "What was refused lately",
    ),
];
