//! Tables in Markdown, to be pasted where they are read.

use std::fmt::Write as _;

use super::verdict::is_ours;
use super::{Verdict, figure};
use crate::peer::Transport;
use crate::results::{Facts, Figure, Results, RowResult, Run};
use crate::rows::{Row, Unit, row};

/// All runs: the table of medians, latencies, limits, and who took part.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    for run in &results.runs {
        about(&mut out, run);
        for transport in [Transport::Embedded, Transport::Tcp] {
            medians(&mut out, run, transport);
        }
        latencies(&mut out, run);
        limits(&mut out, run);
        systems(&mut out, run);
    }
    out
}

fn line(out: &mut String, cells: &[String]) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn header(out: &mut String, cells: &[String]) {
    line(out, cells);
    line(out, &vec!["---".to_owned(); cells.len()]);
}

fn about(out: &mut String, run: &Run) {
    let users = thousands(run.users);
    let raw = run.raw_bytes as f64 / run.users.max(1) as f64;
    let _ = writeln!(out, "## {users} users of {raw:.0} raw bytes (seed {})\n", run.seed);
    let _ =
        writeln!(out, "{}. Made by `{}`; a repetition of a rate lasts {} s.\n", run.machine, run.command, run.seconds);
    if let Some(failed) = &run.failed {
        let _ = writeln!(out, "It ended before its end: {failed}.\n");
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// The rows of a transport, with what they are.
fn rows_of(run: &Run, transport: Transport) -> Vec<(&RowResult, Row)> {
    let known = run.rows.iter().filter_map(|result| Some((result, row(&result.id)?)));
    known.filter(|(_, row)| row.transport == transport).collect()
}

fn medians(out: &mut String, run: &Run, transport: Transport) {
    let rows = rows_of(run, transport);
    let took_part = |facts: &&Facts| rows.iter().any(|(result, _)| result.figure(&facts.name).is_some());
    let systems: Vec<&Facts> = run.systems.iter().filter(took_part).collect();
    if systems.is_empty() {
        return;
    }
    let names = systems.iter().map(|facts| match facts.encrypted {
        true => format!("**{}** (encrypted)", facts.name),
        false => facts.name.clone(),
    });
    let first = ["row", "Stoa ÷ best peer", "goal", "of the limit"].map(str::to_owned);
    header(out, &first.into_iter().chain(names).collect::<Vec<_>>());
    for (result, row) in &rows {
        let verdict = Verdict::of(run, &result.id, row);
        let ratio = verdict.as_ref().and_then(|verdict| verdict.best.as_ref());
        let mut ratio = ratio.map_or(String::new(), |(best, ratio)| format!("{ratio:.2}× {best}"));
        if let Some(beside) = verdict.as_ref().and_then(|verdict| verdict.best_beside_disk) {
            ratio += &format!(" ({beside:.2}×)");
        }
        let goal = verdict.as_ref().map_or(String::new(), |verdict| match verdict.reached {
            Some(true) => format!("{} ✓", verdict.goal),
            Some(false) => format!("{} ✗", verdict.goal),
            None => verdict.goal.clone(),
        });
        let limit = verdict.as_ref().and_then(|verdict| verdict.of_limit);
        let limit = limit.map_or(String::new(), |share| format!("{share:.2}"));
        let cells = systems.iter().map(|facts| cell(row.unit, result.figure(&facts.name)));
        line(out, &[row.title.clone(), ratio, goal, limit].into_iter().chain(cells).collect::<Vec<_>>());
    }
    let _ = writeln!(
        out,
        "\nMedians, with the least and the greatest sample in brackets. A ratio above 1 says that Stoa is better; the one in brackets is of rates divided by what the disk allowed beside each. \"Of the limit\" is Stoa's rate over that of single synced writes of 512 bytes, measured right before and after (above 1 where writers share a sync); of reads over TCP, over what the same client gets from a server that looks at nothing.\n"
    );
}

fn cell(unit: Unit, of: Option<&Figure>) -> String {
    let Some(of) = of else { return "–".into() };
    let (low, high) = of.range();
    match of.samples.len() {
        1 => figure(unit, of.median()),
        _ => format!("{} ({}–{})", figure(unit, of.median()), figure(unit, low), figure(unit, high)),
    }
}

fn latencies(out: &mut String, run: &Run) {
    let timed = run.rows.iter().filter(|row| row.figures.iter().any(|figure| figure.latency.is_some()));
    let timed: Vec<&RowResult> = timed.collect();
    if timed.is_empty() {
        return;
    }
    header(out, &["latency of", "system", "p50", "p99", "p99.9", "slowest"].map(str::to_owned));
    for result in timed {
        let title = row(&result.id).map_or_else(|| result.id.clone(), |row| row.title);
        for of in &result.figures {
            let Some(latency) = &of.latency else { continue };
            let name = if is_ours(&of.system) { format!("**{}**", of.system) } else { of.system.clone() };
            let us = |us: f64| figure(Unit::Seconds, us / 1e6);
            let times = [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us].map(us);
            line(out, &[title.clone(), name].into_iter().chain(times).collect::<Vec<_>>());
        }
    }
    out.push('\n');
}

fn limits(out: &mut String, run: &Run) {
    if run.limits.is_empty() {
        return;
    }
    header(out, &["the machine's limit", "a second"].map(str::to_owned));
    for limit in &run.limits {
        let of = Figure { system: String::new(), samples: limit.samples.clone(), syncs: Vec::new(), latency: None };
        let unit = if limit.unit == "bytes" { Unit::Bytes } else { Unit::PerSecond };
        line(out, &[limit.name.clone(), cell(unit, Some(&of))]);
    }
    out.push('\n');
}

fn systems(out: &mut String, run: &Run) {
    let took_part = |facts: &&Facts| run.rows.iter().any(|row| row.figure(&facts.name).is_some());
    for facts in run.systems.iter().filter(took_part) {
        let _ = writeln!(out, "- {}: {}", facts.name, facts.about);
    }
    out.push('\n');
}
