//! CLUSTER: one node that has all slots, so that cluster-aware clients work.

use super::Call;
use crate::args::Args;
use crate::connection::Session;
use crate::refusal::Result;
use crate::resp::Reply;

/// How many slots there are.
const SLOTS: u16 = 16_384;

/// The slot of a pool's name: CRC16 (XMODEM) of it, or of what stands in the first `{…}`, as in Redis
/// Cluster's specification.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tagged = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let close = key[open + 1..].iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &key[open + 1..open + 1 + close])
    });
    let crc = tagged.unwrap_or(key).iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}

/// `CLUSTER KEYSLOT key`
pub(crate) fn key_slot(_: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.count(u64::from(slot(args.bytes()?)));
    Ok(())
}

/// `CLUSTER MYID`
pub(crate) fn my_id(call: &Call<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.bulk(&call.shared.node_id);
    Ok(())
}

/// `CLUSTER INFO`
pub(crate) fn info(_: &Call<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.bulk(format!(
        "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n\
         cluster_current_epoch:1\r\ncluster_my_epoch:1\r\n"
    ));
    Ok(())
}

/// The address that this client should use: the configured one, or the one that it has reached.
fn own_address(session: &Session) -> (String, u16) {
    let announced = session.shared.config.announce.as_deref().and_then(|announce| {
        let (host, port) = announce.rsplit_once(':')?;
        Some((host.trim_matches(['[', ']']).to_string(), port.parse().ok()?))
    });
    let reached = || session.local.map(|local| (local.ip().to_canonical().to_string(), local.port()));
    announced.or_else(reached).unwrap_or_default()
}

/// `CLUSTER SLOTS`
pub(crate) fn slots(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let (host, port) = own_address(session);
    reply.array(1);
    reply.array(3);
    reply.count(0);
    reply.count(u64::from(SLOTS - 1));
    reply.array(4);
    reply.bulk(host);
    reply.count(u64::from(port));
    reply.bulk(&session.shared.node_id);
    reply.array(0);
    Ok(())
}

/// `CLUSTER SHARDS`
pub(crate) fn shards(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let (host, port) = own_address(session);
    reply.array(1);
    reply.map(2);
    reply.bulk("slots");
    reply.array(2);
    reply.count(0);
    reply.count(u64::from(SLOTS - 1));
    reply.bulk("nodes");
    reply.array(1);
    reply.map(7);
    reply.bulk("id");
    reply.bulk(&session.shared.node_id);
    reply.bulk("port");
    reply.count(u64::from(port));
    for (name, text) in [("ip", host.as_str()), ("endpoint", &host), ("role", "master")] {
        reply.bulk(name);
        reply.bulk(text);
    }
    reply.bulk("replication-offset");
    reply.count(0);
    reply.bulk("health");
    reply.bulk("online");
    Ok(())
}

/// `CLUSTER NODES`
pub(crate) fn nodes(session: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let (host, port) = own_address(session);
    let id = &session.shared.node_id;
    reply.bulk(format!("{id} {host}:{port}@{port} myself,master - 0 0 1 connected 0-{}\n", SLOTS - 1));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // The first from Redis Cluster's specification (CRC16 of "123456789" is 0x31C3), the others from a Redis server.
        for (key, expected) in
            [("123456789", 0x31C3), ("foo", 12182), ("{foo}.bar", 12182), ("", 0), ("{}x", slot(b"{}x"))]
        {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
