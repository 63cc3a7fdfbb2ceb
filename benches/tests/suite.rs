//! The suite in a tiny form: every row runs and finds its answers right, and the report has every row.
#![allow(clippy::disallowed_methods, reason = "a test of a program that measures")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use stoa_benches::results::Results;
use stoa_benches::suite::Options;
use stoa_benches::{report, rows, suite};

const USERS: usize = 1500;

/// What the groups measure, with the threads below.
const ROWS: [&str; 31] = [
    "load",
    "disk",
    "log",
    "profile-1",
    "profile-2",
    "hash-1",
    "hash-2",
    "sign-in-1",
    "sign-in-2",
    "filter",
    "prefix",
    "page-first",
    "page-far",
    "memory",
    "small-profile",
    "small-sign-in",
    "update-1",
    "update-8",
    "create-1",
    "create-8",
    "ycsb-a",
    "ycsb-b",
    "ycsb-c",
    "ycsb-d",
    "ycsb-e",
    "ycsb-f",
    "single-updates",
    "single-updates-written",
    "set-all",
    "set-all-written",
    "reopen",
];

/// What the groups over TCP measure, with the connections below.
const SERVED: [&str; 21] = [
    "tcp-profile-1",
    "tcp-profile-8",
    "tcp-profile-deep-8",
    "tcp-hash-1",
    "tcp-hash-8",
    "tcp-update-1",
    "tcp-update-3",
    "tcp-update-8",
    "mix-a",
    "mix-a-sign-in",
    "mix-b",
    "mix-b-sign-in",
    "mix-c",
    "mix-d",
    "mix-d-sign-in",
    "mix-e",
    "mix-e-sign-in",
    "mix-e-backfill",
    "mix-f-scan",
    "mix-f-export",
    "mix-f-delete",
];

#[test]
fn every_row_runs_and_is_reported() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut options = Options::quick(USERS, dir.path().join("runs"));
    options.time = Duration::from_millis(20);
    options.writers = vec![1, 8];
    options.connections = vec![1, 8];
    options.tcp_writers = vec![1, 3, 8];
    options.rows = rows::GROUPS.iter().map(|group| group.name.to_owned()).collect();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_suite"));
    let stoa = program.with_file_name("stoa");
    let serves = stoa.exists();
    if !serves {
        eprintln!("skipped: rows over TCP need {}: cargo build --workspace --bins", stoa.display());
    }
    (options.program, options.stoa) = (Some(program), Some(stoa));
    // Servers that are not installed say so and are left out.
    options.skip_missing = true;
    options.verbose = false;
    let run = suite::run(&options).expect("the suite runs");
    assert_eq!(run.failed, None, "all rows find what they look for");

    let found: BTreeSet<&str> = run.rows.iter().map(|row| row.id.as_str()).collect();
    for id in ROWS.iter().chain(SERVED.iter().filter(|_| serves)) {
        // Only Linux says what was written to the device of this directory.
        let may_lack = id.ends_with("-written");
        assert!(may_lack || found.contains(id), "no row {id}: {found:?}");
        assert!(rows::row(id).is_some(), "the report knows no row {id}");
    }
    for row in &run.rows {
        for figure in &row.figures {
            assert!(figure.median() > 0.0, "{} of {} is {:?}", row.id, figure.system, figure.samples);
        }
    }
    let load = run.row("load").and_then(|row| row.figure("stoa")).expect("a load");
    assert_eq!((load.samples.len(), load.syncs.len()), (2, 2));
    assert!(run.row("profile-1").and_then(|row| row.figure("stoa")?.latency.as_ref()).is_some());
    assert_eq!(std::fs::read_dir(dir.path().join("runs")).expect("readable").count(), 0, "stores are removed");

    let mut larger = run.clone();
    larger.users *= 10;
    let results = Results { runs: vec![run, larger] };
    let again = Results::from_json(&results.to_json().expect("JSON")).expect("the same");
    let written = report::write(&again, &dir.path().join("report")).expect("a report");
    let names: Vec<_> = written.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let mut plots = vec!["bars-1500.svg", "latency-1500.svg", "writers-1500.svg", "growth.svg"];
    plots.extend(["latency-tcp-1500.svg", "connections-1500.svg"].iter().filter(|_| serves));
    for name in plots.into_iter().chain(["results.json", "report.md"]) {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let text = report::markdown(&again);
    for row in &again.runs[0].rows {
        let title = rows::row(&row.id).expect("known").title;
        assert!(text.contains(&title), "the report lacks {title}");
    }
}

#[test]
fn unknown_names_are_refused_before_anything_runs() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut options = Options::quick(10, dir.path().to_owned());
    options.systems = vec!["nobody".into()];
    assert!(suite::run(&options).expect_err("no such system").to_string().contains("stoa"));
    options.systems.clear();
    options.rows = vec!["nothing".into()];
    assert!(suite::run(&options).expect_err("no such rows").to_string().contains("profile"));
    options.rows.clear();
    options.stoa = Some(dir.path().join("no stoa here"));
    let said = suite::run(&options).expect_err("no program to serve").to_string();
    assert!(said.contains("cargo build --release -p stoa"), "{said}");
}

#[test]
fn what_was_measured_before_a_failure_is_reported() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut options = Options::quick(500, dir.path().to_owned());
    options.time = Duration::from_millis(20);
    options.systems = vec!["stoa".into()];
    options.rows = vec!["profile".into(), "reopen".into()];
    options.program = Some(dir.path().join("no suite here"));
    options.verbose = false;
    let run = suite::run(&options).expect("it begins");
    assert!(run.row("profile-1").is_some());
    let results = Results { runs: vec![run] };
    let said = results.check().expect_err("no program to kill").to_string();
    assert!(said.contains("rows reopen"), "{said}");
    assert!(report::markdown(&results).contains("rows reopen"));
}
