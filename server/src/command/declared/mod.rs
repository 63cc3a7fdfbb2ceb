//! What is declared of each command, and the declarations, one file a family.

mod connection;
mod credentials;
mod feed;
mod groups;
mod maintenance;
mod pools;
mod server;
mod users;

use crate::args::Args;
use crate::connection::Session;
use crate::dispatch::{Call, Later, Planned};
use crate::refusal::Refusal;
use crate::resp::Reply;

/// All commands, family by family.
pub(super) fn all() -> impl Iterator<Item = &'static Command> {
    [
        connection::COMMANDS,
        server::COMMANDS,
        pools::COMMANDS,
        maintenance::COMMANDS,
        users::COMMANDS,
        credentials::COMMANDS,
        groups::COMMANDS,
        feed::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// The right that a command needs; each has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Category {
    /// What every client does to its connection; new access-control users have it.
    Connection,
    /// Reading one thing, or some by name.
    Read,
    /// Reading many: listings, counts, the change feed.
    Bulk,
    /// Changing users, groups and memberships.
    Write,
    /// Checking secrets.
    Signin,
    /// Setting, reading and removing secrets.
    Credentials,
    /// Pools, schemas and configuration documents.
    Schema,
    /// Pool keys.
    Keys,
    /// Following another node.
    Replication,
    /// Moving from a legacy system, and comparing with it.
    Migration,
    /// The audit log and counters.
    Audit,
    /// What cannot be undone.
    Dangerous,
    /// Operating the server.
    Admin,
}

impl Category {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::Connection,
        Self::Read,
        Self::Bulk,
        Self::Write,
        Self::Signin,
        Self::Credentials,
        Self::Schema,
        Self::Keys,
        Self::Replication,
        Self::Migration,
        Self::Audit,
        Self::Dangerous,
        Self::Admin,
    ];

    /// Its name in rules, without the `@`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Read => "read",
            Self::Bulk => "bulk",
            Self::Write => "write",
            Self::Signin => "signin",
            Self::Credentials => "credentials",
            Self::Schema => "schema",
            Self::Keys => "keys",
            Self::Replication => "replication",
            Self::Migration => "migration",
            Self::Audit => "audit",
            Self::Dangerous => "dangerous",
            Self::Admin => "admin",
        }
    }

    /// The category of this name, in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name().eq_ignore_ascii_case(name))
    }
}

/// What else is to be known about a command; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);
    /// May run before authentication.
    pub(crate) const NO_AUTH: Self = Self(1);
    /// Is refused while queueing a transaction.
    pub(crate) const NO_MULTI: Self = Self(2);
    /// Changes a pool or the store: a pool pattern `%R~` is not enough.
    pub(crate) const WRITE: Self = Self(4);
    /// May run while earlier ones of the same connection are still being made durable.
    pub(crate) const OVERLAPS: Self = Self(8);
    /// Carries a secret: the input buffer is zeroed behind it.
    pub(crate) const SECRET: Self = Self(16);
    /// Is written to the audit log.
    pub(crate) const AUDITED: Self = Self(32);
    /// May wait for something to happen.
    pub(crate) const BLOCKS: Self = Self(64);

    /// Both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `other` is among these.
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Whether a command may read so much that it must not hold up other connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heavy {
    /// One thing: done at once.
    Never,
    /// On a thread of its own.
    Always,
    /// On a thread of its own, where it mostly waits for the log.
    Waits,
    /// On a thread of its own from this many words on.
    From(usize),
}

/// How a command is carried out.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// On the connection's own state, at once.
    Session(fn(&mut Session, Args<'_>, &mut Reply<'_>) -> Result<(), Refusal>),
    /// Writes its reply when called; in a transaction, sees the state before it.
    Call(fn(&Call<'_>, Args<'_>, &mut Reply<'_>) -> Result<(), Refusal>, Heavy),
    /// Is one operation of a transaction.
    Write(fn(&Call<'_>, Args<'_>) -> Result<Planned, Refusal>),
    /// Checks its arguments, then answers later.
    Later(fn(&Call<'_>, Args<'_>) -> Result<Later, Refusal>),
    /// MULTI
    Multi,
    /// EXEC
    Exec,
    /// DISCARD
    Discard,
    /// Has subcommands and does nothing without one.
    Container,
}

/// The declaration of one command.
pub(crate) struct Command {
    /// In upper case; of a subcommand, its own word alone.
    pub name: &'static str,
    /// Its arguments, in the notation of [`super::syntax`].
    pub syntax: &'static str,
    /// What it does, one sentence without a full stop.
    pub summary: &'static str,
    /// What it answers, for the reference page.
    pub answers: &'static str,
    /// The right that it needs.
    pub category: Category,
    /// What else is to be known.
    pub flags: Flags,
    /// Its first argument is a pool's name, by which it is routed and access is checked.
    pub names_pool: bool,
    /// The version that brought it.
    pub since: &'static str,
    /// Its subcommands.
    pub subcommands: &'static [Command],
    /// How it is carried out.
    pub run: Run,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Command {
    /// A command of no pool.
    const fn new(
        name: &'static str,
        syntax: &'static str,
        category: Category,
        run: Run,
        answers: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            name,
            syntax,
            summary,
            answers,
            category,
            flags: Flags::NONE,
            names_pool: false,
            since: "0.1.0",
            subcommands: &[],
            run,
        }
    }

    /// A command whose first argument is a pool.
    const fn pool(
        name: &'static str,
        syntax: &'static str,
        category: Category,
        run: Run,
        answers: &'static str,
        summary: &'static str,
    ) -> Self {
        let mut command = Self::new(name, syntax, category, run, answers, summary);
        command.names_pool = true;
        if matches!(run, Run::Write(_)) {
            command.flags = Flags::WRITE.and(Flags::OVERLAPS);
        }
        command
    }

    /// A command that has subcommands.
    const fn container(
        name: &'static str,
        category: Category,
        subcommands: &'static [Self],
        summary: &'static str,
    ) -> Self {
        let mut command = Self::new(name, "", category, Run::Container, "", summary);
        command.subcommands = subcommands;
        command
    }

    /// The same with these flags too.
    const fn with(mut self, flags: Flags) -> Self {
        self.flags = self.flags.and(flags);
        self
    }
}
