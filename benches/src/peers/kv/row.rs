//! A user as the value of a key-value store: fixed fields, the lengths of the texts, the texts.
//!
//! Bytes: 1 of flags (enabled, e-mail verified, number verified), 1 of status, 8 of creation, 8 of the last update,
//! a LEB128 for each text's length, then the texts. The sub is the key. 270 bytes for a mean user.

use anyhow::{Context, Result};

use crate::peer::Seen;
use crate::population::{STATUSES, TEXTS, Text, User};

const ALL_TEXTS: [Text; TEXTS] = [
    Text::Username,
    Text::Email,
    Text::Phone,
    Text::GivenName,
    Text::FamilyName,
    Text::Name,
    Text::Locale,
    Text::Tier,
    Text::Prefs,
    Text::Hash,
];
const ENABLED: u8 = 1;
const EMAIL_VERIFIED: u8 = 2;
const PHONE_VERIFIED: u8 = 4;
const HEAD_BYTES: usize = 18;

/// Appends a user's row.
pub(crate) fn encode(user: &User, out: &mut Vec<u8>) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(
        flag(user.enabled, ENABLED)
            | flag(user.email_verified, EMAIL_VERIFIED)
            | flag(user.phone_verified, PHONE_VERIFIED),
    );
    out.push(user.status);
    out.extend(user.created_at_ms.to_le_bytes());
    out.extend(user.updated_at_ms.to_le_bytes());
    ALL_TEXTS.iter().for_each(|text| push_length(out, user.text(*text).len()));
    ALL_TEXTS.iter().for_each(|text| out.extend(user.text(*text).as_bytes()));
}

fn push_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// A row that is read where it lies.
pub(crate) struct Row<'r> {
    bytes: &'r [u8],
    ends: [u16; TEXTS],
    texts_at: usize,
}

impl<'r> Row<'r> {
    /// Finds the fields.
    pub(crate) fn read(bytes: &'r [u8]) -> Result<Self> {
        let (mut at, mut end, mut ends) = (HEAD_BYTES, 0u16, [0; TEXTS]);
        for slot in &mut ends {
            let (mut length, mut shift) = (0u16, 0);
            loop {
                let byte = *bytes.get(at).context("a row is cut")?;
                at += 1;
                length |= u16::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
            }
            end += length;
            *slot = end;
        }
        anyhow::ensure!(bytes.len() == at + usize::from(end), "a row is of another length");
        Ok(Self { bytes, ends, texts_at: at })
    }

    fn bytes_of(&self, text: Text) -> &'r [u8] {
        let at = text as usize;
        let start = if at == 0 { 0 } else { usize::from(self.ends[at - 1]) };
        &self.bytes[self.texts_at + start..self.texts_at + usize::from(self.ends[at])]
    }

    pub(crate) fn text(&self, text: Text) -> Result<&'r str> {
        Ok(std::str::from_utf8(self.bytes_of(text))?)
    }

    fn flag(&self, flag: u8) -> bool {
        self.bytes[0] & flag != 0
    }

    fn number(&self, at: usize) -> u64 {
        self.bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
    }

    fn status(&self) -> &'static str {
        STATUSES.get(usize::from(self.bytes[1])).map_or("", |(word, _)| word)
    }

    /// Shows the whole profile.
    pub(crate) fn show(&self, sub: &[u8; 16], seen: &mut Seen) -> Result<()> {
        seen.begin_user();
        seen.sub(sub);
        // Checked once for all of them.
        let texts = std::str::from_utf8(&self.bytes[self.texts_at..])?;
        let mut start = 0;
        for (name, end) in NAMES.iter().zip(self.ends) {
            if end > start {
                seen.text(name, texts.get(usize::from(start)..usize::from(end)).context("a text is cut")?);
            }
            start = end;
        }
        seen.flag("email_verified", self.flag(EMAIL_VERIFIED));
        if self.ends[Text::Phone as usize] > self.ends[Text::Email as usize] {
            seen.flag("phone_number_verified", self.flag(PHONE_VERIFIED));
        }
        seen.text("status", self.status());
        seen.flag("enabled", self.flag(ENABLED));
        seen.int("created_at", self.number(2));
        seen.int("updated_at", self.number(10));
        Ok(())
    }

    /// Shows what a sign-in needs.
    pub(crate) fn show_sign_in(&self, seen: &mut Seen) -> Result<()> {
        seen.text("hash", self.text(Text::Hash)?);
        seen.text("status", self.status());
        seen.flag("enabled", self.flag(ENABLED));
        Ok(())
    }

    /// The row with another value of one text, updated now.
    pub(crate) fn with(&self, text: Text, value: &str, now_ms: u64, out: &mut Vec<u8>) {
        out.extend(&self.bytes[..10]);
        out.extend(now_ms.to_le_bytes());
        let of = |each: Text| if each == text { value.as_bytes() } else { self.bytes_of(each) };
        ALL_TEXTS.iter().for_each(|each| push_length(out, of(*each).len()));
        ALL_TEXTS.iter().for_each(|each| out.extend(of(*each)));
    }
}

/// What of a row's texts a profile shows: all but the hash.
const NAMES: [&str; TEXTS - 1] =
    ["username", "email", "phone_number", "given_name", "family_name", "name", "locale", "custom:tier", "custom:prefs"];

/// Whether `text` contains `part`, which is ASCII in small letters, in any case.
pub(crate) fn contains(text: &str, part: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().contains(part);
    }
    text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::profile_of;
    use crate::population::Population;

    #[test]
    fn a_row_says_what_the_user_is() {
        for user in &Population::new(300, 5).users {
            let (mut bytes, mut seen) = (Vec::new(), Seen::keeping());
            encode(user, &mut bytes);
            Row::read(&bytes).expect("whole").show(&user.sub, &mut seen).expect("texts");
            assert_eq!(seen.into_kept(), [profile_of(user)]);
            assert!(Row::read(&bytes[..bytes.len() - 1]).is_err());
            let (mut changed, long) = (Vec::new(), "p".repeat(300));
            Row::read(&bytes).expect("whole").with(Text::Prefs, &long, 7, &mut changed);
            let row = Row::read(&changed).expect("whole");
            assert_eq!((row.text(Text::Prefs).expect("text"), row.number(10)), (&*long, 7));
            assert_eq!(row.text(Text::Hash).expect("text"), user.text(Text::Hash));
        }
        assert!(contains("McArdle", "ar") && contains("Ñarro", "ar") && !contains("Ar", "arr"));
    }
}
