//! Reading a pool of a running server.
//!
//! 1. Listings show one Seq on all their pages. What belongs to a user (hash, factors, identities, groups) is read
//!    with the user in one transaction, so each user is whole.
//! 2. A user that changed between the two is shown as it has become, one that is gone is left out; both are counted
//!    and told at the end. Without them, what is written is the pool at one Seq.

use anyhow::{Context, Result, bail};
use stoa_format::Sub;

use super::{ExportArgs, Origin, Sink, without_hash};
use crate::client::{Client, Reply, explained};
use crate::import::attrs::{AttrTable, Kind};
use crate::import::record::{Factor, FactorKind, ImportGroup, ImportPassword, ImportUser, ImportValue, Status, Text};
use crate::import::time;
use crate::load::specs_of;

/// Things on a page.
const PAGE: &str = "1000";
/// Users that are read in one transaction: up to 5 commands each, of 1,024.
const USERS_AT_ONCE: usize = 100;

/// A pool of a running server.
pub(super) struct Remote {
    client: Client,
    pool: String,
    /// Users that changed or went while they were read.
    changed: u64,
}

/// What one listing's page says.
struct Page {
    items: Vec<Reply>,
    cursor: Option<String>,
}

impl Remote {
    pub(super) fn connect(address: &str, args: &ExportArgs) -> Result<Self> {
        let client = Client::connect(address, &args.login)?;
        Ok(Self { client, pool: args.pool.clone(), changed: 0 })
    }

    fn page(&mut self, words: &[&str], things: &str, cursor: Option<&str>) -> Result<Page> {
        let mut command: Vec<&[u8]> = vec![words[0].as_bytes(), self.pool.as_bytes()];
        let (fixed, shown) =
            words[1..].split_at(words[1..].iter().position(|word| *word == "ATTRS").unwrap_or(words.len() - 1));
        command.extend(fixed.iter().map(|word| word.as_bytes()));
        command.extend([&b"LIMIT"[..], PAGE.as_bytes()]);
        if let Some(cursor) = cursor {
            command.extend([&b"CURSOR"[..], cursor.as_bytes()]);
        }
        command.extend(shown.iter().map(|word| word.as_bytes()));
        let reply = self.client.call(&command)?;
        let Some(Reply::Array(items)) = reply.get(things) else { bail!("the server's answer is malformed") };
        let cursor = reply.get("cursor").and_then(Reply::text).map(str::to_owned);
        Ok(Page { items: items.clone(), cursor })
    }

    /// Shows each thing of a listing.
    fn each(
        &mut self,
        words: &[&str],
        things: &str,
        mut show: impl FnMut(&mut Self, &[Reply]) -> Result<()>,
    ) -> Result<()> {
        let mut cursor = None;
        loop {
            let page = self.page(words, things, cursor.as_deref())?;
            show(self, &page.items)?;
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Refuses early, with what to do, where the caller has no right to hashes.
    fn may_see_secrets(&mut self) -> Result<()> {
        let nobody: [&[u8]; 3] = [b"CRED.GET", pool_of(&self.pool), b"00000000-0000-4000-8000-000000000000"];
        self.client.send(&nobody)?;
        match self.client.receive()? {
            Reply::Error(error) if error.starts_with("NOPERM") => {
                bail!(
                    "{error}. --with-hashes needs the right @credentials: ACL SETUSER name +@credentials, or leave it out"
                )
            }
            _ => Ok(()),
        }
    }

    /// What belongs to these users, each as it was in one state: the user and the answers of its commands.
    fn whole(&mut self, subs: &[&str], commands: &[&str]) -> Result<Vec<Reply>> {
        let pool = self.pool.as_bytes();
        let mut all: Vec<Vec<&[u8]>> = Vec::with_capacity(subs.len() * commands.len());
        for sub in subs {
            all.extend(commands.iter().map(|name| vec![name.as_bytes(), pool, sub.as_bytes()]));
        }
        self.client.transact(&all).map_err(explained)
    }

    /// Shows some listed users; those that are gone are left out.
    fn show(&mut self, sink: &mut Sink<'_, '_>, listed: &[Reply], commands: &[&str]) -> Result<()> {
        let subs: Vec<&str> = listed.iter().filter_map(|view| view.get("sub").and_then(Reply::text)).collect();
        let replies = match self.whole(&subs, commands) {
            Ok(replies) => replies,
            // One of them was deleted: the others are read one by one.
            Err(error) if is_gone(&error) && listed.len() > 1 => {
                return listed.iter().try_for_each(|view| self.show(sink, std::slice::from_ref(view), commands));
            }
            Err(error) if is_gone(&error) => {
                self.changed += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (view, answers) in listed.iter().zip(replies.chunks(commands.len())) {
            let Some(present) = answers.first().filter(|present| present.get("sub").is_some()) else {
                self.changed += 1;
                continue;
            };
            self.changed += u64::from(present.get("version") != view.get("version"));
            let version = present.get("version").and_then(Reply::integer).unwrap_or_default();
            let record = self.record(&sink.table.clone(), present, commands, answers)?;
            sink.user(record, version as u64)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        table: &AttrTable,
        view: &Reply,
        commands: &[&str],
        answers: &[Reply],
    ) -> Result<ImportUser<'static>> {
        let malformed = "a user of the server's answer is malformed";
        let text = |key: &str| view.get(key).and_then(Reply::text);
        let sub = text("sub").and_then(Sub::parse).context(malformed)?;
        let mut record = ImportUser {
            sub: Some(sub.0),
            enabled: view.get("enabled").and_then(Reply::integer).map(|enabled| enabled != 0),
            status: text("status").and_then(Status::parse),
            created_at_ms: text("created_at").and_then(time::iso),
            updated_at_ms: text("updated_at").and_then(time::iso),
            ..ImportUser::default()
        };
        // Attributes come in the order of the schema, as the table has them.
        for (key, spec) in table.since(0) {
            let Some(reply) = view.get(&spec.name) else { continue };
            let value = value(spec.kind, spec.multi, reply).with_context(|| format!("{}: {malformed}", spec.name))?;
            record.attrs.push((key, value));
        }
        if !commands.contains(&"CRED.GET") {
            record.password = without_hash(record.status);
        }
        for (command, answer) in commands.iter().zip(answers) {
            match *command {
                "CRED.GET" => {
                    let hash = answer.get("hash").and_then(Reply::text);
                    if let Some(hash) = hash {
                        record.password = ImportPassword::Hash(Text::Owned(hash.to_owned()));
                    }
                }
                "IDENTITY.LIST" => {
                    for identity in self.rest(&sub, command, "identities", answer)? {
                        let part = |key: &str| identity.get(key).and_then(Reply::text).map(str::to_owned);
                        let (provider, subject) = part("provider").zip(part("subject")).context(malformed)?;
                        record.identities.push((provider.into(), subject.into()));
                    }
                }
                "USER.GROUPS" => {
                    let groups = self.rest(&sub, command, "groups", answer)?;
                    record.groups =
                        groups.iter().filter_map(Reply::text).map(|name| Text::Owned(name.to_owned())).collect();
                    record.groups.sort();
                }
                "CRED.LIST" => {
                    for listed in self.rest(&sub, command, "creds", answer)? {
                        record.factors.extend(self.factor(&sub, &listed)?);
                    }
                }
                _ => {}
            }
        }
        Ok(record)
    }

    /// All things of a user's listing of which `first` is the first page.
    fn rest(&mut self, sub: &Sub, command: &str, things: &str, first: &Reply) -> Result<Vec<Reply>> {
        let Some(Reply::Array(items)) = first.get(things) else { return Ok(Vec::new()) };
        let mut items = items.clone();
        let mut cursor = first.get("cursor").and_then(Reply::text).map(str::to_owned);
        while let Some(next) = cursor {
            let page = self.page(&[command, &sub.to_string()], things, Some(&next))?;
            items.extend(page.items);
            cursor = page.cursor;
        }
        Ok(items)
    }

    fn factor(&mut self, sub: &Sub, listed: &Reply) -> Result<Option<Factor<'static>>> {
        let text = |reply: &Reply, key: &str| reply.get(key).and_then(Reply::text).map(str::to_owned);
        let (Some(kind), Some(id)) = (text(listed, "kind"), text(listed, "id")) else { return Ok(None) };
        let sub = sub.to_string();
        let read: [&[u8]; 5] = [b"CRED.READ", pool_of(&self.pool), sub.as_bytes(), kind.as_bytes(), id.as_bytes()];
        let factor = self.client.call(&read)?;
        let (Some(kind), Some(Reply::Bulk(Some(blob)))) = (FactorKind::parse(&kind), factor.get("blob")) else {
            return Ok(None);
        };
        Ok(Some(Factor {
            kind,
            id: id.into(),
            label: text(&factor, "label").map(Text::Owned),
            blob: blob.clone().into(),
        }))
    }
}

impl Origin for Remote {
    fn table(&mut self) -> Result<AttrTable> {
        let info = self.client.call(&[b"POOL.INFO", pool_of(&self.pool)])?;
        let schema = info.get("schema").and_then(Reply::text).context("the server tells no schema")?;
        Ok(AttrTable::with_schema(specs_of(&serde_json::from_str(schema).context("the server's schema is malformed")?)))
    }

    fn groups(&mut self, sink: &mut Sink<'_, '_>, members: bool) -> Result<()> {
        self.each(&["GROUP.LIST"], "groups", |this, groups| {
            for group in groups {
                let text = |key: &str| group.get(key).and_then(Reply::text).map(str::to_owned);
                let name = text("name").context("a group of the server's answer has no name")?;
                sink.group(&ImportGroup {
                    line: 0,
                    name: Text::Borrowed(&name),
                    description: text("description").map(Text::Owned),
                    precedence: group.get("precedence").and_then(Reply::integer),
                    role: text("role").map(Text::Owned),
                    kind: text("kind").map(Text::Owned),
                    attributes: text("json").map(Text::Owned),
                    members: Vec::new(),
                })?;
                if members {
                    this.each(&["GROUP.MEMBERS", &name, "ATTRS", "sub", "username"], "users", |_, users| {
                        users.iter().try_for_each(|user| {
                            let sub = user.get("sub").and_then(Reply::text).and_then(Sub::parse);
                            let sub = sub.context("a member of the server's answer is malformed")?;
                            sink.member(sub.0, user.get("username").and_then(Reply::text))
                        })
                    })?;
                }
            }
            Ok(())
        })
    }

    fn users(&mut self, sink: &mut Sink<'_, '_>, groups: bool, secrets: bool) -> Result<()> {
        let mut commands = vec!["USER.GET", "IDENTITY.LIST"];
        commands.extend(groups.then_some("USER.GROUPS"));
        if secrets {
            self.may_see_secrets()?;
            commands.extend(["CRED.GET", "CRED.LIST"]);
        }
        self.each(&["USER.LIST"], "users", |this, users| {
            users.chunks(USERS_AT_ONCE).try_for_each(|chunk| this.show(sink, chunk, &commands))
        })
    }

    fn finish(self: Box<Self>) -> Result<()> {
        if self.changed > 0 {
            eprintln!(
                "stoa: {} users changed or went while they were read: they are as they have become, all others as when \
                 the export began. Run it again for one state of the whole pool",
                self.changed
            );
        }
        Ok(())
    }
}

fn pool_of(pool: &str) -> &[u8] {
    pool.as_bytes()
}

/// Whether a transaction was refused because a user is gone.
fn is_gone(error: &anyhow::Error) -> bool {
    error.to_string().trim_start_matches("EXECABORT ").starts_with("NOUSER")
}

/// A value as it travels.
fn value(kind: Kind, multi: bool, reply: &Reply) -> Option<ImportValue<'static>> {
    let text = || reply.text().map(str::to_owned);
    Some(match kind {
        _ if multi => {
            let values: Vec<String> = serde_json::from_str(&text()?).ok()?;
            ImportValue::Multi(values.into_iter().map(Text::Owned).collect())
        }
        Kind::Str => ImportValue::Str(text()?.into()),
        Kind::Bool => ImportValue::Bool(reply.integer()? != 0),
        Kind::Int => ImportValue::Int(reply.integer().or_else(|| text()?.parse().ok())?),
        Kind::Time => ImportValue::Time(time::iso(&text()?)?),
        Kind::Json => ImportValue::Json(text()?.into()),
        Kind::Bytes => match reply {
            Reply::Bulk(Some(bytes)) => ImportValue::Bytes(bytes.clone().into()),
            _ => return None,
        },
    })
}
