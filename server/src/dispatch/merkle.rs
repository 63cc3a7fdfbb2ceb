//! The digest tree, by which two sides are compared without showing values.

use stoa_engine::Pool;
use stoa_format::Seq;

use super::Call;
use crate::args::{Args, Options, Takes};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// The most nodes or leaves of one request.
const NODES_MAX: usize = 4096;

/// `MERKLE.KEY pool`
pub(crate) fn key(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    args.end()?;
    let (id, key) = pool.merkle_key()?;
    reply.map(2);
    reply.bulk("key_id");
    reply.bulk(id);
    reply.bulk("key");
    reply.bulk(hex(key.as_slice()));
    Ok(())
}

/// `MERKLE.ROOT pool`
pub(crate) fn root(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    min_seq(&pool, &mut args)?;
    args.end()?;
    let root = pool.merkle_root()?;
    reply.map(4);
    for (name, number) in [("seq", root.seq.0), ("depth", u64::from(root.depth)), ("users", root.users)] {
        reply.bulk(name);
        reply.count(number);
    }
    reply.bulk("digest");
    reply.bulk(digest_text(root.digest));
    Ok(())
}

/// `MERKLE.NODES pool level index ...`
pub(crate) fn nodes(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let level = args.number("the level")?;
    let level = u32::try_from(level).map_err(|_| Refusal::invalid("there is no such level"))?;
    min_seq(&pool, &mut args)?;
    let (seq, digests) = pool.merkle_nodes(level, &numbers(&mut args)?)?;
    reply.map(2);
    reply.bulk("seq");
    reply.count(seq.0);
    reply.bulk("digests");
    reply.bulks(digests.into_iter().map(digest_text));
    Ok(())
}

/// `MERKLE.LEAF pool leaf ...`
pub(crate) fn leaf(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    min_seq(&pool, &mut args)?;
    let (seq, leaves) = pool.merkle_leaf(&numbers(&mut args)?)?;
    reply.map(2);
    reply.bulk("seq");
    reply.count(seq.0);
    reply.bulk("leaves");
    reply.array(leaves.len());
    for users in leaves {
        reply.array(users.len());
        for (sub, version, digest) in users {
            reply.array(3);
            reply.bulk(sub.text());
            reply.count(version);
            reply.bulk(digest_text(digest));
        }
    }
    Ok(())
}

/// Reads `MINSEQ seq`: the newest state is read, and has to be at or after it.
fn min_seq(pool: &Pool, args: &mut Args<'_>) -> Result<()> {
    let options = Options::read(args, &[("MINSEQ", Takes::Word)])?;
    pool.snapshot_at(options.number("MINSEQ")?.map(Seq))?;
    Ok(())
}

fn numbers(args: &mut Args<'_>) -> Result<Vec<u64>> {
    if args.left() > NODES_MAX {
        return Err(Refusal::limit(format!("at most {NODES_MAX} at once")));
    }
    let mut numbers = Vec::with_capacity(args.left());
    while args.left() > 0 {
        numbers.push(args.number("an index")?);
    }
    Ok(numbers)
}

/// A digest as text: its 16 bytes, little-endian, in hexadecimal.
pub(super) fn digest_text(digest: u128) -> String {
    hex(&digest.to_le_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
