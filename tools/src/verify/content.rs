//! Whether what a pool stores twice agrees: indexes with columns, members with groups, sums with what they sum.
//! That is the engine's own verification, on a store that is opened over an [`Overlay`].

use std::path::Path;
use std::sync::Arc;

use stoa_engine::{ErrorKind, Pool, Store, StoreOptions};

use super::Verification;
use super::overlay::Overlay;
use super::report::Finding;
use crate::passphrase::Secret;

const WHAT: &str = "indexes against columns, members against groups, digest sums";
/// How often a running store is opened anew because its files were replaced meanwhile.
const ATTEMPTS: usize = 5;

/// Checks the content of every pool that is wanted.
pub(super) fn check(verification: &mut Verification<'_>, key_file: &Path, passphrase: Option<Secret>, erasure: bool) {
    let mut attempt = 1;
    loop {
        let look = look(verification, key_file, passphrase.clone());
        let settled = look.findings.is_empty() && look.unchecked.is_empty();
        if settled || !verification.running || attempt == ATTEMPTS {
            for finding in look.findings {
                let gone = verification.running && !verification.site.root.join(&finding.file).exists();
                match (gone, finding.offset) {
                    (true, None) => verification.report.leave_out(finding.pool, finding.file, "it went meanwhile"),
                    _ => verification.report.find(finding),
                }
            }
            for (pool, why) in look.unchecked {
                verification.report.leave_out(pool, WHAT, why);
            }
            // With what only the log has: it is replayed here.
            for (pool, pending) in look.erasures.iter().filter(|_| erasure) {
                verification.pending(*pool, pending);
            }
            for (pool, entries) in look.entries {
                verification.report.counts(pool).entries = entries;
            }
            return;
        }
        verification.settle();
        attempt += 1;
    }
}

/// What one look at the content gave.
#[derive(Default)]
struct Look {
    findings: Vec<Finding>,
    unchecked: Vec<(Option<stoa_format::PoolId>, String)>,
    entries: Vec<(stoa_format::PoolId, u64)>,
    erasures: Vec<(stoa_format::PoolId, stoa_format::erasure::Erasure)>,
}

fn look(verification: &Verification<'_>, key_file: &Path, passphrase: Option<Secret>) -> Look {
    let mut look = Look::default();
    let mut options = StoreOptions::new(&verification.site.root);
    options.key_file = key_file.to_owned();
    options.passphrase = passphrase;
    options.create = false;
    options.threads = false;
    options.limits.reserve_bytes = 0;
    options.io = Arc::new(Overlay::new());
    let store = match Store::open(options) {
        Ok(store) => store,
        Err(error) => {
            look.refused(verification, None, &error);
            return look;
        }
    };
    for name in store.pool_names() {
        match store.pool(&name) {
            Ok(pool) if verification.wants(pool.id()) => look.pool(verification, &pool),
            Ok(_) => {}
            Err(error) => look.refused(verification, Some(&name), &error),
        }
    }
    look
}

impl Look {
    /// What does not open because of damage that was found already was not checked; if nothing was found, this is it.
    fn refused(&mut self, verification: &Verification<'_>, pool: Option<&str>, error: &stoa_engine::Error) {
        let is_news = error.kind() == ErrorKind::Damaged && verification.report.findings.is_empty();
        if !is_news {
            let what = if pool.is_some() { String::new() } else { "the store does not open: ".to_owned() };
            return self.unchecked.push((None, format!("{what}{error}")));
        }
        self.findings.push(Finding {
            pool: None,
            file: ".".to_owned(),
            offset: None,
            page: None,
            attribute: None,
            what: error.message().to_owned(),
            remedy: super::FROM_BACKUP,
        });
    }

    fn pool(&mut self, verification: &Verification<'_>, pool: &Pool) {
        let id = pool.id();
        self.erasures.push((id, pool.erasure()));
        let report = match pool.verify() {
            Ok(report) => report,
            Err(error) => return self.unchecked.push((Some(id), error.to_string())),
        };
        self.entries.push((id, report.entries));
        for found in report.findings {
            let file = match found.file.starts_with("pools/") || found.file.starts_with("wal/") {
                true => found.file,
                false => format!("pools/{id}/{}", found.file),
            };
            // Files were checked before, with or without the store.
            let same = |other: &Finding| other.file == file && other.offset == found.offset && found.offset.is_some();
            if verification.report.findings.iter().any(same) {
                continue;
            }
            let stoa_engine::store::verify::Finding { offset, page, attribute, what, remedy, .. } = found;
            self.findings.push(Finding { pool: Some(id), file, offset, page, attribute, what, remedy });
        }
        self.unchecked.extend(report.unchecked.into_iter().map(|why| (Some(id), why)));
    }
}
