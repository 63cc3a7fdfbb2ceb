//! Password hashes taken apart: what many have in common, and what is each one's own.
//!
//! A stored hash such as `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>` is split into literal text and
//! *fields*: runs of letters and digits that carry bits. The template (literals, and the alphabet and length
//! of each field) goes to the page's table once; the fields' bits are kept raw, one after the other. Whatever
//! cannot be rebuilt byte for byte stays as it came: the empty template means "all bytes verbatim".
//!
//! A template is a list of tokens:
//!
//! | first byte | then | meaning |
//! | --- | --- | --- |
//! | 0 | length u8 (1 to 255), that many bytes | literal text |
//! | 1 | characters u16 | lower-case hexadecimal, two characters a byte |
//! | 2 | characters u16 | base64 (RFC 4648 alphabet), without padding |
//! | 3 | characters u16 | base64url alphabet, without padding |
//! | 4 | characters u16 | alphabet `./0-9A-Za-z` |
//! | 5 | characters u16 | alphabet `./A-Za-z0-9` (bcrypt) |
//! | 6 | characters u16 | text, a byte a character |
//!
//! In alphabets 2 to 5 each character is 6 bits, the first one highest; `floor(6n/8)` bytes are kept and the
//! bits left over must be zero. With 0x80 added to the first byte `ceil(6n/8)` bytes are kept instead, so
//! that any bits left over survive.

use crate::DecodeError;
use crate::run::fields::Fields;

const NAME: &str = "password template";
const LITERAL: u8 = 0;
const HEX: u8 = 1;
const TEXT: u8 = 6;
/// Added to an alphabet's number if the bits left over are kept.
const KEEP_REST: u8 = 0x80;
/// Runs shorter than this stay literal: parameters, scheme names.
const FIELD_CHARS_MIN: usize = 8;
/// The first run is a scheme's name unless it is at least this long.
const FIRST_FIELD_CHARS_MIN: usize = 16;
/// Longest hash that is taken apart, in bytes.
const SPLIT_BYTES_MAX: usize = 4096;
/// Characters of a bcrypt salt; its hash follows without a separator.
const BCRYPT_SALT_CHARS: usize = 22;
const BCRYPT_CHARS: usize = 53;

/// Token numbers of the 6-bit alphabets, in the order in which they are tried, and their characters.
const ALPHABETS: [(u8, &[u8; 64]); 4] = [
    (2, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
    (3, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
    (4, b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
    (5, b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
];
const BCRYPT: usize = 3;
const NOT_IN_ALPHABET: u8 = 0xff;
const VALUE_OF: [[u8; 256]; 4] = {
    let mut tables = [[NOT_IN_ALPHABET; 256]; 4];
    let mut a = 0;
    while a < 4 {
        let mut i = 0;
        while i < 64 {
            tables[a][ALPHABETS[a].1[i] as usize] = i as u8;
            i += 1;
        }
        a += 1;
    }
    tables
};

/// Appends the template and the raw bits of a stored hash; the empty template and all bytes if it has no
/// form that could be rebuilt.
pub(crate) fn split(hash: &[u8], template: &mut Vec<u8>, raw: &mut Vec<u8>) {
    let (template_start, raw_start) = (template.len(), raw.len());
    if hash.len() <= SPLIT_BYTES_MAX {
        split_runs(hash, template, raw);
    }
    let own_bits = raw.len() - raw_start;
    let common = template.len() - template_start;
    if own_bits == 0 || common > 255 {
        template.truncate(template_start);
        raw.truncate(raw_start);
        raw.extend_from_slice(hash);
    }
}

fn split_runs(hash: &[u8], template: &mut Vec<u8>, raw: &mut Vec<u8>) {
    let (mut at, mut literal_from, mut first) = (0, 0, true);
    while at < hash.len() {
        let run = hash[at..].iter().take_while(|&&b| is_run(b)).count();
        if run == 0 {
            at += 1;
            continue;
        }
        if run >= if first { FIRST_FIELD_CHARS_MIN } else { FIELD_CHARS_MIN } {
            put_literal(&hash[literal_from..at], template);
            put_run(hash, at, run, template, raw);
            literal_from = at + run;
        }
        first = false;
        at += run;
    }
    put_literal(&hash[literal_from..], template);
}

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'.' | b'-' | b'_')
}

fn put_literal(text: &[u8], template: &mut Vec<u8>) {
    for piece in text.chunks(255) {
        template.extend_from_slice(&[LITERAL, piece.len() as u8]);
        template.extend_from_slice(piece);
    }
}

fn put_run(hash: &[u8], at: usize, run: usize, template: &mut Vec<u8>, raw: &mut Vec<u8>) {
    let text = &hash[at..at + run];
    if run == BCRYPT_CHARS && hash.starts_with(b"$2") {
        let (salt, sum) = text.split_at(BCRYPT_SALT_CHARS);
        if [salt, sum].iter().all(|part| part.iter().all(|&b| VALUE_OF[BCRYPT][usize::from(b)] != NOT_IN_ALPHABET)) {
            put_bits(salt, BCRYPT, template, raw);
            put_bits(sum, BCRYPT, template, raw);
            return;
        }
    }
    if run % 2 == 0 && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        put_field(HEX, run, template);
        raw.extend(text.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])));
        return;
    }
    let alphabet = (0..3).find(|&a| text.iter().all(|&b| VALUE_OF[a][usize::from(b)] != NOT_IN_ALPHABET));
    match alphabet {
        Some(alphabet) => put_bits(text, alphabet, template, raw),
        None => {
            put_field(TEXT, run, template);
            raw.extend_from_slice(text);
        }
    }
}

fn put_field(kind: u8, chars: usize, template: &mut Vec<u8>) {
    template.push(kind);
    template.extend_from_slice(&(chars as u16).to_le_bytes());
}

fn nibble(digit: u8) -> u8 {
    if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 }
}

/// Appends characters that are all in the alphabet, six bits each.
fn put_bits(text: &[u8], alphabet: usize, template: &mut Vec<u8>, raw: &mut Vec<u8>) {
    let (mut bits, mut filled) = (0u32, 0);
    for &character in text {
        bits = bits << 6 | u32::from(VALUE_OF[alphabet][usize::from(character)]);
        filled += 6;
        if filled >= 8 {
            filled -= 8;
            raw.push((bits >> filled) as u8);
        }
    }
    let rest = bits & ((1 << filled) - 1);
    let mut kind = ALPHABETS[alphabet].0;
    if rest != 0 {
        kind |= KEEP_REST;
        raw.push((rest << (8 - filled)) as u8);
    }
    put_field(kind, text.len(), template);
}

/// Appends the stored hash that was split into this template and these raw bits.
///
/// # Errors
/// If the template is malformed, or asks for more or fewer bits than there are.
pub(crate) fn join(template: &[u8], raw: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if template.is_empty() {
        out.extend_from_slice(raw);
        return Ok(());
    }
    let mut tokens = Fields::new(NAME, template);
    let mut bits = Fields::new("password bits", raw);
    while tokens.remaining() > 0 {
        let kind = tokens.u8()?;
        if kind == LITERAL {
            let len = tokens.u8()?;
            out.extend_from_slice(tokens.slice(usize::from(len))?);
            continue;
        }
        let chars = usize::from(tokens.u16()?);
        join_field(kind, chars, &mut bits, out)?;
    }
    bits.end()
}

fn join_field(kind: u8, chars: usize, bits: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match kind {
        HEX if chars % 2 == 0 => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let raw = bits.slice(chars / 2)?;
            out.extend(raw.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
        }
        TEXT => out.extend_from_slice(bits.slice(chars)?),
        _ => {
            let alphabet = ALPHABETS.iter().find(|(number, _)| *number == kind & !KEEP_REST);
            let (_, characters) = alphabet.ok_or_else(|| DecodeError::new(NAME, 0, "unknown token"))?;
            let keep_rest = kind & KEEP_REST != 0;
            let raw = bits.slice(if keep_rest { (chars * 6).div_ceil(8) } else { chars * 6 / 8 })?;
            let (mut pending, mut filled) = (0u32, 0);
            let mut bytes = raw.iter();
            for _ in 0..chars {
                if filled < 6 {
                    // Without the rest, the last character's missing bits are zero.
                    pending = pending << 8 | u32::from(bytes.next().copied().unwrap_or(0));
                    filled += 8;
                }
                filled -= 6;
                out.push(characters[(pending >> filled & 63) as usize]);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(hash: &str) -> (usize, usize) {
        let (mut template, mut raw, mut back) = (Vec::new(), Vec::new(), Vec::new());
        split(hash.as_bytes(), &mut template, &mut raw);
        join(&template, &raw, &mut back).unwrap();
        assert_eq!(back, hash.as_bytes());
        (template.len(), raw.len())
    }

    #[test]
    fn known_schemes_keep_their_own_bits_only() {
        // Salt and hash of an Argon2 PHC string: 16 + 32 bytes.
        let (template, raw) =
            parts("$argon2id$v=19$m=19456,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$CWOrkoo7oJBQ/iyh7uJ0LO2aLEfrHwTWllSAxT0zRno");
        assert_eq!(raw, 48);
        assert!(template > 0);
        // bcrypt: 16 + 23.
        assert_eq!(parts("$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy").1, 39);
        // Salted SHA-1, padded base64 of 20 + 8 bytes.
        assert_eq!(parts("{SSHA}ZmFsc2U3dHJ1ZTEyMzQ1Njc4OTBhYmNkZWZnaGk0NQ==").1, 31);
        // Hexadecimal SHA-256.
        assert_eq!(parts("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").1, 32);
        // crypt(3) SHA-256: its alphabet, odd bits kept.
        parts("$5$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43TSaYhEWsQ1Lr5QNyPCDH/Tp.6");
        parts("pbkdf2_sha256$600000$Zt3fJqH1dyIUEBWbvPQvXl$0bEK7tqW3cWQpdsGQVZ6ZlTmXzI2TXYbR6KZMyi1jYw=");
    }

    #[test]
    fn what_has_no_form_is_kept_verbatim() {
        for odd in ["", "x", "$$$$", "plain words", "ünïcode$", &"$".repeat(5000), &"a".repeat(5000)] {
            assert_eq!(parts(odd), (0, odd.len()));
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(hash in "[$]?[a-zA-Z0-9+/._=,${}-]{0,120}") {
            parts(&hash);
        }

        #[test]
        fn any_bytes_come_back(hash in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut template, mut raw, mut back) = (Vec::new(), Vec::new(), Vec::new());
            split(&hash, &mut template, &mut raw);
            join(&template, &raw, &mut back).unwrap();
            prop_assert_eq!(back, hash);
        }

        #[test]
        fn any_template_joins_or_fails(template in prop::collection::vec(any::<u8>(), 0..40), raw in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut out = Vec::new();
            let _ = join(&template, &raw, &mut out);
            prop_assert!(out.len() <= 40 * 255 + 4 * 65536);
        }
    }
}
