//! The small records that stand behind keys and in cells: groups, factors, sign-in state, answers
//! kept for retry tokens, configuration documents.

use stoa_format::DecodeError;
use stoa_format::wire::{Reader, Write};
use stoa_format::{Seq, Sub};

use super::request::Outcome;

/// A group, as it stands behind its name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupRecord {
    /// Never given twice in a pool; memberships name it.
    pub id: u64,
    /// +1 for each change of its properties.
    pub version: u64,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
    /// Free text.
    pub description: Option<Box<str>>,
    /// Lower comes first.
    pub precedence: Option<i64>,
    /// A role's name or URI.
    pub role: Option<Box<str>>,
    /// What kind of group this is.
    pub kind: Option<Box<str>>,
    /// A JSON object in canonical form.
    pub json: Option<Box<str>>,
}

fn put_text(text: Option<&str>, out: &mut Vec<u8>) {
    out.put_u8(u8::from(text.is_some()));
    out.put_bytes(text.unwrap_or_default().as_bytes());
}

fn read_text(reader: &mut Reader<'_>) -> Result<Option<Box<str>>, DecodeError> {
    let fault = reader.fault("is not UTF-8");
    let text = reader.optional_bytes()?.map(std::str::from_utf8);
    text.transpose().map_err(|_| fault).map(|text| text.map(Box::from))
}

/// A flag and a value, which is zero where the flag is not set.
fn optional<'a, T: Default + PartialEq>(
    reader: &mut Reader<'a>,
    flag: impl FnOnce(&mut Reader<'a>) -> Result<bool, DecodeError>,
    value: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let is_set = flag(reader)?;
    let fault = reader.fault("content without its flag");
    let value = value(reader)?;
    match (is_set, value == T::default()) {
        (true, _) => Ok(Some(value)),
        (false, true) => Ok(None),
        (false, false) => Err(fault),
    }
}

impl GroupRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.id, self.version, self.created_at_ms, self.updated_at_ms] {
            out.put_varint(number);
        }
        out.put_u8(u8::from(self.precedence.is_some()));
        out.put_signed(self.precedence.unwrap_or_default());
        for text in [&self.description, &self.role, &self.kind, &self.json] {
            put_text(text.as_deref(), &mut out);
        }
        out
    }

    /// Reads the record.
    ///
    /// # Errors
    /// Cut short, not UTF-8, a flag that is unknown, bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("group record", bytes);
        let reader = &mut reader;
        let (id, version, created_at_ms, updated_at_ms) =
            (reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?);
        let precedence = optional(reader, Reader::flag, Reader::signed)?;
        let (description, role, kind, json) =
            (read_text(reader)?, read_text(reader)?, read_text(reader)?, read_text(reader)?);
        reader.end()?;
        Ok(Self { id, version, created_at_ms, updated_at_ms, description, precedence, role, kind, json })
    }

    /// The group's canonical JSON, as its digest fact has it.
    pub fn canonical_json(&self) -> String {
        let mut object = serde_json::Map::new();
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                object.insert(name.into(), value.into());
            }
        };
        set("description", self.description.as_deref());
        set("kind", self.kind.as_deref());
        set("role", self.role.as_deref());
        if let Some(precedence) = self.precedence {
            object.insert("precedence".into(), precedence.into());
        }
        if let Some(json) = self.json.as_deref().and_then(|json| serde_json::from_str(json).ok()) {
            object.insert("json".into(), json);
        }
        serde_json_canonicalizer::to_string(&object).unwrap_or_default()
    }
}

/// A further factor, as it stands behind its kind and id.
#[derive(Clone, PartialEq, Eq)]
pub struct FactorRecord {
    /// A name for people.
    pub label: Option<Box<str>>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The secret.
    pub blob: Vec<u8>,
}

impl FactorRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_text(self.label.as_deref(), &mut out);
        out.put_varint(self.created_at_ms);
        out.put_bytes(&self.blob);
        out
    }

    /// Reads the record.
    ///
    /// # Errors
    /// Cut short, or not UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("factor record", bytes);
        let label = read_text(&mut reader)?;
        let record = Self { label, created_at_ms: reader.varint()?, blob: reader.bytes()?.to_vec() };
        reader.end()?;
        Ok(record)
    }
}

/// A user's sign-in state: it raises the pool's Seq, never the user's version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignIn {
    /// Failures since the last success or unlock.
    pub failures: u32,
    /// Milliseconds since the Unix epoch.
    pub last_failure_ms: u64,
    /// Milliseconds since the Unix epoch; 0 for not locked.
    pub locked_until_ms: u64,
    /// Milliseconds since the Unix epoch; 0 for never.
    pub last_success_ms: u64,
}

impl SignIn {
    /// The cell's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [u64::from(self.failures), self.last_failure_ms, self.locked_until_ms, self.last_success_ms] {
            out.put_varint(number);
        }
        out
    }

    /// Reads the cell.
    ///
    /// # Errors
    /// Cut short.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("sign-in state", bytes);
        let fault = reader.fault("failures exceed 32 bits");
        let state = Self {
            failures: u32::try_from(reader.varint()?).map_err(|_| fault)?,
            last_failure_ms: reader.varint()?,
            locked_until_ms: reader.varint()?,
            last_success_ms: reader.varint()?,
        };
        reader.end()?;
        Ok(state)
    }
}

/// The answer to a write with a retry token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRecord {
    /// When it was given, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The digest of the request.
    pub request: [u8; 16],
    /// The Seq of the transaction.
    pub seq: Seq,
    /// What each operation did.
    pub outcomes: Vec<Outcome>,
}

impl AnswerRecord {
    /// Where the Seq stands in the bytes: the leader writes it there once it is known.
    pub const SEQ_AT: usize = 0;

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.seq.0);
        out.put_u64(self.time_ms);
        out.put_slice(&self.request);
        out.put_varint(self.outcomes.len() as u64);
        for outcome in &self.outcomes {
            let flags = u8::from(outcome.sub.is_some())
                | u8::from(outcome.version.is_some()) << 1
                | u8::from(outcome.changed.is_some()) << 2;
            out.put_u8(flags);
            out.put_slice(&outcome.sub.unwrap_or_default().0);
            out.put_varint(outcome.version.unwrap_or_default());
            out.put_varint(outcome.changed.unwrap_or_default());
        }
        out
    }

    /// Reads the record.
    ///
    /// # Errors
    /// Cut short.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("answer record", bytes);
        let mut record =
            Self { seq: Seq(reader.u64()?), time_ms: reader.u64()?, request: reader.array()?, outcomes: Vec::new() };
        for _ in 0..reader.count(19)? {
            let fault = reader.fault("flags are unknown");
            let flags = reader.u8()?;
            if flags > 7 {
                return Err(fault);
            }
            let flagged = |bit: u8| move |_: &mut Reader<'_>| Ok(flags & bit != 0);
            record.outcomes.push(Outcome {
                sub: optional(&mut reader, flagged(1), |reader| reader.array())?.map(Sub),
                version: optional(&mut reader, flagged(2), Reader::varint)?,
                changed: optional(&mut reader, flagged(4), Reader::varint)?,
            });
        }
        reader.end()?;
        Ok(record)
    }
}

/// A configuration document with its version.
pub fn encode_document(version: u64, json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(version);
    out.put_slice(json.as_bytes());
    out
}

/// Reads one.
///
/// # Errors
/// Cut short, or not UTF-8.
pub fn decode_document(bytes: &[u8]) -> Result<(u64, &str), DecodeError> {
    let mut reader = Reader::new("document", bytes);
    let version = reader.varint()?;
    let rest = reader.slice(reader.remaining())?;
    std::str::from_utf8(rest).map(|json| (version, json)).map_err(|_| reader.fault("is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_round_trip() {
        let group = GroupRecord {
            id: 7,
            version: 2,
            created_at_ms: 5,
            updated_at_ms: 6,
            description: Some("d".into()),
            precedence: Some(-1),
            role: None,
            kind: Some("team".into()),
            json: Some("{\"a\":1}".into()),
        };
        assert_eq!(GroupRecord::decode(&group.encode()).unwrap(), group);
        assert_eq!(group.canonical_json(), r#"{"description":"d","json":{"a":1},"kind":"team","precedence":-1}"#);
        let sign_in = SignIn { failures: 3, last_failure_ms: 4, locked_until_ms: 9, last_success_ms: 1 };
        assert_eq!(SignIn::decode(&sign_in.encode()).unwrap(), sign_in);
        let answer = AnswerRecord {
            time_ms: 3,
            request: [9; 16],
            seq: Seq(5),
            outcomes: vec![Outcome { sub: Some(Sub([1; 16])), version: Some(3), changed: None }],
        };
        assert_eq!(AnswerRecord::decode(&answer.encode()).unwrap(), answer);
        assert_eq!(decode_document(&encode_document(4, "{}")).unwrap(), (4, "{}"));
    }

    /// What reads is encoded in one way only.
    fn read_all(bytes: &[u8]) {
        let group = GroupRecord::decode(bytes).map(|record| record.encode());
        let factor = FactorRecord::decode(bytes).map(|record| record.encode());
        let sign_in = SignIn::decode(bytes).map(|state| state.encode());
        let answer = AnswerRecord::decode(bytes).map(|record| record.encode());
        let document = decode_document(bytes).map(|(version, json)| encode_document(version, json));
        for again in [group, factor, sign_in, answer, document].into_iter().flatten() {
            assert_eq!(again, bytes);
        }
    }

    fn text() -> impl Strategy<Value = Option<Box<str>>> {
        prop::option::of("\\PC{0,9}".prop_map(Box::from))
    }

    fn group() -> impl Strategy<Value = GroupRecord> {
        (any::<[u64; 4]>(), any::<Option<i64>>(), [text(), text(), text(), text()]).prop_map(
            |([id, version, created_at_ms, updated_at_ms], precedence, [description, role, kind, json])| GroupRecord {
                id,
                version,
                created_at_ms,
                updated_at_ms,
                description,
                precedence,
                role,
                kind,
                json,
            },
        )
    }

    fn answer() -> impl Strategy<Value = AnswerRecord> {
        let outcome = any::<(Option<[u8; 16]>, Option<u64>, Option<u64>)>()
            .prop_map(|(sub, version, changed)| Outcome { sub: sub.map(Sub), version, changed });
        (any::<(u64, [u8; 16], u64)>(), prop::collection::vec(outcome, 0..5))
            .prop_map(|((time_ms, request, seq), outcomes)| AnswerRecord { time_ms, request, seq: Seq(seq), outcomes })
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_a_value(bytes: Vec<u8>) {
            read_all(&bytes);
        }

        #[test]
        fn every_record_comes_back_and_a_changed_one_is_refused_or_another(
            group in group(),
            answer in answer(),
            (label, blob, numbers) in (text(), any::<Vec<u8>>(), any::<(u32, [u64; 3])>()),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            let (failures, [last_failure_ms, locked_until_ms, last_success_ms]) = numbers;
            let sign_in = SignIn { failures, last_failure_ms, locked_until_ms, last_success_ms };
            let factor = FactorRecord { label, created_at_ms: last_failure_ms, blob };
            prop_assert_eq!(&GroupRecord::decode(&group.encode()).unwrap(), &group);
            prop_assert!(FactorRecord::decode(&factor.encode()).unwrap() == factor);
            prop_assert_eq!(SignIn::decode(&sign_in.encode()).unwrap(), sign_in);
            prop_assert_eq!(&AnswerRecord::decode(&answer.encode()).unwrap(), &answer);
            for mut bytes in [group.encode(), factor.encode(), sign_in.encode(), answer.encode()] {
                let at = change.0.index(bytes.len());
                bytes[at] = change.1;
                read_all(&bytes);
                bytes.push(change.1);
                read_all(&bytes);
            }
        }
    }
}
