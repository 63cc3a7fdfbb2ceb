//! What a run of the suite leaves behind, as JSON: every sample, nothing rounded, so that a report can be drawn again.

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::measure::Latencies;
use crate::peer::Transport;

/// Runs, one a size of population.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    /// In the order in which they ran.
    pub runs: Vec<Run>,
}

/// All rows over one population.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// How many users were loaded.
    pub users: u64,
    /// Bytes of their bare fields.
    pub raw_bytes: u64,
    /// What they were made from.
    pub seed: u64,
    /// How long a repetition of a rate lasted.
    pub seconds: f64,
    /// Processor, cores, kernel.
    pub machine: String,
    /// The command that made this.
    pub command: String,
    /// Who took part.
    pub systems: Vec<Facts>,
    /// What the machine reaches.
    pub limits: Vec<Limit>,
    /// What was measured, in order.
    pub rows: Vec<RowResult>,
    /// What ended it before all rows were measured.
    #[serde(default)]
    pub failed: Option<String>,
}

/// One system that took part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Version and configuration.
    pub about: String,
    /// How it was reached.
    pub transport: Transport,
    /// Whether what it stores is encrypted.
    pub encrypted: bool,
}

/// A limit of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limit {
    /// What.
    pub name: String,
    /// Of what, a second.
    pub unit: String,
    /// One a repetition.
    pub samples: Vec<f64>,
}

/// One row: a figure for each system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowResult {
    /// A row of [`crate::rows::row`].
    pub id: String,
    /// One a system, in the order in which they ran.
    pub figures: Vec<Figure>,
}

/// What one system reached in one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// Who.
    pub system: String,
    /// One a repetition, in the row's unit.
    pub samples: Vec<f64>,
    /// For durable rows: what the disk allowed right beside each repetition, in synced writes a second.
    pub syncs: Vec<f64>,
    /// Latencies of all repetitions together, where single operations were timed.
    pub latency: Option<Latency>,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50_us: f64,
    /// 99 of 100 were.
    pub p99_us: f64,
    /// 999 of 1,000 were.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// How many were timed.
    pub count: u64,
    /// Share of operations, in percent, and the time within which they ended, in microseconds.
    pub curve: Vec<(f64, f64)>,
}

/// Steps of a latency curve in each halving of what is slower.
const CURVE_STEPS: u32 = 2;

impl Latency {
    /// The percentiles of what was timed; `None` of nothing.
    pub fn of(latencies: &Latencies) -> Option<Self> {
        if latencies.is_empty() {
            return None;
        }
        let us = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
        let curve = latencies.iter_quantiles(CURVE_STEPS);
        Some(Self {
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: latencies.max() as f64 / 1e3,
            count: latencies.len(),
            curve: curve.map(|step| (step.quantile() * 100.0, step.value_iterated_to() as f64 / 1e3)).collect(),
        })
    }
}

impl Figure {
    /// The middle of the samples, or the mean of the two in the middle; not a number if there are none.
    pub fn median(&self) -> f64 {
        median(&self.samples)
    }

    /// The least and the greatest sample.
    pub fn range(&self) -> (f64, f64) {
        let low = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        (low, self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}

impl Run {
    /// A row's result.
    pub fn row(&self, id: &str) -> Option<&RowResult> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// A limit's median.
    pub fn limit(&self, name: &str) -> Option<f64> {
        self.limits.iter().find(|limit| limit.name == name).map(|limit| median(&limit.samples))
    }

    /// Whether a system stores what it holds encrypted, and how it was reached.
    pub fn facts(&self, system: &str) -> Option<&Facts> {
        self.systems.iter().find(|facts| facts.name == system)
    }
}

impl RowResult {
    /// What a system reached.
    pub fn figure(&self, system: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.system == system && !figure.samples.is_empty())
    }
}

impl Results {
    /// Says what ended a run before its end, if anything did.
    ///
    /// # Errors
    /// That.
    pub fn check(&self) -> Result<()> {
        match self.runs.iter().find_map(|run| run.failed.as_ref()) {
            Some(failed) => Err(anyhow!("{failed}; what was measured before stands in the report")),
            None => Ok(()),
        }
    }

    /// Reads what [`Results::to_json`] wrote.
    ///
    /// # Errors
    /// If it is not that.
    pub fn from_json(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// All of it as JSON.
    ///
    /// # Errors
    /// None that can happen; JSON's writer has one.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The middle of samples, or the mean of the two in the middle; not a number if there are none.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(middle), 1) => *middle,
        (Some(middle), _) => (middle + sorted[sorted.len() / 2 - 1]) / 2.0,
    }
}
