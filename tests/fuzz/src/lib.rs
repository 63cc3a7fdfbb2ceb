//! Tries parsers with inputs that are nearly right, on the stable compiler, inside of `cargo test`.
//!
//! A [`Target`] is a function over bytes that panics when an oracle is broken; besides that it tells where in the parser
//! it came ([`Seen`]): which structure was refused, for which reason. [`Target::explore`] starts from valid inputs (the
//! project's own encoders make them), changes them, and keeps as a new start whatever was seen for the first time.
//!
//! 1. First come the kept findings, `cases/<target>/*`, and the seeds: they fail at every run until they are mended.
//! 2. What follows is made from one number, printed with the command that replays it.
//! 3. An input fails if the target panics, allocates more than [`Memory`] allows at one time, or takes more than
//!    10 s of the clock. It is then made as small as it goes and written to `target/fuzz/found`, from where it goes to
//!    `cases`.
//! 4. Behind a checksum nothing would be reached: a target gives the function that mends it ([`Target::repair`]).
//!
//! | variable | means |
//! | --- | --- |
//! | `STOA_FUZZ_SECONDS` | time for each target; 2 unless it is set |
//! | `STOA_FUZZ_SEED` | the number that all inputs are made from; 1 unless it is set, so that whoever changed nothing meets nothing new |
//! | `STOA_FUZZ_CASE` | a file: tries it and nothing else |
//! | `STOA_FUZZ_CORPUS` | a directory: takes up from there what was kept as a new start, and leaves there what is found |
//! | `STOA_FUZZ_LAST` | if set, each input is written to `target/fuzz/last` before it is tried: for what ends the process |
//!
//! `allocator` counts, `mutate` changes, `explore` drives, `guard` ends what does not end.
#![allow(clippy::disallowed_methods, reason = "a test driver reads the clock and keeps files of its own")]

mod allocator;
mod explore;
mod guard;
mod mutate;
mod random;
mod seen;

pub use allocator::Counting;
pub use explore::{Memory, Target};
pub use random::Random;
pub use seen::Seen;

/// The driver's own tests count too.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Counting = Counting;
