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
    if run.is_multiple_of(2) && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
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
    let rest = decode_bits(text, &VALUE_OF[alphabet], raw);
    let keep_rest = if rest == Some(true) { KEEP_REST } else { 0 };
    put_field(ALPHABETS[alphabet].0 | keep_rest, text.len(), template);
}

/// Appends the characters' bits, those left over only if they are not all zero, and says whether they were
/// appended; `None`, with any of the bits appended, if a character is not in the alphabet.
fn decode_bits(text: &[u8], value_of: &[u8; 256], raw: &mut Vec<u8>) -> Option<bool> {
    let mut fours = text.chunks_exact(4);
    for four in &mut fours {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| value_of[usize::from(four[i])]);
        if a | b | c | d > 63 {
            return None;
        }
        let bits = u32::from(a) << 26 | u32::from(b) << 20 | u32::from(c) << 14 | u32::from(d) << 8;
        raw.extend_from_slice(&bits.to_be_bytes()[..3]);
    }
    let (mut bits, mut filled) = (0u32, 0);
    for &character in fours.remainder() {
        let value = value_of[usize::from(character)];
        if value > 63 {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        filled += 6;
        if filled >= 8 {
            filled -= 8;
            raw.push((bits >> filled) as u8);
        }
    }
    let rest = bits & ((1 << filled) - 1);
    if rest != 0 {
        raw.push((rest << (8 - filled)) as u8);
    }
    Some(rest != 0)
}

/// Appends the raw bits of a hash that has this template's form; false, with nothing appended, if it has not.
/// One user's hash nearly always has the form of the one before.
pub(crate) fn split_as(template: &[u8], hash: &[u8], raw: &mut Vec<u8>) -> bool {
    let start = raw.len();
    let has_form = !template.is_empty() && split_tokens(template, hash, raw) == Some(());
    if !has_form {
        raw.truncate(start);
    }
    has_form
}

fn split_tokens(template: &[u8], hash: &[u8], raw: &mut Vec<u8>) -> Option<()> {
    let (mut tokens, mut rest) = (Fields::new(NAME, template), hash);
    while tokens.remaining() > 0 {
        let kind = tokens.u8().ok()?;
        if kind == LITERAL {
            let len = tokens.u8().ok()?;
            rest = rest.strip_prefix(tokens.slice(usize::from(len)).ok()?)?;
            continue;
        }
        let (text, behind) = rest.split_at_checked(usize::from(tokens.u16().ok()?))?;
        rest = behind;
        match kind {
            TEXT => raw.extend_from_slice(text),
            HEX => {
                if !text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    return None;
                }
                raw.extend(text.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])));
            }
            _ => {
                let alphabet = ALPHABETS.iter().position(|(number, _)| *number == kind & !KEEP_REST)?;
                let kept = decode_bits(text, &VALUE_OF[alphabet], raw)?;
                if kept != (kind & KEEP_REST != 0) {
                    return None;
                }
            }
        }
    }
    rest.is_empty().then_some(())
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
        HEX if chars.is_multiple_of(2) => {
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
            encode_bits(raw, chars, characters, out);
        }
    }
    Ok(())
}

/// Appends `chars` characters of six bits each; bits behind the last byte are zero.
fn encode_bits(raw: &[u8], chars: usize, characters: &[u8; 64], out: &mut Vec<u8>) {
    let threes = raw.chunks_exact(3).take(chars / 4);
    for three in threes {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        out.extend_from_slice(&[18, 12, 6, 0].map(|shift| characters[(bits >> shift & 63) as usize]));
    }
    let (mut pending, mut filled) = (0u32, 0);
    let mut bytes = raw.iter().skip(chars / 4 * 3);
    for _ in chars / 4 * 4..chars {
        if filled < 6 {
            pending = pending << 8 | u32::from(bytes.next().copied().unwrap_or(0));
            filled += 8;
        }
        filled -= 6;
        out.push(characters[(pending >> filled & 63) as usize]);
    }
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
        let mut again = Vec::new();
        assert_eq!(split_as(&template, hash.as_bytes(), &mut again), !template.is_empty());
        assert!(template.is_empty() || again == raw);
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
        fn a_hash_split_as_another_comes_back(
            one in "[$]a[$][a-zA-Z0-9+/]{20,24}[$][a-f0-9]{8,9}",
            other in "[$]a[$][a-zA-Z0-9+/.]{20,24}[$][a-f0-9A]{8,9}",
        ) {
            let (mut template, mut raw, mut back) = (Vec::new(), Vec::new(), Vec::new());
            split(one.as_bytes(), &mut template, &mut raw);
            raw.clear();
            if split_as(&template, other.as_bytes(), &mut raw) {
                join(&template, &raw, &mut back).unwrap();
                prop_assert_eq!(back, other.as_bytes());
            } else {
                prop_assert!(raw.is_empty());
            }
        }

        #[test]
        fn any_template_joins_or_fails(template in prop::collection::vec(any::<u8>(), 0..40), raw in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut out = Vec::new();
            let _ = join(&template, &raw, &mut out);
            prop_assert!(out.len() <= 40 * 255 + 4 * 65536);
        }
    }
}
