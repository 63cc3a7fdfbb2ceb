//! Identities at other providers, linked to users.

use stoa_engine::pool::request::Op;

use super::{Call, Footprint, Planned, Show, listing};
use crate::args::{Args, Options, Takes};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// The longest provider's name and subject, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// `IDENTITY.LINK pool user provider subject [TOKEN token]`
pub(crate) fn link(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let (provider, subject) = (name(&mut args)?, name(&mut args)?);
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    args.end()?;
    let footprint = Footprint { claims: true, ..Footprint::of(pool.name()).on([&user]) };
    let op = Op::IdentityLink { user, provider, subject };
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `IDENTITY.UNLINK pool user provider subject [TOKEN token]`
pub(crate) fn unlink(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let (provider, subject) = (name(&mut args)?, name(&mut args)?);
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    args.end()?;
    let footprint = Footprint { releases: true, ..Footprint::of(pool.name()).on([&user]) };
    let op = Op::IdentityUnlink { user, provider, subject };
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `IDENTITY.FIND pool provider subject [MINSEQ seq]`
pub(crate) fn find(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let (provider, subject) = (name(&mut args)?, name(&mut args)?);
    let options = Options::read(&mut args, &[("MINSEQ", Takes::Word)])?;
    args.end()?;
    let sub = call.snapshot(&pool, &options)?.find_identity(&provider, &subject)?;
    reply.bulk_or_null(sub.map(|sub| sub.text()));
    Ok(())
}

/// `IDENTITY.LIST pool user [MINSEQ seq] [LIMIT n] [CURSOR cursor]`
pub(crate) fn list(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let allowed: &[(&str, Takes)] = &[("MINSEQ", Takes::Word), ("LIMIT", Takes::Word), ("CURSOR", Takes::Word)];
    let options = Options::read(&mut args, allowed)?;
    args.end()?;
    let page = pool.list_identities(&user, &listing::page(call, &options)?)?;
    listing::write_page(reply, "identities", &page, |reply, identity| {
        reply.map(2);
        reply.bulk("provider");
        reply.bulk(identity.provider.as_bytes());
        reply.bulk("subject");
        reply.bulk(identity.subject.as_bytes());
    });
    Ok(())
}

fn name(args: &mut Args<'_>) -> Result<Box<str>> {
    let name = args.text()?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Refusal::invalid(format!("a provider and a subject are 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(name.into())
}
