//! Changing users.

use stoa_engine::Pool;
use stoa_engine::pool::request::{Input, NewUser, Op, RetryToken, Status, Transaction, UserRef};
use stoa_engine::pool::schema::Alias;
use stoa_format::Sub;

use super::users::filter;
use super::{Answer, Call, Footprint, Later, Planned, Show, request_digest};
use crate::args::{Args, Options, Pairs, Takes};
use crate::refusal::{Refusal, Result};

const CHANGE: &[(&str, Takes)] = &[("IF", Takes::Word), ("TOKEN", Takes::Word)];
const TOKEN: &[(&str, Takes)] = &[("TOKEN", Takes::Word)];

/// `USER.CREATE pool [SUB uuid] [TOKEN token] [TAKEALIAS] attr value … [PASSWORD text | HASH phc]`
pub(crate) fn create(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let options = Options::read(
        &mut args,
        &[("SUB", Takes::Word), ("TOKEN", Takes::Word), ("TAKEALIAS", Takes::Nothing), ("TEMPORARY", Takes::Nothing)],
    )?;
    let sub = options.text("SUB")?.map(sub).transpose()?;
    let pairs = Pairs::read(&mut args, true)?;
    see_all(call, &pairs.attrs)?;
    if pairs.secret.is_some() {
        call.may_set_secrets()?;
    } else if options.has("TEMPORARY") {
        return Err(Refusal::invalid("TEMPORARY goes with PASSWORD or HASH"));
    }
    let user = NewUser {
        sub,
        take_alias: options.has("TAKEALIAS"),
        attrs: pairs.attrs,
        temporary: options.has("TEMPORARY"),
        ..NewUser::default()
    };
    let footprint = Footprint {
        subs: sub.into_iter().collect(),
        claims: true,
        releases: user.take_alias,
        ..Footprint::of(pool.name())
    };
    Planned::new(pool, Op::UserCreate(Box::new(user)), footprint, Show::SubVersion)
        .with_token(options.token()?)
        .with_secret(pairs.secret)
}

/// `USER.SET pool user [IF version] [TOKEN token] [TAKEALIAS] attr value …`
pub(crate) fn set(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let allowed: &[(&str, Takes)] = &[("IF", Takes::Word), ("TOKEN", Takes::Word), ("TAKEALIAS", Takes::Nothing)];
    let options = Options::read(&mut args, allowed)?;
    let take_alias = options.has("TAKEALIAS");
    let changes = some_pairs(call, &mut args)?;
    let footprint = footprint(&pool, &user, changes.iter().map(|(name, _)| &**name), take_alias);
    let if_version = options.number("IF")?;
    let op = Op::UserSet { user, if_version, take_alias, changes };
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `USER.UNSET pool user [IF version] [TOKEN token] attr ...`
pub(crate) fn unset(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, CHANGE)?;
    let mut changes: Vec<(Box<str>, Input)> = Vec::with_capacity(args.left());
    while args.left() > 0 {
        let name = crate::args::attribute(&mut args)?;
        if changes.iter().any(|(other, _)| **other == *name) {
            return Err(Refusal::invalid("an attribute is named twice"));
        }
        call.may_see(name)?;
        changes.push((name.into(), Input::Json(serde_json::Value::Null)));
    }
    if changes.is_empty() {
        return Err(Refusal::invalid("no attribute is named"));
    }
    let footprint = footprint(&pool, &user, changes.iter().map(|(name, _)| &**name), false);
    let op = Op::UserSet { user, if_version: options.number("IF")?, take_alias: false, changes };
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `USER.ADD pool user [IF version] [TOKEN token] attr value …`
pub(crate) fn add(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    elements(call, args, |user, if_version, values| Op::UserAdd { user, if_version, values })
}

/// `USER.REMOVE pool user [IF version] [TOKEN token] attr value …`
pub(crate) fn remove(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    elements(call, args, |user, if_version, values| Op::UserRemove { user, if_version, values })
}

fn elements(
    call: &Call<'_>,
    mut args: Args<'_>,
    op: impl FnOnce(UserRef, Option<u64>, Vec<(Box<str>, Input)>) -> Op,
) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, CHANGE)?;
    let values = some_pairs(call, &mut args)?;
    let footprint = footprint(&pool, &user, values.iter().map(|(name, _)| &**name), false);
    let op = op(user, options.number("IF")?, values);
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `USER.DELETE pool user [IF version] [TOKEN token]`
pub(crate) fn delete(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, CHANGE)?;
    args.end()?;
    let footprint = Footprint { releases: true, ..Footprint::of(pool.name()).on([&user]) };
    let op = Op::UserDelete { user, if_version: options.number("IF")? };
    Ok(Planned::new(pool, op, footprint, Show::Sub).with_token(options.token()?))
}

/// `USER.ENABLE pool user [TOKEN token]`
pub(crate) fn enable(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    switch(call, args, true)
}

/// `USER.DISABLE pool user [TOKEN token]`
pub(crate) fn disable(call: &Call<'_>, args: Args<'_>) -> Result<Planned> {
    switch(call, args, false)
}

fn switch(call: &Call<'_>, mut args: Args<'_>, enabled: bool) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, TOKEN)?;
    args.end()?;
    let footprint = Footprint::of(pool.name()).on([&user]);
    let op = Op::UserEnable { user, enabled };
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `USER.STATUS pool user [IF version] [TOKEN token] status`
pub(crate) fn status(call: &Call<'_>, mut args: Args<'_>) -> Result<Planned> {
    let pool = call.pool(&mut args)?;
    let user = call.user(&pool, &mut args)?;
    let options = Options::read(&mut args, CHANGE)?;
    let status = read_status(args.text()?)?;
    args.end()?;
    let footprint = Footprint::of(pool.name()).on([&user]);
    let op = Op::UserStatus { user, if_version: options.number("IF")?, status };
    Ok(Planned::new(pool, op, footprint, Show::SubVersion).with_token(options.token()?))
}

/// `USER.SETALL pool [FILTER filter [ARGS n value ...]] [STATUS status] [TOKEN token] attr value …`
pub(crate) fn set_all(call: &Call<'_>, mut args: Args<'_>) -> Result<Later> {
    let request = request_digest([(call.entry, args.words())].into_iter());
    let pool = call.pool(&mut args)?;
    let options = Options::read(
        &mut args,
        &[("FILTER", Takes::Word), ("ARGS", Takes::Counted), ("STATUS", Takes::Word), ("TOKEN", Takes::Word)],
    )?;
    let (filter, filter_args) = filter(call, &pool, &options)?;
    let status = options.text("STATUS")?.map(read_status).transpose()?;
    let pairs = Pairs::read(&mut args, false)?;
    see_all(call, &pairs.attrs)?;
    if pairs.attrs.is_empty() && status.is_none() {
        return Err(Refusal::invalid("neither STATUS nor an attribute is named"));
    }
    let op = Op::UserSetAll { filter: filter.map(Into::into), args: filter_args, status, changes: pairs.attrs };
    let token = options.token()?.map(|token| RetryToken { token, request });
    let transaction = Transaction { actor: call.actor.name().clone(), token, ops: vec![op] };
    let start = move |answer: Answer| {
        let permits = answer.shared().scans.clone();
        answer.give_blocking(permits, move |reply| {
            let committed = pool.commit(transaction)?;
            let changed = committed.outcomes.first().and_then(|outcome| outcome.changed);
            // The transaction is over when this is answered: the job is named by its Seq.
            reply.map(4 + usize::from(committed.replayed));
            reply.bulk("job");
            reply.count(committed.seq.0);
            reply.bulk("state");
            reply.bulk("done");
            reply.bulk("seq");
            reply.count(committed.seq.0);
            reply.bulk("changed");
            reply.count(changed.unwrap_or(0));
            if committed.replayed {
                reply.bulk("replayed");
                reply.boolean(true);
            }
            Ok(())
        });
    };
    Ok(Later { footprint: Footprint::alone(), start: Box::new(start) })
}

/// Pairs, at least one, all of attributes that the caller may use.
fn some_pairs(call: &Call<'_>, args: &mut Args<'_>) -> Result<Vec<(Box<str>, Input)>> {
    let pairs = Pairs::read(args, false)?;
    if pairs.attrs.is_empty() {
        return Err(Refusal::invalid("no attribute is named"));
    }
    see_all(call, &pairs.attrs)?;
    Ok(pairs.attrs)
}

fn see_all(call: &Call<'_>, attrs: &[(Box<str>, Input)]) -> Result<()> {
    attrs.iter().try_for_each(|(name, _)| call.may_see(name))
}

/// What a change of these attributes touches.
fn footprint<'n>(pool: &Pool, user: &UserRef, names: impl Iterator<Item = &'n str>, take_alias: bool) -> Footprint {
    let snapshot = pool.snapshot();
    let schema = snapshot.schema();
    let is_alias = |name: &str| schema.by_name(name).is_some_and(|attribute| attribute.alias != Alias::None);
    // Verifying a value can make its holder the owner of the alias.
    let moves = take_alias || names.into_iter().any(|name| is_alias(name.strip_suffix("_verified").unwrap_or(name)));
    Footprint { claims: moves, releases: moves, ..Footprint::of(pool.name()).on([user]) }
}

fn sub(text: &str) -> Result<Sub> {
    Sub::parse(text).ok_or_else(|| Refusal::invalid("SUB is not a UUID"))
}

fn read_status(text: &str) -> Result<Status> {
    Status::parse(text).map_err(|error| Refusal::invalid(error.to_string()))
}
