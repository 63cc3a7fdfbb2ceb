//! LDAP as far as the suite asks: a simple bind, a search by one equality, a replacement of one value (RFC 4511, in the
//! basic encoding rules of X.690). Spoken here so that all servers are asked by one client.

use anyhow::{Context, Result, bail, ensure};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const BOOLEAN: u8 = 0x01;
const BIND: u8 = 0x60;
const BIND_DONE: u8 = 0x61;
const SIMPLE: u8 = 0x80;
const SEARCH: u8 = 0x63;
const EQUALITY: u8 = 0xa3;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const MODIFY: u8 = 0x66;
const MODIFY_DONE: u8 = 0x67;
const WHOLE_SUBTREE: u8 = 2;
const REPLACE: u8 = 2;

/// Appends a value of a tag, whose content `body` appends.
fn tagged(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    // Three bytes of length always: allowed, and the content need not be moved.
    let at = out.len();
    out.extend([0x82, 0, 0]);
    body(out);
    let length = (out.len() - at - 3) as u16;
    out[at + 1..at + 3].copy_from_slice(&length.to_be_bytes());
}

fn octets(out: &mut Vec<u8>, tag: u8, bytes: &str) {
    tagged(out, tag, |out| out.extend_from_slice(bytes.as_bytes()));
}

fn request(out: &mut Vec<u8>, number: u32, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    tagged(out, SEQUENCE, |out| {
        tagged(out, INTEGER, |out| out.extend(number.to_be_bytes()));
        tagged(out, tag, body);
    });
}

/// Appends a bind by name and password.
pub(super) fn bind(out: &mut Vec<u8>, number: u32, name: &str, password: &str) {
    request(out, number, BIND, |out| {
        tagged(out, INTEGER, |out| out.push(3));
        octets(out, OCTETS, name);
        octets(out, SIMPLE, password);
    });
}

/// Appends a search below `base` for who has this value, showing these attributes.
pub(super) fn search<'n>(
    out: &mut Vec<u8>,
    number: u32,
    base: &str,
    attr: &str,
    value: &str,
    show: impl Iterator<Item = &'n str>,
) {
    request(out, number, SEARCH, |out| {
        octets(out, OCTETS, base);
        tagged(out, ENUMERATED, |out| out.push(WHOLE_SUBTREE));
        // Aliases are followed never; no limit of size or time; values too.
        tagged(out, ENUMERATED, |out| out.push(0));
        tagged(out, INTEGER, |out| out.push(0));
        tagged(out, INTEGER, |out| out.push(0));
        tagged(out, BOOLEAN, |out| out.push(0));
        tagged(out, EQUALITY, |out| {
            octets(out, OCTETS, attr);
            octets(out, OCTETS, value);
        });
        tagged(out, SEQUENCE, |out| show.for_each(|name| octets(out, OCTETS, name)));
    });
}

/// Appends the replacement of an attribute's values by one.
pub(super) fn replace(out: &mut Vec<u8>, number: u32, dn: &str, attr: &str, value: &str) {
    request(out, number, MODIFY, |out| {
        octets(out, OCTETS, dn);
        tagged(out, SEQUENCE, |out| {
            tagged(out, SEQUENCE, |out| {
                tagged(out, ENUMERATED, |out| out.push(REPLACE));
                tagged(out, SEQUENCE, |out| {
                    octets(out, OCTETS, attr);
                    tagged(out, SET, |out| octets(out, OCTETS, value));
                });
            });
        });
    });
}

/// What the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// An entry that was found.
    Entry(Entry<'a>),
    /// The end of an answer, with its result code.
    Done {
        /// 0 is success.
        code: u8,
    },
}

/// An entry: its list of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a>(&'a [u8]);

impl Entry<'_> {
    /// Shows each value with its attribute's name.
    pub(super) fn each(&self, mut show: impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
        let mut left = self.0;
        while !left.is_empty() {
            let mut attr = whole(&mut left, SEQUENCE)?;
            let name = std::str::from_utf8(whole(&mut attr, OCTETS)?)?;
            let mut values = whole(&mut attr, SET)?;
            while !values.is_empty() {
                show(name, std::str::from_utf8(whole(&mut values, OCTETS)?)?)?;
            }
        }
        Ok(())
    }
}

/// The message at the front, and its length; `None` if not all of it is there.
pub(super) fn message(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>> {
    let mut left = bytes;
    let Some((tag, mut body)) = element(&mut left)? else { return Ok(None) };
    ensure!(tag == SEQUENCE, "a message begins with {tag:#x}");
    whole(&mut body, INTEGER)?;
    let (tag, mut content) = element(&mut body)?.context("a message is empty")?;
    let message = match tag {
        SEARCH_ENTRY => {
            whole(&mut content, OCTETS)?;
            Message::Entry(Entry(whole(&mut content, SEQUENCE)?))
        }
        SEARCH_DONE | MODIFY_DONE | BIND_DONE => {
            let code = whole(&mut content, ENUMERATED)?.last().copied().context("a result without a code")?;
            Message::Done { code }
        }
        tag => bail!("nobody asked for an answer of the kind {tag:#x}"),
    };
    Ok(Some((message, bytes.len() - left.len())))
}

/// The content of the next element, which must be there and of this tag.
fn whole<'a>(left: &mut &'a [u8], tag: u8) -> Result<&'a [u8]> {
    let (found, content) = element(left)?.context("a message is cut within")?;
    ensure!(found == tag, "a message has {found:#x} where {tag:#x} stands");
    Ok(content)
}

/// Tag and content of the next element; `None` if not all of it is there.
fn element<'a>(left: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>> {
    let [tag, first, rest @ ..] = *left else { return Ok(None) };
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let count = usize::from(long & 0x7f);
            ensure!((1..=4).contains(&count), "a length of {count} bytes");
            let Some((bytes, rest)) = rest.split_at_checked(count) else { return Ok(None) };
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let Some((content, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *left = rest;
    Ok(Some((*tag, content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let mut bytes = Vec::new();
        request(&mut bytes, 7, SEARCH_ENTRY, |out| {
            octets(out, OCTETS, "cn=a");
            tagged(out, SEQUENCE, |out| {
                tagged(out, SEQUENCE, |out| {
                    octets(out, OCTETS, "mail");
                    tagged(out, SET, |out| octets(out, OCTETS, "a@example.com"));
                });
            });
        });
        for cut in 0..bytes.len() {
            assert_eq!(message(&bytes[..cut]).expect("well-formed"), None);
        }
        let Some((Message::Entry(entry), length)) = message(&bytes).expect("well-formed") else { panic!("no entry") };
        assert_eq!(length, bytes.len());
        let mut shown = Vec::new();
        let all = entry.each(|name, value| {
            shown.push(format!("{name}={value}"));
            Ok(())
        });
        assert!(all.is_ok() && shown == ["mail=a@example.com"]);
        // Short lengths, as servers write them: a search that ended well.
        let done = [0x30, 0x0c, 0x02, 0x01, 0x02, 0x65, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00];
        assert_eq!(message(&done).expect("well-formed"), Some((Message::Done { code: 0 }, done.len())));
        assert!(message(&[0x31, 0]).is_err());
    }
}
