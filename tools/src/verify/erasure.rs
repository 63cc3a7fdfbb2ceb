//! `stoa verify --erasure`: which deleted users may still have values in a pool's files or frames, and whether what
//! the manifest calls erased is.

use stoa_format::erasure::{ERASURE_DOCUMENT, Erasure};
use stoa_format::{PoolId, Seq};

use super::Verification;
use super::report::ErasureLine;

const LATE: &str = "See state_reason in POOL.INFO; the server erases when it runs and can write";
const LEFT: &str = "Open the pool: it removes files that no manifest names";

impl Verification<'_> {
    /// Each pool's manifest, and what it says against what is on disk. What only the log has is told of after that.
    pub(super) fn erasures(&mut self, pools: &[PoolId]) {
        for &pool in pools {
            let Some(opener) = self.opener.clone() else { return };
            // A pool that does not open has been told of.
            let Ok(keys) = opener.pool(pool) else { continue };
            let content = keys.body.documents.iter().find(|(name, _)| name == ERASURE_DOCUMENT);
            let erasure = match content.map(|(_, content)| Erasure::decode(content)).transpose() {
                Ok(erasure) => erasure.unwrap_or_default(),
                Err(fault) => {
                    let name = format!("pools/{pool}/MANIFEST");
                    self.find_in(Some(pool), &name, 0, format!("{}: {}", fault.structure, fault.reason), LATE);
                    continue;
                }
            };
            let keyed = keys.body.periods.first().is_some_and(|period| period.first_seq <= erasure.erased_seq);
            if erasure.erased_seq > Seq(0) && keyed {
                let what = format!("has a key of frames up to seq {}, which were erased", erasure.erased_seq);
                self.find_in(Some(pool), &format!("pools/{pool}/MANIFEST"), 0, what, LATE);
            }
            for path in self.site.run_files(pool) {
                let id = path.file_stem().and_then(|stem| u64::from_str_radix(&stem.to_string_lossy(), 16).ok());
                if id.is_some_and(|id| id < erasure.files_from.0) && path.exists() {
                    let name = self.site.name(&path);
                    self.find_in(Some(pool), &name, 0, "holds values of deleted users that were to be erased", LEFT);
                }
            }
            self.pending(pool, &erasure);
        }
    }

    /// Takes down what is pending; it is a finding once it is overdue.
    pub(super) fn pending(&mut self, pool: PoolId, erasure: &Erasure) {
        let due_ms = erasure.pending.iter().map(|pending| pending.due_ms).min();
        let up_to = erasure.pending.last().map(|pending| pending.last_seq);
        let overdue = due_ms.is_some_and(|due_ms| due_ms < self.site.io.now_ms());
        if overdue {
            let what = "values of deleted users were to be erased by now";
            self.find_in(Some(pool), &format!("pools/{pool}/MANIFEST"), 0, what, LATE);
        }
        let line = ErasureLine { erased_seq: erasure.erased_seq, due_ms, up_to };
        self.report.erasures.insert(pool, line);
    }
}
