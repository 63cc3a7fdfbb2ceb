//! The declared commands, flattened, numbered and found by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::declared::{self, Command};
use super::syntax::{self, Argument};

/// One command, or one subcommand, with what follows from its declaration.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number in the table: commands and subcommands, containers too.
    pub index: usize,
    /// The declaration.
    pub command: &'static Command,
    /// The container, of a subcommand.
    pub parent: Option<&'static str>,
    /// `USER.GET`, `CLIENT ID`: as written, and as errors name it.
    pub spoken: String,
    /// `user.get`, `client|id`: as Redis's clients and rules name it.
    pub name: String,
    /// How many words a request has, the command's own included.
    least: usize,
    /// The same at most, where that is bounded.
    most: Option<usize>,
    /// The argument tree.
    pub arguments: Vec<Argument>,
    /// The numbers of its subcommands.
    pub subcommands: Vec<usize>,
}

impl Entry {
    /// How many words name it.
    pub(crate) fn words(&self) -> usize {
        1 + usize::from(self.parent.is_some())
    }

    /// Whether a request of this many words can be one.
    pub(crate) fn accepts(&self, words: usize) -> bool {
        words >= self.least && self.most.is_none_or(|most| words <= most)
    }

    /// Redis's arity: the number of words, negative where there may be more.
    pub(crate) fn arity(&self) -> i64 {
        let least = self.least as i64;
        if self.most == Some(self.least) { least } else { -least }
    }

    /// The category and how many words precede the pool's name, where it has one.
    pub(crate) fn pool_at(&self) -> Option<usize> {
        self.command.names_pool.then(|| self.words())
    }
}

/// What a request's first words name.
pub(crate) enum Lookup {
    /// A command or subcommand.
    Found(&'static Entry),
    /// No such command.
    Unknown,
    /// A container without, or with an unknown, subcommand.
    UnknownSubcommand(&'static Entry),
}

/// All commands.
pub(crate) struct Table {
    entries: Vec<Entry>,
    by_name: HashMap<Box<[u8]>, usize>,
}

/// The commands of this server.
pub(crate) fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(Table::build);
    &TABLE
}

impl Table {
    fn build() -> Self {
        let mut table = Self { entries: Vec::new(), by_name: HashMap::new() };
        for command in declared::all() {
            let parent = table.push(command, None);
            for subcommand in command.subcommands {
                let index = table.push(subcommand, Some(command.name));
                table.entries[parent].subcommands.push(index);
            }
        }
        table
    }

    fn push(&mut self, command: &'static Command, parent: Option<&'static str>) -> usize {
        let index = self.entries.len();
        let (spoken, name) = match parent {
            Some(parent) => (format!("{parent} {}", command.name), format!("{parent}|{}", command.name)),
            None => (command.name.to_string(), command.name.to_string()),
        };
        let arguments = syntax::parse(command.syntax);
        let names = 1 + usize::from(parent.is_some());
        // A container alone is looked up too, to answer that a subcommand is missing.
        let (least, most) = if command.subcommands.is_empty() { syntax::words(names, &arguments) } else { (1, None) };
        self.by_name.insert(name.to_ascii_uppercase().into_bytes().into(), index);
        let name = name.to_ascii_lowercase();
        self.entries.push(Entry {
            index,
            command,
            parent,
            spoken,
            name,
            least,
            most,
            arguments,
            subcommands: Vec::new(),
        });
        index
    }

    /// All commands and subcommands, by number.
    pub(crate) fn entries(&'static self) -> &'static [Entry] {
        &self.entries
    }

    /// The commands that are nobody's subcommand.
    pub(crate) fn top(&'static self) -> impl Iterator<Item = &'static Entry> {
        self.entries.iter().filter(|entry| entry.parent.is_none())
    }

    /// The command of this name, in any case; a subcommand as `client|id`.
    pub(crate) fn named(&'static self, name: &[u8]) -> Option<&'static Entry> {
        let mut upper = [0u8; 64];
        let upper = upper.get_mut(..name.len())?;
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        self.by_name.get(&*upper).map(|index| &self.entries[*index])
    }

    /// The command that a request's first two words name.
    pub(crate) fn find(&'static self, first: &[u8], second: Option<&[u8]>) -> Lookup {
        let Some(entry) = self.named(first).filter(|entry| entry.parent.is_none()) else { return Lookup::Unknown };
        if entry.subcommands.is_empty() {
            return Lookup::Found(entry);
        }
        let Some(second) = second else {
            let bare = matches!(entry.command.run, declared::Run::Container);
            return if bare { Lookup::UnknownSubcommand(entry) } else { Lookup::Found(entry) };
        };
        entry
            .subcommands
            .iter()
            .map(|index| &self.entries[*index])
            .find(|subcommand| subcommand.command.name.as_bytes().eq_ignore_ascii_case(second))
            .map_or(Lookup::UnknownSubcommand(entry), Lookup::Found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        assert_eq!(table().by_name.len(), table().entries.len());
        assert!(matches!(table().find(b"user.get", None), Lookup::Found(entry) if entry.spoken == "USER.GET"));
        assert!(matches!(table().find(b"client", Some(b"Id")), Lookup::Found(entry) if entry.name == "client|id"));
        assert!(matches!(table().find(b"client", Some(b"nope")), Lookup::UnknownSubcommand(_)));
        assert!(matches!(table().find(b"client", None), Lookup::UnknownSubcommand(_)));
        assert!(matches!(table().find(b"command", None), Lookup::Found(_)));
        assert!(matches!(table().find(b"client|id", None), Lookup::Unknown));
        assert!(matches!(table().find(&[b'x'; 100], None), Lookup::Unknown));
    }

    #[test]
    fn the_pool_stands_first_where_there_is_one() {
        for entry in table().entries() {
            let first = entry.arguments.first().is_some_and(|argument| argument.kind == syntax::Kind::Key);
            assert_eq!(entry.command.names_pool, first, "{}", entry.spoken);
        }
    }
}
