//! What all listings share: LIMIT, CURSOR, MINSEQ, and the map of things, `cursor` and `seq`.

use std::convert::Infallible;

use stoa_engine::pool::request::UserRef;
use stoa_engine::pool::view::{Page, Select};
use stoa_engine::{PageRequest, Pool, UserRow};
use stoa_format::Seq;

use super::Call;
use super::users::write_row;
use crate::args::{Args, Options, is_attribute};
use crate::refusal::{Refusal, Result};
use crate::resp::Reply;

/// Things on a page unless told.
const LIMIT_DEFAULT: u64 = 100;
/// The most things on a page.
const LIMIT_MAX: u64 = 1000;
/// The most bytes on a page.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Fields that every user has; asked for by name, they are among the attributes.
pub(super) const BUILT_IN: [&str; 7] = ["sub", "version", "enabled", "status", "created_at", "updated_at", "locked"];

/// The page that a request asks for.
pub(super) fn page<'a>(call: &'a Call<'_>, options: &Options<'a>) -> Result<PageRequest<'a>> {
    let limit = options.number("LIMIT")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refusal::invalid(format!("LIMIT is 1 to {LIMIT_MAX}")));
    }
    Ok(PageRequest {
        limit: limit as usize,
        cursor: options.text("CURSOR")?,
        actor: call.actor.name(),
        max_bytes: PAGE_BYTES_MAX,
        min_seq: options.number("MINSEQ")?.map(Seq),
        state: call.pinned,
    })
}

/// The attributes that all arguments that are left name; all, narrowed to what the caller may see,
/// if there are none.
pub(super) fn select(call: &Call<'_>, pool: &Pool, args: &mut Args<'_>) -> Result<Select> {
    if args.left() == 0 {
        return Ok(visible(call, pool));
    }
    let mut names: Vec<Box<str>> = Vec::with_capacity(args.left());
    while args.left() > 0 {
        let name = args.bytes()?;
        if !is_attribute(name) {
            return Err(Refusal::invalid("one of the words that should name an attribute is none"));
        }
        let name = crate::args::text(name)?;
        if !BUILT_IN.contains(&name) {
            call.may_see(name)?;
        }
        names.push(name.into());
    }
    Ok(Select::Named(names.into()))
}

/// All attributes, or those of the schema that the caller may see.
pub(super) fn visible(call: &Call<'_>, pool: &Pool) -> Select {
    if call.actor.sees_all() {
        return Select::All;
    }
    let snapshot = pool.snapshot();
    let names = snapshot.schema().attributes().iter().map(|attribute| attribute.name.to_string());
    Select::Named(names.filter(|name| call.actor.may_see(name)).map(String::into_boxed_str).collect())
}

/// Writes a page under the name of its things.
pub(super) fn write_page<T>(
    reply: &mut Reply<'_>,
    name: &'static str,
    page: &Page<T>,
    mut write: impl FnMut(&mut Reply<'_>, &T),
) {
    write_head(reply, name, page.items.len());
    page.items.iter().for_each(|item| write(reply, item));
    write_end(reply, page);
}

/// Writes a page of users as `list` shows them: all of each, or just what was asked for.
pub(super) fn write_users(
    reply: &mut Reply<'_>,
    is_whole: bool,
    list: impl FnOnce(&mut dyn FnMut(UserRow<'_>)) -> stoa_engine::Result<Page<Infallible>>,
) -> Result<()> {
    let (start, mut count) = (reply.len(), 0);
    let page = list(&mut |row| {
        write_row(reply, row, is_whole);
        count += 1;
    })?;
    // How many there are is known now.
    reply.before(start, |reply| write_head(reply, "users", count));
    write_end(reply, &page);
    Ok(())
}

fn write_head(reply: &mut Reply<'_>, name: &'static str, count: usize) {
    reply.map(3);
    reply.bulk(name);
    reply.array(count);
}

fn write_end<T>(reply: &mut Reply<'_>, page: &Page<T>) {
    reply.bulk("cursor");
    reply.bulk_or_null(page.cursor.as_ref());
    reply.bulk("seq");
    reply.count(page.seq.0);
}

/// All that are left, as users.
pub(super) fn users(call: &Call<'_>, pool: &Pool, args: &mut Args<'_>, most: usize) -> Result<Vec<UserRef>> {
    if args.left() > most {
        return Err(Refusal::limit(format!("at most {most} users at once")));
    }
    let mut users = Vec::with_capacity(args.left());
    while args.left() > 0 {
        users.push(call.user(pool, args)?);
    }
    Ok(users)
}
