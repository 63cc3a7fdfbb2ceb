//! Groups and memberships.

use stoa_engine::Pool;
use stoa_engine::pool::request::{GroupFields, Op};
use stoa_engine::pool::view::GroupView;

use super::{Call, Footprint, Planned, Show, listing, time_text};
use crate::args::{Args, Options, Takes, object};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 128;
/// The most users of one ADD or REMOVE.
const MEMBERS_MAX: usize = 1000;

const FIELDS: &[(&str, Takes)] = &[
    ("DESCRIPTION", Takes::Word),
    ("PRECEDENCE", Takes::Word),
    ("ROLE", Takes::Word),
    ("KIND", Takes::Word),
    ("TOKEN", Takes::Word),
    ("JSON", Takes::Word),
];

/// `GROUP.CREATE pool group [DESCRIPTION text] [PRECEDENCE n] [ROLE text] [KIND text] [JSON object]`
pub(crate) fn create(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    with_fields(call, args, |name, fields| Op::GroupCreate { name, fields })
}

/// `GROUP.SET pool group …`
pub(crate) fn set(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    with_fields(call, args, |name, fields| Op::GroupSet { name, fields })
}

fn with_fields(call: &Call<'_>, mut args: Args<'_>, op: impl FnOnce(Box<str>, GroupFields) -> Op) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let name = name(&mut args)?;
    let options = Options::read(&mut args, FIELDS)?;
    args.end()?;
    let fields = GroupFields {
        description: options.text("DESCRIPTION")?.map(Into::into),
        precedence: options.integer("PRECEDENCE")?,
        role: options.text("ROLE")?.map(Into::into),
        kind: options.text("KIND")?.map(Into::into),
        json: options.text("JSON")?.map(object).transpose()?,
    };
    let footprint = footprint(&pool, [&name]);
    Ok(Planned::new(pool, op(name, fields), footprint, Show::Version).with_token(options.token()?))
}

/// `GROUP.RENAME pool group to [TOKEN token]`
pub(crate) fn rename(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let (name, to) = (name(&mut args)?, name(&mut args)?);
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    args.end()?;
    let footprint = footprint(&pool, [&name, &to]);
    Ok(Planned::new(pool, Op::GroupRename { name, to }, footprint, Show::Version).with_token(options.token()?))
}

/// `GROUP.DELETE pool group [TOKEN token]`
pub(crate) fn delete(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let name = name(&mut args)?;
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    args.end()?;
    let footprint = footprint(&pool, [&name]);
    Ok(Planned::new(pool, Op::GroupDelete { name }, footprint, Show::Seq).with_token(options.token()?))
}

/// `GROUP.ADD pool group [TOKEN token] user ...`
pub(crate) fn add(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    members_changed(call, args, |name, users| Op::GroupAdd { name, users })
}

/// `GROUP.REMOVE pool group [TOKEN token] user ...`
pub(crate) fn remove(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    members_changed(call, args, |name, users| Op::GroupRemove { name, users })
}

fn members_changed(
    call: &Call<'_>,
    mut args: Args<'_>,
    op: impl FnOnce(Box<str>, Vec<stoa_engine::pool::request::UserRef>) -> Op,
) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let name = name(&mut args)?;
    let options = Options::read(&mut args, &[("TOKEN", Takes::Word)])?;
    let users = listing::users(call, &pool, &mut args, MEMBERS_MAX)?;
    if users.is_empty() {
        return Err(Refusal::invalid("no user is named"));
    }
    let footprint = footprint(&pool, [&name]).on(&users);
    Ok(Planned::new(pool, op(name, users), footprint, Show::Seq).with_token(options.token()?))
}

/// `GROUP.GET pool group [MINSEQ seq]`
pub(crate) fn get(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let name = name(&mut args)?;
    let options = Options::read(&mut args, &[("MINSEQ", Takes::Word)])?;
    args.end()?;
    match call.snapshot(&pool, &options)?.group(&name)? {
        Some(group) => write_group(reply, &group),
        None => reply.null(),
    }
    Ok(())
}

/// `GROUP.LIST pool [MINSEQ seq] [PREFIX prefix] [KIND kind] [LIMIT n] [CURSOR cursor]`
pub(crate) fn list(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let options = Options::read(
        &mut args,
        &[
            ("MINSEQ", Takes::Word),
            ("PREFIX", Takes::Word),
            ("KIND", Takes::Word),
            ("LIMIT", Takes::Word),
            ("CURSOR", Takes::Word),
        ],
    )?;
    args.end()?;
    let request = listing::page(call, &options)?;
    let page = pool.list_groups(options.text("PREFIX")?, options.text("KIND")?, &request)?;
    listing::write_page(reply, "groups", &page, write_group);
    Ok(())
}

/// `GROUP.MEMBERS pool group [MINSEQ seq] [LIMIT n] [CURSOR cursor] [ATTRS attr ...]`
pub(crate) fn members(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let name = name(&mut args)?;
    let allowed: &[(&str, Takes)] = &[("MINSEQ", Takes::Word), ("LIMIT", Takes::Word), ("CURSOR", Takes::Word)];
    let options = Options::read(&mut args, allowed)?;
    let is_whole = !args.keyword("ATTRS");
    if is_whole {
        args.end()?;
    }
    let select = listing::select(call, &pool, &mut args)?;
    let request = listing::page(call, &options)?;
    listing::write_users(reply, is_whole, |visit| pool.each_listed_member(&name, &select, &request, visit))
}

fn name(args: &mut Args<'_>) -> Result<Box<str>> {
    let name = args.text()?;
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(Refusal::invalid(format!("a group's name is 1 to {NAME_CHARS_MAX} characters")));
    }
    Ok(name.into())
}

fn footprint<'n>(pool: &Pool, names: impl IntoIterator<Item = &'n Box<str>>) -> Footprint {
    Footprint { groups: names.into_iter().cloned().collect(), ..Footprint::of(pool.name()) }
}

fn write_group(reply: &mut Reply<'_>, group: &GroupView) {
    reply.map(9);
    reply.bulk("name");
    reply.bulk(group.name.as_bytes());
    reply.bulk("description");
    reply.bulk_or_null(group.description.as_ref().map(|text| text.as_bytes()));
    reply.bulk("precedence");
    match group.precedence {
        Some(precedence) => reply.integer(precedence),
        None => reply.null(),
    }
    reply.bulk("role");
    reply.bulk_or_null(group.role.as_ref().map(|text| text.as_bytes()));
    reply.bulk("kind");
    reply.bulk_or_null(group.kind.as_ref().map(|text| text.as_bytes()));
    reply.bulk("json");
    reply.bulk_or_null(group.json.as_ref().map(|json| serde_json::Value::Object(json.clone()).to_string()));
    reply.bulk("version");
    reply.count(group.version);
    reply.bulk("created_at");
    reply.bulk(time_text(group.created_at_ms));
    reply.bulk("updated_at");
    reply.bulk(time_text(group.updated_at_ms));
}
