//! The benchmark suite: one population, one load, Stoa and its peers side by side.
//!
//! - [`population`], [`load`]: who is stored, and who is asked for; the same for every system.
//! - [`peer`]: what is asked of a system; [`peers`]: the systems in this process, all but Stoa behind the feature `peers`.
//! - [`tcp`]: systems that are servers, Stoa among them, and the client that asks them.
//! - [`rows`]: what is measured. Each row checks the answers it gets against the population.
//! - [`suite`]: one run, system by system in turns; [`measure`], [`machine`], [`limits`]: how and against what.
//! - [`results`], [`report`]: what came out, as JSON, tables and plots.
//!
//! `make bench` runs it; `suite --help` says what else it can do. Data flows one way: `tools → benches → engine`.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and its own files; the engine's door to both is for stores"
)]

pub mod limits;
pub mod load;
pub mod machine;
pub mod measure;
pub mod peer;
pub mod peers;
pub mod population;
pub mod report;
pub mod results;
pub mod rows;
pub mod suite;
pub mod tcp;
