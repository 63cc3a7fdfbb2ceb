//! Values in cells and in index keys.
//!
//! | type | cell | bytes in a list or index |
//! | --- | --- | --- |
//! | string, json | its bytes | the same |
//! | bytes | its bytes | the same |
//! | integer | the integer | 8 bytes big-endian, sign bit flipped, so that they sort as numbers |
//! | timestamp | milliseconds since the epoch | the same as integer |
//! | boolean | 0 or 1 | the same as integer |
//! | several values | none: they stand in a list | for each: u32 little-endian length, then its bytes |

use stoa_format::DecodeError;
use stoa_format::column::Cell;
use stoa_format::ops::CellRef;

use super::{AttrType, MULTI_MAX_COUNT, Value, time};

/// A value as a column holds it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CellValue<'a> {
    /// Integers, booleans, times.
    Int(i64),
    /// Strings, JSON, bytes.
    Bytes(&'a [u8]),
}

impl std::fmt::Debug for CellValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(_) => f.write_str("Int"),
            Self::Bytes(raw) => write!(f, "Bytes({} bytes)", raw.len()),
        }
    }
}

impl<'a> CellValue<'a> {
    /// The value in what a run says, if there is one.
    pub fn of_run(cell: &'a Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Missing | Cell::Absent => None,
            Cell::Int(value) => Some(Self::Int(*value)),
            Cell::Fixed16(value) => Some(Self::Bytes(value)),
            Cell::Bytes(value) => Some(Self::Bytes(value)),
        }
    }

    /// The value in a logged cell, if there is one.
    pub fn of_log(cell: CellRef<'a>) -> Option<Self> {
        match cell {
            CellRef::Absent => None,
            CellRef::Int(value) => Some(Self::Int(value)),
            CellRef::Bytes(value) => Some(Self::Bytes(value)),
        }
    }
}

impl<'a> From<CellValue<'a>> for CellRef<'a> {
    fn from(value: CellValue<'a>) -> Self {
        match value {
            CellValue::Int(value) => Self::Int(value),
            CellValue::Bytes(value) => Self::Bytes(value),
        }
    }
}

const STRUCTURE: &str = "attribute value";

/// A value where it stands; see [`Value`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'v> {
    /// Text.
    Str(&'v str),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// Milliseconds since the Unix epoch.
    Time(i64),
    /// A JSON text in its RFC 8785 form.
    Json(&'v str),
    /// Bytes.
    Bytes(&'v [u8]),
    /// The values of a multi-valued attribute.
    Multi(&'v [Value]),
}

impl std::fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.into_owned(), f)
    }
}

impl<'v> ValueRef<'v> {
    /// The value of a cell of type `ty`.
    ///
    /// # Errors
    /// If the cell is of another kind, or holds what no value of that type is.
    #[inline]
    pub fn from_cell(ty: AttrType, cell: CellValue<'v>) -> Result<Self, DecodeError> {
        let fault = |reason| DecodeError::new(STRUCTURE, 0, reason);
        let text = |raw| std::str::from_utf8(raw).map_err(|_| fault("text is not UTF-8"));
        match (ty, cell) {
            (AttrType::Integer, CellValue::Int(value)) => Ok(Self::Int(value)),
            (AttrType::Boolean, CellValue::Int(value @ (0 | 1))) => Ok(Self::Bool(value == 1)),
            (AttrType::Boolean, CellValue::Int(_)) => Err(fault("boolean is neither 0 nor 1")),
            (AttrType::Timestamp, CellValue::Int(ms @ time::TIME_MIN_MS..=time::TIME_MAX_MS)) => Ok(Self::Time(ms)),
            (AttrType::Timestamp, CellValue::Int(_)) => Err(fault("time is beyond year 9999")),
            (AttrType::String, CellValue::Bytes(raw)) => text(raw).map(Self::Str),
            (AttrType::Json, CellValue::Bytes(raw)) => text(raw).map(Self::Json),
            (AttrType::Bytes, CellValue::Bytes(raw)) => Ok(Self::Bytes(raw)),
            _ => Err(fault("cell is of another type than the schema says")),
        }
    }

    /// A copy of it.
    pub fn into_owned(self) -> Value {
        match self {
            Self::Str(text) => Value::Str(text.into()),
            Self::Int(value) => Value::Int(value),
            Self::Bool(value) => Value::Bool(value),
            Self::Time(value) => Value::Time(value),
            Self::Json(text) => Value::Json(text.into()),
            Self::Bytes(raw) => Value::Bytes(raw.into()),
            Self::Multi(values) => Value::Multi(values.to_vec()),
        }
    }
}

impl Value {
    /// The cell of a scalar; `None` for several values, which stand in a list instead.
    pub fn as_cell(&self) -> Option<CellValue<'_>> {
        Some(match self {
            Self::Int(value) | Self::Time(value) => CellValue::Int(*value),
            Self::Bool(value) => CellValue::Int(i64::from(*value)),
            Self::Str(text) | Self::Json(text) => CellValue::Bytes(text.as_bytes()),
            Self::Bytes(raw) => CellValue::Bytes(raw),
            Self::Multi(_) => return None,
        })
    }

    /// The same, lent.
    pub fn lend(&self) -> ValueRef<'_> {
        match self {
            Self::Str(text) => ValueRef::Str(text),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Time(value) => ValueRef::Time(*value),
            Self::Json(text) => ValueRef::Json(text),
            Self::Bytes(raw) => ValueRef::Bytes(raw),
            Self::Multi(values) => ValueRef::Multi(values),
        }
    }

    /// The value of a cell of type `ty`.
    ///
    /// # Errors
    /// As [`ValueRef::from_cell`].
    pub fn from_cell(ty: AttrType, cell: CellValue<'_>) -> Result<Self, DecodeError> {
        ValueRef::from_cell(ty, cell).map(ValueRef::into_owned)
    }

    /// Appends the value's bytes, as they stand in lists and logs.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match (self, self.as_cell()) {
            (_, Some(CellValue::Bytes(raw))) => out.extend_from_slice(raw),
            (_, Some(CellValue::Int(value))) => out.extend_from_slice(&sortable(value)),
            (scalars, None) => {
                for scalar in scalars.elements() {
                    let length_at = out.len();
                    out.extend_from_slice(&[0; 4]);
                    scalar.encode(out);
                    let length = (out.len() - length_at - 4) as u32;
                    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
                }
            }
        }
    }

    /// Reads what [`Value::encode`] wrote for a value of that type.
    ///
    /// # Errors
    /// If the bytes are not such an encoding.
    pub fn decode(ty: AttrType, multi: bool, bytes: &[u8]) -> Result<Self, DecodeError> {
        if multi {
            return decode_multi(ty, bytes);
        }
        let cell = if ty.is_int_cell() {
            let raw = bytes.try_into().map_err(|_| DecodeError::new(STRUCTURE, 0, "integer is not 8 bytes"))?;
            CellValue::Int(from_sortable(raw))
        } else {
            CellValue::Bytes(bytes)
        };
        Self::from_cell(ty, cell)
    }
}

fn decode_multi(ty: AttrType, bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut values: Vec<Value> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let fault = |reason| DecodeError::new(STRUCTURE, bytes.len() - rest.len(), reason);
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| fault("list ends inside a length"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (element, after) = after.split_at_checked(length).ok_or_else(|| fault("list ends inside a value"))?;
        let value = Value::decode(ty, false, element)?;
        if values.last().is_some_and(|last| last.element_text() >= value.element_text()) {
            return Err(fault("values are not in order"));
        }
        values.push(value);
        rest = after;
    }
    if values.is_empty() || values.len() > MULTI_MAX_COUNT {
        return Err(DecodeError::new(STRUCTURE, bytes.len(), "list holds none or too many values"));
    }
    Ok(Value::Multi(values))
}

/// An integer as 8 bytes that sort bytewise as the integers do.
pub(crate) fn sortable(value: i64) -> [u8; 8] {
    (value as u64 ^ (1 << 63)).to_be_bytes()
}

/// The integer of [`sortable`] bytes.
pub(crate) fn from_sortable(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}
