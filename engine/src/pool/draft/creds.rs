//! Passwords, sign-in state, further factors and linked identities.

use bytes::Bytes;
use stoa_format::ops::{EventKind, Subject};
use stoa_format::{AttrId, Ordinal, Sub};
use subtle::ConstantTimeEq;

use super::{Draft, OwnedCell};
use crate::error::{Error, ErrorKind, Result};
use crate::password;
use crate::pool::keyspace::{self, Key, last_number, split_terminated};
use crate::pool::record::{FactorRecord, SignIn};
use crate::pool::request::{CheckRecorded, Outcome, Status, UserRef};
use crate::pool::snapshot::damaged;

/// The kinds of further factors.
const FACTOR_KINDS: [&str; 3] = ["totp", "webauthn", "recovery"];
/// The longest secret of a further factor.
const BLOB_MAX_BYTES: usize = 64 * 1024;
/// The longest name of a factor, provider or subject.
const ID_MAX_BYTES: usize = 1024;
/// A success is written down when the last one is older than this.
const SUCCESS_GRAIN_MS: u64 = 60_000;

/// Checks the length of a factor's id, a provider or a subject.
pub(crate) fn check_length(what: &str, text: &str) -> Result<()> {
    match text.len() {
        1..=ID_MAX_BYTES => Ok(()),
        _ => Err(Error::invalid(format!("{what} wants 1 to {ID_MAX_BYTES} bytes"))),
    }
}

/// Checks a further factor's kind, id and secret.
pub(crate) fn check_factor(kind: &str, id: &str, blob: &[u8]) -> Result<()> {
    if !FACTOR_KINDS.contains(&kind) {
        return Err(Error::invalid("the kind of a factor is totp, webauthn or recovery"));
    }
    check_length("the id of a factor", id)?;
    match blob.len() <= BLOB_MAX_BYTES {
        true => Ok(()),
        false => Err(Error::limit("the secret of a factor exceeds 65536 bytes")),
    }
}

/// Checks the form and the cost of a password's hash.
pub(crate) fn check_password(stored: &str, caps: &password::Caps) -> Result<()> {
    password::parse(stored, caps).map(drop).map_err(|error| match error {
        password::HashError::TooCostly(_) => Error::limit(format!("{error}")).because(error),
        _ => Error::invalid(format!("the password hash cannot be taken: {error}")).because(error),
    })
}

impl Draft<'_> {
    /// Stages a password hash, checked for its form and its cost.
    pub(super) fn set_password(&mut self, ordinal: Ordinal, stored: &str) -> Result<bool> {
        check_password(stored, &self.snapshot.pool.limits().password_caps)?;
        let cell = OwnedCell::Bytes(Bytes::copy_from_slice(stored.as_bytes()));
        let set = self.set_fact_cell(ordinal, AttrId::PASSWORD, Some(cell))?;
        if set {
            self.set_cell(ordinal, AttrId::PASSWORD_SET_AT, Some(OwnedCell::Int(self.now_ms as i64)))?;
        }
        Ok(set)
    }

    pub(super) fn cred_set(
        &mut self,
        user: &UserRef,
        if_version: Option<u64>,
        temporary: bool,
        stored: &str,
    ) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        self.check_version(ordinal, if_version)?;
        let mut changed = Vec::new();
        let former = self.cell(ordinal, AttrId::PASSWORD)?;
        if self.set_password(ordinal, stored)? {
            changed.push(AttrId::PASSWORD);
            self.keep_former(ordinal, former)?;
        }
        let status = if temporary { Status::ForceChangePassword } else { Status::Confirmed };
        if self.set_fact_cell(ordinal, AttrId::STATUS, Some(OwnedCell::Int(status.code())))? {
            changed.push(AttrId::STATUS);
        }
        self.clear_failures(ordinal)?;
        self.conclude(ordinal, EventKind::CredSet, changed)
    }

    /// Keeps the hash that was replaced for as long as the pool's policy looks back, and nothing longer.
    fn keep_former(&mut self, ordinal: Ordinal, former: Option<OwnedCell>) -> Result<()> {
        // The present password is the newest of those that may not come again.
        let keep = self.snapshot.password_policy().history.saturating_sub(1);
        let prefix = Key::new(keyspace::FORMER_PASSWORDS).ordinal(ordinal);
        let mut kept: Vec<Bytes> = self.keys_with(&prefix.clone().flat())?.into_keys().collect();
        if let (Some(OwnedCell::Bytes(former)), true) = (former, keep > 0) {
            let next = kept.last().and_then(|flat| last_number(flat)).map_or(0, |number| number.saturating_add(1));
            let flat = prefix.number(next).flat();
            self.set_key(flat.clone(), Some(former));
            kept.push(flat);
        }
        let drop = kept.len().saturating_sub(keep);
        for flat in kept.drain(..drop) {
            self.set_key(flat, None);
        }
        Ok(())
    }

    fn sign_in(&mut self, ordinal: Ordinal) -> Result<SignIn> {
        self.reads.insert(super::conflict::sign_in_conflict(ordinal));
        match self.cell(ordinal, AttrId::SIGN_IN)? {
            Some(OwnedCell::Bytes(bytes)) => SignIn::decode(&bytes).map_err(|fault| damaged(&fault)),
            _ => Ok(SignIn::default()),
        }
    }

    fn set_sign_in(&mut self, ordinal: Ordinal, state: SignIn) -> Result<bool> {
        self.set_cell(ordinal, AttrId::SIGN_IN, Some(OwnedCell::Bytes(Bytes::from(state.encode()))))
    }

    fn clear_failures(&mut self, ordinal: Ordinal) -> Result<bool> {
        let state = self.sign_in(ordinal)?;
        if state.failures == 0 && state.locked_until_ms == 0 {
            return Ok(false);
        }
        self.set_sign_in(ordinal, SignIn { failures: 0, locked_until_ms: 0, ..state })
    }

    pub(super) fn cred_unlock(&mut self, user: &UserRef) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        let sub = self.sub(ordinal)?;
        let cleared = self.clear_failures(ordinal)?;
        if cleared {
            self.event(EventKind::CredUnlock, Subject::User(sub), 0, Vec::new());
        }
        Ok(Outcome { sub: Some(sub), version: None, changed: Some(u64::from(cleared)) })
    }

    /// Writes down what a password check came to: one failure an attempt, none lost; a success only
    /// if it clears a counter or the last one is old.
    pub(super) fn check_recorded(&mut self, check: &CheckRecorded) -> Result<Outcome> {
        let ordinal = check.ordinal;
        if !self.snapshot.is_live(ordinal) {
            return Ok(Outcome::default());
        }
        self.reads.insert(super::conflict::user_conflict(ordinal));
        let sub = self.sub(ordinal)?;
        let mut state = self.sign_in(ordinal)?;
        let counted = match &check.attempt {
            Some(id) => !self.attempt_is_new(ordinal, id)?,
            None => false,
        };
        let mut changed = false;
        if !check.matched && !counted {
            state.failures = state.failures.saturating_add(1);
            state.last_failure_ms = self.now_ms;
            state.locked_until_ms = check.lockout.locked_until_ms(state.failures, self.now_ms);
            changed = self.set_sign_in(ordinal, state)?;
        } else if check.verified {
            let old = self.now_ms.saturating_sub(state.last_success_ms) >= SUCCESS_GRAIN_MS;
            // On a full disk people still sign in; when they last did is not written down then.
            let worth = old && !self.snapshot.pool.shared.is_full();
            if state.failures > 0 || state.locked_until_ms > 0 || worth {
                changed = self.set_sign_in(ordinal, SignIn { last_success_ms: self.now_ms, ..SignIn::default() })?;
            }
        }
        let mut upgraded = false;
        if let Some(stored) = &check.upgraded {
            self.reads.insert(super::conflict::user_conflict(ordinal));
            let present = self.cell(ordinal, AttrId::PASSWORD)?;
            if matches!(&present, Some(OwnedCell::Bytes(bytes)) if bytes[..] == *check.checked.as_bytes()) {
                upgraded = self.set_password(ordinal, stored)?;
            }
        }
        if changed || upgraded {
            let attrs = if upgraded { vec![AttrId::PASSWORD] } else { Vec::new() };
            self.event(EventKind::CredVerify, Subject::User(sub), 0, attrs);
        }
        Ok(Outcome { sub: Some(sub), version: None, changed: Some(u64::from(upgraded)) })
    }

    /// Notes a failed attempt's id; `false` if it was noted before.
    fn attempt_is_new(&mut self, ordinal: Ordinal, id: &str) -> Result<bool> {
        let flat = Key::new(keyspace::ATTEMPTS).ordinal(ordinal).rest(id.as_bytes()).flat();
        if self.key(&flat)?.is_some() {
            return Ok(false);
        }
        self.set_key(flat, Some(Bytes::copy_from_slice(&self.now_ms.to_be_bytes())));
        Ok(true)
    }

    /// Adds or takes out the fact that a factor is.
    pub(super) fn count_factor(&mut self, sub: Sub, kind: &str, id: &str, record: &[u8], present: bool) -> Result<()> {
        let record = FactorRecord::decode(record).map_err(|fault| damaged(&fault))?;
        self.count_fact(sub, &format!("$factor:{kind}:{id}"), &record.blob, present);
        Ok(())
    }

    pub(super) fn factor_put(
        &mut self,
        user: &UserRef,
        kind: &str,
        id: &str,
        if_version: Option<u64>,
        label: Option<&str>,
        blob: &[u8],
    ) -> Result<Outcome> {
        check_factor(kind, id, blob)?;
        let ordinal = self.require(user)?;
        self.check_version(ordinal, if_version)?;
        let sub = self.sub(ordinal)?;
        let flat = Key::new(keyspace::FACTORS).ordinal(ordinal).terminated(kind.as_bytes()).rest(id.as_bytes()).flat();
        let before = self.key(&flat)?;
        let old =
            before.as_ref().map(|bytes| FactorRecord::decode(bytes)).transpose().map_err(|fault| damaged(&fault))?;
        let created_at_ms = old.as_ref().map_or(self.now_ms, |old| old.created_at_ms);
        let record = FactorRecord { label: label.map(Into::into), created_at_ms, blob: blob.to_vec() };
        if old.as_ref() == Some(&record) {
            return self.conclude(ordinal, EventKind::CredPut, Vec::new());
        }
        if kind == "webauthn" {
            let by_id = Key::new(keyspace::FACTOR_IDS).terminated(kind.as_bytes()).rest(id.as_bytes()).flat();
            let holder = self.key(&by_id)?.and_then(|value| last_number(&value));
            if holder.is_some_and(|other| other != ordinal.0) {
                return Err(Error::new(
                    ErrorKind::Duplicate,
                    "webauthn id is taken: another user of this pool holds it",
                ));
            }
            self.set_key(by_id, Some(Bytes::copy_from_slice(&ordinal.0.to_be_bytes())));
        }
        if let Some(before) = &before {
            self.count_factor(sub, kind, id, before, false)?;
        }
        let bytes = record.encode();
        self.count_factor(sub, kind, id, &bytes, true)?;
        self.set_key(flat, Some(Bytes::from(bytes)));
        let version = self.raise_version(ordinal)?;
        self.event(EventKind::CredPut, Subject::User(sub), version, Vec::new());
        Ok(Outcome { sub: Some(sub), version: Some(version), changed: Some(1) })
    }

    pub(super) fn factor_del(&mut self, user: &UserRef, kind: &str, id: &str) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        let removed = self.remove_factor(ordinal, kind, id)?;
        self.conclude_factor(ordinal, EventKind::CredDel, removed)
    }

    pub(super) fn factor_consume(&mut self, user: &UserRef, code: &[u8]) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        let prefix = Key::new(keyspace::FACTORS).ordinal(ordinal).terminated(b"recovery").flat();
        let mut matching = None;
        for (flat, bytes) in self.keys_with(&prefix)? {
            let record = FactorRecord::decode(&bytes).map_err(|fault| damaged(&fault))?;
            if bool::from(record.blob.ct_eq(code)) {
                matching = split_terminated(&flat[9..]).map(|(_, id)| String::from_utf8_lossy(id).into_owned());
            }
        }
        let removed = match matching {
            Some(id) => self.remove_factor(ordinal, "recovery", &id)?,
            None => false,
        };
        self.conclude_factor(ordinal, EventKind::CredConsume, removed)
    }

    fn remove_factor(&mut self, ordinal: Ordinal, kind: &str, id: &str) -> Result<bool> {
        let flat = Key::new(keyspace::FACTORS).ordinal(ordinal).terminated(kind.as_bytes()).rest(id.as_bytes()).flat();
        let Some(before) = self.key(&flat)? else { return Ok(false) };
        let sub = self.sub(ordinal)?;
        self.count_factor(sub, kind, id, &before, false)?;
        self.set_key(flat, None);
        if kind == "webauthn" {
            self.set_key(Key::new(keyspace::FACTOR_IDS).terminated(kind.as_bytes()).rest(id.as_bytes()).flat(), None);
        }
        Ok(true)
    }

    fn conclude_factor(&mut self, ordinal: Ordinal, event: EventKind, removed: bool) -> Result<Outcome> {
        if !removed {
            return self.conclude(ordinal, event, Vec::new());
        }
        let sub = self.sub(ordinal)?;
        let version = self.raise_version(ordinal)?;
        self.event(event, Subject::User(sub), version, Vec::new());
        Ok(Outcome { sub: Some(sub), version: Some(version), changed: Some(1) })
    }

    pub(super) fn identity_link(&mut self, user: &UserRef, provider: &str, subject: &str) -> Result<Outcome> {
        check_length("a provider", provider)?;
        check_length("a subject", subject)?;
        let ordinal = self.require(user)?;
        let flat = Key::new(keyspace::IDENTITIES).terminated(provider.as_bytes()).rest(subject.as_bytes()).flat();
        match self.key(&flat)?.and_then(|value| last_number(&value)) {
            Some(other) if other == ordinal.0 => return self.conclude(ordinal, EventKind::IdentityLink, Vec::new()),
            Some(_) => {
                let what = "the identity is linked to another user of this pool: unlink it there first";
                return Err(Error::new(ErrorKind::Duplicate, what));
            }
            None => {}
        }
        self.set_key(flat, Some(Bytes::copy_from_slice(&ordinal.0.to_be_bytes())));
        self.set_key(identity_of(ordinal, provider, subject), Some(Bytes::new()));
        self.conclude_identity(ordinal, provider, subject, true)
    }

    pub(super) fn identity_unlink(&mut self, user: &UserRef, provider: &str, subject: &str) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        let flat = Key::new(keyspace::IDENTITIES).terminated(provider.as_bytes()).rest(subject.as_bytes()).flat();
        if self.key(&flat)?.and_then(|value| last_number(&value)) != Some(ordinal.0) {
            return self.conclude(ordinal, EventKind::IdentityUnlink, Vec::new());
        }
        self.set_key(flat, None);
        self.set_key(identity_of(ordinal, provider, subject), None);
        self.conclude_identity(ordinal, provider, subject, false)
    }

    fn conclude_identity(&mut self, ordinal: Ordinal, provider: &str, subject: &str, linked: bool) -> Result<Outcome> {
        let sub = self.sub(ordinal)?;
        self.count_fact(sub, &format!("$identity:{provider}"), subject.as_bytes(), linked);
        let version = self.raise_version(ordinal)?;
        let event = if linked { EventKind::IdentityLink } else { EventKind::IdentityUnlink };
        self.event(event, Subject::User(sub), version, Vec::new());
        Ok(Outcome { sub: Some(sub), version: Some(version), changed: Some(1) })
    }
}

fn identity_of(ordinal: Ordinal, provider: &str, subject: &str) -> Bytes {
    Key::new(keyspace::IDENTITIES_OF).ordinal(ordinal).terminated(provider.as_bytes()).rest(subject.as_bytes()).flat()
}
