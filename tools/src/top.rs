//! `stoa top`: what a server is doing, from `INFO` and `STATS`, again and again.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::client::{Client, LoginArgs, Reply};

/// Commands that are shown unless told.
const ROWS_DEFAULT: usize = 20;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa top                                               a server started with --dev
  stoa top --secret-file DATA.admin-secret --interval 5
  stoa top --count 1 --json --secret-file DATA.admin-secret

Needs the rights @connection and @audit. Ends with Ctrl-C.")]
pub(crate) struct TopArgs {
    /// The server
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7862")]
    to: String,
    #[command(flatten)]
    login: LoginArgs,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    interval: f64,
    /// End after so many looks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// How many commands to show, the busiest first
    #[arg(long, value_name = "N", default_value_t = ROWS_DEFAULT)]
    rows: usize,
    /// One JSON object a look
    #[arg(long)]
    json: bool,
}

/// Counters of one command or error word.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts {
    calls: i64,
    errors: i64,
    micros: i64,
}

/// One look at a server.
struct Look {
    at: Instant,
    info: BTreeMap<String, String>,
    commands: BTreeMap<String, Counts>,
    errors: BTreeMap<String, i64>,
}

impl Look {
    fn at(client: &mut Client) -> Result<Self> {
        let info = client.call(&[b"INFO", b"server", b"clients", b"memory", b"stats", b"stoa"])?;
        let stats = client.call(&[b"STATS"])?;
        let lines = info.text().context("the server's answer to INFO is no text")?.lines();
        let info = lines.filter_map(|line| line.split_once(':'));
        let number = |reply: &Reply, key: &str| reply.get(key).and_then(Reply::integer).unwrap_or_default();
        let commands = pairs(stats.get("commands")).into_iter().map(|(name, counts)| {
            let [calls, errors, micros] = ["calls", "errors", "micros"].map(|key| number(counts, key));
            (name.to_owned(), Counts { calls, errors, micros })
        });
        let errors = pairs(stats.get("errors"))
            .into_iter()
            .filter_map(|(word, count)| Some((word.to_owned(), count.integer()?)));
        Ok(Self {
            at: Instant::now(),
            info: info.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            commands: commands.collect(),
            errors: errors.collect(),
        })
    }

    fn number(&self, name: &str) -> u64 {
        self.info.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    fn total(&self) -> Counts {
        self.commands.values().fold(Counts::default(), |sum, counts| Counts {
            calls: sum.calls + counts.calls,
            errors: sum.errors + counts.errors,
            micros: sum.micros + counts.micros,
        })
    }
}

/// A map's keys and values, which RESP2 sends as a flat array.
fn pairs(reply: Option<&Reply>) -> Vec<(&str, &Reply)> {
    let Some(Reply::Array(items)) = reply else { return Vec::new() };
    items.chunks_exact(2).filter_map(|pair| Some((pair[0].text()?, &pair[1]))).collect()
}

/// What happened between two looks; of a server that has just been started anew, since then.
struct Rates {
    seconds: f64,
    total: Counts,
    commands: Vec<(String, Counts)>,
    errors: Vec<(String, i64)>,
}

impl Rates {
    fn between(before: Option<&Look>, now: &Look) -> Self {
        let is_same = |before: &&Look| before.number("process_id") == now.number("process_id");
        let before = before.filter(is_same);
        let since_start = now.number("uptime_in_seconds").max(1) as f64;
        let seconds = before.map_or(since_start, |before| (now.at - before.at).as_secs_f64().max(1e-3));
        let less = |now: &Counts, then: &Counts| Counts {
            calls: now.calls - then.calls,
            errors: now.errors - then.errors,
            micros: now.micros - then.micros,
        };
        let none = Counts::default();
        let mut commands: Vec<(String, Counts)> = now
            .commands
            .iter()
            .map(|(name, counts)| {
                let then = before.and_then(|before| before.commands.get(name)).unwrap_or(&none);
                (name.clone(), less(counts, then))
            })
            .filter(|(_, counts)| counts.calls > 0)
            .collect();
        commands.sort_by(|(a, x), (b, y)| y.calls.cmp(&x.calls).then_with(|| a.cmp(b)));
        let errors = now.errors.iter().map(|(word, count)| {
            let then = before.and_then(|before| before.errors.get(word)).copied().unwrap_or_default();
            (word.clone(), count - then)
        });
        let total = less(&now.total(), &before.map_or(none, Look::total));
        Self { seconds, total, commands, errors: errors.filter(|(_, count)| *count > 0).collect() }
    }

    fn a_second(&self, count: i64) -> f64 {
        count as f64 / self.seconds
    }
}

pub(crate) fn run(args: TopArgs) -> Result<ExitCode> {
    if !(0.1..=3600.0).contains(&args.interval) {
        bail!("--interval is 0.1 to 3600 seconds");
    }
    let mut client = Client::connect(&args.to, &args.login)?;
    let live = std::io::stdout().is_terminal() && !args.json && args.count != Some(1);
    let mut before = None;
    let mut looks = 0;
    loop {
        let now = Look::at(&mut client)?;
        let rates = Rates::between(before.as_ref(), &now);
        let text = if args.json { line(&now, &rates) } else { screen(&args.to, &now, &rates, args.rows) };
        let mut out = std::io::stdout().lock();
        // To the upper left corner, and what was there is cleared.
        let clear = if live { "\x1b[H\x1b[2J" } else { "" };
        if write!(out, "{clear}{text}").and_then(|()| out.flush()).is_err() {
            // Whoever looked does not look any more.
            return Ok(ExitCode::SUCCESS);
        }
        drop(out);
        looks += 1;
        if args.count.is_some_and(|count| looks >= count) {
            return Ok(ExitCode::SUCCESS);
        }
        before = Some(now);
        std::thread::sleep(Duration::from_secs_f64(args.interval));
    }
}

fn line(now: &Look, rates: &Rates) -> String {
    let commands: serde_json::Map<_, _> = rates
        .commands
        .iter()
        .map(|(name, counts)| {
            let value = json!({"calls": counts.calls, "errors": counts.errors, "micros": counts.micros});
            (name.clone(), value)
        })
        .collect();
    let errors: serde_json::Map<_, _> = rates.errors.iter().map(|(word, count)| (word.clone(), json!(count))).collect();
    let value = json!({
        "seconds": rates.seconds, "uptime_seconds": now.number("uptime_in_seconds"),
        "connections": now.number("connected_clients"), "memory_bytes": now.number("used_memory_rss"),
        "pools": now.number("pools"), "password_checks_waiting": now.number("password_checks_waiting"),
        "calls": rates.total.calls, "refused": rates.total.errors, "commands": commands, "errors": errors,
    });
    format!("{value}\n")
}

fn screen(address: &str, now: &Look, rates: &Rates, rows: usize) -> String {
    let up = now.number("uptime_in_seconds");
    let mut text = format!(
        "stoa {} on {address}, up {}d {:02}:{:02}:{:02}\n{} connections, {} pools, {:.1} MiB of memory, {} password \
         checks waiting\n{:.1} commands a second, {:.1} refused, over {:.1} s\n\n",
        now.info.get("stoa_version").map_or("?", String::as_str),
        up / 86_400,
        up / 3600 % 24,
        up / 60 % 60,
        up % 60,
        now.number("connected_clients"),
        now.number("pools"),
        now.number("used_memory_rss") as f64 / f64::from(1 << 20),
        now.number("password_checks_waiting"),
        rates.a_second(rates.total.calls),
        rates.a_second(rates.total.errors),
        rates.seconds,
    );
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["command", "a second", "refused", "µs each"]);
    for (name, counts) in rates.commands.iter().take(rows) {
        table.add_row([
            name.clone(),
            format!("{:.1}", rates.a_second(counts.calls)),
            format!("{:.1}", rates.a_second(counts.errors)),
            format!("{:.0}", counts.micros as f64 / counts.calls as f64),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    text.push_str(&format!("{table}\n"));
    if !rates.errors.is_empty() {
        let words: Vec<_> =
            rates.errors.iter().map(|(word, count)| format!("{word} {:.1}", rates.a_second(*count))).collect();
        text.push_str(&format!("\nrefused a second: {}\n", words.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(process: &str, calls: i64) -> Look {
        let info = [("process_id", process), ("uptime_in_seconds", "10")];
        let counts = |calls| Counts { calls, errors: calls / 2, micros: calls * 100 };
        Look {
            at: Instant::now(),
            info: info.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            commands: [("user.get".to_owned(), counts(calls)), ("ping".to_owned(), counts(3))].into(),
            errors: [("NOUSER".to_owned(), calls / 2)].into(),
        }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks_and_of_one_process() {
        let (before, mut now) = (look("1", 10), look("1", 30));
        now.at = before.at + Duration::from_secs(2);
        let rates = Rates::between(Some(&before), &now);
        assert_eq!((rates.seconds, rates.total.calls, rates.commands.len()), (2.0, 20, 1));
        assert_eq!(rates.errors, [("NOUSER".to_owned(), 10)]);
        let text = screen("x:1", &now, &rates, 5);
        assert!(
            text.contains("10.0 commands a second") && text.contains("user.get") && !text.contains("ping"),
            "{text}"
        );
        // A server that was started anew counts from its own start.
        let rates = Rates::between(Some(&before), &look("2", 30));
        assert_eq!((rates.seconds, rates.total.calls), (10.0, 33));
    }
}
