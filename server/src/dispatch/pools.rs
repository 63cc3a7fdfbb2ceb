//! Pools: schema and configuration documents.

use stoa_engine::Pool;
use stoa_engine::pool::request::{Committed, Op, RetryToken, Transaction};

use super::{Call, listing, request_digest};
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

/// `POOL.LIST [MINSEQ seq] [LIMIT n] [CURSOR cursor]`: the pools that the caller may see.
pub(crate) fn list(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let options =
        Options::read(&mut args, &[("LIMIT", Takes::Word), ("CURSOR", Takes::Word), ("MINSEQ", Takes::Word)])?;
    args.end()?;
    let store = &call.shared.store;
    let page = call.shared.names.page("POOL.LIST", &listing::page(call, &options)?, || {
        // The Seq first: a name that is newer than it does no harm.
        let seq = store.catalogue_seq();
        let names = store.pool_names().into_iter();
        (seq, names.filter(|name| call.actor.may_reach(name.as_bytes(), false)).collect())
    })?;
    listing::write_page(reply, "pools", &page, |reply, name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// `POOL.ALTER pool [IF version] [TOKEN token] SCHEMA json`
pub(crate) fn alter(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let token = Token::of(call, &args);
    let pool = call.pool(&mut args)?;
    let allowed: &[(&str, Takes)] = &[("IF", Takes::Word), ("TOKEN", Takes::Word), ("SCHEMA", Takes::Word)];
    let options = Options::read(&mut args, allowed)?;
    args.end()?;
    let schema = options.text("SCHEMA")?.ok_or_else(|| Refusal::invalid("SCHEMA json is missing"))?;
    let op = Op::SchemaAlter { if_version: options.number("IF")?, schema: schema.into() };
    write_version(reply, &commit(call, &pool, op, token.given(&options)?)?);
    Ok(())
}

/// `POOL.CONFIG pool SET name [IF version] [TOKEN token] json | GET name | LIST | DEL name [TOKEN token]`
pub(crate) fn config(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let token = Token::of(call, &args);
    let pool = call.pool(&mut args)?;
    if args.keyword("SET") {
        let name = document_name(&mut args)?;
        let options = Options::read(&mut args, &[("IF", Takes::Word), ("TOKEN", Takes::Word)])?;
        let json = args.text()?.into();
        args.end()?;
        let op = Op::ConfigSet { name, if_version: options.number("IF")?, json };
        write_version(reply, &commit(call, &pool, op, token.given(&options)?)?);
    } else if args.keyword("GET") {
        let name = document_name(&mut args)?;
        let options = Options::read(&mut args, &[("MINSEQ", Takes::Word)])?;
        args.end()?;
        match call.snapshot(&pool, &options)?.config(&name) {
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
        let allowed: &[(&str, Takes)] = &[("MINSEQ", Takes::Word), ("LIMIT", Takes::Word), ("CURSOR", Takes::Word)];
        let options = Options::read(&mut args, allowed)?;
        args.end()?;
        let snapshot = call.snapshot(&pool, &options)?;
        let of = format!("POOL.CONFIG {}", pool.id());
        let page = call
            .shared
            .names
            .page(&of, &listing::page(call, &options)?, || (snapshot.seq(), snapshot.config_names()))?;
        listing::write_page(reply, "names", &page, |reply, name| reply.bulk(name.as_bytes()));
    } else if args.keyword("DEL") {
        let name = document_name(&mut args)?;
        let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
        args.end()?;
        let committed = commit(call, &pool, Op::ConfigDel { name }, token.given(&options)?)?;
        reply.map(2 + usize::from(committed.replayed));
        reply.bulk("seq");
        reply.count(committed.seq.0);
        reply.bulk("changed");
        reply.count(committed.outcomes.first().and_then(|outcome| outcome.changed).unwrap_or(0));
        write_replayed(reply, &committed);
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
    reply.map(2);
    // Of the catalogue, as in POOL.LIST: the pool's own is gone with it.
    reply.bulk("seq");
    reply.count(call.shared.store.catalogue_seq().0);
    reply.bulk("changed");
    reply.count(1);
    Ok(())
}

/// Commits one operation; the caller is on a thread that may wait.
fn commit(call: &Call<'_>, pool: &Pool, op: Op, token: Option<RetryToken>) -> Result<Committed> {
    Ok(pool.commit(Transaction { actor: call.actor.name().clone(), token, ops: vec![op] })?)
}

/// What a retry token of this request stands for.
struct Token([u8; 16]);

impl Token {
    /// Of a request, before its arguments are read.
    fn of(call: &Call<'_>, args: &Args<'_>) -> Self {
        Self(request_digest([(call.entry, args.words())].into_iter()))
    }

    /// The token, if the request has one.
    fn given(self, options: &Options<'_>) -> Result<Option<RetryToken>> {
        Ok(options.token()?.map(|token| RetryToken { token, request: self.0 }))
    }
}

fn write_version(reply: &mut Reply<'_>, committed: &Committed) {
    let version = committed.outcomes.first().and_then(|outcome| outcome.version);
    reply.map(2 + usize::from(committed.replayed));
    reply.bulk("version");
    reply.count_or_null(version);
    reply.bulk("seq");
    reply.count(committed.seq.0);
    write_replayed(reply, committed);
}

fn write_replayed(reply: &mut Reply<'_>, committed: &Committed) {
    if committed.replayed {
        reply.bulk("replayed");
        reply.boolean(true);
    }
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
