//! How fast the parsers are, measured by hand:
//! `STOA_SPEED_FILE=users.ldif cargo test --release -p stoa speed -- --ignored --nocapture`.

use std::{path::Path, sync::Arc, time::Duration};

use super::{Format, Options, attrs::AttrTable, input::Input, record::Item};

#[test]
#[ignore = "a measurement; needs a large file"]
#[expect(clippy::disallowed_methods, reason = "a measurement of this process, nothing of the store")]
fn users_a_second_on_one_core() {
    let Some(path) = std::env::var_os("STOA_SPEED_FILE") else { return };
    let input = [Input::open(Path::new(&path)).unwrap()];
    let format = if path.to_string_lossy().ends_with("csv") { Format::CognitoCsv } else { Format::Ldif };
    for part_bytes in [0, 4 << 20, 4 << 20] {
        let options = Options { part_bytes, ..Options::default() };
        let start = std::time::Instant::now();
        let plan = super::plan(format, &input, &options, &Arc::new(AttrTable::default()));
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
        let took: Duration = start.elapsed();
        println!("{users} users in {took:?}: {:.0} a second", users as f64 / took.as_secs_f64());
    }
}
