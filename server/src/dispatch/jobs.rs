//! Maintenance of a pool, done in the background.

use stoa_engine::pool::view::Page;
use stoa_engine::{Job, JobKind};

use super::{Call, listing};
use crate::args::Args;
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// `POOL.FLUSH pool`
pub(crate) fn flush(call: &Call<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    start(call, args, reply, JobKind::Flush)
}

/// `POOL.COMPACT pool`
pub(crate) fn compact(call: &Call<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    start(call, args, reply, JobKind::Compact)
}

/// `POOL.VERIFY pool`
pub(crate) fn verify(call: &Call<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    start(call, args, reply, JobKind::Verify)
}

fn start(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>, kind: JobKind) -> Result<()> {
    let pool = call.pool(&mut args)?;
    args.end()?;
    write_job(reply, &pool.start_job(kind)?);
    Ok(())
}

/// `JOB.STATUS pool job`
pub(crate) fn status(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let id = args.number("the job")?;
    args.end()?;
    let job = pool.job(id).ok_or_else(|| Refusal::invalid("there is no such job; see JOB.LIST"))?;
    write_job(reply, &job);
    Ok(())
}

/// `JOB.LIST pool`
pub(crate) fn list(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    args.end()?;
    let page = Page { items: pool.jobs(), cursor: None, seq: pool.seq() };
    listing::write_page(reply, "jobs", &page, write_job);
    Ok(())
}

/// `JOB.CANCEL pool job`
pub(crate) fn cancel(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let id = args.number("the job")?;
    args.end()?;
    write_job(reply, &pool.cancel_job(id)?);
    Ok(())
}

fn write_job(reply: &mut Reply<'_>, job: &Job) {
    reply.map(6);
    reply.bulk("job");
    reply.count(job.id);
    reply.bulk("state");
    reply.bulk(job.state.name());
    reply.bulk("kind");
    reply.bulk(job.kind);
    reply.bulk("done");
    reply.count(job.done);
    reply.bulk("total");
    reply.count(job.total);
    reply.bulk("message");
    reply.bulk_or_null(job.message.as_ref());
}
