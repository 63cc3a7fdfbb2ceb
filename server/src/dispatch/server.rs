//! COMMAND, INFO, CONFIG, ROLE, WAIT, AUDIT, STATS: about the server itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use super::{Call, time_text};
use crate::acl::matches;
use crate::args::{Args, Options, Takes};
use crate::command;
use crate::connection::Session;
use crate::refusal::Result;
use crate::resp::Reply;
use crate::shared::{Shared, now_ms};

/// The Redis whose protocol is spoken, for clients that look.
const REDIS_VERSION: &str = "7.2.0";
/// How many entries AUDIT answers unless told.
const AUDIT_COUNT_DEFAULT: u64 = 100;

/// `COMMAND`
pub(crate) fn command(_: &mut Session, args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    match command::table().named(b"COMMAND") {
        Some(entry) if args.left() > 0 => command::help(entry, reply),
        _ => command::command(reply),
    }
    Ok(())
}

/// `COMMAND COUNT`
pub(crate) fn command_count(_: &mut Session, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    command::command_count(reply);
    Ok(())
}

/// `COMMAND INFO`
pub(crate) fn command_info(_: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    command::command_info(&mut args, reply)
}

/// `COMMAND DOCS`
pub(crate) fn command_docs(_: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    command::command_docs(&mut args, reply)
}

/// `COMMAND LIST`
pub(crate) fn command_list(_: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    command::command_list(&mut args, reply)
}

/// `COMMAND GETKEYS`
pub(crate) fn command_getkeys(_: &mut Session, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    command::command_getkeys(&mut args, reply)
}

/// `INFO [section ...]`
pub(crate) fn info(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let mut wanted = BTreeSet::new();
    while args.left() > 0 {
        wanted.insert(args.text()?.to_ascii_lowercase());
    }
    let everything = wanted.is_empty() || ["all", "default", "everything"].iter().any(|word| wanted.contains(*word));
    let mut text = String::new();
    for (name, lines) in sections(call.shared) {
        if everything || wanted.contains(&name.to_ascii_lowercase()) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            for (field, value) in lines {
                let _ = write!(text, "{field}:{value}\r\n");
            }
        }
    }
    reply.bulk(text);
    Ok(())
}

type Section = (&'static str, Vec<(String, String)>);

fn sections(shared: &Shared) -> Vec<Section> {
    let lines =
        |pairs: &[(&str, String)]| pairs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    let limits = &shared.config.limits;
    let uptime = shared.started_at.elapsed().as_secs();
    let port = shared.config.listen.first().map_or(0, std::net::SocketAddr::port);
    let (rss, peak) = memory_bytes();
    let stats = &shared.stats;
    let commands = stats.by_command();
    let errors = stats.by_error();
    let pools = shared.store.pool_names().len();
    vec![
        (
            "Server",
            lines(&[
                ("redis_version", REDIS_VERSION.to_string()),
                ("redis_mode", "standalone".to_string()),
                ("stoa_version", env!("CARGO_PKG_VERSION").to_string()),
                ("os", std::env::consts::OS.to_string()),
                ("arch_bits", usize::BITS.to_string()),
                ("process_id", std::process::id().to_string()),
                ("run_id", shared.node_id.clone()),
                ("tcp_port", port.to_string()),
                ("server_time_usec", (now_ms() * 1000).to_string()),
                ("uptime_in_seconds", uptime.to_string()),
                ("uptime_in_days", (uptime / 86_400).to_string()),
            ]),
        ),
        (
            "Clients",
            lines(&[
                ("connected_clients", shared.clients.count().to_string()),
                ("maxclients", limits.connections.to_string()),
                ("blocked_clients", "0".to_string()),
            ]),
        ),
        (
            "Memory",
            lines(&[
                ("used_memory", rss.to_string()),
                ("used_memory_rss", rss.to_string()),
                ("used_memory_peak", peak.to_string()),
                ("maxmemory", "0".to_string()),
                ("maxmemory_policy", "noeviction".to_string()),
            ]),
        ),
        (
            "Persistence",
            lines(&[
                ("loading", "0".to_string()),
                ("async_loading", "0".to_string()),
                ("aof_enabled", "1".to_string()),
                ("rdb_bgsave_in_progress", "0".to_string()),
            ]),
        ),
        (
            "Stats",
            lines(&[
                ("total_connections_received", stats.connections.load(Relaxed).to_string()),
                ("rejected_connections", stats.rejected.load(Relaxed).to_string()),
                ("total_commands_processed", commands.iter().map(|counts| counts.calls).sum::<u64>().to_string()),
                ("total_error_replies", errors.iter().map(|(_, count)| count).sum::<u64>().to_string()),
                ("password_checks_waiting", shared.hashing.waiting().to_string()),
            ]),
        ),
        (
            "Replication",
            lines(&[
                ("role", "master".to_string()),
                ("connected_slaves", "0".to_string()),
                ("master_replid", shared.node_id.clone()),
                ("master_repl_offset", "0".to_string()),
            ]),
        ),
        ("Modules", Vec::new()),
        (
            "Commandstats",
            commands
                .iter()
                .map(|counts| {
                    let per_call = counts.micros as f64 / counts.calls.max(1) as f64;
                    let value = format!(
                        "calls={},usec={},usec_per_call={per_call:.2},rejected_calls=0,failed_calls={}",
                        counts.calls, counts.micros, counts.errors
                    );
                    (format!("cmdstat_{}", counts.name), value)
                })
                .collect(),
        ),
        (
            "Errorstats",
            errors.iter().map(|(word, count)| (format!("errorstat_{word}"), format!("count={count}"))).collect(),
        ),
        ("Cluster", lines(&[("cluster_enabled", "0".to_string())])),
        ("Stoa", lines(&[("pools", pools.to_string())])),
        ("Keyspace", Vec::new()),
    ]
}

/// Memory in use now and at most so far, as Linux tells it.
pub(crate) fn memory_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
}

/// `CONFIG GET pattern ...`
pub(crate) fn config_get(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let config = &call.shared.config;
    let limits = &config.limits;
    let port = config.listen.first().map_or(0, std::net::SocketAddr::port);
    let tls_port = config.tls.as_ref().and_then(|tls| tls.listen.first()).map_or(0, std::net::SocketAddr::port);
    let settings = [
        ("appendfsync", "always".to_string()),
        ("appendonly", "yes".to_string()),
        ("client-output-buffer-limit", format!("normal {} 0 0", limits.output_buffer_bytes)),
        ("cluster-enabled", "no".to_string()),
        ("databases", "1".to_string()),
        ("io-threads", "1".to_string()),
        ("maxclients", limits.connections.to_string()),
        ("maxmemory", "0".to_string()),
        ("maxmemory-policy", "noeviction".to_string()),
        ("port", port.to_string()),
        ("proto-max-bulk-len", limits.argument_bytes.to_string()),
        ("save", String::new()),
        ("timeout", "0".to_string()),
        ("tls-port", tls_port.to_string()),
    ];
    let mut patterns = Vec::new();
    while args.left() > 0 {
        patterns.push(args.bytes()?.to_ascii_lowercase());
    }
    let chosen = |(name, _): &&(&str, String)| patterns.iter().any(|pattern| matches(pattern, name.as_bytes()));
    let chosen: Vec<_> = settings.iter().filter(chosen).collect();
    reply.map(chosen.len());
    for (name, value) in chosen {
        reply.bulk(name);
        reply.bulk(value);
    }
    Ok(())
}

/// `ROLE`
pub(crate) fn role(_: &Call<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.array(3);
    reply.bulk("master");
    reply.count(0);
    reply.array(0);
    Ok(())
}

/// `WAIT n ms`: there are no replicas.
pub(crate) fn wait(_: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    args.number("the number of replicas")?;
    args.number("the time in milliseconds")?;
    reply.count(0);
    Ok(())
}

/// `AUDIT [FROM n] [COUNT count]`
pub(crate) fn audit(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let options = Options::read(&mut args, &[("FROM", Takes::Word), ("COUNT", Takes::Word)])?;
    args.end()?;
    let from = options.number("FROM")?.unwrap_or(0);
    let count = options.number("COUNT")?.unwrap_or(AUDIT_COUNT_DEFAULT);
    let entries = call.shared.audit.from(from, count as usize);
    reply.array(entries.len());
    for entry in entries {
        reply.map(8);
        reply.bulk("n");
        reply.count(entry.n);
        reply.bulk("time");
        reply.bulk(time_text(entry.time_ms));
        for (name, text) in [("user", &entry.user), ("command", &entry.command)] {
            reply.bulk(name);
            reply.bulk(text);
        }
        reply.bulk("pool");
        reply.bulk_or_null(entry.pool.as_ref());
        for (name, text) in [("outcome", &entry.outcome), ("address", &entry.address)] {
            reply.bulk(name);
            reply.bulk(text);
        }
        reply.bulk("count");
        reply.count(entry.count);
    }
    Ok(())
}

/// `STATS`
pub(crate) fn stats(call: &Call<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let (commands, errors) = (call.shared.stats.by_command(), call.shared.stats.by_error());
    reply.map(2);
    reply.bulk("commands");
    reply.map(commands.len());
    for counts in commands {
        reply.bulk(counts.name);
        reply.map(3);
        for (name, number) in [("calls", counts.calls), ("errors", counts.errors), ("micros", counts.micros)] {
            reply.bulk(name);
            reply.count(number);
        }
    }
    reply.bulk("errors");
    reply.map(errors.len());
    for (word, count) in errors {
        reply.bulk(word);
        reply.count(count);
    }
    Ok(())
}
