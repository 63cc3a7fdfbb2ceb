//! How a pool is, and its keys.

use stoa_engine::pool::view::{KeyInfo, PoolInfo};

use super::{Call, time_text};
use crate::args::{Args, Options, Takes};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// `POOL.INFO pool`
pub(crate) fn info(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let options = Options::read(&mut args, &[("MINSEQ", Takes::Word)])?;
    args.end()?;
    call.snapshot(&pool, &options)?;
    write_info(reply, &pool.info()?);
    Ok(())
}

/// `POOL.KEY pool STATUS | ROTATE | REWRAP uri`
pub(crate) fn key(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    if args.keyword("ROTATE") {
        args.end()?;
        pool.rotate_key()?;
    } else if args.keyword("REWRAP") {
        let uri = args.text()?;
        args.end()?;
        pool.rewrap_key(uri)?;
    } else if args.keyword("STATUS") {
        args.end()?;
    } else {
        return Err(Refusal::invalid("POOL.KEY pool STATUS, ROTATE or REWRAP uri"));
    }
    let info = pool.info()?;
    reply.map(6);
    write_key_fields(reply, &info.key);
    reply.bulk("seq");
    reply.count(info.seq.0);
    Ok(())
}

fn write_key_fields(reply: &mut Reply<'_>, key: &KeyInfo) {
    reply.bulk("provider");
    reply.bulk(&key.provider);
    reply.bulk("key_id");
    reply.bulk(&key.key_id);
    reply.bulk("key_epoch");
    reply.count(u64::from(key.key_epoch));
    reply.bulk("epochs_in_use");
    reply.array(key.epochs_in_use.len());
    key.epochs_in_use.iter().for_each(|epoch| reply.count(u64::from(*epoch)));
    reply.bulk("bytes_to_reseal");
    reply.count(key.bytes_to_reseal);
}

fn write_info(reply: &mut Reply<'_>, info: &PoolInfo) {
    reply.map(24);
    reply.bulk("id");
    reply.bulk(info.id.text());
    reply.bulk("state");
    reply.bulk(info.state);
    reply.bulk("state_reason");
    reply.bulk_or_null(info.state_reason.as_ref());
    for (name, number) in
        [("users", info.users), ("groups", info.groups), ("seq", info.seq.0), ("durable_seq", info.durable_seq.0)]
    {
        reply.bulk(name);
        reply.count(number);
    }
    reply.bulk("epoch");
    reply.count(u64::from(info.epoch));
    reply.bulk("role");
    reply.bulk(info.role);
    reply.bulk("chain");
    reply.bulk(&info.chain);
    reply.bulk("digest");
    reply.bulk_or_null(info.digest.as_ref());
    // No migration yet: this store is the truth.
    reply.bulk("phase");
    reply.bulk("final");
    reply.bulk("schema");
    reply.bulk(&info.schema);
    reply.bulk("key");
    reply.map(5);
    write_key_fields(reply, &info.key);
    for (name, number) in [
        ("disk_live_bytes", info.disk_live_bytes),
        ("disk_garbage_bytes", info.disk_garbage_bytes),
        ("log_bytes_unflushed", info.log_bytes_unflushed),
        ("runs", info.runs),
    ] {
        reply.bulk(name);
        reply.count(number);
    }
    reply.bulk("last_verify");
    reply.bulk_or_null(info.last_verify_ms.map(time_text));
    reply.bulk("erasure_due_at");
    reply.bulk_or_null(info.erasure_due_ms.map(time_text));
    reply.bulk("name");
    reply.bulk(info.name.as_bytes());
    reply.bulk("schema_version");
    reply.count(info.schema_version);
    reply.bulk("key_epoch");
    reply.count(u64::from(info.key.key_epoch));
    reply.bulk("ordinals_left");
    reply.count(info.ordinals_left);
}
