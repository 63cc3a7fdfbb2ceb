//! `userPassword` values: which of several to take, and what each says.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::super::{place::Notes, record::ImportPassword};

/// Reads all values of one entry. Several are allowed by the schema; a pool keeps one: a hash before a password in the
/// clear before one that is checked elsewhere, the earlier one first.
pub(crate) fn read<'a>(values: Vec<Cow<'a, [u8]>>, notes: &mut Notes) -> ImportPassword<'a> {
    let count = values.len();
    let mut best = ImportPassword::None;
    for value in values {
        let password = one(value);
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

fn one(value: Cow<'_, [u8]>) -> ImportPassword<'_> {
    let text = match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    let Some(text) = text else {
        return ImportPassword::Unsupported { reason: "userPassword is no UTF-8".into() };
    };
    let Some((scheme, rest)) = scheme(&text) else {
        return without_scheme(text);
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
    let known = [
        "MD5",
        "SMD5",
        "SHA",
        "SSHA",
        "SHA256",
        "SHA384",
        "SHA512",
        "SSHA256",
        "SSHA384",
        "SSHA512",
        "CRYPT",
        "PBKDF2",
        "PBKDF2-SHA1",
        "PBKDF2-SHA256",
        "PBKDF2-SHA512",
        "PBKDF2_SHA256",
        "ARGON2",
        "ARGON2I",
        "ARGON2ID",
        "BCRYPT",
    ];
    if !is(&known) {
        return ImportPassword::Unsupported { reason: "the password scheme is not one that can be verified".into() };
    }
    ImportPassword::Hash(text)
}

/// Splits `{SCHEME}rest`.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.strip_prefix('{')?.split_once('}')?;
    let sound = !scheme.is_empty()
        && scheme.len() <= 32
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    sound.then_some((scheme, rest))
}

fn without_scheme(text: Cow<'_, str>) -> ImportPassword<'_> {
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
        return ImportPassword::Hash(text);
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

    fn of(values: &[&'static str]) -> ImportPassword<'static> {
        read(values.iter().map(|v| Cow::Borrowed(v.as_bytes())).collect(), &mut Notes::new())
    }

    #[test]
    fn each_scheme_says_what_it_is() {
        assert_eq!(of(&["{ssha}abc="]), ImportPassword::Hash("{ssha}abc=".into()));
        assert_eq!(of(&["{CRYPT}$6$salt$hash"]), ImportPassword::Hash("{CRYPT}$6$salt$hash".into()));
        assert_eq!(of(&["{CLEARTEXT}pw"]), ImportPassword::Plain(Zeroizing::new("pw".into())));
        assert_eq!(of(&["pw{"]), ImportPassword::Plain(Zeroizing::new("pw{".into())));
        assert_eq!(of(&["{SASL}user@REALM"]), ImportPassword::ResetRequired);
        assert_eq!(of(&[""]), ImportPassword::ResetRequired);
        for lock in ["*", "!", "{crypt}*", "{CRYPT}!$6$x"] {
            assert_eq!(of(&[lock]), ImportPassword::Locked, "{lock}");
        }
        assert!(matches!(of(&["{LANMAN}x"]), ImportPassword::Unsupported { .. }));
    }

    #[test]
    fn of_several_values_a_hash_is_kept() {
        let mut notes = Notes::new();
        let values = ["{SASL}u", "plain", "{SSHA}one", "{SSHA}two"].map(|v| Cow::Borrowed(v.as_bytes()));
        assert_eq!(read(values.into(), &mut notes), ImportPassword::Hash("{SSHA}one".into()));
        assert_eq!(notes.len(), 1);
    }
}
