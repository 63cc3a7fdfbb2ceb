//! ACL: who may do what.

use super::Call;
use crate::acl::{Actor, generate};
use crate::args::{Args, number};
use crate::command::{Category, Lookup, table};
use crate::connection::Killed;
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;
use crate::shared::now_ms;

/// Bits of a secret that nobody chose.
const SECRET_BITS_DEFAULT: u64 = 256;
/// The most bits that GENPASS gives.
const SECRET_BITS_MAX: u64 = 4096;
/// How many entries LOG answers unless told.
const LOG_COUNT_DEFAULT: usize = 10;

/// `ACL WHOAMI`
pub(crate) fn who_am_i(call: &Call<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.bulk(call.actor.name().as_bytes());
    Ok(())
}

/// `ACL LIST`
pub(crate) fn list(call: &Call<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let users = call.shared.acl.users();
    let line = |actor: &Actor| {
        let state = if actor.is_enabled() { "on" } else { "off" };
        let secrets = actor.fingerprints().iter().map(|name| format!("!{name}")).collect::<Vec<_>>().join(" ");
        let parts = [
            format!("user {} {state}", actor.name()),
            secrets,
            actor.pool_rules(),
            actor.attr_rules(),
            actor.command_rules(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    };
    reply.bulks(users.values().map(|actor| line(actor)));
    Ok(())
}

/// `ACL USERS`
pub(crate) fn users(call: &Call<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let users = call.shared.acl.users();
    reply.bulks(users.keys().map(|name| name.as_bytes()));
    Ok(())
}

/// `ACL SETUSER username [rule ...]`
pub(crate) fn set_user(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let name = args.text()?;
    let mut rules = Vec::with_capacity(args.left());
    while args.left() > 0 {
        rules.push(args.bytes()?);
    }
    call.shared.acl.set_user(&call.shared.store, name, &rules)?;
    close_connections(call, name);
    reply.ok();
    Ok(())
}

/// `ACL DELUSER username ...`
pub(crate) fn del_user(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let names = args.rest()?;
    let deleted = call.shared.acl.delete_users(&call.shared.store, &names)?;
    names.iter().for_each(|name| close_connections(call, name));
    reply.count(deleted as u64);
    Ok(())
}

/// Closes the connections of a user whose rules changed; they authenticate anew.
fn close_connections(call: &Call<'_>, name: &str) {
    call.shared.clients.kill(&Killed { user: Some(name.to_string()), ..Killed::default() });
}

/// `ACL GETUSER username`
pub(crate) fn get_user(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let Some(actor) = call.shared.acl.user(args.text()?) else {
        reply.null();
        return Ok(());
    };
    reply.map(6);
    reply.bulk("flags");
    reply.bulks([if actor.is_enabled() { "on" } else { "off" }].into_iter());
    reply.bulk("passwords");
    reply.bulks(actor.fingerprints().into_iter());
    for (name, rules) in
        [("commands", actor.command_rules()), ("keys", actor.pool_rules()), ("channels", actor.attr_rules())]
    {
        reply.bulk(name);
        reply.bulk(rules);
    }
    reply.bulk("selectors");
    reply.array(0);
    Ok(())
}

/// `ACL CAT [category]`
pub(crate) fn categories(_: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    if args.left() == 0 {
        reply.bulks(Category::ALL.iter().map(|category| category.name()));
        return Ok(());
    }
    let category = Category::parse(args.text()?).ok_or_else(|| Refusal::err("Unknown category: see ACL CAT"))?;
    let entries = table().entries().iter();
    let names: Vec<_> = entries
        .filter(|entry| entry.command.category == category && entry.subcommands.is_empty())
        .map(|entry| &entry.name)
        .collect();
    reply.bulks(names.into_iter());
    Ok(())
}

/// `ACL DRYRUN username command [arg ...]`
pub(crate) fn dry_run(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let actor = call.shared.acl.user(args.text()?).ok_or_else(|| Refusal::err("User not found: see ACL USERS"))?;
    let words = args.words();
    let skip = words.len() - args.left();
    let first = args.bytes()?;
    let Lookup::Found(entry) = table().find(first, args.peek()) else {
        return Err(Refusal::err("Command not found: see COMMAND LIST"));
    };
    if !entry.accepts(words.len() - skip) {
        return Err(Refusal::err(format!("wrong number of arguments for '{}' command", entry.name)));
    }
    match actor.check(entry, entry.pool_at().and_then(|at| words.get(skip + at))) {
        Ok(()) => reply.ok(),
        Err(refused) => reply.bulk(refused.sentence()),
    }
    Ok(())
}

/// `ACL GENPASS [bits]`
pub(crate) fn gen_pass(_: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let bits = if args.left() > 0 { args.number("the number of bits")? } else { SECRET_BITS_DEFAULT };
    if !(1..=SECRET_BITS_MAX).contains(&bits) {
        return Err(Refusal::err("ACL GENPASS takes 1 to 4096 bits"));
    }
    reply.bulk(generate(bits as usize).as_bytes());
    Ok(())
}

/// `ACL LOG [count | RESET]`
pub(crate) fn log(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    if args.keyword("RESET") {
        call.shared.acl.refused.reset();
        reply.ok();
        return Ok(());
    }
    let count = args.peek().map(|word| number(word, "the count")).transpose()?;
    let entries = call.shared.acl.refused.newest(count.map_or(LOG_COUNT_DEFAULT, |count| count as usize));
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk("count");
        reply.count(entry.count);
        let context = if entry.in_multi { "multi" } else { "toplevel" };
        let client = format!("addr={}", entry.address);
        for (name, text) in
            [("reason", entry.reason), ("context", context), ("object", &entry.object), ("username", &entry.user)]
        {
            reply.bulk(name);
            reply.bulk(text);
        }
        reply.bulk("age-seconds");
        reply.bulk(format!("{:.3}", now_ms().saturating_sub(entry.created_ms) as f64 / 1000.0));
        reply.bulk("client-info");
        reply.bulk(client);
        for (name, number) in [
            ("entry-id", entry.id),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ] {
            reply.bulk(name);
            reply.count(number);
        }
    }
    Ok(())
}
