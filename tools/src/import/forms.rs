//! Normal forms of single values: what the pool stores, from what exports write.

use std::borrow::Cow;

use super::{record::Text, time};

/// `true`/`false` in the spellings that exports use.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "1", "yes"]) {
        Some(true)
    } else if is(&["false", "0", "no"]) {
        Some(false)
    } else {
        None
    }
}

/// A telephone number in E.164, with the marks between its digits taken out; None if it is not international.
pub(crate) fn e164(text: Text<'_>) -> Option<Text<'_>> {
    if is_e164(&text) {
        return Some(text);
    }
    if !text.trim_start().starts_with('+') {
        return None;
    }
    let bare: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}')).collect();
    is_e164(&bare).then_some(Cow::Owned(bare))
}

/// `+` and 2 to 15 digits, the first not 0 (ITU-T E.164).
pub(crate) fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or("").as_bytes();
    (2..=15).contains(&digits.len()) && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit)
}

/// A day of birth `mm/dd/yyyy` as OpenID Connect writes it, `yyyy-mm-dd`.
pub(crate) fn us_birthdate(text: &str) -> Option<String> {
    let (month, rest) = text.split_once('/')?;
    let (day, year) = rest.split_once('/')?;
    if month.len() != 2 || day.len() != 2 || year.len() != 4 {
        return None;
    }
    let iso = format!("{year}-{month}-{day}");
    time::iso_day(&iso).map(|_| iso)
}

/// A UUID as text, with or without hyphens and braces.
pub(crate) fn uuid(text: &str) -> Option<[u8; 16]> {
    let bare = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let bytes = bare.as_bytes();
    let hyphens = match bytes.len() {
        36 => true,
        32 => false,
        _ => return None,
    };
    let mut uuid = [0; 16];
    let mut at = 0;
    for (i, byte) in uuid.iter_mut().enumerate() {
        if hyphens && matches!(i, 4 | 6 | 8 | 10) {
            if bytes[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = hex_digit(bytes[at])? << 4 | hex_digit(bytes[at + 1])?;
        at += 2;
    }
    Some(uuid)
}

/// Lower-case text of a UUID.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    text
}

/// The value of one hexadecimal digit.
pub(crate) fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// Bytes from hexadecimal text.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|two| Some(hex_digit(two[0])? << 4 | hex_digit(two[1])?)).collect()
}

/// Base64 in any of its alphabets, padded or not, as exports mix them.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::{
        Engine as _,
        alphabet::{STANDARD, URL_SAFE},
        engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    };
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
    const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
    PLAIN.decode(text).or_else(|_| URL.decode(text)).ok()
}

/// Base64 in the standard alphabet with padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn telephone_numbers_lose_their_marks_or_are_left() {
        assert_eq!(e164("+1 313 555-4332".into()).as_deref(), Some("+13135554332"));
        assert_eq!(e164("+34600000001".into()).as_deref(), Some("+34600000001"));
        assert_eq!(e164("(206) 555-0100".into()), None);
        assert_eq!(e164("+0123".into()), None);
        assert_eq!(e164("+1234567890123456".into()), None);
    }

    #[test]
    fn birthdates_are_days_of_the_calendar() {
        assert_eq!(us_birthdate("02/01/1985").as_deref(), Some("1985-02-01"));
        for wrong in ["1990-01-31", "2/1/1985", "02/30/1985", "+2/01/1985"] {
            assert_eq!(us_birthdate(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn uuids_go_round(bytes: [u8; 16]) {
            prop_assert_eq!(uuid(&uuid_text(&bytes)), Some(bytes));
            prop_assert_eq!(uuid(&uuid_text(&bytes).replace('-', "").to_uppercase()), Some(bytes));
        }

        #[test]
        fn base64_goes_round(bytes: Vec<u8>) {
            prop_assert_eq!(base64(to_base64(&bytes).as_bytes()), Some(bytes.clone()));
            prop_assert_eq!(base64(to_base64(&bytes).replace('+', "-").replace('/', "_").trim_end_matches('=').as_bytes()), Some(bytes));
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,40}") {
            let _ = (uuid(&text), e164(text.as_str().into()), us_birthdate(&text), hex(&text), base64(text.as_bytes()));
        }
    }
}
