//! Collations: what counts as the same text, and in which order texts stand.
//!
//! 1. Two texts are the same under a collation exactly if their keys are equal; texts are ordered by the
//!    bytes of their keys.
//! 2. The key of ASCII text is ASCII: for `casefold` and `email` it is the text in lower case.
//! 3. Keys stand in indexes on disk, so they must not change unnoticed: [`COLLATION_VERSION`] is raised with
//!    every change of rule or table, and a test pins the keys of all characters. An attribute whose indexes
//!    were built under another version needs them rebuilt.
//!
//! Sources: toNFKC_Casefold, Unicode Standard §3.13 (R5) and its stability under UAX #31; domain names after
//! UTS #46 (non-transitional), so that `münchen.example` and `xn--mnchen-3ya.example` are one.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::LazyLock;

use caseless::Caseless;
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The version of the rules and tables below: case folding of Unicode 16, normalisation of Unicode 18,
/// UTS #46 as in `idna` 1.1.
pub const COLLATION_VERSION: u16 = 1;

/// How the values of a string attribute are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Collation {
    /// Byte for byte.
    #[default]
    Exact,
    /// NFKC case folding: case, width, ligatures, order of marks and invisible characters do not count.
    CaseFold,
    /// The part before the last `@` as under `CaseFold`, the domain after IDNA.
    Email,
}

impl Collation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exact, Self::CaseFold, Self::Email];

    /// The word in a schema.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::CaseFold => "casefold",
            Self::Email => "email",
        }
    }

    /// The collation of a schema's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collation| collation.word() == word)
    }

    /// The text that stands for all texts equal to `text`. Borrowed where `text` is its own key.
    pub fn key(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(text),
            Self::CaseFold => fold(text),
            Self::Email => email_key(text),
        }
    }

    /// Whether two texts are the same.
    pub fn equal(self, a: &str, b: &str) -> bool {
        match self {
            Self::Exact => a == b,
            _ if a.is_ascii() && b.is_ascii() => a.eq_ignore_ascii_case(b),
            _ => self.key(a) == self.key(b),
        }
    }

    /// The order of two texts: that of their keys' bytes.
    pub fn order(self, a: &str, b: &str) -> Ordering {
        self.key(a).cmp(&self.key(b))
    }
}

/// NFKC case folding. Borrowed where `text` is folded already and ASCII.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return lower_ascii(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    if fold_simple(text, |c| out.push(c)) { Cow::Owned(out) } else { Cow::Owned(fold_any(text)) }
}

/// Longest text, in bytes, that [`with_folded`] folds without allocating.
const SHORT_TEXT_BYTES: usize = 96;

/// Hands the folded text to `look`; for short texts of ordinary letters nothing is allocated.
pub(crate) fn with_folded<T>(text: &str, look: impl FnOnce(&[u8]) -> T) -> T {
    if text.len() <= SHORT_TEXT_BYTES {
        // A simple character's folding has at most 3 bytes where the character itself has 2 or more, `ss` 2.
        let mut buffer = [0u8; SHORT_TEXT_BYTES * 3 / 2];
        let mut end = 0;
        if fold_simple(text, |c| end += c.encode_utf8(&mut buffer[end..]).len()) {
            return look(&buffer[..end]);
        }
    }
    look(fold(text).as_bytes())
}

fn lower_ascii(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// The short way, for text of simple characters only: folds one after the other. Answers false, having put
/// out some, as soon as it meets another one.
fn fold_simple(text: &str, mut put: impl FnMut(char)) -> bool {
    for c in text.chars() {
        match c {
            '\0'..='\x7f' => put(c.to_ascii_lowercase()),
            'ß' => {
                put('s');
                put('s');
            }
            // Ideographs and Hangul syllables are what they are.
            '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' => put(c),
            _ => match SIMPLE.get(c as usize).copied().and_then(|folded| char::from_u32(folded.into())) {
                Some(folded) if folded != '\0' => put(folded),
                _ => return false,
            },
        }
    }
    true
}

/// Where [`SIMPLE`] ends: Latin, Greek, Cyrillic, Semitic and Indic scripts and kana are below.
const SIMPLE_END: usize = 0x3100;

/// What simple characters fold to, 0 for all others. A character is simple if it folds to a single one that is
/// no mark and composes with none before it (NFC_Quick_Check=Yes, combining class 0): in a text of such
/// characters nothing composes and nothing moves, so folding each is folding all.
static SIMPLE: LazyLock<Box<[u16]>> = LazyLock::new(|| {
    let folding = |code: usize| {
        let c = u32::try_from(code).ok().and_then(char::from_u32)?;
        let key = fold_any(c.encode_utf8(&mut [0; 4]));
        let mut folded = key.chars();
        let (first, None) = (folded.next()?, folded.next()) else {
            return None;
        };
        let inert = canonical_combining_class(first) == 0 && is_nfc_quick([first].into_iter()) == IsNormalized::Yes;
        inert.then_some(first as u32).and_then(|folded| u16::try_from(folded).ok())
    };
    (0..SIMPLE_END).map(|code| folding(code).unwrap_or(0)).collect()
});

/// The long way: fold and normalise, and once more, because composing can make what folds again (§3.13, D147).
fn fold_any(text: &str) -> String {
    let once: String = visible(text.nfd().default_case_fold().nfkc()).collect();
    visible(once.nfd().default_case_fold().nfkc()).nfc().collect()
}

/// Drops Default_Ignorable_Code_Points (Unicode 16, DerivedCoreProperties): what cannot be seen tells no two
/// names apart.
fn visible(chars: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    chars.filter(|&c| {
        c < '\u{ad}'
            || !matches!(c,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}')
    })
}

/// The at sign and the two characters that NFKC takes for it.
const AT_SIGNS: [char; 3] = ['@', '\u{fe6b}', '\u{ff20}'];

fn email_key(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return lower_ascii(text);
    }
    let Some((local, domain)) = split_email(text) else { return fold(text) };
    let mut key = fold(local).into_owned();
    key.push('@');
    key.push_str(&domain_key(domain));
    Cow::Owned(key)
}

/// What stands before and behind the last at sign, if there is one.
pub(crate) fn split_email(text: &str) -> Option<(&str, &str)> {
    let (at, sign) = text.rmatch_indices(AT_SIGNS).next()?;
    Some((&text[..at], &text[at + sign.len()..]))
}

/// Keys of domains that came by lately: a scan meets a few of them again and again, and IDNA takes its time.
#[derive(Default)]
pub(crate) struct DomainKeys {
    known: Vec<(Box<str>, Box<str>)>,
}

impl DomainKeys {
    /// So many are kept.
    const KEPT: usize = 16;

    /// The key of an e-mail address: as [`Collation::key`] gives it.
    pub(crate) fn email_key(&mut self, local: &str, domain: &str) -> String {
        let mut key = fold(local).into_owned();
        key.push('@');
        if let Some((_, known)) = self.known.iter().find(|(known, _)| **known == *domain) {
            key.push_str(known);
            return key;
        }
        let domain_key = domain_key(domain);
        key.push_str(&domain_key);
        self.known.truncate(Self::KEPT - 1);
        self.known.insert(0, (domain.into(), domain_key.into()));
        key
    }
}

/// A domain in its ASCII form; what IDNA refuses is folded, so that it is at least equal to itself.
///
/// IDNA sees the domain as typed, not folded: `faß.de` and `fass.de` are two domains. What it refuses as typed it sees
/// once more folded, without what cannot be seen; so the key of a key is the key.
fn domain_key(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return lower_ascii(domain);
    }
    idna::domain_to_ascii(domain).map_or_else(
        |_| {
            let folded = fold(domain);
            if folded.is_ascii() { folded } else { idna::domain_to_ascii(&folded).map_or(folded, Cow::Owned) }
        },
        Cow::Owned,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(collation: Collation, a: &str, b: &str) {
        assert_eq!(collation.key(a), collation.key(b), "{collation:?} {a} {b}");
        assert!(collation.equal(a, b));
        assert_eq!(collation.order(a, b), Ordering::Equal);
    }

    fn differ(collation: Collation, a: &str, b: &str) {
        assert_ne!(collation.key(a), collation.key(b), "{collation:?} {a} {b}");
        assert!(!collation.equal(a, b));
    }

    #[test]
    fn exact() {
        same(Collation::Exact, "Abc", "Abc");
        differ(Collation::Exact, "Abc", "abc");
        differ(Collation::Exact, "\u{e9}", "e\u{301}");
    }

    #[test]
    fn casefold() {
        for (a, b) in [
            ("BABS", "babs"),
            ("Straße", "STRASSE"),
            ("STRAẞE", "strasse"),
            ("\u{212a}elvin", "kelvin"),
            ("Å", "\u{212b}"),
            ("ＡＬＩＣＥ１", "alice1"),
            ("\u{e9}", "E\u{301}"),
            ("ÉÀÖÞ", "éàöþ"),
            ("a\u{323}\u{307}", "a\u{307}\u{323}"),
            ("ﬁn", "FIN"),
            ("ΌΣΟΣ", "όσος"),
            ("ｶﾞ", "ガ"),
            ("Ǆ", "ǆ"),
            ("\u{1fc3}", "\u{397}\u{345}"),
            ("al\u{200b}ice", "alice"),
            ("co\u{ad}op", "COOP"),
            ("Ａ\u{3000}B", "a b"),
            ("ꭰ", "Ꭰ"),
        ] {
            same(Collation::CaseFold, a, b);
        }
        for (a, b) in [("i", "İ"), ("i", "ı"), ("e", "é"), ("а", "a"), ("ae", "æ"), ("", "a"), ("×", "÷")] {
            differ(Collation::CaseFold, a, b);
        }
        same(Collation::CaseFold, "İ", "i\u{307}");
    }

    #[test]
    fn email() {
        for (a, b) in [
            ("Babs@Example.COM", "babs@example.com"),
            ("babs@münchen.example", "babs@xn--mnchen-3ya.example"),
            ("BABS@MÜNCHEN.example", "babs@XN--MNCHEN-3YA.Example"),
            ("例@例え.example", "例@xn--r8jz45g.example"),
            ("Jörg@example.com", "jo\u{308}rg@EXAMPLE.com"),
            ("babs＠example.com", "babs@example.com"),
            ("ｂａｂｓ@ｅｘａｍｐｌｅ。com", "babs@example.com"),
            ("Straße@example.com", "strasse@example.com"),
            ("a@b@münchen.example", "A@B@xn--mnchen-3ya.example"),
            ("noatÄ", "NOATä"),
        ] {
            same(Collation::Email, a, b);
        }
        differ(Collation::Email, "a@faß.de", "a@fass.de");
        same(Collation::Email, "a@faß.de", "a@xn--fa-hia.de");
        differ(Collation::Email, "a@example.com", "a@example.org");
        differ(Collation::Email, "ab@münchen.example", "a@münchen.example");
        assert_eq!(Collation::Email.key("ü@\u{fffd}Ü"), "ü@\u{fffd}ü", "not a domain: folded");
    }

    #[test]
    fn ascii_that_is_its_own_key_is_borrowed() {
        for collation in Collation::ALL {
            assert!(matches!(collation.key("babs@example.com"), Cow::Borrowed(_)));
        }
    }

    /// Indexes on disk hold these keys: if this test fails after an update of a dependency, raise
    /// [`COLLATION_VERSION`] and have indexes of the former version rebuilt.
    #[test]
    fn keys_of_all_characters_are_pinned() {
        let mut hasher = blake3::Hasher::new();
        // The planes that hold characters: the others are unassigned or for private use.
        for c in ('\0'..'\u{33480}').chain('\u{e0000}'..'\u{e1000}') {
            for collation in [Collation::CaseFold, Collation::Email] {
                hasher.update(collation.key(&c.to_string()).as_bytes());
                hasher.update(&[0xff]);
            }
            if c.is_alphanumeric() && !('\u{3400}'..='\u{d7a3}').contains(&c) && c < '\u{20000}' {
                hasher.update(Collation::Email.key(&format!("a@{c}a.example")).as_bytes());
            }
        }
        assert_eq!(COLLATION_VERSION, 1);
        assert_eq!(
            hasher.finalize().to_hex().as_str(),
            "e2a6a37f83e1ddbabb1cc9b316fea2209df2b2a7cee42a9a43b2d74507a822ee"
        );
    }

    fn check_short_way(text: &str) {
        let mut short = String::new();
        if fold_simple(text, |c| short.push(c)) {
            assert_eq!(short, fold_any(text), "{text:?}");
        }
        assert_eq!(with_folded(text, <[u8]>::to_vec), fold_any(text).into_bytes(), "{text:?}");
    }

    #[test]
    fn the_short_way_agrees_with_the_long_way() {
        // Vowels, consonants, marks and jamo, with which others compose.
        let neighbours = ['e', 'K', '\u{301}', '\u{345}', '\u{3099}', '\u{1161}', '\u{11a8}', '\u{9be}'];
        for c in ('\0'..'\u{3100}').chain(['\u{4e00}', '\u{9fff}', '\u{ac00}', '\u{d7a3}', '\u{f900}', '😀']) {
            check_short_way(&format!("{c}A"));
            for neighbour in neighbours {
                check_short_way(&format!("{neighbour}{c}{neighbour}"));
            }
        }
        for text in ["Łukasz Wójcik", "Nguyễn", "山田太郎", "Иванов", "Weiß", "ⱥȺ", &"Ⱥ".repeat(48), &"ö".repeat(49)]
        {
            let mut short = String::new();
            assert!(fold_simple(text, |c| short.push(c)), "{text}");
            check_short_way(text);
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,12}") {
            let key = fold(&text).into_owned();
            prop_assert_eq!(fold(&key), key.as_str());
        }

        #[test]
        fn both_ways_agree(text in "[\\PC&&[^\u{10000}-\u{10ffff}]]{0,12}") {
            check_short_way(&text);
        }

        #[test]
        fn normal_forms_are_the_same(text in "\\PC{0,12}") {
            let (composed, decomposed): (String, String) = (text.nfc().collect(), text.nfkd().collect());
            prop_assert_eq!(fold(&composed), fold(&text));
            prop_assert_eq!(fold(&decomposed), fold(&text));
        }

        #[test]
        fn keys_of_ascii_are_lower_case(text in "[ -~]{0,20}") {
            prop_assert_eq!(fold(&text), text.to_ascii_lowercase());
            prop_assert_eq!(Collation::Email.key(&text), text.to_ascii_lowercase());
        }

        #[test]
        fn the_key_of_an_address_is_its_own_key(text in "\\PC{0,6}@\\PC{0,8}") {
            let key = Collation::Email.key(&text).into_owned();
            prop_assert_eq!(Collation::Email.key(&key), key.as_str());
        }
    }
}
