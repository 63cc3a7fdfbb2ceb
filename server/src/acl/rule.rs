//! Rules about commands in Redis's notation. Their order matters; the later one wins.

use crate::command::{Category, Entry, table};

/// One rule of what a user may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// `+@category`, `-@category`, `+@all`, `-@all`.
    Category { category: Option<Category>, allowed: bool },
    /// `+command`, `-command`, `+command|subcommand`.
    Command { name: String, allowed: bool },
}

impl Rule {
    /// Reads a rule that begins with `+` or `-`; `Err` says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let allowed = text.starts_with('+');
        let name = &text[1..];
        match name.strip_prefix('@') {
            Some(category) if category.eq_ignore_ascii_case("all") => Ok(Self::Category { category: None, allowed }),
            Some(category) => match Category::parse(category) {
                Some(category) => Ok(Self::Category { category: Some(category), allowed }),
                None => Err("names no category: see ACL CAT"),
            },
            None => match table().named(name.as_bytes()) {
                Some(entry) => Ok(Self::Command { name: entry.name.clone(), allowed }),
                None => Err("names no command: see COMMAND LIST"),
            },
        }
    }

    /// The rule as text.
    pub(super) fn text(&self) -> String {
        let sign = |allowed: bool| if allowed { '+' } else { '-' };
        match self {
            Self::Category { category, allowed } => {
                format!("{}@{}", sign(*allowed), category.map_or("all", Category::name))
            }
            Self::Command { name, allowed } => format!("{}{name}", sign(*allowed)),
        }
    }

    /// What it says of this command, if anything.
    fn says(&self, entry: &Entry) -> Option<bool> {
        match self {
            Self::Category { category, allowed } => {
                category.is_none_or(|category| category == entry.command.category).then_some(*allowed)
            }
            Self::Command { name, allowed } => {
                let container = entry.parent.is_some_and(|parent| parent.eq_ignore_ascii_case(name));
                (container || *name == entry.name).then_some(*allowed)
            }
        }
    }
}

/// A set of commands, by their numbers in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandSet(Vec<u64>);

impl CommandSet {
    /// What `rules` allow.
    pub(super) fn of(rules: &[Rule]) -> Self {
        let entries = table().entries();
        let mut set = Self(vec![0; entries.len().div_ceil(64)]);
        for entry in entries {
            if rules.iter().rev().find_map(|rule| rule.says(entry)).unwrap_or(false) {
                set.0[entry.index / 64] |= 1 << (entry.index % 64);
            }
        }
        set
    }

    /// Whether the command is in it.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.0.get(entry.index / 64).is_some_and(|word| word >> (entry.index % 64) & 1 == 1)
    }
}
