//! Redis's glob patterns: `*`, `?`, `[abc]`, `[^a-z]`, `\` before a letter that means itself.

/// Whether `text` matches `pattern`. Time is bounded by the product of both lengths.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last star has to take one more byte.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        if let Some(byte) = text.get(t)
            && let Some(next) = one(pattern, p, *byte)
        {
            (p, t) = (next, t + 1);
            continue;
        }
        match star {
            Some((after, from)) if from < text.len() => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on if its item at `p` matches `byte`.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        b'[' => class(pattern, p + 1, byte),
        literal => (literal == byte).then_some(p + 1),
    }
}

/// Where the pattern goes on behind the class from `p` if the class holds `byte`.
fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut held = false;
    loop {
        match pattern.get(p..).unwrap_or_default() {
            [] => return (held != negated).then_some(p),
            [b']', ..] => return (held != negated).then_some(p + 1),
            [b'\\', literal, ..] => {
                held |= *literal == byte;
                p += 2;
            }
            [low, b'-', high, ..] if *high != b']' => {
                held |= (*low.min(high)..=*low.max(high)).contains(&byte);
                p += 3;
            }
            [literal, ..] => {
                held |= *literal == byte;
                p += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("acme", "acme", true),
            ("acme", "acme2", false),
            ("acme*", "acme2", true),
            ("a*c?e", "abcccde", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("*a*b*c", "aXbXbc", true),
            ("*a*b*c", "aXbXb", false),
            ("[ab", "a", true),
            ("?", "", false),
            ("\\", "\\", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let (pattern, text) = ("*a".repeat(500), "a".repeat(5000) + "b");
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics_and_text_matches_itself_escaped(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
            let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            proptest::prop_assert!(matches(&escaped, &text));
        }
    }
}
