//! Compares what systems answer with what the population says: a row that measures wrong answers measures nothing.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::load::{Alias, Keys, Spread};
use crate::peer::{Reader, Seen, profile_of};
use crate::population::{Population, Text, User};

/// So many users are compared.
const COMPARED: usize = 200;

/// Profiles, hashes and sign-ins of some users, by every way that there is to them, and of nobody.
pub(super) fn none_in_reads(reader: &mut dyn Reader, people: &Population) -> Result<()> {
    let mut keys = Keys::new(Spread::Uniform, people.users.len(), 77);
    for _ in 0..COMPARED.min(people.users.len()) {
        let user = &people.users[keys.draw()];
        for alias in [Alias::Username, Alias::Email, Alias::Phone] {
            let value = user.text(alias.text());
            if value.is_empty() {
                continue;
            }
            none_in_profile(user, |seen| reader.profile(alias, value, seen))?;
            let mut seen = Seen::keeping();
            ensure!(reader.sign_in(alias, value, &mut seen)?, "a user cannot sign in by {}", alias.name());
            let kept = seen.into_kept();
            let profile = profile_of(user);
            let is = |name: &str, wanted: Option<&str>| kept[0].get(name).map(String::as_str) == wanted;
            ensure!(is("hash", Some(user.text(Text::Hash))), "a sign-in reads another hash");
            for name in ["status", "enabled"] {
                ensure!(is(name, profile.get(name).map(String::as_str)), "a sign-in reads another {name}");
            }
        }
        none_in_profile(user, |seen| reader.by_sub(&user.sub, seen))?;
        let mut seen = Seen::keeping();
        ensure!(reader.hash(user.text(Text::Email), &mut seen)?, "a user's hash is not found");
        ensure!(seen.into_kept()[0]["hash"] == user.text(Text::Hash), "another hash is found");
    }
    let mut seen = Seen::default();
    ensure!(!reader.profile(Alias::Email, "nobody@nowhere.example", &mut seen)?, "nobody is found");
    ensure!(!reader.hash("nobody@nowhere.example", &mut seen)?, "nobody has a password");
    ensure!(!reader.sign_in(Alias::Username, "nobody at all", &mut seen)?, "nobody signs in");
    ensure!(!reader.by_sub(&[3; 16], &mut seen)?, "nobody is found by a sub");
    ensure!(seen.values == 0, "nobody has {} values", seen.values);
    Ok(())
}

fn none_in_profile(user: &User, read: impl FnOnce(&mut Seen) -> Result<bool>) -> Result<()> {
    let mut seen = Seen::keeping();
    ensure!(read(&mut seen)?, "a user of the population is not found");
    let (kept, wanted) = (seen.into_kept(), profile_of(user));
    ensure!(kept.len() == 1 && kept[0] == wanted, "a profile is {kept:?}, not {wanted:?}");
    Ok(())
}

/// Whether a user has this value of this attribute.
pub(super) fn none_in_value(reader: &mut dyn Reader, sub: &[u8; 16], name: &str, wanted: &str) -> Result<()> {
    let mut seen = Seen::keeping();
    ensure!(reader.by_sub(sub, &mut seen)?, "a user who was changed is gone");
    none_in_kept(&seen.into_kept(), name, wanted)
}

/// Whether the one user who was seen has this value of this attribute.
pub(super) fn none_in_kept(kept: &[BTreeMap<String, String>], name: &str, wanted: &str) -> Result<()> {
    let found = kept.first().and_then(|user| user.get(name)).map_or("", String::as_str);
    ensure!(found == wanted, "{name} is {found:?}, not {wanted:?}");
    Ok(())
}

/// Whether these are the profiles of the first users by username that begin with the prefix.
pub(super) fn none_in_prefix(seen: Seen, people: &Population, prefix: &str, limit: usize) -> Result<()> {
    none_in_listed(seen, &people.users, prefix, limit)
}

/// The same of these users.
pub(super) fn none_in_listed(seen: Seen, users: &[User], prefix: &str, limit: usize) -> Result<()> {
    let names = users.iter().map(|user| user.text(Text::Username)).filter(|name| name.starts_with(prefix));
    let mut wanted: Vec<&str> = names.collect();
    wanted.sort_unstable();
    wanted.truncate(limit);
    let kept = seen.into_kept();
    let found: Vec<&str> = kept.iter().map(|user| user.get("username").map_or("", String::as_str)).collect();
    ensure!(found == wanted, "the first by {prefix:?} are {found:?}, not {wanted:?}");
    let complete = kept.iter().all(|user| user.contains_key("email") && user.contains_key("sub"));
    ensure!(complete, "a listed profile lacks attributes");
    Ok(())
}
