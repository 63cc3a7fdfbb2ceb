//! Further factors: TOTP secrets, WebAuthn credentials, recovery codes.

use bytes::Bytes;
use stoa_engine::pool::request::Op;
use stoa_engine::pool::view::FactorView;

use super::{Call, Footprint, Planned, Show, listing, time_text};
use crate::args::{Args, Options, Takes};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

const KINDS: [&str; 3] = ["totp", "webauthn", "recovery"];
const READ: &[(&str, Takes)] = &[("MINSEQ", Takes::Word)];
/// The longest id and label, in bytes.
const ID_BYTES_MAX: usize = 1024;

/// `CRED.PUT pool user kind id [IF version] [TOKEN token] [LABEL text] blob`
pub(crate) fn put(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let (kind, id) = (kind(&mut args)?, id(&mut args)?);
    let allowed: &[(&str, Takes)] = &[("IF", Takes::Word), ("TOKEN", Takes::Word), ("LABEL", Takes::Word)];
    let options = Options::read(&mut args, allowed)?;
    let blob = Bytes::copy_from_slice(args.bytes()?);
    args.end()?;
    let label = options.text("LABEL")?;
    if label.is_some_and(|label| label.len() > ID_BYTES_MAX) {
        return Err(Refusal::invalid(format!("a factor's label is {ID_BYTES_MAX} bytes at most")));
    }
    let label = label.map(Into::into);
    // A webauthn id is unique in the pool, as an alias is.
    let footprint = Footprint { claims: true, ..Footprint::of(pool.name()).on([&user]) };
    let op = Op::FactorPut { user, kind, id, if_version: options.number("IF")?, label, blob };
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `CRED.READ pool user kind id [MINSEQ seq]`
pub(crate) fn read(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let (kind, id) = (kind(&mut args)?, id(&mut args)?);
    let options = Options::read(&mut args, READ)?;
    args.end()?;
    match call.snapshot(&pool, &options)?.factor(&user, &kind, &id)? {
        Some(factor) => {
            write_factor(reply, &factor, 5);
            reply.bulk("blob");
            reply.bulk_or_null(factor.blob.as_ref());
        }
        None => reply.null(),
    }
    Ok(())
}

/// `CRED.LIST pool user [MINSEQ seq] [LIMIT n] [CURSOR cursor]`
pub(crate) fn list(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let allowed: &[(&str, Takes)] = &[("MINSEQ", Takes::Word), ("LIMIT", Takes::Word), ("CURSOR", Takes::Word)];
    let options = Options::read(&mut args, allowed)?;
    args.end()?;
    let page = pool.list_factors(&user, &listing::page(call, &options)?)?;
    listing::write_page(reply, "creds", &page, |reply, factor| write_factor(reply, factor, 4));
    Ok(())
}

/// `CRED.DEL pool user kind id [TOKEN token]`
pub(crate) fn delete(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let (kind, id) = (kind(&mut args)?, id(&mut args)?);
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    args.end()?;
    let footprint = Footprint { releases: true, ..Footprint::of(pool.name()).on([&user]) };
    let op = Op::FactorDel { user, kind, id };
    Ok(Planned::new(pool, op, footprint, Show::Sub).with_token(options.token()?))
}

/// `CRED.FIND pool kind id [MINSEQ seq]`
pub(crate) fn find(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let (kind, id) = (kind(&mut args)?, id(&mut args)?);
    let options = Options::read(&mut args, READ)?;
    args.end()?;
    if &*kind != "webauthn" {
        return Err(Refusal::invalid("only webauthn ids are unique in the pool and can be found"));
    }
    let sub = call.snapshot(&pool, &options)?.find_factor(&kind, &id)?;
    reply.bulk_or_null(sub.map(|sub| sub.text()));
    Ok(())
}

/// `CRED.CONSUME pool user recovery code`
pub(crate) fn consume(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    if !args.keyword("recovery") {
        return Err(Refusal::invalid("only recovery codes are used up: CRED.CONSUME pool user recovery code"));
    }
    let code = Bytes::copy_from_slice(args.bytes()?);
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    args.end()?;
    let footprint = Footprint::of(pool.name()).on([&user]);
    Ok(Planned::new(pool, Op::FactorConsume { user, code }, footprint, Show::Sub).with_token(options.token()?))
}

fn kind(args: &mut Args<'_>) -> Result<Box<str>> {
    let word = args.bytes()?;
    let kind = KINDS.into_iter().find(|kind| word.eq_ignore_ascii_case(kind.as_bytes()));
    kind.map(Into::into).ok_or_else(|| Refusal::invalid("the kind is none of totp, webauthn, recovery"))
}

fn id(args: &mut Args<'_>) -> Result<Box<str>> {
    let id = args.text()?;
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(Refusal::invalid(format!("a factor's id is 1 to {ID_BYTES_MAX} bytes")));
    }
    Ok(id.into())
}

/// Writes the head and the open fields of a factor.
fn write_factor(reply: &mut Reply<'_>, factor: &FactorView, fields: usize) {
    reply.map(fields);
    reply.bulk("kind");
    reply.bulk(factor.kind.as_bytes());
    reply.bulk("id");
    reply.bulk(factor.id.as_bytes());
    reply.bulk("label");
    reply.bulk_or_null(factor.label.as_ref().map(|label| label.as_bytes()));
    reply.bulk("created_at");
    reply.bulk(time_text(factor.created_at_ms));
}
