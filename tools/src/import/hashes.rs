//! Password hashes on their way into a record: converted from the source's parts to the engine's text, and checked.

use std::borrow::Cow;

use stoa_engine::password::{Caps, HashError, parse};

use super::record::{ImportPassword, Text};

/// A hash that is already in the engine's form, checked under the caps.
pub(crate) fn checked<'a>(stored: Text<'a>, caps: &Caps) -> ImportPassword<'a> {
    match parse(&stored, caps) {
        Ok(_) => ImportPassword::Hash(stored),
        Err(error) => unsupported(error),
    }
}

/// What a conversion gave, checked under the caps.
pub(crate) fn converted(result: Result<String, HashError>, caps: &Caps) -> ImportPassword<'static> {
    match result {
        Ok(stored) => checked(Cow::Owned(stored), caps),
        Err(error) => unsupported(error),
    }
}

/// The engine's errors name structure and reason, never a value.
fn unsupported(error: HashError) -> ImportPassword<'static> {
    ImportPassword::Unsupported { reason: error.to_string().into() }
}
