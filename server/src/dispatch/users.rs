//! Reading users.

use bytes::Bytes;
use stoa_engine::pool::filter::Filter;
use stoa_engine::pool::found::{FoundUser, UserFields};
use stoa_engine::pool::value::{Value, ValueRef};
use stoa_engine::pool::view::{Select, UserView};
use stoa_engine::{Pool, UserQuery, UserRow};

use super::{Call, listing, time_text};
use crate::args::{Args, Options, Takes, is_attribute};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// The most users of one MGET.
const MGET_MAX: usize = 1000;

const READ: &[(&str, Takes)] = &[("MINSEQ", Takes::Word)];
const PAGED: &[(&str, Takes)] = &[("MINSEQ", Takes::Word), ("LIMIT", Takes::Word), ("CURSOR", Takes::Word)];

/// `USER.GET pool user [MINSEQ seq] [attr ...]`
pub(crate) fn get(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, READ)?;
    let is_whole = args.left() == 0;
    let select = listing::select(call, &pool, &mut args)?;
    let snapshot = call.snapshot(&pool, &options)?;
    if is_whole && select == Select::All {
        match snapshot.find(&user)? {
            Some(found) => write_found(reply, &found)?,
            None => reply.null(),
        }
        return Ok(());
    }
    match snapshot.user(&user, &select)? {
        Some(view) => write_user(reply, &view, is_whole),
        None => reply.null(),
    }
    Ok(())
}

/// `USER.MGET pool [MINSEQ seq] user ...`
pub(crate) fn mget(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let options = Options::read(&mut args, READ)?;
    let users = listing::users(call, &pool, &mut args, MGET_MAX)?;
    let select = listing::visible(call, &pool);
    let views = call.snapshot(&pool, &options)?.users(&users, &select)?;
    let output_max = call.shared.config.limits.output_buffer_bytes;
    reply.array(views.len());
    for view in &views {
        match view {
            Some(view) => write_user(reply, view, true),
            None => reply.null(),
        }
        if reply.len() > output_max {
            return Err(Refusal::limit("the reply is too large: ask for fewer users at once"));
        }
    }
    Ok(())
}

/// `USER.LIST pool …`
pub(crate) fn list(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let options = Options::read(
        &mut args,
        &[
            ("MINSEQ", Takes::Word),
            ("FILTER", Takes::Word),
            ("ARGS", Takes::Counted),
            ("SORT", Takes::Word),
            ("DESC", Takes::Nothing),
            ("LIMIT", Takes::Word),
            ("CURSOR", Takes::Word),
        ],
    )?;
    let is_whole = !args.keyword("ATTRS");
    if is_whole {
        args.end()?;
    }
    let select = listing::select(call, &pool, &mut args)?;
    let (filter, filter_args) = filter(call, &pool, &options)?;
    let sort = options.text("SORT")?;
    if let Some(sort) = sort {
        if !is_attribute(sort.as_bytes()) {
            return Err(Refusal::invalid("SORT names no attribute"));
        }
        if !listing::BUILT_IN.contains(&sort) {
            call.may_see(sort)?;
        }
    } else if options.has("DESC") {
        return Err(Refusal::invalid("DESC goes with SORT"));
    }
    let query = UserQuery {
        filter: filter.map(Into::into),
        args: filter_args,
        sort: sort.map(Into::into),
        desc: options.has("DESC"),
        select,
    };
    let request = listing::page(call, &options)?;
    listing::write_users(reply, is_whole, |visit| pool.each_listed(&query, &request, visit))
}

/// `USER.COUNT pool [MINSEQ seq] [FILTER filter [ARGS n value ...]]`
pub(crate) fn count(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let options =
        Options::read(&mut args, &[("MINSEQ", Takes::Word), ("FILTER", Takes::Word), ("ARGS", Takes::Counted)])?;
    args.end()?;
    let (filter, filter_args) = filter(call, &pool, &options)?;
    reply.count(call.snapshot(&pool, &options)?.count(filter, &filter_args)?);
    Ok(())
}

/// `USER.GROUPS pool user [MINSEQ seq] [LIMIT n] [CURSOR cursor]`
pub(crate) fn groups(call: &Call<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, PAGED)?;
    args.end()?;
    let page = pool.list_groups_of(&user, &listing::page(call, &options)?)?;
    listing::write_page(reply, "groups", &page, |reply, name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// The filter of a request, if the caller may use all attributes that it names.
pub(super) fn filter<'a>(call: &Call<'_>, pool: &Pool, options: &Options<'a>) -> Result<(Option<&'a str>, Vec<Bytes>)> {
    let args = options.counted("ARGS")?;
    let Some(text) = options.text("FILTER")? else {
        return if args.is_empty() { Ok((None, args)) } else { Err(Refusal::invalid("ARGS goes with FILTER")) };
    };
    // An unlimited caller's filter is judged by the engine alone.
    if !call.actor.sees_all() {
        let snapshot = pool.snapshot();
        let filter = Filter::parse(text.as_bytes(), &args, snapshot.schema())
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        let unlimited = |name: &&str| *name != "groups" && !listing::BUILT_IN.contains(name);
        filter.attributes().filter(unlimited).try_for_each(|name| call.may_see(name))?;
    }
    Ok((Some(text), args))
}

/// Writes a user: all of it with the built-in fields, or just what was asked for.
fn write_user(reply: &mut Reply<'_>, view: &UserView, is_whole: bool) {
    let attrs = view.attrs.iter().map(|(name, value)| (&**name, value.as_ref().map(Value::lend)));
    write_attrs(reply, &view.fields(), attrs, is_whole);
}

/// The same of a user of a page.
pub(super) fn write_row(reply: &mut Reply<'_>, row: UserRow<'_>, is_whole: bool) {
    write_attrs(reply, row.fields(), row.attrs(), is_whole);
}

fn write_attrs<'v>(
    reply: &mut Reply<'_>,
    fields: &UserFields,
    attrs: impl Iterator<Item = (&'v str, Option<ValueRef<'v>>)> + Clone,
    is_whole: bool,
) {
    let attrs = attrs.filter(|(_, value)| !is_whole || value.is_some());
    reply.map(attrs.clone().count() + if is_whole { FIELDS } else { 0 });
    if is_whole {
        write_fields(reply, fields);
    }
    for (name, value) in attrs {
        reply.bulk(name.as_bytes());
        // A version is a RESP integer under whatever name it is asked for.
        match value {
            Some(ValueRef::Int(version)) if name == "version" => reply.integer(version),
            Some(value) => write_lent(reply, value),
            None => reply.null(),
        }
    }
}

fn write_lent(reply: &mut Reply<'_>, value: ValueRef<'_>) {
    match value {
        ValueRef::Str(text) | ValueRef::Json(text) => reply.bulk(text),
        ValueRef::Bytes(raw) => reply.bulk(raw),
        value => write_value(reply, Some(&value.into_owned())),
    }
}

/// Writes all of a user where it stands.
fn write_found(reply: &mut Reply<'_>, found: &FoundUser<'_>) -> Result<()> {
    let (start, mut set) = (reply.len(), 0);
    let fields = found.profile(|attribute, value| {
        set += 1;
        reply.bulk(attribute.name.as_str());
        write_lent(reply, value);
    })?;
    // How many there are is known now, and what every user has goes first.
    reply.before(start, |reply| {
        reply.map(FIELDS + set);
        write_fields(reply, &fields);
    });
    Ok(())
}

/// How many fields every user has.
const FIELDS: usize = 6;

/// Writes the fields that every user has, names as they travel.
fn write_fields(reply: &mut Reply<'_>, fields: &UserFields) {
    reply.raw(b"$3\r\nsub\r\n");
    reply.bulk(fields.sub.text());
    reply.raw(b"$7\r\nversion\r\n");
    reply.count(fields.version);
    reply.raw(b"$7\r\nenabled\r\n");
    reply.boolean(fields.enabled);
    reply.raw(b"$6\r\nstatus\r\n");
    reply.bulk(fields.status.word());
    reply.raw(b"$10\r\ncreated_at\r\n");
    reply.bulk(time_text(fields.created_at_ms));
    reply.raw(b"$10\r\nupdated_at\r\n");
    reply.bulk(time_text(fields.updated_at_ms));
}

/// Writes a value as it travels.
pub(super) fn write_value(reply: &mut Reply<'_>, value: Option<&Value>) {
    match value {
        None => reply.null(),
        Some(Value::Bool(value)) => reply.boolean(*value),
        Some(value) => reply.bulk(value.wire()),
    }
}
