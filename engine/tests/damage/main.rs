//! Every byte of a small store flipped in turn, every page and frame swapped with another, every file cut, removed,
//! replaced by what it was before or by another of its kind: whatever is read is what was stored, or `DAMAGED` with
//! the name of the file; verification names it too; what is not damaged goes on.
//!
//! `STOA_DAMAGE_STRIDE=1` takes every byte of everything (by default one in [`STRIDE`] inside of sealed pages and
//! frames, and fewer of what is between them); `STOA_DAMAGE=TEXT` tries only the damages whose line contains it.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

mod damages;
mod judge;
mod reading;
mod store;
mod tail;

// The script, the model and the steps are those of the crash tests.
#[allow(dead_code, reason = "shared with the crash tests")]
#[path = "../crash/life.rs"]
mod life;
#[allow(dead_code, reason = "shared with the crash tests")]
#[path = "../crash/model.rs"]
mod model;
#[allow(dead_code, reason = "shared with the crash tests")]
#[path = "../crash/script.rs"]
mod script;

use std::sync::LazyLock;

use damages::{cuts, flips, replacements, swaps};
use store::Healthy;

/// Of sealed bytes one in so many is flipped unless all are asked for.
const STRIDE: usize = 29;

static HEALTHY: LazyLock<Healthy> = LazyLock::new(|| Healthy::make(11));

fn stride() -> usize {
    std::env::var("STOA_DAMAGE_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(STRIDE).max(1)
}

#[test]
fn every_flipped_byte_is_found() {
    judge::try_all(&HEALTHY, flips(&HEALTHY, stride()));
}

#[test]
fn every_page_in_another_place_is_found() {
    judge::try_all(&HEALTHY, swaps(&HEALTHY));
}

#[test]
fn every_file_that_was_cut_is_found() {
    judge::try_all(&HEALTHY, cuts(&HEALTHY));
}

#[test]
fn every_file_that_is_gone_old_or_anothers_is_found() {
    judge::try_all(&HEALTHY, replacements(&HEALTHY, &Healthy::make(12)));
}
