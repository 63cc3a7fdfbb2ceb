//! What became of every row: counts, and a line of JSON for each that was not simply taken.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Change;

/// Findings printed to the terminal; all of them go to the report file.
const PRINTED_MAX: u64 = 20;

#[derive(Default)]
struct Counts {
    created: u64,
    updated: u64,
    unchanged: u64,
    skipped: u64,
    refused: u64,
    changed: u64,
    groups_created: u64,
    groups_updated: u64,
    memberships_added: u64,
    memberships_without_user: u64,
    times_lost: u64,
}

/// Counts and findings of one import.
pub(super) struct Report {
    counts: Counts,
    file: Option<BufWriter<File>>,
    input: String,
    printed: u64,
}

impl Report {
    pub(super) fn new(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let file = path.map(open).transpose()?.map(BufWriter::new);
        Ok(Self { counts: Counts::default(), file, input: String::new(), printed: 0 })
    }

    /// The rows that follow are of this input.
    pub(super) fn input(&mut self, name: &str) {
        if self.input != name {
            name.clone_into(&mut self.input);
        }
    }

    /// A row was taken.
    pub(super) fn user(&mut self, change: Change) {
        match change {
            Change::Created => self.counts.created += 1,
            Change::Updated => self.counts.updated += 1,
            Change::Unchanged => self.counts.unchanged += 1,
        }
    }

    /// A row was refused.
    pub(super) fn refused(&mut self, line: u64, reason: &str) {
        self.counts.refused += 1;
        self.finding(line, "refused", reason);
    }

    /// A row was left out.
    pub(super) fn skipped(&mut self, line: u64, reason: &str) {
        self.counts.skipped += 1;
        self.finding(line, "skipped", reason);
    }

    /// Something of a row was changed on the way in.
    pub(super) fn changed(&mut self, line: u64, note: &str) {
        self.counts.changed += 1;
        self.finding(line, "changed", note);
    }

    /// What became of a group.
    pub(super) fn group(&mut self, line: u64, result: Result<Change, String>) {
        match result {
            Ok(Change::Created) => self.counts.groups_created += 1,
            Ok(Change::Updated) => self.counts.groups_updated += 1,
            Ok(Change::Unchanged) => {}
            Err(reason) => self.refused(line, &reason),
        }
    }

    /// What became of a membership.
    pub(super) fn membership(&mut self, result: Result<Option<bool>, String>) {
        match result {
            Ok(Some(true)) => self.counts.memberships_added += 1,
            Ok(Some(false)) => {}
            Ok(None) => self.counts.memberships_without_user += 1,
            Err(reason) => self.refused(0, &reason),
        }
    }

    /// So many users were made at the time of this import instead of when their source made them.
    pub(super) fn times_lost(&mut self, users: u64) {
        self.counts.times_lost += users;
    }

    fn finding(&mut self, line: u64, what: &str, reason: &str) {
        if let Some(file) = &mut self.file {
            // A report that cannot be written is told at the end, when it is flushed.
            let _ = writeln!(file, "{}", json!({"input": self.input, "line": line, "what": what, "reason": reason}));
        }
        if what != "changed" && self.printed < PRINTED_MAX {
            self.printed += 1;
            // Whoever has stopped reading does not end the import.
            let mut terminal = std::io::stderr();
            let _ = writeln!(terminal, "{}:{line}: {what}: {reason}", self.input);
            if self.printed == PRINTED_MAX {
                let _ = writeln!(terminal, "… further rows are not printed: see --report FILE");
            }
        }
    }

    /// Prints the counts; `true` if a row was refused.
    pub(super) fn finish(mut self, elapsed: Duration, as_json: bool) -> Result<bool> {
        let c = &self.counts;
        let seconds = elapsed.as_secs_f64().max(1e-6);
        let users = c.created + c.updated + c.unchanged;
        let counts = json!({
            "created": c.created, "updated": c.updated, "unchanged": c.unchanged, "skipped": c.skipped,
            "refused": c.refused, "changed": c.changed, "groups_created": c.groups_created,
            "groups_updated": c.groups_updated, "memberships_added": c.memberships_added,
            "memberships_without_user": c.memberships_without_user, "times_lost": c.times_lost,
            "seconds": (seconds * 1000.0).round() / 1000.0, "users_per_second": (users as f64 / seconds).round(),
        });
        if let Some(file) = &mut self.file {
            writeln!(file, "{counts}").and_then(|()| file.flush()).context("cannot write the report")?;
        }
        let mut out = std::io::stdout();
        if as_json {
            let _ = writeln!(out, "{counts}");
        } else {
            let _ = writeln!(
                out,
                "{} created, {} updated, {} unchanged, {} skipped, {} refused",
                c.created, c.updated, c.unchanged, c.skipped, c.refused
            );
            let _ = writeln!(
                out,
                "{} groups created, {} updated; {} memberships added ({} name no user of this pool)",
                c.groups_created, c.groups_updated, c.memberships_added, c.memberships_without_user
            );
            if c.times_lost > 0 {
                let _ = writeln!(
                    out,
                    "{} users have the time of this import as created_at: the protocol takes none; to keep theirs, import \
                     with --data DIR while the server is stopped",
                    c.times_lost
                );
            }
            let _ = writeln!(out, "{users} users in {seconds:.2} s: {:.0} a second", users as f64 / seconds);
        }
        Ok(self.counts.refused > 0)
    }
}
