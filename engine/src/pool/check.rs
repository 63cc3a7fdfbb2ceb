//! Password checks: the lock-out is decided before any hashing, the hash runs wherever the caller
//! wants, and the outcome is committed like any other change.
//!
//! Invariants:
//! 1. `failures + checks in flight ≥ max` means locked: no hash of the user's, no write.
//! 2. A missing or locked user costs the caller the same: a hash of equal cost is computed.

use std::sync::Arc;

use stoa_format::{AttrId, Ordinal, Sub};

use super::open::{OpenPool, lock};
use super::record::SignIn;
use super::request::{CheckRecorded, Committed, Lockout, Op, Status, Transaction, UserRef};
use super::view::{Refusal, Verdict};
use crate::error::Result;
use crate::password::{self, Arena, Argon2Params, StoredHash};

/// A check that has begun. Dropping it gives its place in flight back.
pub struct Check {
    pool: Arc<OpenPool>,
    actor: Arc<str>,
    user: Option<CheckedUser>,
    /// Why no hash of the user's may be computed.
    barred: Option<Refusal>,
    attempt: Option<Box<str>>,
    in_flight: bool,
    seq: stoa_format::Seq,
}

struct CheckedUser {
    ordinal: Ordinal,
    sub: Sub,
    enabled: bool,
    status: Status,
    stored: Option<Box<str>>,
    /// The password is older than the pool's policy allows.
    expired: bool,
    sign_in: SignIn,
    lockout: Lockout,
}

impl Check {
    /// Begins a check: reads the user and decides the lock-out.
    pub(crate) fn begin(pool: &Arc<OpenPool>, actor: Arc<str>, user: &UserRef, attempt: Option<&str>) -> Result<Self> {
        let snapshot = pool.snapshot();
        let mut check = Self {
            pool: Arc::clone(pool),
            actor,
            user: None,
            barred: Some(Refusal::NoUser),
            attempt: attempt.map(Into::into),
            in_flight: false,
            seq: snapshot.seq(),
        };
        let Some(ordinal) = snapshot.resolve(user)? else { return Ok(check) };
        let deltas = snapshot.deltas(ordinal);
        let int = |attr| -> Result<i64> {
            Ok(snapshot.cell_under(&deltas, ordinal, attr)?.and_then(|cell| cell.as_int()).unwrap_or_default())
        };
        let stored = snapshot.cell_under(&deltas, ordinal, AttrId::PASSWORD)?;
        let stored = stored.and_then(|cell| cell.as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into()));
        let status = Status::from_code(int(AttrId::STATUS)?).unwrap_or(Status::Unconfirmed);
        let set_at_ms = int(AttrId::PASSWORD_SET_AT)?;
        let user = CheckedUser {
            ordinal,
            sub: snapshot.sub_of(ordinal)?,
            enabled: int(AttrId::ENABLED)? != 0,
            status,
            stored,
            expired: set_at_ms > 0 && snapshot.password_policy().is_expired(status, set_at_ms as u64, pool.now_ms()),
            sign_in: snapshot.sign_in(&deltas, ordinal)?,
            lockout: pool.lockout(&snapshot),
        };
        check.barred = check.admit(&user);
        check.user = Some(user);
        Ok(check)
    }

    /// Takes a place in flight, unless the user is locked.
    fn admit(&mut self, user: &CheckedUser) -> Option<Refusal> {
        if user.stored.is_none() {
            return Some(Refusal::NoPassword);
        }
        let max = user.lockout.max_attempts;
        if max > 0 && user.sign_in.locked_until_ms > self.pool.now_ms() {
            return Some(Refusal::Locked);
        }
        let mut checks = lock(&self.pool.checks);
        let in_flight = checks.entry(user.ordinal.0).or_default();
        // After a lock has run out, one attempt at a time.
        let allowed = max.saturating_sub(user.sign_in.failures).max(1);
        if max > 0 && *in_flight >= allowed {
            return Some(Refusal::Locked);
        }
        *in_flight += 1;
        self.in_flight = true;
        None
    }

    /// The user's sub, if there is such a user.
    pub fn sub(&self) -> Option<Sub> {
        self.user.as_ref().map(|user| user.sub)
    }

    /// Runs the hash: the user's, or one of equal cost whose answer is always no.
    pub fn matches(&self, secret: &[u8], arena: &mut Arena) -> bool {
        let stored = self.user.as_ref().filter(|_| self.barred.is_none()).and_then(|user| user.stored.as_deref());
        match stored.and_then(|stored| password::parse(stored, &self.pool.caps()).ok()) {
            Some(hash) => hash.verify(secret, arena).unwrap_or(false),
            None => {
                if let Some(decoy) = self.decoy() {
                    decoy.spend(secret, arena);
                }
                false
            }
        }
    }

    /// What a check of this pool costs, for users whose hash is not there.
    fn decoy(&self) -> Option<password::Decoy> {
        let own = self.user.as_ref().and_then(|user| user.stored.as_deref());
        let own = own.and_then(|stored| password::parse(stored, &self.pool.caps()).ok());
        let decoy = own.map(|hash| hash.decoy());
        decoy.or_else(|| lock(&self.pool.shared.usual_hash).clone())
    }

    /// Whether the stored hash is to be replaced by one of these parameters, now that the secret is known.
    pub fn wants_upgrade(&self, params: &Argon2Params) -> bool {
        let stored = self.user.as_ref().and_then(|user| user.stored.as_deref());
        let stored = stored.and_then(|stored| password::parse(stored, &self.pool.caps()).ok());
        stored.is_some_and(|hash: StoredHash| hash.needs_upgrade(params))
    }

    /// The transaction that writes down the outcome, and the verdict but for its Seq.
    fn conclude(&mut self, matched: bool, upgraded: Option<Box<str>>) -> (Option<Transaction>, Verdict) {
        let mut verdict = Verdict {
            verified: false,
            matched: false,
            reason: self.barred,
            sub: None,
            status: None,
            scheme: None,
            upgraded: false,
            locked: false,
            locked_until_ms: None,
            seq: self.seq,
        };
        let Some(user) = &self.user else { return (None, verdict) };
        verdict.sub = Some(user.sub);
        verdict.status = Some(user.status);
        let parsed = user.stored.as_deref().and_then(|stored| password::parse(stored, &self.pool.caps()).ok());
        verdict.scheme = parsed.as_ref().map(StoredHash::scheme);
        verdict.locked = self.barred == Some(Refusal::Locked);
        verdict.locked_until_ms = Some(user.sign_in.locked_until_ms).filter(|until| *until > self.pool.now_ms());
        if self.barred.is_some() {
            return (None, verdict);
        }
        if let (true, Some(hash)) = (matched, &parsed) {
            *lock(&self.pool.shared.usual_hash) = Some(hash.decoy());
        }
        verdict.matched = matched;
        verdict.reason = match (matched, user.enabled, user.status) {
            (false, ..) => Some(Refusal::Wrong),
            (_, false, _) => Some(Refusal::Disabled),
            (.., Status::Unconfirmed) => Some(Refusal::Unconfirmed),
            (.., Status::ResetRequired) => Some(Refusal::ResetRequired),
            (.., Status::ForceChangePassword | Status::Confirmed) if user.expired => Some(Refusal::Expired),
            (.., Status::ForceChangePassword) => Some(Refusal::ChangeRequired),
            (.., Status::Confirmed | Status::External) => None,
        };
        verdict.verified = verdict.reason.is_none();
        verdict.upgraded = upgraded.is_some();
        let recorded = CheckRecorded {
            ordinal: user.ordinal,
            matched,
            verified: verdict.verified,
            attempt: self.attempt.take(),
            checked: user.stored.clone().unwrap_or_default(),
            upgraded,
            lockout: user.lockout,
        };
        if !matched {
            let failures = user.sign_in.failures.saturating_add(1);
            let until = user.lockout.locked_until_ms(failures, self.pool.now_ms());
            verdict.locked = until > 0;
            verdict.locked_until_ms = Some(until).filter(|until| *until > 0);
        }
        let ops = vec![Op::CheckRecorded(Box::new(recorded))];
        (Some(Transaction { actor: Arc::clone(&self.actor), token: None, ops }), verdict)
    }

    /// Writes down the outcome and answers the verdict once that is durable. `change` is the hash
    /// of a new password that replaces the old one in the same transaction, if the secret matched.
    pub(crate) fn finish(
        mut self,
        matched: bool,
        upgraded: Option<Box<str>>,
        change: Option<Box<str>>,
        done: Box<dyn FnOnce(Result<Verdict>) + Send>,
    ) {
        let upgraded = upgraded.filter(|_| change.is_none() && !self.pool.shared.is_full());
        let (transaction, mut verdict) = self.conclude(matched, upgraded);
        let Some(mut transaction) = transaction else { return done(Ok(verdict)) };
        // A password that has grown old is changed by whoever knows it; a temporary one is given anew.
        let aged = verdict.reason == Some(Refusal::Expired) && verdict.status == Some(Status::Confirmed);
        let changeable =
            aged || matches!(verdict.reason, None | Some(Refusal::ChangeRequired | Refusal::ResetRequired));
        if let (true, Some(password), Some(sub)) = (matched && changeable, change, verdict.sub) {
            let user = UserRef::Sub(sub);
            transaction.ops.push(Op::CredSet { user, if_version: None, temporary: false, password });
            verdict.verified = true;
            verdict.reason = None;
            verdict.status = Some(Status::Confirmed);
        }
        let pool = Arc::clone(&self.pool);
        let answer = Box::new(move |result: Result<Committed>| {
            let verdict = result.map(|committed| Verdict { seq: committed.seq, ..verdict });
            drop(self);
            done(verdict);
        });
        let shared = Arc::clone(&pool.shared);
        shared.submit(&pool, transaction, answer);
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        let (true, Some(user)) = (self.in_flight, &self.user) else { return };
        let mut checks = lock(&self.pool.checks);
        if let Some(count) = checks.get_mut(&user.ordinal.0) {
            *count -= 1;
            if *count == 0 {
                checks.remove(&user.ordinal.0);
            }
        }
    }
}
