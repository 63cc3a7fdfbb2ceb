//! What a pool asks of new passwords: its `password` document.
//!
//! | key | meaning |
//! | --- | --- |
//! | `min_length`, `max_length` | in characters |
//! | `require_lowercase`, `require_uppercase`, `require_numbers`, `require_symbols` | one of them at least; a symbol is neither letter nor number |
//! | `deny` | words that no password may contain, in any case |
//! | `deny_attributes` | the same with the user's own names, addresses and numbers |
//! | `history` | so many passwords, the present one among them, may not come again; 24 at most |
//! | `max_age_days` | an older password no longer signs in (`expired`) and can be changed |
//! | `temporary_days` | an older temporary password no longer signs in and cannot be changed: a new one is given |
//!
//! Invariants:
//! 1. A policy is about texts: a hash that is taken as it is has passed another system's.
//! 2. No refusal says which word or attribute it was, or any part of the password.

use serde_json::Value;

use super::names::Status;
use crate::error::{Error, ErrorKind, Result};

/// The most passwords that a policy looks back on: each costs one hash at every change.
pub const HISTORY_MAX: usize = 24;
/// The most words that a policy denies.
const DENIED_MAX: usize = 10_000;
/// Shorter pieces of a user's own attributes are in too many words by chance; in characters.
const PIECE_CHARS_MIN: usize = 4;
const DAY_MS: u64 = 86_400_000;
const BOOLEANS: [&str; 5] =
    ["require_lowercase", "require_uppercase", "require_numbers", "require_symbols", "deny_attributes"];
const NUMBERS: [&str; 5] = ["min_length", "max_length", "history", "max_age_days", "temporary_days"];

/// The attributes that `deny_attributes` looks at.
pub const OWN_ATTRIBUTES: [&str; 8] =
    ["username", "email", "phone_number", "name", "given_name", "family_name", "nickname", "preferred_username"];

/// What a pool asks of new passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// In characters.
    pub min_length: Option<u64>,
    /// In characters.
    pub max_length: Option<u64>,
    /// One lower-case letter at least.
    pub require_lowercase: bool,
    /// One upper-case letter at least.
    pub require_uppercase: bool,
    /// One number at least.
    pub require_numbers: bool,
    /// One character at least that is neither letter nor number.
    pub require_symbols: bool,
    /// Words that no password may contain, in lower case.
    pub deny: Vec<Box<str>>,
    /// No password may contain its user's own names, addresses and numbers.
    pub deny_attributes: bool,
    /// So many passwords, the present one among them, may not come again; [`HISTORY_MAX`] at most.
    pub history: usize,
    /// For how many days a password signs in; 0 for ever.
    pub max_age_days: u64,
    /// For how many days a temporary password can be changed; 0 for ever.
    pub temporary_days: u64,
}

impl PasswordPolicy {
    /// Reads the document.
    ///
    /// # Errors
    /// Names the key that is unknown or has a value of the wrong kind.
    pub fn parse(json: &Value) -> Result<Self, String> {
        let object = json.as_object().ok_or("wants an object, e.g. {\"min_length\": 12}")?;
        let known = |key: &String| key == "deny" || BOOLEANS.contains(&&**key) || NUMBERS.contains(&&**key);
        if !object.keys().all(known) {
            return Err(format!("has a key that is none of deny, {}, {}", BOOLEANS.join(", "), NUMBERS.join(", ")));
        }
        let number = |key: &str| -> Result<Option<u64>, String> {
            let number = object.get(key).map(|value| value.as_u64().ok_or(format!("{key} wants a whole number")));
            number.transpose()
        };
        let boolean = |key: &str| -> Result<bool, String> {
            object.get(key).map_or(Ok(false), |value| value.as_bool().ok_or(format!("{key} wants true or false")))
        };
        let history = number("history")?.unwrap_or(0);
        if history > HISTORY_MAX as u64 {
            return Err(format!("history is {HISTORY_MAX} at most"));
        }
        let policy = Self {
            min_length: number("min_length")?,
            max_length: number("max_length")?,
            require_lowercase: boolean("require_lowercase")?,
            require_uppercase: boolean("require_uppercase")?,
            require_numbers: boolean("require_numbers")?,
            require_symbols: boolean("require_symbols")?,
            deny: object.get("deny").map_or(Ok(Vec::new()), denied)?,
            deny_attributes: boolean("deny_attributes")?,
            history: history as usize,
            max_age_days: number("max_age_days")?.unwrap_or(0),
            temporary_days: number("temporary_days")?.unwrap_or(0),
        };
        match (policy.min_length, policy.max_length) {
            (Some(min), Some(max)) if min > max => Err("min_length is greater than max_length".into()),
            _ => Ok(policy),
        }
    }

    /// Checks what can be said of a text without knowing whose password it is to be.
    ///
    /// # Errors
    /// `WEAK`; `LIMIT` for one that is too long.
    pub fn check(&self, secret: &[u8]) -> Result<()> {
        if secret.is_empty() {
            return Err(weak("an empty password is none"));
        }
        let text = String::from_utf8_lossy(secret);
        let length = text.chars().count() as u64;
        if let Some(min) = self.min_length.filter(|min| length < *min) {
            return Err(weak(&format!("the password is shorter than the {min} characters of this pool's policy")));
        }
        if let Some(max) = self.max_length.filter(|max| length > *max) {
            let what = format!("the password is longer than the {max} characters of this pool's policy");
            return Err(Error::limit(what));
        }
        let lacks = |wanted: bool, is: fn(char) -> bool| wanted && !text.chars().any(is);
        let missing: Vec<&str> = [
            (lacks(self.require_lowercase, char::is_lowercase), "a lower-case letter"),
            (lacks(self.require_uppercase, char::is_uppercase), "an upper-case letter"),
            (lacks(self.require_numbers, char::is_numeric), "a number"),
            (lacks(self.require_symbols, |c| !c.is_alphanumeric()), "a symbol"),
        ]
        .into_iter()
        .filter_map(|(missing, what)| missing.then_some(what))
        .collect();
        if !missing.is_empty() {
            return Err(weak(&format!("this pool's policy asks for {} in a password", missing.join(" and "))));
        }
        let lower = text.to_lowercase();
        match self.deny.iter().any(|word| lower.contains(&**word)) {
            true => Err(weak("the password contains a word that this pool's policy denies")),
            false => Ok(()),
        }
    }

    /// Checks a text against the values of its user's [`OWN_ATTRIBUTES`].
    ///
    /// # Errors
    /// `WEAK`
    pub fn check_own<'v>(&self, secret: &[u8], values: impl Iterator<Item = &'v str>) -> Result<()> {
        if !self.deny_attributes {
            return Ok(());
        }
        let lower = String::from_utf8_lossy(secret).to_lowercase();
        for value in values {
            let value = value.to_lowercase();
            // Many share the domain of an address.
            let local = value.split('@').next().unwrap_or_default();
            let pieces = local.split(|c: char| !c.is_alphanumeric()).chain([local, &*value]);
            let mut long = pieces.filter(|piece| piece.chars().count() >= PIECE_CHARS_MIN);
            if long.any(|piece| lower.contains(piece)) {
                return Err(weak("the password contains a name, address or number of its user"));
            }
        }
        Ok(())
    }

    /// Whether a password set at `set_at_ms` is too old for a user of this status.
    pub fn is_expired(&self, status: Status, set_at_ms: u64, now_ms: u64) -> bool {
        let days = match status {
            Status::ForceChangePassword => self.temporary_days,
            Status::Confirmed => self.max_age_days,
            _ => 0,
        };
        days > 0 && now_ms.saturating_sub(set_at_ms) >= days.saturating_mul(DAY_MS)
    }
}

fn denied(json: &Value) -> Result<Vec<Box<str>>, String> {
    let words = json.as_array().and_then(|words| words.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let words = words.ok_or("deny wants an array of words")?;
    if words.len() > DENIED_MAX || words.iter().any(|word| word.is_empty()) {
        return Err(format!("deny takes {DENIED_MAX} words at most, none of them empty"));
    }
    Ok(words.iter().map(|word| word.to_lowercase().into()).collect())
}

fn weak(what: &str) -> Error {
    Error::new(ErrorKind::Weak, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_judged_by_length_characters_and_words() {
        let policy = json!({
            "min_length": 8, "max_length": 12, "require_lowercase": true, "require_uppercase": true,
            "require_numbers": true, "require_symbols": true, "deny": ["Acme", "пароль"]
        });
        let policy = PasswordPolicy::parse(&policy).unwrap();
        let word = |text: &str| policy.check(text.as_bytes()).map_or_else(|error| error.kind().word(), |()| "ok");
        for (text, expected) in [
            ("Aa1!aaaa", "ok"),
            ("Aa1 ääää", "ok"),
            ("", "WEAK"),
            ("Aa1!aaa", "WEAK"),
            ("Aa1!aaaaaaaaa", "LIMIT"),
            ("AA1!AAAA", "WEAK"),
            ("aa1!aaaa", "WEAK"),
            ("Aaa!aaaa", "WEAK"),
            ("Aa1aaaaa", "WEAK"),
            ("Aa1!aCmE", "WEAK"),
            ("A1!ПАРОЛЬя", "WEAK"),
        ] {
            assert_eq!(word(text), expected, "{text}");
        }
        let said = policy.check(b"aaaaaaaa").unwrap_err().to_string();
        assert!(said.contains("an upper-case letter and a number and a symbol"), "{said}");
    }

    #[test]
    fn a_users_own_names_are_denied_without_saying_which() {
        let policy = PasswordPolicy { deny_attributes: true, ..PasswordPolicy::default() };
        let check = |text: &str| policy.check_own(text.as_bytes(), ["Barbara.Jensen@example.com", "Li"].into_iter());
        assert!(check("correct-horse").is_ok() && check("example-list").is_ok());
        for text in ["my-BARBARA-1", "jensen77", "barbara.jensen@example.com!"] {
            let said = check(text).unwrap_err().to_string();
            assert!(!said.to_lowercase().contains("jensen") && !said.to_lowercase().contains("barbara"), "{said}");
        }
        assert!(PasswordPolicy::default().check_own(b"barbara", ["barbara"].into_iter()).is_ok());
    }

    #[test]
    fn a_document_that_makes_no_sense_names_the_key() {
        for (json, named) in [
            (json!([]), "object"),
            (json!({"min_lenght": 8}), "min_length"),
            (json!({"min_length": "8"}), "min_length"),
            (json!({"require_numbers": 1}), "require_numbers"),
            (json!({"history": 25}), "history"),
            (json!({"deny": "x"}), "deny"),
            (json!({"deny": [""]}), "deny"),
            (json!({"min_length": 9, "max_length": 8}), "max_length"),
        ] {
            let fault = PasswordPolicy::parse(&json).unwrap_err();
            assert!(fault.contains(named), "{fault}");
        }
    }

    #[test]
    fn passwords_grow_old_by_status() {
        let policy = PasswordPolicy { max_age_days: 90, temporary_days: 7, ..PasswordPolicy::default() };
        assert!(!policy.is_expired(Status::Confirmed, 0, 90 * DAY_MS - 1));
        assert!(policy.is_expired(Status::Confirmed, 0, 90 * DAY_MS));
        assert!(policy.is_expired(Status::ForceChangePassword, 0, 7 * DAY_MS));
        assert!(!PasswordPolicy::default().is_expired(Status::Confirmed, 0, u64::MAX));
    }
}
