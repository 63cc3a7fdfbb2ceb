//! What a verification found, and how it is printed: a line a pool, the findings, what could not be checked.

use std::io::{self, Write};

use serde_json::{Value, json};
use stoa_format::{PoolId, Seq};

/// Something that is wrong. Never holds a stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Whose file it is; `None` for the store's own.
    pub pool: Option<PoolId>,
    /// From the data directory.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// The page in its section.
    pub page: Option<u32>,
    /// Whose values it concerns.
    pub attribute: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// Something that was not checked, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unchecked {
    /// Whose it is; `None` for the store's own.
    pub pool: Option<PoolId>,
    /// What was left out.
    pub what: String,
    /// Why.
    pub why: String,
}

/// How much of a pool was checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoolCounts {
    /// Run files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pages whose checksum, or with keys whose tag, was checked.
    pub pages: u64,
    /// Frames, in the log and relocated.
    pub frames: u64,
    /// Index entries that were compared with their columns.
    pub entries: u64,
}

/// What was erased of a pool's deleted users, and what is still to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErasureLine {
    /// Nothing is left of who was deleted up to here.
    pub erased_seq: Seq,
    /// When the next values must be gone, milliseconds since the Unix epoch; `None` if none are left.
    pub due_ms: Option<u64>,
    /// The last deletion that is pending.
    pub up_to: Option<Seq>,
}

/// The whole report.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// By pool.
    pub pools: std::collections::BTreeMap<PoolId, PoolCounts>,
    /// What is to be erased by when, where that was asked for.
    pub erasures: std::collections::BTreeMap<PoolId, ErasureLine>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was not checked.
    pub unchecked: Vec<Unchecked>,
}

fn time_text(ms: u64) -> String {
    let text = stoa_engine::pool::value::time_text(i64::try_from(ms).unwrap_or(i64::MAX));
    String::from_utf8_lossy(&text).into_owned()
}

impl Report {
    /// Notes something wrong, once.
    pub(crate) fn find(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes what is not checked.
    pub(crate) fn leave_out(&mut self, pool: Option<PoolId>, what: impl Into<String>, why: impl Into<String>) {
        let unchecked = Unchecked { pool, what: what.into(), why: why.into() };
        if !self.unchecked.contains(&unchecked) {
            self.unchecked.push(unchecked);
        }
    }

    /// What is counted for a pool.
    pub(crate) fn counts(&mut self, pool: PoolId) -> &mut PoolCounts {
        self.pools.entry(pool).or_default()
    }

    /// Prints it as text.
    pub(crate) fn print_text(&self, out: &mut dyn Write, keys: bool) -> io::Result<()> {
        for (pool, counts) in &self.pools {
            let found = self.findings.iter().filter(|finding| finding.pool == Some(*pool)).count();
            let verdict = if found == 0 { "sound".to_owned() } else { format!("{found} findings") };
            let entries =
                if counts.entries > 0 { format!(", {} index entries", counts.entries) } else { String::new() };
            let PoolCounts { files, bytes, pages, frames, .. } = counts;
            writeln!(
                out,
                "pool {pool}: {verdict}; {files} files ({bytes} bytes), {pages} pages, {frames} frames{entries}"
            )?;
        }
        for (pool, ErasureLine { erased_seq, due_ms, up_to }) in &self.erasures {
            let left = match (due_ms, up_to) {
                (Some(due_ms), Some(up_to)) => {
                    format!("values of users deleted up to seq {up_to} are to be gone by {}", time_text(*due_ms))
                }
                _ => "nothing is pending".to_owned(),
            };
            writeln!(out, "pool {pool}: erasure: erased up to seq {erased_seq}; {left}")?;
        }
        for finding in &self.findings {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            writeln!(
                out,
                "FINDING pool {} file {} offset {} page {} attribute {}: {}. {}",
                or_dash(finding.pool.map(|pool| pool.to_string())),
                finding.file,
                or_dash(finding.offset.map(|offset| offset.to_string())),
                or_dash(finding.page.map(|page| page.to_string())),
                or_dash(finding.attribute.clone()),
                finding.what,
                finding.remedy
            )?;
        }
        for Unchecked { pool, what, why } in &self.unchecked {
            let of = pool.map(|pool| format!("pool {pool}: ")).unwrap_or_default();
            writeln!(out, "not checked: {of}{what}: {why}")?;
        }
        let depth = if keys { "with keys" } else { "checksums only" };
        let (pools, findings) = (self.pools.len(), self.findings.len());
        writeln!(out, "{pools} pools verified, {depth}: {findings} findings, {} not checked", self.unchecked.len())
    }

    /// Prints it as JSON, one object a line.
    pub(crate) fn print_json(&self, out: &mut dyn Write, keys: bool) -> io::Result<()> {
        let text = |pool: &Option<PoolId>| pool.map_or(Value::Null, |pool| json!(pool.to_string()));
        for (pool, counts) in &self.pools {
            let found = self.findings.iter().filter(|finding| finding.pool == Some(*pool)).count();
            let PoolCounts { files, bytes, pages, frames, entries } = counts;
            let line = json!({
                "type": "pool", "pool": pool.to_string(), "findings": found, "files": files, "bytes": bytes,
                "pages": pages, "frames": frames, "entries": entries
            });
            writeln!(out, "{line}")?;
        }
        for (pool, ErasureLine { erased_seq, due_ms, up_to }) in &self.erasures {
            let line = json!({
                "type": "erasure", "pool": pool.to_string(), "erased_seq": erased_seq.0,
                "due_at": due_ms.map(time_text), "pending_up_to_seq": up_to.map(|seq| seq.0)
            });
            writeln!(out, "{line}")?;
        }
        for Finding { pool, file, offset, page, attribute, what, remedy } in &self.findings {
            let line = json!({
                "type": "finding", "pool": text(pool), "file": file, "offset": offset, "page": page,
                "attribute": attribute, "what": what, "remedy": remedy
            });
            writeln!(out, "{line}")?;
        }
        for Unchecked { pool, what, why } in &self.unchecked {
            writeln!(out, "{}", json!({ "type": "unchecked", "pool": text(pool), "what": what, "why": why }))?;
        }
        let line = json!({
            "type": "summary", "pools": self.pools.len(), "keys": keys, "findings": self.findings.len(),
            "unchecked": self.unchecked.len()
        });
        writeln!(out, "{line}")
    }
}
