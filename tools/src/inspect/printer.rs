//! What the inspection tools print: one fact a line, as text or as JSON.
//!
//! Lines with the member `value` carry stored values and are printed on demand only; every other line tells of
//! structure: kinds, counts, sizes, places.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

/// Where lines go.
pub(crate) struct Printer<'o> {
    out: &'o mut dyn Write,
    json: bool,
    /// How many damaged structures were told of.
    pub damaged: u64,
}

impl<'o> Printer<'o> {
    /// Prints to `out`.
    pub(crate) fn new(out: &'o mut dyn Write, json: bool) -> Self {
        Self { out, json, damaged: 0 }
    }

    /// A structure and what is known of it. `fields` must hold no stored value.
    pub(crate) fn fact(
        &mut self,
        file: &str,
        structure: &str,
        offset: Option<u64>,
        fields: &[(&str, Value)],
    ) -> io::Result<()> {
        if self.json {
            let mut line = Map::new();
            line.insert("file".into(), json!(file));
            line.insert("structure".into(), json!(structure));
            if let Some(offset) = offset {
                line.insert("offset".into(), json!(offset));
            }
            line.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            return self.json_line(line);
        }
        let place = offset.map(|offset| format!(" at {offset}")).unwrap_or_default();
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
        writeln!(self.out, "{file}: {structure}{place}: {}", fields.join(", "))
    }

    /// A stored value: `members` name its place.
    pub(crate) fn value(&mut self, file: &str, members: &[(&str, Value)], value: Value) -> io::Result<()> {
        if self.json {
            let mut line = Map::new();
            line.insert("file".into(), json!(file));
            line.extend(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            line.insert("value".into(), value);
            return self.json_line(line);
        }
        let members: Vec<_> = members.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
        writeln!(self.out, "{file}:   {} = {value}", members.join(" "))
    }

    /// A damaged structure; the rest is looked at all the same.
    pub(crate) fn damage(&mut self, file: &str, structure: &str, offset: u64, reason: &str) -> io::Result<()> {
        self.damaged += 1;
        if self.json {
            let line = json!({ "file": file, "structure": structure, "offset": offset, "damage": reason });
            return writeln!(self.out, "{line}");
        }
        writeln!(self.out, "{file}: DAMAGED {structure} at {offset}: {reason}")
    }

    /// Something that is not damage but should be known.
    pub(crate) fn note(&mut self, file: &str, note: &str) -> io::Result<()> {
        match self.json {
            true => writeln!(self.out, "{}", json!({ "file": file, "note": note })),
            false => writeln!(self.out, "{file}: {note}"),
        }
    }

    /// Octets as they stand at `offset`; `plain` if they have been opened.
    pub(crate) fn hex(&mut self, file: &str, offset: u64, bytes: &[u8], plain: bool) -> io::Result<()> {
        if self.json {
            let what = if plain { "plain_hex" } else { "hex" };
            return writeln!(self.out, "{}", json!({ "file": file, "offset": offset, what: hex(bytes) }));
        }
        for (i, row) in bytes.chunks(16).enumerate() {
            let text: String =
                row.iter().map(|&b| if b.is_ascii_graphic() || b == b' ' { b as char } else { '.' }).collect();
            let octets: Vec<_> = row.iter().map(|b| format!("{b:02x}")).collect();
            // What is sealed has no text worth showing.
            let text = if plain { text } else { String::new() };
            writeln!(self.out, "  {:08x}  {:<47}  {text}", offset + 16 * i as u64, octets.join(" "))?;
        }
        Ok(())
    }

    fn json_line(&mut self, line: Map<String, Value>) -> io::Result<()> {
        writeln!(self.out, "{}", Value::Object(line))
    }
}

/// A value as text: a string without its quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Stored octets: text where they are printable text, else in hex.
pub(crate) fn octets(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| c >= ' ' && c != '\u{7f}') => json!(text),
        _ => json!({ "hex": hex(bytes) }),
    }
}

/// Octets in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_text_only_where_every_character_prints() {
        assert_eq!(octets("Žofie\u{80}".as_bytes()), json!("Žofie\u{80}"));
        assert_eq!(octets(b"a\tb"), json!({ "hex": "610962" }));
        assert_eq!(octets(b"\x7f"), json!({ "hex": "7f" }));
        assert_eq!(octets(&[0xff]), json!({ "hex": "ff" }));
        assert_eq!(octets(b""), json!(""));
    }
}
