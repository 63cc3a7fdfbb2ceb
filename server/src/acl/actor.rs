//! One access-control user: rules, compiled for checking.

use std::sync::Arc;

use super::glob;
use super::rule::{CommandSet, Rule};
use super::secret::SecretHash;
use crate::command::{Category, Entry, Flags};
use crate::refusal::{Refusal, Result};

/// The most secrets a user may have at once: enough to change one without a gap.
const SECRETS_MAX: usize = 8;
/// The most patterns or command rules a user may have.
const RULES_MAX: usize = 256;

/// Pools that match, and what may be done with them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PoolPattern {
    pattern: Box<str>,
    reads: bool,
    writes: bool,
}

/// An access-control user.
#[derive(Clone)]
pub(crate) struct Actor {
    name: Arc<str>,
    enabled: bool,
    pub(super) secrets: Vec<SecretHash>,
    rules: Vec<Rule>,
    pools: Vec<PoolPattern>,
    /// None: all attributes.
    attrs: Option<Vec<Box<str>>>,
    allowed: CommandSet,
}

impl Actor {
    /// A new user: off, without secrets, may do what every connection does, and sees no pool.
    pub(super) fn new(name: &str) -> Self {
        let rules = vec![Rule::Category { category: Some(Category::Connection), allowed: true }];
        let allowed = CommandSet::of(&rules);
        Self { name: name.into(), enabled: false, secrets: Vec::new(), rules, pools: Vec::new(), attrs: None, allowed }
    }

    /// A user who may do everything, and has no secret.
    pub(crate) fn unlimited(name: &str) -> Self {
        let mut actor = Self::new(name);
        for rule in [&b"on"[..], b"+@all", b"~*"] {
            actor.apply(rule).expect("these rules are well-formed");
        }
        actor
    }

    /// The user's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the user may authenticate.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether this is one of the user's secrets.
    pub(crate) fn has_secret(&self, secret: &[u8]) -> bool {
        // All are looked at, so that the time does not tell which one it was.
        self.secrets.iter().fold(false, |found, hash| found | hash.matches(secret))
    }

    /// Whether the user may run the command, on some pool.
    pub(crate) fn may_run(&self, entry: &Entry) -> bool {
        self.allowed.has(entry)
    }

    /// Whether the user may look at the pool, or, where `writes`, change it.
    pub(crate) fn may_reach(&self, pool: &[u8], writes: bool) -> bool {
        self.pools.iter().any(|pattern| {
            let enough = if writes { pattern.writes } else { pattern.reads };
            enough && glob::matches(pattern.pattern.as_bytes(), pool)
        })
    }

    /// Whether the user may read, set, filter by and select by the attribute.
    pub(crate) fn may_see(&self, attr: &str) -> bool {
        self.attrs
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), attr.as_bytes())))
    }

    /// Whether no attribute is kept from the user.
    pub(crate) fn sees_all(&self) -> bool {
        self.attrs.is_none()
    }

    /// Refuses a command, or a pool, that the user may not use.
    ///
    /// # Errors
    /// `NOPERM`, which names the command and never the pool.
    pub(crate) fn check(&self, entry: &Entry, pool: Option<&[u8]>) -> Result<()> {
        if !self.may_run(entry) {
            return Err(Refusal::no_perm(format!(
                "this user may not run '{}' (category @{}); see ACL SETUSER",
                entry.name,
                entry.command.category.name()
            )));
        }
        match pool {
            Some(pool) if !self.may_reach(pool, entry.command.flags.has(Flags::WRITE)) => {
                Err(Refusal::no_perm("this user may not use that pool in this way"))
            }
            _ => Ok(()),
        }
    }

    /// Applies one rule; `Err` says what is wrong with it, without repeating it.
    pub(super) fn apply(&mut self, rule: &[u8]) -> std::result::Result<(), &'static str> {
        // A secret may be any bytes; all else is text.
        match rule {
            [b'>', secret @ ..] => return self.add_secret(secret),
            [b'<', secret @ ..] => return self.remove_secrets(|hash| hash.matches(secret)),
            _ => {}
        }
        let text = std::str::from_utf8(rule).map_err(|_| "is not UTF-8")?;
        match text.to_ascii_lowercase().as_str() {
            "on" => self.enabled = true,
            "off" => self.enabled = false,
            "resetpass" => self.secrets.clear(),
            "nopass" => return Err("is not offered: every user has a secret or a client certificate"),
            "allcommands" => self.set_rule("+@all")?,
            "nocommands" => self.set_rule("-@all")?,
            "allkeys" => self.add_pool("~*")?,
            "resetkeys" => self.pools.clear(),
            "allchannels" | "allattrs" | "&*" => self.attrs = None,
            "resetchannels" | "resetattrs" => self.attrs = Some(Vec::new()),
            "reset" => *self = Self::new(&self.name.clone()),
            _ => match rule.first() {
                Some(b'+' | b'-') => self.set_rule(text)?,
                Some(b'~' | b'%') => self.add_pool(text)?,
                Some(b'&') => self.add_attr(&text[1..])?,
                Some(b'!') => self.remove_secrets(|hash| hash.fingerprint().eq_ignore_ascii_case(&text[1..]))?,
                _ => {
                    return Err(
                        "is not understood: on off >secret <secret resetpass +@category -command ~pool &attribute",
                    );
                }
            },
        }
        Ok(())
    }

    fn add_secret(&mut self, secret: &[u8]) -> std::result::Result<(), &'static str> {
        if secret.is_empty() {
            return Err("is an empty secret");
        }
        if self.has_secret(secret) {
            return Ok(());
        }
        if self.secrets.len() == SECRETS_MAX {
            return Err("is one secret too many: 8 at most");
        }
        self.secrets.push(SecretHash::new(secret));
        Ok(())
    }

    fn remove_secrets(&mut self, which: impl Fn(&SecretHash) -> bool) -> std::result::Result<(), &'static str> {
        let before = self.secrets.len();
        self.secrets.retain(|hash| !which(hash));
        if self.secrets.len() < before { Ok(()) } else { Err("names a secret that the user does not have") }
    }

    fn set_rule(&mut self, text: &str) -> std::result::Result<(), &'static str> {
        let rule = Rule::parse(text)?;
        match rule {
            // What comes before a rule about everything says nothing any more.
            Rule::Category { category: None, .. } => self.rules.clear(),
            _ => self.rules.retain(|other| other.text()[1..] != rule.text()[1..]),
        }
        if self.rules.len() == RULES_MAX {
            return Err("is one rule too many: 256 at most");
        }
        // Nothing is allowed where no rule says so.
        if rule != (Rule::Category { category: None, allowed: false }) {
            self.rules.push(rule);
        }
        self.allowed = CommandSet::of(&self.rules);
        Ok(())
    }

    fn add_pool(&mut self, text: &str) -> std::result::Result<(), &'static str> {
        let (kinds, pattern) = match text.strip_prefix('%') {
            None => ("RW", &text[1..]),
            Some(text) => text.split_once('~').ok_or("lacks a ~ before the pool pattern")?,
        };
        let has = |kind: char| kinds.chars().any(|letter| letter.eq_ignore_ascii_case(&kind));
        let pattern = PoolPattern { pattern: pattern.into(), reads: has('R'), writes: has('W') };
        let known = kinds.chars().all(|letter| matches!(letter.to_ascii_uppercase(), 'R' | 'W'));
        let blank = |letter: char| letter.is_whitespace();
        if pattern.pattern.is_empty() || pattern.pattern.contains(blank) || !known || kinds.is_empty() {
            return Err("is no pool pattern: ~pattern, %R~pattern, %W~pattern or %RW~pattern");
        }
        if self.pools.len() == RULES_MAX {
            return Err("is one pattern too many: 256 at most");
        }
        if !self.pools.contains(&pattern) {
            self.pools.push(pattern);
        }
        Ok(())
    }

    /// The first pattern narrows from all attributes to those that match.
    fn add_attr(&mut self, pattern: &str) -> std::result::Result<(), &'static str> {
        let patterns = self.attrs.get_or_insert_default();
        if pattern.is_empty() {
            return Err("is an empty attribute pattern");
        }
        if patterns.len() == RULES_MAX {
            return Err("is one pattern too many: 256 at most");
        }
        if !patterns.iter().any(|other| **other == *pattern) {
            patterns.push(pattern.into());
        }
        Ok(())
    }

    /// The rules about commands, in order.
    pub(crate) fn command_rules(&self) -> String {
        self.rules.iter().map(Rule::text).collect::<Vec<_>>().join(" ")
    }

    /// The pool patterns, as rules.
    pub(crate) fn pool_rules(&self) -> String {
        let text = |pattern: &PoolPattern| match (pattern.reads, pattern.writes) {
            (true, true) => format!("~{}", pattern.pattern),
            (true, false) => format!("%R~{}", pattern.pattern),
            _ => format!("%W~{}", pattern.pattern),
        };
        self.pools.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    /// The attribute patterns, as rules.
    pub(crate) fn attr_rules(&self) -> String {
        match &self.attrs {
            None => "&*".to_string(),
            Some(patterns) => patterns.iter().map(|pattern| format!("&{pattern}")).collect::<Vec<_>>().join(" "),
        }
    }

    /// Short names of the secrets.
    pub(crate) fn fingerprints(&self) -> Vec<String> {
        self.secrets.iter().map(SecretHash::fingerprint).collect()
    }

    /// All rules but the secrets, such that applying them to a new user gives this one.
    pub(super) fn rules(&self) -> Vec<String> {
        let mut rules = vec![if self.enabled { "on".to_string() } else { "off".to_string() }];
        rules.push("-@all".to_string());
        rules.extend(self.rules.iter().map(Rule::text));
        rules.extend(self.pool_rules().split_whitespace().map(str::to_string));
        if let Some(patterns) = &self.attrs {
            rules.push("resetattrs".to_string());
            rules.extend(patterns.iter().map(|pattern| format!("&{pattern}")));
        }
        rules
    }
}
