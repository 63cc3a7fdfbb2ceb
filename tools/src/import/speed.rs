//! How fast generator and parsers are, measured by hand:
//! `cargo test --release -p stoa --bins speed -- --ignored --nocapture`; `STOA_SPEED_FILE=users.ldif` measures a file
//! (`.ldif`, `.csv` for Cognito, `.ndjson` for SCIM) in place of the project's own population.

use std::{path::Path, sync::Arc};

use super::{Format, Options, attrs::AttrTable, input::Input, record::Item, testing::Run};
use crate::{
    export::{ExportFormat, ExportUser, exporter},
    sample::{PopulationFormat, population},
};

const USERS: u64 = 200_000;
const ROUNDS: usize = 5;

#[test]
#[ignore = "a measurement"]
fn users_a_second_on_one_core() {
    if let Some(path) = std::env::var_os("STOA_SPEED_FILE") {
        let format = match Path::new(&path).extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Format::CognitoCsv,
            Some("ndjson") => Format::Scim,
            _ => Format::Ldif,
        };
        measure(format, Input::open(Path::new(&path)).unwrap());
        return;
    }
    for (format, population_format) in
        [(Format::Ldif, PopulationFormat::Ldif), (Format::Scim, PopulationFormat::Ndjson)]
    {
        let (start_ns, mut text) = (cpu_ns(), Vec::new());
        population(population_format, USERS, 1, &mut text).unwrap();
        println!("{population_format:?}: made {:.0} users a second", rate(USERS, start_ns));
        measure(format, Input::from_bytes("population", text));
    }
}

#[test]
#[ignore = "a measurement"]
fn users_a_second_exported_on_one_core() {
    let mut text = Vec::new();
    population(PopulationFormat::Ldif, 20_000, 1, &mut text).unwrap();
    let inputs = [Input::from_bytes("population", text)];
    let run = Run::plain(Format::Ldif, &inputs);
    let users: Vec<_> = run.users.into_iter().map(|user| ExportUser { user, version: 1 }).collect();
    for format in
        [ExportFormat::Ldif, ExportFormat::CognitoCsv, ExportFormat::Auth0, ExportFormat::Keycloak, ExportFormat::Scim]
    {
        let start_ns = cpu_ns();
        let mut exporter = exporter(format, "pool", &run.attributes, Box::new(std::io::sink())).unwrap();
        for user in &users {
            exporter.user(user).unwrap();
        }
        exporter.finish().unwrap();
        println!("{format:?}: wrote {:.0} users a second", rate(users.len() as u64, start_ns));
    }
}

/// Prints the best of several rounds, each in batches of 1,000 over parts of 4 MiB.
fn measure(format: Format, input: Input) {
    let inputs = [input];
    let options = Options { part_bytes: 4 << 20, ..Options::default() };
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let start_ns = cpu_ns();
        let plan = super::plan(format, &inputs, &options, &Arc::new(AttrTable::default()));
        let (mut users, mut items) = (0_u64, Vec::new());
        for mut source in plan.parts.into_iter().chain(plan.last) {
            loop {
                items.clear();
                let more = source.next_batch(1000, &mut items);
                users += items.iter().filter(|item| matches!(item, Item::User(_))).count() as u64;
                if !more {
                    break;
                }
            }
        }
        best = best.max(rate(users, start_ns));
    }
    println!("{format:?}: read {best:.0} users a second");
}

/// Time that this thread has had a core, in nanoseconds: a busy machine does not blur it.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn rate(users: u64, start_ns: u64) -> f64 {
    users as f64 * 1e9 / (cpu_ns() - start_ns) as f64
}
