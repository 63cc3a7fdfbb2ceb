//! Passwords, further factors and linked identities.

use super::Category::{Credentials, Read, Signin, Write};
use super::{Command, Flags, Heavy, Run};
use crate::dispatch::{creds, factors, identity};

const CHECK: Flags = Flags::NO_MULTI.and(Flags::SECRET).and(Flags::OVERLAPS).and(Flags::WRITE);

pub(super) const COMMANDS: &[Command] = &[
    Command::pool(
        "CRED.SET",
        "pool user [IF version] [TOKEN token] [TEMPORARY] (PASSWORD text | HASH phc)",
        Credentials,
        Run::Write(creds::set),
        "map sub, seq",
        "Sets the password, as text or as a hash of a known scheme",
    )
    .with(Flags::SECRET),
    Command::pool(
        "CRED.VERIFY",
        "pool user [ATTEMPT id] text",
        Signin,
        Run::Later(creds::verify),
        "map verified, matched, reason, sub, status, scheme, upgraded, locked, locked_until",
        "Checks a password; counts failures",
    )
    .with(CHECK),
    Command::pool(
        "CRED.CHANGE",
        "pool user [ATTEMPT id] old new",
        Signin,
        Run::Later(creds::change),
        "as CRED.VERIFY",
        "Checks a password and sets another",
    )
    .with(CHECK),
    Command::pool(
        "CRED.GET",
        "pool user [MINSEQ seq]",
        Credentials,
        Run::Call(creds::get, Heavy::Never),
        "map scheme, hash, set_at; null where there is no password",
        "The stored hash",
    ),
    Command::pool(
        "CRED.UNLOCK",
        "pool user [TOKEN token]",
        Credentials,
        Run::Write(creds::unlock),
        "map sub, seq",
        "Clears the failures and the lock",
    ),
    Command::pool(
        "CRED.PUT",
        "pool user kind id [IF version] [TOKEN token] [LABEL text] blob",
        Credentials,
        Run::Write(factors::put),
        "map sub, version, seq",
        "Stores a further factor: totp, webauthn or recovery",
    )
    .with(Flags::SECRET),
    Command::pool(
        "CRED.READ",
        "pool user kind id [MINSEQ seq]",
        Credentials,
        Run::Call(factors::read, Heavy::Never),
        "map kind, id, label, created_at, blob; null where there is none",
        "One factor with its secret",
    ),
    Command::pool(
        "CRED.LIST",
        "pool user [MINSEQ seq] [LIMIT n] [CURSOR cursor]",
        Read,
        Run::Call(factors::list, Heavy::Never),
        "map creds, cursor, seq",
        "A user's factors, without their secrets",
    ),
    Command::pool(
        "CRED.DEL",
        "pool user kind id [TOKEN token]",
        Credentials,
        Run::Write(factors::delete),
        "map sub, seq, changed",
        "Removes a factor",
    ),
    Command::pool(
        "CRED.FIND",
        "pool kind id [MINSEQ seq]",
        Read,
        Run::Call(factors::find, Heavy::Never),
        "sub or null",
        "Whose webauthn credential this is",
    ),
    Command::pool(
        "CRED.CONSUME",
        "pool user RECOVERY code [TOKEN token]",
        Signin,
        Run::Write(factors::consume),
        "map sub, seq, changed",
        "Uses up a recovery code; changed 0 if there is no such code",
    )
    .with(Flags::SECRET),
    Command::pool(
        "IDENTITY.LINK",
        "pool user provider subject [TOKEN token]",
        Write,
        Run::Write(identity::link),
        "map sub, version, seq",
        "Links an identity of another provider",
    ),
    Command::pool(
        "IDENTITY.UNLINK",
        "pool user provider subject [TOKEN token]",
        Write,
        Run::Write(identity::unlink),
        "map sub, version, seq, changed",
        "Unlinks one",
    ),
    Command::pool(
        "IDENTITY.FIND",
        "pool provider subject [MINSEQ seq]",
        Read,
        Run::Call(identity::find, Heavy::Never),
        "sub or null",
        "Whose linked identity this is",
    ),
    Command::pool(
        "IDENTITY.LIST",
        "pool user [MINSEQ seq] [LIMIT n] [CURSOR cursor]",
        Read,
        Run::Call(identity::list, Heavy::Never),
        "map identities, cursor, seq",
        "A user's linked identities",
    ),
];
