//! The alphabets in which hashes are written.
//!
//! Decoding is strict where two texts could stand for the same bytes (non-zero trailing bits are refused) and lenient
//! where writers differ without ambiguity (padding is optional, `.` may stand for `+`).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::HashError;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// bcrypt ignores the low bits of its salt's last character, and old writers left noise there.
const LOOSE_BITS: GeneralPurposeConfig = LENIENT.with_decode_allow_trailing_bits(true);

const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const BCRYPT: GeneralPurpose = GeneralPurpose::new(&alphabet::BCRYPT, LENIENT);
const BCRYPT_SALT: GeneralPurpose = GeneralPurpose::new(&alphabet::BCRYPT, LOOSE_BITS);
const UNPADDED: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_encode_padding(false));

/// Standard base64, or passlib's adapted form with `.` for `+`; padding optional.
pub(super) fn base64(text: &str, what: &'static str) -> Result<Vec<u8>, HashError> {
    let decoded = if text.contains('.') { STANDARD.decode(text.replace('.', "+")) } else { STANDARD.decode(text) };
    decoded.map_err(|_| HashError::Malformed(what))
}

/// URL-safe base64; padding optional.
pub(super) fn base64_url(text: &str, what: &'static str) -> Result<Vec<u8>, HashError> {
    URL_SAFE.decode(text).map_err(|_| HashError::Malformed(what))
}

/// Hexadecimal in either case.
pub(super) fn hex(text: &str, what: &'static str) -> Result<Vec<u8>, HashError> {
    if !text.len().is_multiple_of(2) {
        return Err(HashError::Malformed(what));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => Ok((high << 4 | low) as u8),
            _ => Err(HashError::Malformed(what)),
        })
        .collect()
}

/// The 16 bytes of a bcrypt salt, written as 22 characters.
pub(super) fn bcrypt_salt(text: &str) -> Result<[u8; 16], HashError> {
    let decoded = BCRYPT_SALT.decode(text).map_err(|_| HashError::Malformed("bcrypt salt"))?;
    decoded.try_into().map_err(|_| HashError::Malformed("bcrypt salt length"))
}

/// The 23 bytes of a bcrypt hash, written as 31 characters.
pub(super) fn bcrypt_hash(text: &str) -> Result<[u8; 23], HashError> {
    let decoded = BCRYPT.decode(text).map_err(|_| HashError::Malformed("bcrypt hash"))?;
    decoded.try_into().map_err(|_| HashError::Malformed("bcrypt hash length"))
}

/// Standard base64 without padding, as PHC strings have it.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    UNPADDED.encode(bytes)
}

/// Standard base64 with padding.
pub(super) fn to_base64_padded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Lower-case hexadecimal.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const CRYPT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The value of one character of `crypt(3)`'s alphabet.
pub(super) fn crypt_value(byte: u8) -> Option<u32> {
    CRYPT_ALPHABET.iter().position(|&known| known == byte).and_then(|at| u32::try_from(at).ok())
}

/// The character of `crypt(3)`'s alphabet for the low six bits of `value`.
pub(super) fn crypt_char(value: u32) -> char {
    char::from(CRYPT_ALPHABET[(value & 63) as usize])
}

/// `crypt(3)`'s encoding: each three bytes, the first one lowest, as four characters, lowest six bits first; a rest of
/// one or two bytes as two or three characters. The schemes permute their digest before it.
pub(super) fn to_crypt64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut value = group.iter().rev().fold(0u32, |value, &byte| value << 8 | u32::from(byte));
        for _ in 0..=group.len() {
            text.push(crypt_char(value));
            value >>= 6;
        }
    }
    text
}

/// Reads what [`to_crypt64`] writes.
pub(super) fn crypt64(text: &str, what: &'static str) -> Result<Vec<u8>, HashError> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut value = 0u32;
        for &byte in group.iter().rev() {
            value = value << 6 | crypt_value(byte).ok_or(HashError::Malformed(what))?;
        }
        let count = group.len() - 1;
        if count == 0 || value >> (8 * count) != 0 {
            return Err(HashError::Malformed(what));
        }
        bytes.extend_from_slice(&value.to_le_bytes()[..count]);
    }
    Ok(bytes)
}

/// A decimal number without sign, spaces or leading zeros beyond `0` itself.
pub(super) fn decimal(text: &str, what: &'static str) -> Result<u32, HashError> {
    if text.is_empty() || text.len() > 1 && text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HashError::Malformed(what));
    }
    // All digits: what does not fit a u32 is a cost beyond any cap, not a damaged text.
    text.parse().map_err(|_| HashError::TooCostly(what))
}

/// The value of `key=value`.
pub(super) fn keyed<'a>(text: &'a str, key: &str, what: &'static str) -> Result<&'a str, HashError> {
    text.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')).ok_or(HashError::Malformed(what))
}

/// Splits `text` at `$` into exactly `N` fields.
pub(super) fn fields<'a, const N: usize>(text: &'a str, what: &'static str) -> Result<[&'a str; N], HashError> {
    let mut parts = text.split('$');
    let mut fields = [""; N];
    for field in &mut fields {
        *field = parts.next().ok_or(HashError::Malformed(what))?;
    }
    match parts.next() {
        None => Ok(fields),
        Some(_) => Err(HashError::Malformed(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_takes_both_alphabets_and_refuses_ambiguous_text() {
        assert_eq!(base64("+/8=", "x").unwrap(), base64("./8", "x").unwrap());
        assert_eq!(base64("+/9", "x"), Err(HashError::Malformed("x")));
        assert_eq!(base64("a", "x"), Err(HashError::Malformed("x")));
    }

    #[test]
    fn crypt64_reads_what_it_writes() {
        for length in 0..20u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(83) ^ 0xa5).collect();
            assert_eq!(crypt64(&to_crypt64(&bytes), "x").unwrap(), bytes);
        }
        assert!(crypt64(".", "x").is_err());
        assert!(crypt64("z~", "x").is_err());
        assert!(crypt64("zz", "x").is_err());
    }

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(decimal("600000", "x"), Ok(600_000));
        assert_eq!(decimal("0", "x"), Ok(0));
        for text in ["", "+1", "01", "1 ", "1e3", "-1"] {
            assert_eq!(decimal(text, "x"), Err(HashError::Malformed("x")), "{text}");
        }
        assert_eq!(decimal("4294967296", "x"), Err(HashError::TooCostly("x")));
    }

    #[test]
    fn hexadecimal_is_read_in_either_case() {
        assert_eq!(hex("0aFF", "x").unwrap(), [0x0a, 0xff]);
        assert_eq!(to_hex(&[0x0a, 0xff]), "0aff");
        assert!(hex("0", "x").is_err() && hex("0g", "x").is_err() && hex("+1", "x").is_err());
    }
}
