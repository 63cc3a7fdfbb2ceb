//! LDAP: the value of `userPassword`, as RFC 2307 and the directories after it write it.

/// The mark of a stored text that no directory has a scheme for.
const ESCAPE: &str = "{STOA}";
/// Marks that say nothing which the text after them does not say itself.
const WRAPPERS: [&str; 2] = ["{CRYPT}", "{ARGON2}"];

/// The text to store for a value that begins with a scheme in braces: `{CRYPT}$6$…` and `{ARGON2}$argon2id$…` lose
/// their mark, whatever else stays as it is. (A value without a scheme is plain text, and no hash.)
#[must_use]
pub fn ldap(value: &str) -> &str {
    if let Some(stored) = strip_mark(value, ESCAPE) {
        return stored;
    }
    WRAPPERS.iter().filter_map(|mark| strip_mark(value, mark)).find(|rest| rest.starts_with('$')).unwrap_or(value)
}

/// The value of `userPassword` for a stored text, for an export: [`ldap`] makes the same text of it again.
#[must_use]
pub fn to_ldap(stored: &str) -> String {
    let mark = match stored {
        _ if stored.starts_with("$argon2") => "{ARGON2}",
        _ if stored.starts_with('$') => "{CRYPT}",
        _ if stored.starts_with('{') && ldap(stored) == stored => "",
        _ => ESCAPE,
    };
    [mark, stored].concat()
}

/// What follows `mark`, which may stand in either case.
fn strip_mark<'a>(value: &'a str, mark: &str) -> Option<&'a str> {
    value.split_at_checked(mark.len()).and_then(|(head, rest)| head.eq_ignore_ascii_case(mark).then_some(rest))
}
