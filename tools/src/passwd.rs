//! `stoa passwd`: sets the password of a user of a pool, or the secret of an access-control user.
//!
//! The new secret comes from a file, a file descriptor or standard input, is not shown, and is never an option.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use stoa_engine::password::{Arena, Argon2Params, Caps, hash_new, parse};
use stoa_engine::pool::policy::OWN_ATTRIBUTES;
use stoa_engine::pool::request::{Op, Transaction, UserRef};
use stoa_engine::pool::value::Value;
use stoa_engine::pool::view::Select;

use crate::client::{Client, LoginArgs, Reply};
use crate::passphrase::{Secret, ask_twice, read_given};
use crate::store::StoreArgs;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa passwd --pool acme email=babs@example.com --to 127.0.0.1:7862 --secret-file DATA.admin-secret
  stoa passwd --pool acme username=babs --temporary --new-file NEW --to 127.0.0.1:7862
  stoa passwd --acl web --to 127.0.0.1:7862 --secret-file DATA.admin-secret
  stoa passwd --acl admin --data DATA      while the server is stopped: the way back in

A user is a sub (UUID), attr=value or login=text. The new secret is asked for twice at a terminal, and is one line of
standard input elsewhere.")]
pub(crate) struct PasswdArgs {
    /// The pool of the user
    #[arg(long, required_unless_present = "acl", requires = "who")]
    pool: Option<String>,
    /// The user: a sub, attr=value or login=text
    #[arg(value_name = "USER")]
    who: Option<String>,
    /// The access-control user whose secret is to be replaced
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pool", "who", "temporary"])]
    acl: Option<String>,
    /// The password must be changed at its first use
    #[arg(long)]
    temporary: bool,
    /// Read the new secret from this file
    #[arg(long, value_name = "FILE", conflicts_with = "new_fd")]
    new_file: Option<PathBuf>,
    /// Read the new secret from this open file descriptor
    #[arg(long, value_name = "N")]
    new_fd: Option<u32>,
    /// Ask a running server to do it instead of changing a data directory
    #[arg(long, value_name = "ADDR")]
    to: Option<String>,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) fn run(args: PasswdArgs) -> Result<ExitCode> {
    let new = |args: &PasswdArgs| match read_given(args.new_file.as_deref(), args.new_fd)? {
        Some(secret) => Ok(secret),
        None => ask_twice("New secret"),
    };
    match &args.to {
        Some(address) => {
            // First, so that a wrong address or secret shows before anything is typed.
            let mut client = Client::connect(address, &args.login)?;
            over_tcp(&mut client, &args, &new(&args)?)?;
        }
        None if args.login.given() => {
            bail!("--user and --secret-… go with --to ADDR: a data directory asks for no user")
        }
        None => in_store(&args, new)?,
    }
    println!("changed");
    Ok(ExitCode::SUCCESS)
}

fn over_tcp(client: &mut Client, args: &PasswdArgs, new: &Secret) -> Result<()> {
    if let Some(name) = &args.acl {
        // SETUSER would make a user of a name that is mistyped.
        if client.call(&[b"ACL", b"GETUSER", name.as_bytes()])? == Reply::Bulk(None) {
            bail!("there is no access-control user of that name: ACL SETUSER makes one");
        }
        let added = zeroize::Zeroizing::new([b">", &new[..]].concat());
        client.call(&[b"ACL", b"SETUSER", name.as_bytes(), b"resetpass", &added])?;
        return Ok(());
    }
    let (pool, who) = (args.pool.as_deref().unwrap_or_default(), args.who.as_deref().unwrap_or_default());
    let mut command: Vec<&[u8]> = vec![b"CRED.SET", pool.as_bytes(), who.as_bytes()];
    command.extend(args.temporary.then_some(&b"TEMPORARY"[..]));
    command.extend([&b"PASSWORD"[..], new]);
    client.call(&command)?;
    Ok(())
}

fn in_store(args: &PasswdArgs, new: impl Fn(&PasswdArgs) -> Result<Secret>) -> Result<()> {
    let store = args.store.open(false)?;
    if let Some(name) = &args.acl {
        stoa_server::reset_secret(&store, name, &new(args)?)?;
        store.close()?;
        return Ok(());
    }
    let pool = store.pool(args.pool.as_deref().unwrap_or_default())?;
    let Some(user) = args.who.as_deref().and_then(UserRef::parse) else {
        bail!("a user is a sub (UUID), attr=value or login=text");
    };
    let snapshot = pool.snapshot();
    let known = OWN_ATTRIBUTES.iter().filter(|name| snapshot.schema().by_name(name).is_some());
    let select = Select::Named(known.map(|name| Box::from(*name)).collect());
    let Some(view) = snapshot.user(&user, &select)? else { bail!("NOUSER there is no such user in this pool") };
    let secret = new(args)?;
    let policy = snapshot.password_policy();
    policy.check(&secret)?;
    let own: Vec<_> = view.attrs.iter().filter_map(|(_, value)| value.as_ref()).map(Value::text).collect();
    policy.check_own(&secret, own.iter().map(AsRef::as_ref))?;
    let mut arena = Arena::new();
    if !args.temporary {
        let former = snapshot.former_passwords(&user)?;
        let former = former.iter().filter_map(|hash| parse(hash, &Caps::default()).ok());
        if former.into_iter().any(|hash| hash.verify(&secret, &mut arena).unwrap_or(false)) {
            bail!("REUSED this pool's policy does not take a password that was used lately");
        }
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let password = hash_new(&secret, salt, &Argon2Params::default(), &mut arena)?.into_boxed_str();
    let op = Op::CredSet { user, if_version: None, temporary: args.temporary, password };
    pool.commit(Transaction { actor: "passwd".into(), token: None, ops: vec![op] })?;
    drop(snapshot);
    store.close()?;
    Ok(())
}
