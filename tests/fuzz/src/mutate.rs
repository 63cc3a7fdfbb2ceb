//! Changes an input: in its bytes, in numbers that look like lengths, in its digits, in the order of its parts.

use crate::random::Random;

/// Octets at which parsers turn.
const OCTETS: [u8; 16] = [0, 1, 2, 0x0a, 0x0d, b' ', b'"', b'$', b',', b'0', b'9', b'\\', 0x7f, 0x80, 0xfe, 0xff];
/// Numbers at which lengths, counts and costs turn.
const NUMBERS: [u64; 18] = [
    0,
    1,
    2,
    7,
    8,
    16,
    63,
    64,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 53,
    u64::MAX,
];
/// Numbers as text.
const DIGITS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "00",
    "8",
    "31",
    "100",
    "1e9",
    "65536",
    "2147483648",
    "4294967295",
    "9007199254740993",
    "18446744073709551615",
    "99999999999999999999999999",
];
/// Octets that open something which wants to be closed.
const OPENING: [u8; 6] = [b'[', b'{', b'(', b'"', b'\\', b'-'];

/// Changes `input` some times; `others` lend parts, `tokens` are words of the language.
pub(crate) fn mutate(
    input: &mut Vec<u8>,
    others: &[Vec<u8>],
    tokens: &[Vec<u8>],
    bytes_max: usize,
    random: &mut Random,
) {
    for _ in 0..1 + random.small(6) {
        match random.below(16) {
            0 => flip(input, random),
            1 | 2 => octet(input, random),
            3 | 4 => number(input, random),
            5 => add(input, random),
            6 => digits(input, random),
            7 => remove(input, random),
            8 => repeat(input, random),
            9 => swap(input, random),
            10 => splice(input, others, random),
            11 => varint(input, random),
            12 => nest(input, random),
            13 => insert_noise(input, random),
            14 if random.once_in(3) => input.truncate(random.below(input.len() + 1)),
            _ => token(input, tokens, random),
        }
    }
    input.truncate(bytes_max);
}

/// A stretch of `input`: where it starts, and where it ends.
fn stretch(input: &[u8], random: &mut Random) -> (usize, usize) {
    let start = random.below(input.len() + 1);
    (start, start + random.small(input.len() - start))
}

fn flip(input: &mut [u8], random: &mut Random) {
    if let Some(byte) = pick(input, random) {
        *byte ^= 1 << random.below(8);
    }
}

fn octet(input: &mut [u8], random: &mut Random) {
    let value = if random.once_in(2) { *random.of(&OCTETS) } else { random.next() as u8 };
    if let Some(byte) = pick(input, random) {
        *byte = value;
    }
}

fn pick<'a>(input: &'a mut [u8], random: &mut Random) -> Option<&'a mut u8> {
    let at = random.below(input.len());
    input.get_mut(at)
}

/// Puts a number of 1, 2, 4 or 8 octets somewhere, in either order; often one near the input's own length.
fn number(input: &mut [u8], random: &mut Random) {
    let near = (input.len() as u64).wrapping_add(random.below(17) as u64).wrapping_sub(8);
    let value = if random.once_in(3) { near } else { *random.of(&NUMBERS) };
    let width = 1 << random.below(4);
    let at = random.below(input.len());
    let Some(room) = input.get_mut(at..at + width) else { return };
    let little = value.to_le_bytes();
    room.copy_from_slice(&little[..width]);
    if random.once_in(4) {
        room.reverse();
    }
}

/// Adds a little to a number of 1, 2, 4 or 8 octets.
fn add(input: &mut [u8], random: &mut Random) {
    let width = 1 << random.below(4);
    let at = random.below(input.len());
    let Some(room) = input.get_mut(at..at + width) else { return };
    let mut octets = [0; 8];
    octets[..width].copy_from_slice(room);
    let delta = (random.below(33) as u64).wrapping_sub(16);
    let sum = u64::from_le_bytes(octets).wrapping_add(delta);
    room.copy_from_slice(&sum.to_le_bytes()[..width]);
}

/// Exchanges a run of digits for another number.
fn digits(input: &mut Vec<u8>, random: &mut Random) {
    let from = random.below(input.len() + 1);
    let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let len = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    input.splice(start..start + len, random.of(&DIGITS).bytes());
}

fn remove(input: &mut Vec<u8>, random: &mut Random) {
    let (start, end) = stretch(input, random);
    input.drain(start..end);
}

/// Writes a stretch once more, next to itself or elsewhere.
fn repeat(input: &mut Vec<u8>, random: &mut Random) {
    let (start, end) = stretch(input, random);
    let copy = input[start..end].to_vec();
    let at = if random.once_in(2) { end } else { random.below(input.len() + 1) };
    input.splice(at..at, copy);
}

fn swap(input: &mut Vec<u8>, random: &mut Random) {
    let (start, end) = stretch(input, random);
    let taken: Vec<u8> = input.drain(start..end).collect();
    let at = random.below(input.len() + 1);
    input.splice(at..at, taken);
}

/// Goes over to another input, or takes a stretch of it.
fn splice(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    if others.is_empty() {
        return;
    }
    let other = random.of(others);
    let (from, to) = stretch(other, random);
    let (start, end) = stretch(input, random);
    match random.below(3) {
        0 => input.splice(start.., other[from..].iter().copied()).for_each(drop),
        1 => input.splice(start..end, other[from..to].iter().copied()).for_each(drop),
        _ => input.splice(start..start, other[from..to].iter().copied()).for_each(drop),
    }
}

/// Puts a varint of any length in place of an octet.
fn varint(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len());
    if at >= input.len() {
        return;
    }
    let mut value = if random.once_in(2) { *random.of(&NUMBERS) } else { random.next() >> random.below(64) };
    let mut octets = Vec::new();
    while value >= 0x80 {
        octets.push(value as u8 | 0x80);
        value >>= 7;
    }
    octets.push(value as u8);
    input.splice(at..=at, octets);
}

fn nest(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len() + 1);
    let times = 1 + random.small(300);
    let octet = *random.of(&OPENING);
    input.splice(at..at, std::iter::repeat_n(octet, times));
}

fn insert_noise(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len() + 1);
    let noise: Vec<u8> = (0..1 + random.small(40)).map(|_| random.next() as u8).collect();
    input.splice(at..at, noise);
}

fn token(input: &mut Vec<u8>, tokens: &[Vec<u8>], random: &mut Random) {
    if tokens.is_empty() {
        return octet(input, random);
    }
    let token = random.of(tokens).clone();
    let at = random.below(input.len() + 1);
    let end = if random.once_in(2) { at } else { (at + token.len()).min(input.len()) };
    input.splice(at..end, token);
}
