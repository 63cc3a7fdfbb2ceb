//! Whether what a pool stores twice agrees: indexes with columns, members with groups, sums with what they sum.
//! That is the engine's own verification, on a store that is opened over an [`Overlay`].

use std::path::Path;
use std::sync::Arc;

use stoa_engine::{Store, StoreOptions};

use super::Verification;
use super::overlay::Overlay;
use crate::passphrase::Secret;

const WHAT: &str = "indexes against columns, members against groups, digest sums";

/// Checks the content of every pool that is wanted.
pub(super) fn check(verification: &mut Verification<'_>, key_file: &Path, passphrase: Option<Secret>) {
    let mut options = StoreOptions::new(&verification.site.root);
    options.key_file = key_file.to_owned();
    options.passphrase = passphrase;
    options.create = false;
    options.threads = false;
    options.io = Arc::new(Overlay::new());
    let store = match Store::open(options) {
        Ok(store) => store,
        Err(error) => {
            let why = format!("the store does not open: {error}");
            return verification.report.leave_out(None, WHAT, why);
        }
    };
    for name in store.pool_names() {
        match store.pool(&name) {
            Ok(pool) if verification.wants(pool.id()) => check_pool(verification, &pool),
            Ok(_) => {}
            Err(error) => verification.report.leave_out(None, WHAT, error.to_string()),
        }
    }
}

fn check_pool(verification: &mut Verification<'_>, pool: &stoa_engine::Pool) {
    verification.report.leave_out(Some(pool.id()), WHAT, "the engine does not check them yet");
}
