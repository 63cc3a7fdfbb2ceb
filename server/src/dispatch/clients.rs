//! CLIENT: facts about connections.

use crate::args::Args;
use crate::connection::{Killed, Session};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// The longest name of a connection or library, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Refuses what would break the lines of CLIENT LIST.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() <= NAME_BYTES_MAX && name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(Refusal::err("Client names cannot contain spaces, newlines or special characters."))
}

/// `CLIENT ID`
pub(crate) fn id(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.count(session.client.id);
    Ok(())
}

/// `CLIENT INFO`
pub(crate) fn info(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.bulk(session.client.line() + "\n");
    Ok(())
}

/// `CLIENT LIST [TYPE type] [ID id ...]`
pub(crate) fn list(session: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let mut all = session.shared.clients.all();
    if args.keyword("TYPE") && !args.bytes()?.eq_ignore_ascii_case(b"normal") {
        all.clear();
    }
    if args.keyword("ID") {
        let mut ids = Vec::new();
        while args.left() > 0 {
            ids.push(args.number("ID")?);
        }
        all.retain(|entry| ids.contains(&entry.id));
    }
    args.end()?;
    let lines: String = all.iter().map(|entry| entry.line() + "\n").collect();
    reply.bulk(lines);
    Ok(())
}

/// `CLIENT SETNAME name`
pub(crate) fn set_name(session: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let name = args.bytes()?;
    check_name(name)?;
    session.client.names().name = String::from_utf8_lossy(name).into_owned();
    reply.ok();
    Ok(())
}

/// `CLIENT GETNAME`
pub(crate) fn get_name(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let name = session.client.names().name.clone();
    reply.bulk_or_null(Some(name).filter(|name| !name.is_empty()));
    Ok(())
}

/// `CLIENT SETINFO LIB-NAME name` or `LIB-VER version`
pub(crate) fn set_info(session: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let is_name = args.keyword("LIB-NAME");
    if !is_name && !args.keyword("LIB-VER") {
        return Err(Refusal::err("Unrecognized option: CLIENT SETINFO takes LIB-NAME or LIB-VER"));
    }
    let value = args.bytes()?;
    check_name(value)?;
    let value = String::from_utf8_lossy(value).into_owned();
    let mut names = session.client.names();
    if is_name {
        names.library = value;
    } else {
        names.version = value;
    }
    reply.ok();
    Ok(())
}

/// `CLIENT KILL address`, or by filters.
pub(crate) fn kill(session: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let own = session.client.id;
    if args.left() == 1 {
        let which = Killed { address: Some(args.text()?.to_string()), ..Killed::default() };
        if session.shared.clients.kill(&which) == 0 {
            return Err(Refusal::err("No such client"));
        }
        session.audit("CLIENT KILL", None, "ok");
        reply.ok();
        return Ok(());
    }
    let mut which = Killed { but: Some(own), ..Killed::default() };
    let mut selective = false;
    while args.left() > 0 {
        if args.keyword("SKIPME") {
            which.but = (!args.bytes()?.eq_ignore_ascii_case(b"no")).then_some(own);
            continue;
        }
        selective = true;
        if args.keyword("ID") {
            which.id = Some(args.number("ID")?);
        } else if args.keyword("ADDR") {
            which.address = Some(args.text()?.to_string());
        } else if args.keyword("LADDR") {
            which.local = Some(args.text()?.to_string());
        } else if args.keyword("USER") {
            which.user = Some(args.text()?.to_string());
        } else {
            return Err(Refusal::err("syntax error"));
        }
    }
    if !selective {
        return Err(Refusal::err("syntax error"));
    }
    let killed = session.shared.clients.kill(&which);
    session.audit("CLIENT KILL", None, "ok");
    reply.count(killed as u64);
    Ok(())
}
