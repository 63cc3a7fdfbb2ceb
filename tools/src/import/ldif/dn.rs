//! Distinguished names (RFC 4514, and RFC 1779's older spellings), brought to one spelling so that two of them can be
//! compared.
//!
//! Attribute types are compared without case, values without case and with inner spaces as one, which is what the usual
//! naming attributes' matching rule (caseIgnoreMatch, RFC 4517, 4.2.11) does. The parts of a multi-valued RDN are sorted.

/// One relative name's attribute and value, unescaped.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ava {
    /// Lower case.
    pub(crate) attribute: String,
    /// As written, without escapes.
    pub(crate) value: String,
}

/// Longest name in bytes that is looked at.
const DN_BYTES_MAX: usize = 16 * 1024;

/// The fingerprint of a name in its one spelling: what member references are found by. None if it is no name.
pub(crate) fn fingerprint(dn: &[u8], scratch: &mut Vec<u8>) -> Option<u64> {
    scratch.clear();
    if !spell_plain(dn, scratch) {
        scratch.clear();
        for rdn in parse(dn)? {
            if !scratch.is_empty() {
                scratch.push(b',');
            }
            spell_rdn(rdn, scratch);
        }
    }
    Some(xxhash_rust::xxh3::xxh3_64(scratch))
}

/// The common case in one pass without allocation: ASCII, no escapes, no quotes, one attribute an RDN, and spaces at most
/// singly and inside values or beside separators. Says false where the name needs the full reading.
fn spell_plain(dn: &[u8], spelled: &mut Vec<u8>) -> bool {
    spelled.reserve(dn.len());
    let mut at = 0;
    loop {
        // The attribute's type.
        let start = at;
        while let Some(&b) = dn.get(at).filter(|b| b.is_ascii_alphabetic() || (at > start && is_type_byte(**b))) {
            spelled.push(b.to_ascii_lowercase());
            at += 1;
        }
        if at == start || dn.get(at) != Some(&b'=') {
            return false;
        }
        spelled.push(b'=');
        at += 1;
        // Its value, which may not be empty, begin or end with a space, or have two in a row.
        let start = at;
        let mut previous = b' ';
        while let Some(&b) = dn.get(at) {
            let plain = PLAIN[usize::from(b)];
            if plain == 0 || (b == b' ' && previous == b' ') {
                break;
            }
            spelled.push(plain);
            previous = b;
            at += 1;
        }
        if at == start || previous == b' ' {
            return false;
        }
        match dn.get(at) {
            None => return true,
            Some(b',') => {
                spelled.push(b',');
                at += 1 + usize::from(dn.get(at + 1) == Some(&b' '));
            }
            Some(_) => return false,
        }
    }
}

/// What the bytes of a plain value become; 0 for those that need the full reading.
const PLAIN: [u8; 256] = {
    let mut plain = [0; 256];
    let mut b = b' ';
    while b < 0x7f {
        if !matches!(b, b'\\' | b'"' | b'+' | b';' | b'<' | b'>' | b'#' | b',' | b'=') {
            plain[b as usize] = b.to_ascii_lowercase();
        }
        b += 1;
    }
    plain
};

/// Dotted numbers are left to the full reading.
fn is_type_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-'
}

fn spell_rdn(mut rdn: Vec<Ava>, spelled: &mut Vec<u8>) {
    for ava in &mut rdn {
        ava.value = folded(&ava.value);
    }
    rdn.sort();
    for (i, ava) in rdn.iter().enumerate() {
        if i > 0 {
            spelled.push(b'+');
        }
        spelled.extend_from_slice(ava.attribute.as_bytes());
        spelled.push(b'=');
        for &b in ava.value.as_bytes() {
            if matches!(b, b',' | b'+' | b'=' | b'\\') {
                spelled.push(b'\\');
            }
            spelled.push(b);
        }
    }
}

/// Lower case, outer spaces gone, inner ones single.
fn folded(value: &str) -> String {
    let mut folded = String::with_capacity(value.len());
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

/// The parts of a name, first the entry's own; None if it is no name. The empty name has no parts.
pub(crate) fn parse(dn: &[u8]) -> Option<Vec<Vec<Ava>>> {
    if dn.len() > DN_BYTES_MAX {
        return None;
    }
    let mut text = std::str::from_utf8(dn).ok()?.trim_matches(' ');
    if let Some(inner) = text.strip_prefix('<') {
        text = inner.strip_suffix('>')?.trim_matches(' ');
    }
    let mut rdns = Vec::new();
    if text.is_empty() {
        return Some(rdns);
    }
    let mut reader = Reader { text, at: 0 };
    loop {
        let mut rdn = vec![reader.ava()?];
        loop {
            match reader.take() {
                Some('+') => rdn.push(reader.ava()?),
                Some(',' | ';') => break,
                None => {
                    rdns.push(rdn);
                    return Some(rdns);
                }
                Some(_) => return None,
            }
        }
        rdns.push(rdn);
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(' ') {
            self.at += 1;
        }
    }

    fn ava(&mut self) -> Option<Ava> {
        self.skip_spaces();
        let end = self.text[self.at..].find('=')? + self.at;
        let name = self.text[self.at..end].trim_end_matches(' ');
        let name = name.strip_prefix("OID.").or_else(|| name.strip_prefix("oid.")).unwrap_or(name);
        if !is_attribute_type(name) {
            return None;
        }
        let attribute = name.to_ascii_lowercase();
        self.at = end + 1;
        self.skip_spaces();
        let value = match self.peek() {
            Some('#') => self.hex_value()?,
            Some('"') => self.quoted_value()?,
            _ => self.plain_value()?,
        };
        Some(Ava { attribute, value })
    }

    /// `#` and the hexadecimal BER encoding, kept as it is.
    fn hex_value(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ';', '+']).unwrap_or(rest.len());
        let value = rest[..end].trim_end_matches(' ');
        let digits = &value[1..];
        let sound = !digits.is_empty() && super::super::forms::hex(digits).is_some();
        self.at += end;
        sound.then(|| value.to_ascii_lowercase())
    }

    /// RFC 1779: `"…"` with backslash escapes.
    fn quoted_value(&mut self) -> Option<String> {
        self.at += 1;
        let mut value = Vec::new();
        loop {
            match self.take()? {
                '"' => break,
                '\\' => self.escape(&mut value)?,
                c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.skip_spaces();
        String::from_utf8(value).ok()
    }

    fn plain_value(&mut self) -> Option<String> {
        let mut value = Vec::new();
        // Length up to which spaces are part of the value: escaped ones are, trailing ones are not.
        let mut keep = 0;
        while let Some(c) = self.peek() {
            match c {
                ',' | ';' | '+' => break,
                '"' | '<' | '>' => return None,
                '\\' => {
                    self.at += 1;
                    self.escape(&mut value)?;
                    keep = value.len();
                }
                ' ' => {
                    self.at += 1;
                    value.push(b' ');
                }
                c => {
                    self.at += c.len_utf8();
                    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    keep = value.len();
                }
            }
        }
        value.truncate(keep);
        String::from_utf8(value).ok()
    }

    fn escape(&mut self, value: &mut Vec<u8>) -> Option<()> {
        let c = self.take()?;
        if matches!(c, ' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\') {
            value.push(c as u8);
            return Some(());
        }
        let high = c.to_digit(16)?;
        let low = self.take()?.to_digit(16)?;
        value.push((high << 4 | low) as u8);
        Some(())
    }
}

/// A name (`cn`) or a dotted number (`2.5.4.3`).
fn is_attribute_type(name: &str) -> bool {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return name.split('.').all(|arc| {
            !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()) && (arc.len() == 1 || !arc.starts_with('0'))
        });
    }
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Writes a value so that [`parse`] reads it back (RFC 4514, 2.4).
pub(crate) fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (i, c) in value.char_indices() {
        let at_edge = i == 0 || i + c.len_utf8() == value.len();
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => escaped.extend(['\\', c]),
            '#' if i == 0 => escaped.push_str("\\#"),
            ' ' if at_edge => escaped.push_str("\\ "),
            '\0'..='\x1f' => escaped.push_str(&format!("\\{:02x}", c as u32)),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(a: &[u8], b: &[u8]) -> bool {
        match (canonical(a), canonical(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }

    fn canonical(dn: &[u8]) -> Option<Vec<u8>> {
        let mut spelled = Vec::new();
        fingerprint(dn, &mut spelled)?;
        Some(spelled)
    }

    #[test]
    fn spellings_of_one_name_are_the_same() {
        for (a, b) in [
            ("CN=John Smith\\, III,DC=example,DC=net", "cn=john smith\\2C III, dc=Example , dc=net"),
            ("OU=Sales\\; Data\\+Algorithms,DC=example", "OU=Sales\\3B Data\\2BAlgorithms;DC=example"),
            ("CN=\\23John Smith\\20,DC=x", "CN=\\#John Smith\\ ,DC=x"),
            ("CN=Lu\\C4\\8Di\\C4\\87", "cn=LUČIĆ"),
            ("cn=Amy Wong+sn=Kroker,ou=p", "SN=kroker + CN=amy  wong,OU=p"),
            ("OID.2.5.4.3=x", "2.5.4.3=X"),
            ("<UID=jsmith,O=example>", "uid=jsmith, o=example"),
            ("CN=\"John, Smith\",O=e", "cn=John\\, Smith,o=e"),
            ("1.1.1=", "1.1.1="),
            ("uid=a, ou=People, dc=example, dc=com", "uid=a,ou=people,dc=example,dc=com"),
        ] {
            assert!(same(a.as_bytes(), b.as_bytes()), "{a} / {b}");
        }
        assert!(!same(b"cn=a\\,b", b"cn=a,b=c"));
        assert!(!same(b"cn=a,b=c", b"cn=a\\,b=c"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for dn in [
            "uid;x-option=jsmith",
            "at_tr=jsmith",
            "-attr=jsmith",
            "1..1=x",
            "1.1.=x",
            "01.1=x",
            "1.ff=x",
            "1.1.1=#GG",
            "1.1.1=#000",
            "1.1.1=#F",
            "1.1.1=#",
            "UID=jsmith,,DC=example",
            "UID=john,smith",
            "UID=john+smith",
            "UID=john\\?smith",
            "UID=john\\Fsmith",
            "UID=john\\GGsmith",
            "jsmith",
            "uid=a,",
            "=x",
        ] {
            assert_eq!(canonical(dn.as_bytes()), None, "{dn}");
        }
    }

    proptest! {
        #[test]
        fn the_plain_way_agrees_with_the_full_one(dn in "[a-zA-Z]{1,3} ?=[a-z. ]{0,6}(, ?[oO]u=[A-Z =]{1,5}){0,3}") {
            let mut plain = Vec::new();
            if spell_plain(dn.as_bytes(), &mut plain) {
                let mut full = Vec::new();
                for rdn in parse(dn.as_bytes()).unwrap() {
                    if !full.is_empty() { full.push(b','); }
                    spell_rdn(rdn, &mut full);
                }
                prop_assert_eq!(plain, full);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, text in "[a-z=,+\\\\\"#<> 0-9A-F;]{0,40}") {
            let _ = (canonical(&bytes), canonical(text.as_bytes()));
        }

        #[test]
        fn escaped_values_are_read_back(value in "\\PC{0,12}|[ ,+\"\\\\#<>;=\n]{1,6}") {
            let dn = format!("cn={},dc=x", escaped(&value));
            let rdns = parse(dn.as_bytes()).unwrap();
            prop_assert_eq!(&rdns[0][0].value, &value);
        }
    }
}
