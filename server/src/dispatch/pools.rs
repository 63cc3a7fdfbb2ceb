//! Pools: schema and configuration documents.

use stoa_engine::Pool;
use stoa_engine::pool::request::{Committed, Op, Transaction};
use stoa_engine::pool::view::Page;
use stoa_format::Seq;

use super::{Call, listing};
use crate::args::{Args, Options, Takes};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// `POOL.CREATE pool [SCHEMA json] [KEY uri]`
pub(crate) fn create(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let name = args.pool()?;
    let options = Options::read(&mut args, &[("SCHEMA", Takes::Word), ("KEY", Takes::Word)])?;
    args.end()?;
    let created = call.shared.store.create_pool(name, options.text("SCHEMA")?, options.text("KEY")?)?;
    reply.map(2);
    reply.bulk("id");
    reply.bulk(created.id.text());
    reply.bulk("seq");
    reply.count(created.seq.0);
    Ok(())
}

/// `POOL.LIST [LIMIT n] [CURSOR cursor]`: the pools that the caller may see; the cursor is the last name.
pub(crate) fn list(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let options =
        Options::read(&mut args, &[("LIMIT", Takes::Word), ("CURSOR", Takes::Word), ("MINSEQ", Takes::Word)])?;
    args.end()?;
    let request = listing::page(call, &options)?;
    let after = request.cursor.unwrap_or_default();
    let names = call.shared.store.pool_names();
    let mut seen = names.iter().filter(|name| &***name > after && call.actor.may_reach(name.as_bytes(), false));
    let items: Vec<_> = seen.by_ref().take(request.limit).collect();
    let cursor = seen.next().and_then(|_| items.last().map(|name| name.to_string()));
    let page = Page { items, cursor, seq: Seq(0) };
    listing::write_page(reply, "pools", &page, |reply, name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// `POOL.ALTER pool [IF version] SCHEMA json`
pub(crate) fn alter(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let options = Options::read(&mut args, &[("IF", Takes::Word), ("SCHEMA", Takes::Word)])?;
    args.end()?;
    let schema = options.text("SCHEMA")?.ok_or_else(|| Refusal::invalid("SCHEMA json is missing"))?;
    let op = Op::SchemaAlter { if_version: options.number("IF")?, schema: schema.into() };
    write_version(reply, &commit(call, &pool, op)?);
    Ok(())
}

/// `POOL.CONFIG pool SET name [IF version] json | GET name | LIST | DEL name`
pub(crate) fn config(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    if args.keyword("SET") {
        let name = document_name(&mut args)?;
        let options = Options::read(&mut args, &[("IF", Takes::Word)])?;
        let json = args.text()?.into();
        args.end()?;
        let op = Op::ConfigSet { name, if_version: options.number("IF")?, json };
        write_version(reply, &commit(call, &pool, op)?);
    } else if args.keyword("GET") {
        let name = document_name(&mut args)?;
        args.end()?;
        match pool.snapshot().config(&name) {
            Some(document) => {
                reply.map(2);
                reply.bulk("version");
                reply.count(document.version);
                reply.bulk("json");
                reply.bulk(document.json.as_bytes());
            }
            None => reply.null(),
        }
    } else if args.keyword("LIST") {
        args.end()?;
        let snapshot = pool.snapshot();
        let page = Page { items: snapshot.config_names(), cursor: None, seq: snapshot.seq() };
        listing::write_page(reply, "names", &page, |reply, name| reply.bulk(name.as_bytes()));
    } else if args.keyword("DEL") {
        let name = document_name(&mut args)?;
        args.end()?;
        let committed = commit(call, &pool, Op::ConfigDel { name })?;
        reply.map(2);
        reply.bulk("seq");
        reply.count(committed.seq.0);
        reply.bulk("changed");
        reply.count(committed.outcomes.first().and_then(|outcome| outcome.changed).unwrap_or(0));
    } else {
        return Err(Refusal::invalid("POOL.CONFIG pool SET, GET, LIST or DEL"));
    }
    Ok(())
}

/// `POOL.DROP pool CONFIRM pool`
pub(crate) fn drop(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let name = args.pool()?;
    if !args.keyword("CONFIRM") || args.bytes()? != name.as_bytes() {
        return Err(Refusal::invalid("say the pool's name again behind CONFIRM: this cannot be undone"));
    }
    args.end()?;
    call.shared.store.drop_pool(name)?;
    reply.map(1);
    reply.bulk("changed");
    reply.count(1);
    Ok(())
}

/// Commits one operation; the caller is on a thread that may wait.
fn commit(call: &Call<'_>, pool: &Pool, op: Op) -> Result<Committed> {
    Ok(pool.commit(Transaction { actor: call.actor.name().clone(), token: None, ops: vec![op] })?)
}

fn write_version(reply: &mut Reply<'_>, committed: &Committed) {
    let version = committed.outcomes.first().and_then(|outcome| outcome.version);
    reply.map(2);
    reply.bulk("version");
    reply.count_or_null(version);
    reply.bulk("seq");
    reply.count(committed.seq.0);
}

fn document_name(args: &mut Args<'_>) -> Result<Box<str>> {
    let name = args.text()?;
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b':');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(Refusal::invalid("a document's name is 1 to 64 of a-z 0-9 _ - . :"));
    }
    Ok(name.into())
}
