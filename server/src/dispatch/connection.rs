//! HELLO, AUTH and the other words that concern the connection alone.

use crate::args::Args;
use crate::connection::Session;
use crate::dispatch::clients;
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// `HELLO [protover [AUTH username secret] [SETNAME clientname]]`
pub(crate) fn hello(session: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let mut resp3 = session.resp3;
    if args.left() > 0 {
        resp3 = match args.bytes()? {
            b"2" => false,
            b"3" => true,
            _ => return Err(Refusal::new("NOPROTO", "unsupported protocol version")),
        };
    }
    let (mut auth, mut name) = (None, None);
    while args.left() > 0 {
        if auth.is_none() && args.left() > 2 && args.keyword("AUTH") {
            auth = Some((args.bytes()?, args.bytes()?));
        } else if name.is_none() && args.left() > 1 && args.keyword("SETNAME") {
            name = Some(args.bytes()?);
        } else {
            return Err(Refusal::err("Syntax error in HELLO"));
        }
    }
    if let Some(name) = name {
        clients::check_name(name)?;
    }
    if let Some((user, secret)) = auth {
        session.authenticate(&String::from_utf8_lossy(user), secret)?;
    }
    if session.actor.is_none() {
        return Err(Refusal::new(
            "NOAUTH",
            "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        session.client.names().name = String::from_utf8_lossy(name).into_owned();
    }
    session.set_resp3(resp3);
    reply.switch(resp3);
    reply.map(7);
    for (name, text) in [("server", "stoa"), ("version", env!("CARGO_PKG_VERSION"))] {
        reply.bulk(name);
        reply.bulk(text);
    }
    reply.bulk("proto");
    reply.count(if resp3 { 3 } else { 2 });
    reply.bulk("id");
    reply.count(session.client.id);
    for (name, text) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name);
        reply.bulk(text);
    }
    reply.bulk("modules");
    reply.array(0);
    Ok(())
}

/// `AUTH [username] secret`; without a name, as user `default`.
pub(crate) fn auth(session: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let name = if args.left() == 2 { args.bytes()? } else { b"default" };
    let secret = args.bytes()?;
    session.authenticate(&String::from_utf8_lossy(name), secret)?;
    reply.ok();
    Ok(())
}

/// `PING [message]`
pub(crate) fn ping(_: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    match args.peek() {
        None => reply.simple("PONG"),
        Some(_) => reply.bulk(args.bytes()?),
    }
    Ok(())
}

/// `ECHO message`
pub(crate) fn echo(_: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.bulk(args.bytes()?);
    Ok(())
}

/// `QUIT`
pub(crate) fn quit(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    session.closing = true;
    reply.ok();
    Ok(())
}

/// `RESET`
pub(crate) fn reset(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    session.reset();
    reply.switch(false);
    reply.simple("RESET");
    Ok(())
}

/// `SELECT index`
pub(crate) fn select(_: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    match args.bytes()? {
        b"0" => reply.ok(),
        _ => return Err(Refusal::err("DB index is out of range")),
    }
    Ok(())
}

/// `WATCH`
pub(crate) fn watch(_: &mut Session, _: Args<'_>, _: &mut Reply<'_>) -> Result<()> {
    Err(Refusal::err("WATCH is not offered: use IF version in the commands of the transaction"))
}

/// A word that changes nothing.
pub(crate) fn ok(_: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.ok();
    Ok(())
}
