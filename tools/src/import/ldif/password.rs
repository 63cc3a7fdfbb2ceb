//! `userPassword` values: which of several to take, and what each says.

use std::borrow::Cow;

use stoa_engine::password::{Caps, convert::ldap};
use zeroize::Zeroizing;

use super::super::{
    hashes,
    place::Notes,
    record::{ImportPassword, Text},
};

/// Reads all values of one entry. Several are allowed by the schema; a pool keeps one: a hash before a password in the
/// clear before one that is checked elsewhere, the earlier one first.
pub(crate) fn read<'a>(values: Vec<Cow<'a, [u8]>>, caps: &Caps, notes: &mut Notes) -> ImportPassword<'a> {
    let count = values.len();
    let mut best = ImportPassword::None;
    for value in values {
        let password = one(value, caps);
        if rank(&password) > rank(&best) {
            best = password;
        }
    }
    if count > 1 {
        notes.push("userPassword has several values: one is kept".into());
    }
    best
}

fn rank(password: &ImportPassword<'_>) -> u8 {
    match password {
        ImportPassword::None => 0,
        ImportPassword::ResetRequired => 1,
        ImportPassword::Unsupported { .. } => 2,
        ImportPassword::Plain(_) => 3,
        ImportPassword::Hash(_) => 4,
        ImportPassword::Locked => 5,
    }
}

fn one<'a>(value: Cow<'a, [u8]>, caps: &Caps) -> ImportPassword<'a> {
    let text = match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    let Some(text) = text else {
        return ImportPassword::Unsupported { reason: "userPassword is no UTF-8".into() };
    };
    let Some((scheme, rest)) = scheme(&text) else {
        return without_scheme(text, caps);
    };
    let is = |names: &[&str]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    if is(&["CLEARTEXT", "CLEAR", "PLAIN"]) {
        return ImportPassword::Plain(Zeroizing::new(rest.to_owned()));
    }
    if is(&["SASL", "KERBEROS", "RADIUS", "REMOTE"]) {
        return ImportPassword::ResetRequired;
    }
    if is(&["CRYPT", "UNIX"]) && is_lock(rest) {
        return ImportPassword::Locked;
    }
    if rest.is_empty() {
        return ImportPassword::ResetRequired;
    }
    hash(text, caps)
}

/// A hash as the engine writes it: without the marks that say nothing.
fn hash<'a>(text: Text<'a>, caps: &Caps) -> ImportPassword<'a> {
    let stored = match text {
        Cow::Borrowed(text) => Cow::Borrowed(ldap(text)),
        Cow::Owned(text) => Cow::Owned(ldap(&text).to_owned()),
    };
    hashes::checked(stored, caps)
}

/// Splits `{SCHEME}rest`.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.strip_prefix('{')?.split_once('}')?;
    let sound = !scheme.is_empty()
        && scheme.len() <= 32
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    sound.then_some((scheme, rest))
}

fn without_scheme<'a>(text: Text<'a>, caps: &Caps) -> ImportPassword<'a> {
    if text.is_empty() {
        return ImportPassword::ResetRequired;
    }
    if is_lock(&text) {
        return ImportPassword::Locked;
    }
    // Modular crypt and PHC strings stand without a scheme in some directories; a password that looks like one is rarer
    // than that, and the engine refuses what is no hash.
    let modular = ["$1$", "$2a$", "$2b$", "$2x$", "$2y$", "$5$", "$6$", "$argon2i$", "$argon2id$", "$pbkdf2"];
    if modular.iter().any(|prefix| text.starts_with(prefix)) {
        return hash(text, caps);
    }
    ImportPassword::Plain(Zeroizing::new(text.into_owned()))
}

/// What shadow(5) and directories write in place of a hash to lock an account.
fn is_lock(text: &str) -> bool {
    matches!(text, "*" | "!" | "!!" | "x" | "*LK*" | "*NP*" | "!*")
        || text.starts_with("!$")
        || text.starts_with("*LK*")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSHA: &str = "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr";

    fn of(values: &[&'static str]) -> ImportPassword<'static> {
        read(values.iter().map(|v| Cow::Borrowed(v.as_bytes())).collect(), &Caps::default(), &mut Notes::new())
    }

    #[test]
    fn each_scheme_says_what_it_is() {
        assert_eq!(of(&[SSHA]), ImportPassword::Hash(SSHA.into()));
        let md5_crypt = "$1$dOHYPKoP$tnxS1T8Q6VVn3kpV8cN6o.";
        assert_eq!(of(&["{CRYPT}$1$dOHYPKoP$tnxS1T8Q6VVn3kpV8cN6o."]), ImportPassword::Hash(md5_crypt.into()));
        assert_eq!(of(&[md5_crypt]), ImportPassword::Hash(md5_crypt.into()));
        assert_eq!(of(&["{CLEARTEXT}pw"]), ImportPassword::Plain(Zeroizing::new("pw".into())));
        assert_eq!(of(&["pw{"]), ImportPassword::Plain(Zeroizing::new("pw{".into())));
        assert_eq!(of(&["{SASL}user@REALM"]), ImportPassword::ResetRequired);
        assert_eq!(of(&[""]), ImportPassword::ResetRequired);
        for lock in ["*", "!", "{crypt}*", "{CRYPT}!$6$x"] {
            assert_eq!(of(&[lock]), ImportPassword::Locked, "{lock}");
        }
        for unsupported in ["{LANMAN}x", "{SSHA}x", "{CRYPT}ab0123456789."] {
            assert!(matches!(of(&[unsupported]), ImportPassword::Unsupported { .. }), "{unsupported}");
        }
    }

    #[test]
    fn of_several_values_a_hash_is_kept() {
        let mut notes = Notes::new();
        let values = ["{SASL}u", "plain", SSHA, "{MD5}/F4DjTilcDIIVEHn/nAQsA=="].map(|v| Cow::Borrowed(v.as_bytes()));
        assert_eq!(read(values.into(), &Caps::default(), &mut notes), ImportPassword::Hash(SSHA.into()));
        assert_eq!(notes.len(), 1);
    }
}
