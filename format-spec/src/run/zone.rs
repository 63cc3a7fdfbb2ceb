//! Zone maps: bounds of a page's values, by which a scan passes over pages.

use super::fields::{Fields, put_short_bytes};
use crate::DecodeError;

/// How many leading bytes of a value a zone map keeps.
pub const ZONE_PREFIX_BYTES: usize = 16;

/// Bounds of the values of a page; explicit nulls are not counted.
///
/// Encoded as a kind u8 (0 unknown, 1 integers, 2 byte strings) and then nothing, two i64, or two byte strings
/// each behind a u16 length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Zone {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Every value is between these.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// The first [`ZONE_PREFIX_BYTES`] of every value are between these.
    Bytes {
        /// Smallest prefix.
        min: Vec<u8>,
        /// Largest prefix.
        max: Vec<u8>,
    },
}

impl Zone {
    /// The bounds of these byte strings.
    pub(crate) fn of_bytes<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bounds: Option<(&[u8], &[u8])> = None;
        for value in values {
            let value = zone_prefix(value);
            bounds = Some(bounds.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
        }
        bounds.map_or(Self::Unknown, |(min, max)| Self::Bytes { min: min.to_vec(), max: max.to_vec() })
    }

    /// Whether a value equal to `value` can be in the page.
    pub fn may_hold_bytes(&self, value: &[u8]) -> bool {
        match self {
            Self::Bytes { min, max } => (&min[..]..=&max[..]).contains(&zone_prefix(value)),
            Self::Unknown | Self::Int { .. } => true,
        }
    }

    /// Whether a value between `low` and `high`, both included, can be in the page.
    pub fn may_hold_int(&self, low: i64, high: i64) -> bool {
        match self {
            Self::Int { min, max } => low <= *max && high >= *min,
            Self::Unknown | Self::Bytes { .. } => true,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unknown => out.push(0),
            Self::Int { min, max } => {
                out.push(1);
                out.extend_from_slice(&min.to_le_bytes());
                out.extend_from_slice(&max.to_le_bytes());
            }
            Self::Bytes { min, max } => {
                out.push(2);
                put_short_bytes(out, zone_prefix(min));
                put_short_bytes(out, zone_prefix(max));
            }
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(match fields.u8()? {
            0 => Self::Unknown,
            1 => Self::Int { min: fields.u64()? as i64, max: fields.u64()? as i64 },
            2 => Self::Bytes { min: fields.short_bytes()?.to_vec(), max: fields.short_bytes()?.to_vec() },
            _ => return Err(fields.error("unknown kind of zone map")),
        })
    }
}

fn zone_prefix(value: &[u8]) -> &[u8] {
    &value[..value.len().min(ZONE_PREFIX_BYTES)]
}
