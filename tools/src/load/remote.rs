//! Loading over TCP, command by command, each user's in one transaction.

use std::sync::Arc;

use anyhow::Result;
use base64::Engine as _;
use stoa_engine::pool::request::Input;

use super::plain::{Hasher, Wanted, WantedPassword, wanted};
use super::report::Report;
use super::{Change, ImportArgs, Target, schema_patch, specs_of};
use crate::client::{Client, Reply};
use crate::import::attrs::{AttrSpec, AttrTable};
use crate::import::record::{ImportGroup, ImportUser, MemberRef};

type Command = Vec<Vec<u8>>;

/// A pool of a running server.
pub(super) struct Remote {
    client: Client,
    pool: String,
    hasher: Hasher,
    times_lost: u64,
}

impl Remote {
    pub(super) fn connect(address: &str, args: &ImportArgs) -> Result<Self> {
        let mut client = Client::connect(address, &args.login)?;
        client.send(&[b"POOL.INFO", args.pool.as_bytes()])?;
        if let Reply::Error(error) = client.receive()? {
            match error.starts_with("NOPOOL") {
                true => drop(client.call(&[b"POOL.CREATE", args.pool.as_bytes()])?),
                false => anyhow::bail!(error),
            }
        }
        Ok(Self { client, pool: args.pool.clone(), hasher: Hasher::default(), times_lost: 0 })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command: Command = vec![words[0].as_bytes().to_vec(), self.pool.as_bytes().to_vec()];
        command.extend(words[1..].iter().map(|word| word.as_bytes().to_vec()));
        command
    }

    fn ask(&mut self, command: &Command) -> Result<Reply> {
        let words: Vec<&[u8]> = command.iter().map(|word| &word[..]).collect();
        self.client.send(&words)?;
        self.client.receive()
    }

    /// The user that a record means, if it is there.
    fn find(&mut self, wanted: &Wanted) -> Result<Option<Reply>> {
        let named = [
            wanted.sub.map(|sub| stoa_format::Sub(sub).to_string()),
            wanted.username.as_ref().map(|name| format!("username={name}")),
        ];
        for user in named.into_iter().flatten() {
            if let Some(view) = self.get(&user)? {
                return Ok(Some(view));
            }
        }
        let Some(email) = &wanted.email else { return Ok(None) };
        let found = self.get(&format!("email={email}"))?;
        Ok(found.filter(|view| wanted.may_be(view.get("username").and_then(Reply::text))))
    }

    fn get(&mut self, user: &str) -> Result<Option<Reply>> {
        let command = self.command(&["USER.GET", user]);
        match self.ask(&command)? {
            Reply::Error(error) => anyhow::bail!(error),
            Reply::Bulk(None) => Ok(None),
            reply => Ok(Some(reply)),
        }
    }

    /// Runs commands as one transaction; the inner error refuses the row, the outer ends the import.
    fn transact(&mut self, commands: Vec<Command>) -> Result<Result<Vec<Reply>, String>> {
        let words = |command: &Command| -> Vec<Vec<u8>> { command.clone() };
        self.client.send(&[b"MULTI"])?;
        for command in &commands {
            let words = words(command);
            self.client.send(&words.iter().map(|word| &word[..]).collect::<Vec<_>>())?;
        }
        self.client.send(&[b"EXEC"])?;
        let mut refused = None;
        for _ in 0..=commands.len() {
            if let Reply::Error(error) = self.client.receive()? {
                refused.get_or_insert(error);
            }
        }
        match self.client.receive()? {
            Reply::Array(replies) => Ok(Ok(replies)),
            Reply::Error(error) if ends_import(&error) => anyhow::bail!(error),
            Reply::Error(error) => Ok(Err(refused.unwrap_or(error))),
            _ => Ok(Err(refused.unwrap_or_else(|| "the transaction was refused".into()))),
        }
    }

    fn take(&mut self, mut wanted: Wanted) -> Result<Result<Change, String>> {
        let found = self.find(&wanted)?;
        let mut commands = Vec::new();
        let password = match self.password(&wanted, found.as_ref())? {
            Ok(password) => password,
            Err(reason) => return Ok(Err(reason)),
        };
        let user = match &found {
            None => {
                let sub = wanted.sub.map_or_else(super::local::mint_sub, |sub| Ok(stoa_format::Sub(sub)));
                let sub = match sub {
                    Ok(sub) => sub.to_string(),
                    Err(reason) => return Ok(Err(reason)),
                };
                let mut create = self.command(&["USER.CREATE", "SUB", &sub]);
                // The command has no TEMPORARY: the password is set by its own command below.
                create.extend([b"JSON".to_vec(), json_of(&std::mem::take(&mut wanted.attrs))]);
                commands.push(create);
                sub
            }
            Some(view) => {
                let sub = view.get("sub").and_then(Reply::text).unwrap_or_default().to_owned();
                let changed: Vec<_> = std::mem::take(&mut wanted.attrs)
                    .into_iter()
                    .filter(|(name, input)| !same(view.get(name), input))
                    .collect();
                if !changed.is_empty() {
                    let mut set = self.command(&["USER.SET", &sub]);
                    set.extend([b"JSON".to_vec(), json_of(&changed)]);
                    commands.push(set);
                }
                sub
            }
        };
        let sets_password = password.is_some();
        if let Some(hash) = password {
            let words: &[&str] = match wanted.temporary {
                true => &["CRED.SET", &user, "TEMPORARY", "HASH", &hash],
                false => &["CRED.SET", &user, "HASH", &hash],
            };
            commands.push(self.command(words));
        }
        let present = |key: &str| found.as_ref().and_then(|view| view.get(key));
        let (status, enabled) = (present("status").and_then(Reply::text), present("enabled").and_then(Reply::integer));
        if let Some(wanted) = wanted.status
            && (sets_password || status != Some(wanted.word()))
        {
            commands.push(self.command(&["USER.STATUS", &user, wanted.word()]));
        }
        if let Some(wanted) = wanted.enabled
            && enabled.unwrap_or(1) != i64::from(wanted)
        {
            commands.push(self.command(&[if wanted { "USER.ENABLE" } else { "USER.DISABLE" }, &user]));
        }
        let certain = commands.len();
        for (provider, subject) in &wanted.identities {
            commands.push(self.command(&["IDENTITY.LINK", &user, provider, subject]));
        }
        for (kind, id, label, blob) in &wanted.factors {
            let mut put = self.command(&["CRED.PUT", &user, kind, id]);
            if let Some(label) = label {
                put.extend([b"LABEL".to_vec(), label.as_bytes().to_vec()]);
            }
            put.push(blob.clone());
            commands.push(put);
        }
        for group in &wanted.groups {
            commands.push(self.command(&["GROUP.ADD", group, &user]));
        }
        if commands.is_empty() {
            return Ok(Ok(Change::Unchanged));
        }
        let replies = match self.transact(commands)? {
            Ok(replies) => replies,
            Err(reason) => return Ok(Err(reason)),
        };
        let changed = |reply: &Reply| reply.get("changed").and_then(Reply::integer) != Some(0);
        Ok(Ok(match found {
            None => Change::Created,
            Some(_) if certain > 0 || replies.iter().any(changed) => Change::Updated,
            Some(_) => Change::Unchanged,
        }))
    }

    /// The hash to set, if the pool holds another.
    fn password(&mut self, wanted: &Wanted, found: Option<&Reply>) -> Result<Result<Option<Box<str>>, String>> {
        let stored = match found.and_then(|view| view.get("sub")).and_then(Reply::text) {
            Some(sub) if !matches!(wanted.password, WantedPassword::Nothing) => {
                let get = self.command(&["CRED.GET", sub]);
                self.ask(&get)?.get("hash").and_then(Reply::text).map(str::to_owned)
            }
            _ => None,
        };
        Ok(match &wanted.password {
            WantedPassword::Nothing => Ok(None),
            WantedPassword::Hash(hash) => Ok(Some(hash.clone()).filter(|hash| stored.as_deref() != Some(hash))),
            WantedPassword::Plain(secret) => match &stored {
                Some(stored) if self.hasher.is(stored, secret) => Ok(None),
                _ => self.hasher.hash(secret).map(Some),
            },
        })
    }
}

/// Whether a refusal says that nothing more can be taken now.
fn ends_import(error: &str) -> bool {
    ["BUSY", "LOADING", "IOERROR", "NOSPACE", "NOPERM", "NOAUTH", "READONLY", "KEY", "DAMAGED", "INDOUBT"]
        .iter()
        .any(|word| error.trim_start_matches("EXECABORT ").starts_with(word))
}

fn json_of(attrs: &[(Box<str>, Input)]) -> Vec<u8> {
    let object: serde_json::Map<_, _> =
        attrs.iter().map(|(name, input)| (name.to_string(), json_value(input))).collect();
    serde_json::Value::Object(object).to_string().into_bytes()
}

fn json_value(input: &Input) -> serde_json::Value {
    match input {
        Input::Json(json) => json.clone(),
        Input::Raw(raw) => match std::str::from_utf8(raw) {
            Ok(text) => text.into(),
            Err(_) => base64::engine::general_purpose::STANDARD.encode(raw).into(),
        },
    }
}

/// Whether the server's value is just this one.
fn same(present: Option<&Reply>, input: &Input) -> bool {
    match (present, input) {
        (Some(Reply::Bulk(Some(bytes))), Input::Raw(raw)) => bytes[..] == raw[..] || same_json(bytes, raw),
        (Some(Reply::Bulk(Some(bytes))), Input::Json(json @ serde_json::Value::Array(_))) => {
            serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|other| other == *json)
        }
        (Some(Reply::Integer(number)), Input::Json(serde_json::Value::Bool(truth))) => *number == i64::from(*truth),
        (Some(Reply::Integer(number)), Input::Json(json)) => json.as_i64() == Some(*number),
        (Some(Reply::Bulk(Some(bytes))), Input::Json(json)) => bytes[..] == *json.to_string().as_bytes(),
        _ => false,
    }
}

/// Whether two texts are one JSON value: the server keeps JSON in canonical form.
fn same_json(a: &[u8], b: &[u8]) -> bool {
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok().filter(|json| !json.is_number());
    matches!((parse(a), parse(b)), (Some(a), Some(b)) if a == b)
}

impl<'a> Target<'a> for Remote {
    fn schema(&mut self) -> Result<Vec<AttrSpec>> {
        let info = self.command(&["POOL.INFO"]);
        let reply = self.ask(&info)?;
        let schema = reply.get("schema").and_then(Reply::text).unwrap_or("{}");
        Ok(specs_of(&serde_json::from_str(schema).unwrap_or_default()))
    }

    fn extend_schema(&mut self, specs: &[Arc<AttrSpec>]) -> Result<()> {
        let alter = self.command(&["POOL.ALTER", "SCHEMA", &schema_patch(specs)]);
        match self.ask(&alter)? {
            Reply::Error(error) => anyhow::bail!(error),
            _ => Ok(()),
        }
    }

    fn group(&mut self, group: &ImportGroup<'_>, _: &AttrTable) -> Result<Change, String> {
        let known = |error: anyhow::Error| error.to_string();
        let get = self.command(&["GROUP.GET", &group.name]);
        let there = !matches!(self.ask(&get).map_err(known)?, Reply::Bulk(None) | Reply::Error(_));
        let mut command = self.command(&[if there { "GROUP.SET" } else { "GROUP.CREATE" }, &group.name]);
        let precedence = group.precedence.map(|number| number.to_string());
        let texts = [
            ("DESCRIPTION", group.description.as_deref()),
            ("PRECEDENCE", precedence.as_deref()),
            ("ROLE", group.role.as_deref()),
            ("KIND", group.kind.as_deref()),
            ("JSON", group.attributes.as_deref()),
        ];
        for (word, text) in texts {
            if let Some(text) = text {
                command.extend([word.as_bytes().to_vec(), text.as_bytes().to_vec()]);
            }
        }
        if there && command.len() == 3 {
            return Ok(Change::Unchanged);
        }
        match self.ask(&command).map_err(known)? {
            Reply::Error(error) => Err(error),
            reply => Ok(match (there, reply.get("changed").and_then(Reply::integer)) {
                (false, _) => Change::Created,
                (true, Some(0)) => Change::Unchanged,
                (true, _) => Change::Updated,
            }),
        }
    }

    fn user(&mut self, user: ImportUser<'a>, table: &AttrTable, report: &mut Report) -> Result<()> {
        let wanted = wanted(user, table);
        let (line, has_times) = (wanted.line, wanted.created_at_ms.is_some());
        if let Some(note) = &wanted.note {
            report.changed(line, note);
        }
        match self.take(wanted)? {
            Ok(change) => {
                // No command of the protocol takes a time: a user is made when it is made.
                self.times_lost += u64::from(has_times && change == Change::Created);
                report.user(change);
            }
            Err(reason) => report.refused(line, &reason),
        }
        Ok(())
    }

    fn membership(&mut self, group: &str, member: &MemberRef<'static>, report: &mut Report) -> Result<()> {
        let result = self.join(group, member);
        report.membership(result);
        Ok(())
    }

    fn flush(&mut self, _: &mut Report) -> Result<()> {
        Ok(())
    }

    fn times_lost(&self) -> u64 {
        self.times_lost
    }

    fn finish(&mut self, _: &AttrTable, _: &mut Report) -> Result<()> {
        Ok(())
    }
}

impl Remote {
    fn join(&mut self, group: &str, member: &MemberRef<'_>) -> Result<Option<bool>, String> {
        let user = match member {
            MemberRef::Sub(sub) => stoa_format::Sub(*sub).to_string(),
            MemberRef::Username(name) => format!("username={name}"),
            MemberRef::Email(email) => format!("email={email}"),
        };
        let add = self.command(&["GROUP.ADD", group, &user]);
        match self.ask(&add).map_err(|error| error.to_string())? {
            Reply::Error(error) if error.starts_with("NOUSER") => Ok(None),
            Reply::Error(error) => Err(error),
            reply => Ok(Some(reply.get("changed").and_then(Reply::integer) != Some(0))),
        }
    }
}
