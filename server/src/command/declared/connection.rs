//! The connection's own commands.

use super::Category::{Admin, Connection};
use super::{Command, Flags, Run};
use crate::dispatch::{clients, connection};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "HELLO",
        "[protover [AUTH username secret] [SETNAME clientname]]",
        Connection,
        Run::Session(connection::hello),
        "map server, version, proto, id, mode, role, modules",
        "Chooses the protocol, and authenticates",
    )
    .with(Flags::NO_AUTH.and(Flags::NO_MULTI).and(Flags::SECRET)),
    Command::new(
        "AUTH",
        "[username] secret",
        Connection,
        Run::Session(connection::auth),
        "OK",
        "Authenticates the connection",
    )
    .with(Flags::NO_AUTH.and(Flags::NO_MULTI).and(Flags::SECRET)),
    Command::new("PING", "[message]", Connection, Run::Session(connection::ping), "PONG, or the message", "Answers"),
    Command::new("ECHO", "message", Connection, Run::Session(connection::echo), "the message", "Answers the message"),
    Command::new("QUIT", "", Connection, Run::Session(connection::quit), "OK", "Closes the connection")
        .with(Flags::NO_AUTH.and(Flags::NO_MULTI)),
    Command::new(
        "RESET",
        "",
        Connection,
        Run::Session(connection::reset),
        "RESET",
        "Makes the connection as it was when it was new",
    )
    .with(Flags::NO_AUTH.and(Flags::NO_MULTI)),
    Command::new(
        "SELECT",
        "index",
        Connection,
        Run::Session(connection::select),
        "OK",
        "Takes 0; there is one database",
    ),
    Command::container("CLIENT", Connection, CLIENT, "Facts about connections"),
    Command::new("MULTI", "", Connection, Run::Multi, "OK", "Begins to queue a transaction of one pool")
        .with(Flags::NO_MULTI),
    Command::new(
        "EXEC",
        "",
        Connection,
        Run::Exec,
        "array of the replies; EXECABORT and nothing written if one is refused",
        "Carries out what was queued as one atomic transaction",
    ),
    Command::new("DISCARD", "", Connection, Run::Discard, "OK", "Forgets what was queued"),
    Command::new(
        "WATCH",
        "key ...",
        Connection,
        Run::Session(connection::watch),
        "an error: use IF version",
        "Is refused: use IF version",
    )
    .with(Flags::NO_MULTI),
    Command::new("UNWATCH", "", Connection, Run::Session(connection::ok), "OK", "Does nothing: nothing is watched"),
    Command::new(
        "READONLY",
        "",
        Connection,
        Run::Session(connection::ok),
        "OK",
        "Allows reads of a replica; they always are",
    ),
    Command::new("READWRITE", "", Connection, Run::Session(connection::ok), "OK", "Ends READONLY"),
];

const CLIENT: &[Command] = &[
    Command::new("ID", "", Connection, Run::Session(clients::id), "integer", "The connection's number"),
    Command::new("INFO", "", Connection, Run::Session(clients::info), "one line", "Facts about this connection"),
    Command::new(
        "LIST",
        "[TYPE type] [ID id ...]",
        Admin,
        Run::Session(clients::list),
        "one line a connection",
        "Facts about all connections",
    ),
    Command::new(
        "SETNAME",
        "name",
        Connection,
        Run::Session(clients::set_name),
        "OK",
        "Names this connection for CLIENT LIST",
    ),
    Command::new(
        "GETNAME",
        "",
        Connection,
        Run::Session(clients::get_name),
        "the name or null",
        "This connection's name",
    ),
    Command::new(
        "SETINFO",
        "(LIB-NAME libname | LIB-VER libver)",
        Connection,
        Run::Session(clients::set_info),
        "OK",
        "Names the client library",
    ),
    Command::new(
        "KILL",
        "(address | (ID id | ADDR ip_port | LADDR ip_port | USER username | SKIPME yes_no) ...)",
        Admin,
        Run::Session(clients::kill),
        "OK, or how many were closed",
        "Closes connections",
    )
    .with(Flags::AUDITED),
    Command::new(
        "NO-EVICT",
        "(ON | OFF)",
        Connection,
        Run::Session(connection::ok),
        "OK",
        "Does nothing: none is evicted",
    ),
    Command::new(
        "NO-TOUCH",
        "(ON | OFF)",
        Connection,
        Run::Session(connection::ok),
        "OK",
        "Does nothing: reads touch nothing",
    ),
];
