//! COMMAND and its subcommands: what clients ask to learn how requests look.

use super::declared::{Category, Flags, Run};
use super::entry::{Entry, Lookup, table};
use super::syntax::{Argument, Kind};
use crate::acl::matches;
use crate::args::Args;
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// `COMMAND`
pub(crate) fn command(reply: &mut Reply<'_>) {
    reply.array(table().top().count());
    table().top().for_each(|entry| info(entry, reply));
}

/// `COMMAND COUNT`
pub(crate) fn command_count(reply: &mut Reply<'_>) {
    reply.count(table().top().count() as u64);
}

/// `COMMAND INFO [command ...]`
pub(crate) fn command_info(args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    if args.left() == 0 {
        command(reply);
        return Ok(());
    }
    reply.array(args.left());
    while args.left() > 0 {
        match table().named(args.bytes()?) {
            Some(entry) => info(entry, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

/// `COMMAND LIST [FILTERBY …]`
pub(crate) fn command_list(args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let mut names: Vec<&Entry> = table().top().collect();
    if args.keyword("FILTERBY") {
        if args.keyword("MODULE") {
            args.bytes()?;
            names.clear();
        } else if args.keyword("ACLCAT") {
            let category = Category::parse(args.text()?);
            names.retain(|entry| Some(entry.command.category) == category);
        } else if args.keyword("PATTERN") {
            let pattern = args.bytes()?.to_ascii_lowercase();
            names.retain(|entry| matches(&pattern, entry.name.as_bytes()));
        } else {
            return Err(Refusal::err("syntax error"));
        }
    }
    args.end()?;
    reply.bulks(names.iter().map(|entry| &entry.name));
    Ok(())
}

/// `COMMAND GETKEYS command [arg ...]`
pub(crate) fn command_getkeys(args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let words = args.words();
    let skip = words.len() - args.left();
    let first = args.bytes()?;
    let Lookup::Found(entry) = table().find(first, args.peek()) else {
        return Err(Refusal::err("Invalid command specified"));
    };
    if !entry.accepts(words.len() - skip) {
        return Err(Refusal::err("Invalid number of arguments specified for command"));
    }
    let Some(pool) = entry.pool_at().and_then(|at| words.get(skip + at)) else {
        return Err(Refusal::err("The command has no key arguments"));
    };
    reply.bulks([pool].into_iter());
    Ok(())
}

/// `COMMAND DOCS [command ...]`
pub(crate) fn command_docs(args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let mut chosen: Vec<&'static Entry> = Vec::new();
    if args.left() == 0 {
        chosen.extend(table().top());
    }
    while args.left() > 0 {
        chosen.extend(table().named(args.bytes()?));
    }
    reply.map(chosen.len());
    chosen.into_iter().for_each(|entry| docs(entry, reply));
    Ok(())
}

/// The lines of `… HELP`.
pub(crate) fn help(entry: &Entry, reply: &mut Reply<'_>) {
    reply.array(entry.subcommands.len() * 2 + 1);
    reply.bulk(format!("{} <subcommand> [<arg> ...]. Subcommands are:", entry.spoken));
    for index in &entry.subcommands {
        let command = table().entries()[*index].command;
        reply.bulk(format!("{} {}", command.name, command.syntax).trim_end());
        reply.bulk(format!("    {}. Answers {}.", command.summary, command.answers));
    }
}

/// One element of COMMAND: ten fields, in Redis's order.
fn info(entry: &Entry, reply: &mut Reply<'_>) {
    let key = entry.pool_at().unwrap_or(0) as i64;
    reply.array(10);
    reply.bulk(&entry.name);
    reply.integer(entry.arity());
    let flags = flags(entry);
    reply.array(flags.len());
    flags.into_iter().for_each(|flag| reply.simple(flag));
    reply.integer(key);
    reply.integer(key);
    reply.integer(i64::from(key > 0));
    reply.array(1);
    reply.simple(category(entry.command.category));
    reply.array(0);
    key_specifications(entry, reply);
    reply.array(entry.subcommands.len());
    entry.subcommands.iter().for_each(|index| info(&table().entries()[*index], reply));
}

/// Redis's flags that say the same.
fn flags(entry: &Entry) -> Vec<&'static str> {
    let command = entry.command;
    let mut flags = Vec::new();
    if entry.command.names_pool {
        flags.push(if command.flags.has(Flags::WRITE) { "write" } else { "readonly" });
    }
    if matches!(command.category, Category::Admin | Category::Dangerous | Category::Audit) {
        flags.push("admin");
    }
    if command.flags.has(Flags::NO_MULTI) {
        flags.push("no_multi");
    }
    if command.flags.has(Flags::NO_AUTH) {
        flags.push("no_auth");
    }
    if command.flags.has(Flags::BLOCKS) {
        flags.push("blocking");
    }
    if matches!(command.run, Run::Session(_)) {
        flags.push("fast");
    }
    flags.push("noscript");
    flags
}

fn category(category: Category) -> &'static str {
    match category {
        Category::Connection => "@connection",
        Category::Read => "@read",
        Category::Bulk => "@bulk",
        Category::Write => "@write",
        Category::Signin => "@signin",
        Category::Credentials => "@credentials",
        Category::Schema => "@schema",
        Category::Keys => "@keys",
        Category::Replication => "@replication",
        Category::Migration => "@migration",
        Category::Audit => "@audit",
        Category::Dangerous => "@dangerous",
        Category::Admin => "@admin",
    }
}

fn key_specifications(entry: &Entry, reply: &mut Reply<'_>) {
    let Some(at) = entry.pool_at() else { return reply.array(0) };
    reply.array(1);
    reply.map(3);
    reply.bulk("flags");
    reply.array(1);
    reply.simple(if entry.command.flags.has(Flags::WRITE) { "RW" } else { "RO" });
    reply.bulk("begin_search");
    reply.map(2);
    reply.bulk("type");
    reply.bulk("index");
    reply.bulk("spec");
    reply.map(1);
    reply.bulk("index");
    reply.count(at as u64);
    reply.bulk("find_keys");
    reply.map(2);
    reply.bulk("type");
    reply.bulk("range");
    reply.bulk("spec");
    reply.map(3);
    for (name, number) in [("lastkey", 0), ("keystep", 1), ("limit", 0)] {
        reply.bulk(name);
        reply.count(number);
    }
}

/// One entry of COMMAND DOCS: name, then a map.
fn docs(entry: &Entry, reply: &mut Reply<'_>) {
    let command = entry.command;
    reply.bulk(&entry.name);
    let fields = 4 + usize::from(!entry.arguments.is_empty()) + usize::from(!entry.subcommands.is_empty());
    reply.map(fields);
    for (name, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.category.name()),
        ("complexity", if command.category == Category::Bulk { "O(N) in what is read" } else { "O(1)" }),
    ] {
        reply.bulk(name);
        reply.bulk(text);
    }
    if !entry.arguments.is_empty() {
        reply.bulk("arguments");
        arguments(&entry.arguments, reply);
    }
    if !entry.subcommands.is_empty() {
        reply.bulk("subcommands");
        reply.map(entry.subcommands.len());
        entry.subcommands.iter().for_each(|index| docs(&table().entries()[*index], reply));
    }
}

fn arguments(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    arguments.iter().for_each(|each| argument(each, reply));
}

fn argument(argument: &Argument, reply: &mut Reply<'_>) {
    let (kind, inner) = match &argument.kind {
        Kind::Text => ("string", None),
        Kind::Integer => ("integer", None),
        Kind::Key => ("key", None),
        Kind::PureToken => ("pure-token", None),
        Kind::OneOf(items) => ("oneof", Some(items)),
        Kind::Block(items) => ("block", Some(items)),
    };
    let is_key = argument.kind == Kind::Key;
    let flags = [("optional", argument.optional), ("multiple", argument.multiple)];
    let flags: Vec<_> = flags.into_iter().filter_map(|(name, set)| set.then_some(name)).collect();
    let plain = inner.is_none();
    let fields = 2
        + usize::from(plain)
        + usize::from(is_key)
        + usize::from(argument.token.is_some())
        + usize::from(!flags.is_empty())
        + usize::from(inner.is_some());
    reply.map(fields);
    reply.bulk("name");
    reply.bulk(&argument.name);
    reply.bulk("type");
    reply.bulk(kind);
    if plain {
        reply.bulk("display_text");
        reply.bulk(&argument.name);
    }
    if is_key {
        reply.bulk("key_spec_index");
        reply.count(0);
    }
    if let Some(token) = &argument.token {
        reply.bulk("token");
        reply.bulk(token);
    }
    if !flags.is_empty() {
        reply.bulk("flags");
        reply.array(flags.len());
        flags.into_iter().for_each(|flag| reply.simple(flag));
    }
    if let Some(items) = inner {
        reply.bulk("arguments");
        arguments(items, reply);
    }
}
