//! Stoa inside a program: a store, a pool, users, look-ups, a filter, a group, a password check.
//!
//! Run it with `cargo run -p stoa-engine --example embed -- DIR`; without a directory it uses one below the
//! system's temporary directory.

#![allow(clippy::disallowed_methods, reason = "a program of its own, not the engine")]

use std::path::PathBuf;

use stoa_engine::password::{Arena, Argon2Params};
use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{ErrorKind, Store, StoreOptions, password};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::args_os().nth(1).map_or_else(
        || std::env::temp_dir().join(format!("stoa-embed-{}", std::process::id())).join("DATA"),
        PathBuf::from,
    );
    if let Some(parent) = data.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // The key file is made beside the directory, as DATA.key; keep it apart from copies of the data.
    let store = Store::open(StoreOptions::new(&data))?;

    // A pool has the standard attributes; a schema adds its own, or rules.
    let schema = r#"{"attributes":{"custom:tier":{"type":"string"},"email":{"searchable":true}}}"#;
    match store.create_pool("people", Some(schema), None) {
        Err(error) if error.kind() != ErrorKind::Exists => return Err(error.into()),
        _ => {}
    }
    let pool = store.pool("people")?;

    // Every change is a transaction: durable and visible when `commit` returns, refused whole or taken whole.
    let mut arena = Arena::new();
    let mut salt = [0; 16];
    store.io().random(&mut salt)?;
    let stored = password::hash_new(b"correct horse", salt, &Argon2Params::default(), &mut arena)?;
    let ana = NewUser {
        attrs: attrs(&[("username", "ana"), ("email", "Ana@Example.com"), ("custom:tier", "pro")]),
        password: Some(stored.into()),
        ..NewUser::default()
    };
    let bo = NewUser { attrs: attrs(&[("username", "bo"), ("email", "bo@example.com")]), ..NewUser::default() };
    let ops = vec![Op::UserCreate(Box::new(ana)), Op::UserCreate(Box::new(bo))];
    match pool.commit(Transaction { ops, ..Transaction::default() }) {
        Ok(done) => println!("two users at seq {}", done.seq),
        // The second run on the same directory: another user holds the value.
        Err(error) if error.kind() == ErrorKind::Duplicate => println!("they are there already"),
        Err(error) => return Err(error.into()),
    }

    // A snapshot never changes. Aliases are found in any form that their collation takes as equal.
    let by_email = UserRef::Alias { attr: "email".into(), value: "ANA@example.COM".into() };
    let snapshot = pool.snapshot();
    if let Some(user) = snapshot.user(&by_email, &Select::All)? {
        println!("{} is at version {}:", user.sub, user.version);
        for (name, value) in &user.attrs {
            println!("  {name} = {}", value.as_ref().map(|value| value.text()).unwrap_or_default());
        }
    }
    let matching = snapshot.count(Some("custom:tier eq $1"), &["pro".into()])?;
    println!("{matching} of {} users are in tier pro", snapshot.user_count()?);

    // Groups, and both ways round.
    let create = Op::GroupCreate { name: "staff".into(), fields: GroupFields::default() };
    match pool.commit(Transaction { ops: vec![create], ..Transaction::default() }) {
        Err(error) if error.kind() != ErrorKind::Exists => return Err(error.into()),
        _ => {}
    }
    let join = Op::GroupAdd { name: "staff".into(), users: vec![by_email.clone()] };
    pool.commit(Transaction { ops: vec![join], ..Transaction::default() })?;
    println!("staff has {} members", pool.snapshot().count(Some("groups eq \"staff\""), &[])?);

    // A password check: lock-out is decided first, the hash may run on any thread, the outcome is committed.
    let check = pool.check_begin("embed".into(), &by_email, None)?;
    let matched = check.matches(b"correct horse", &mut arena);
    let (send, receive) = std::sync::mpsc::channel();
    pool.check_finish(check, matched, None, None, Box::new(move |verdict| drop(send.send(verdict))));
    println!("signing in: {}", receive.recv()??.verified);

    drop(pool);
    store.close()?;
    println!("everything is in {}", data.display());
    Ok(())
}

fn attrs(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Input)> {
    pairs.iter().map(|(name, value)| ((*name).into(), Input::Raw((*value).to_owned().into()))).collect()
}
