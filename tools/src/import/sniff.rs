//! Whether a file can be of the format that it was given as, told from its beginning, before anything is made: a wrong
//! `--format`, a compressed file or another character set is one clear line instead of a refusal a row.

use anyhow::{Result, bail};
use memchr::memchr;

use super::{Format, input::Input};

/// How files that are packed begin, and how to unpack them.
const PACKED: [(&[u8], &str, &str); 5] = [
    (b"\x1f\x8b", "gzip", "gunzip -c"),
    (b"PK\x03\x04", "zip", "unzip -p"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    (b"BZh", "bzip2", "bunzip2 -c"),
    (b"\xfd7zXZ", "xz", "xz -dc"),
];
/// How much is looked at.
const LOOK_BYTES: usize = 4096;

/// Refuses a file that cannot be of this format.
///
/// # Errors
/// Says what the file is and what to do.
pub(crate) fn check(format: Format, input: &Input) -> Result<()> {
    let (name, bytes) = (input.name(), input.bytes());
    let start = &bytes[..bytes.len().min(LOOK_BYTES)];
    if let Some((_, what, unpack)) = PACKED.iter().find(|(magic, ..)| start.starts_with(magic)) {
        bail!("{name} is compressed ({what}): unpack it first, e.g. {unpack} {name} | stoa import … -");
    }
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") || start.contains(&0) {
        bail!("{name} is no UTF-8 text (UTF-16?): convert it first, e.g. iconv -f UTF-16 -t UTF-8 {name}");
    }
    let text = start.trim_ascii_start();
    if text.is_empty() && bytes.len() <= LOOK_BYTES {
        bail!("{name} is empty: there is nothing to import");
    }
    let is_json = matches!(text.first(), Some(b'{' | b'['));
    let line = first_line(text);
    let reason = match format {
        Format::Ldif if is_json => "it is JSON",
        Format::Ldif if begins_with_name(line, b"version") || begins_with_name(line, b"dn") => return Ok(()),
        Format::Ldif if line.is_empty() => return Ok(()),
        Format::Ldif => "LDIF begins with version: or dn:",
        Format::CognitoCsv if is_json => "it is JSON",
        Format::CognitoCsv if contains(line, b"cognito:username") => return Ok(()),
        Format::CognitoCsv => "its first line does not name the column cognito:username",
        Format::Firebase | Format::Fusionauth if is_json || line.contains(&b',') => return Ok(()),
        Format::Firebase | Format::Fusionauth => "it is neither JSON nor CSV",
        Format::Auth0 | Format::Keycloak | Format::Scim if is_json => return Ok(()),
        Format::Auth0 | Format::Keycloak | Format::Scim => "it is no JSON",
    };
    bail!("{name} is not what --format says: {reason}. Nothing was changed")
}

/// The first line that is no comment of LDIF and not empty; empty if there is none in sight.
fn first_line(text: &[u8]) -> &[u8] {
    let mut rest = text;
    let mut in_comment = false;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        // A comment may be folded as any other line.
        in_comment = line.starts_with(b"#") || (in_comment && line.starts_with(b" "));
        if !in_comment && !line.trim_ascii().is_empty() {
            return line;
        }
    }
    &[]
}

fn begins_with_name(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) && line.get(name.len()) == Some(&b':')
}

fn contains(line: &[u8], wanted: &[u8]) -> bool {
    line.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(format: Format, bytes: &[u8]) -> String {
        check(format, &Input::from_bytes("x", bytes.to_vec())).map_or_else(|error| error.to_string(), |()| "ok".into())
    }

    #[test]
    fn what_a_file_is_shows_at_its_beginning() {
        for (format, bytes, expected) in [
            (Format::Ldif, &b"# long\n  comment\n\nversion: 1\ndn: x\n"[..], "ok"),
            (Format::Ldif, b"DN:: eA==\n", "ok"),
            (Format::Ldif, b"# nothing but a comment\n", "ok"),
            (Format::Ldif, b"cognito:username,email\n", "begins with version"),
            (Format::Ldif, b"{}", "it is JSON"),
            (Format::Ldif, b"", "empty"),
            (Format::Scim, b" \r\n\t", "empty"),
            (Format::CognitoCsv, b"\xef\xbb\xbfname,Cognito:Username\n", "ok"),
            (Format::CognitoCsv, b"name,email\n", "cognito:username"),
            (Format::CognitoCsv, b"\xff\xfec\0o\0", "iconv"),
            (Format::CognitoCsv, b"c\0o\0g\0", "iconv"),
            (Format::Keycloak, b"\x1f\x8b\x08\0", "gunzip"),
            (Format::Keycloak, b"PK\x03\x04", "unzip"),
            (Format::Keycloak, b"<html>", "no JSON"),
            (Format::Auth0, b"\n[{}]", "ok"),
            (Format::Firebase, b"a,b,c", "ok"),
            (Format::Firebase, b"dn: x", "neither"),
        ] {
            let said = said(format, bytes);
            assert!(said.contains(expected), "{format:?}: {said}");
        }
    }
}
