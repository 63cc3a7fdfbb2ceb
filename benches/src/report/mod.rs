//! What a run says to people: tables in Markdown, and plots.

mod plots;
mod tables;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::results::Results;
use crate::rows::Unit;

pub use tables::markdown;
pub use verdict::Verdict;

/// Writes `results.json`, `report.md` and the plots into a directory; answers what was written.
///
/// # Errors
/// If a file cannot be written.
pub fn write(results: &Results, dir: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut written = Vec::new();
    let mut put = |name: &str, text: String| -> Result<()> {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
        Ok(())
    };
    put("results.json", results.to_json()?)?;
    put("report.md", markdown(results))?;
    for (name, svg) in plots::all(results)? {
        put(&name, svg)?;
    }
    Ok(written)
}

/// A figure for people, to three digits.
pub fn figure(unit: Unit, value: f64) -> String {
    const LARGE: [(f64, &str); 3] = [(1e9, " G"), (1e6, " M"), (1e3, " k")];
    let digits = |value: f64| match value.abs() {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let scaled = |value: f64| {
        let step = LARGE.iter().find(|(step, _)| value.abs() >= step * 0.9995);
        step.map_or_else(|| digits(value), |(step, word)| digits(value / step) + word)
    };
    match unit {
        Unit::PerSecond => scaled(value),
        Unit::Bytes => scaled(value) + if value.abs() >= 999.5 { "B" } else { " B" },
        Unit::Ratio => digits(value),
        Unit::Seconds => match value.abs() {
            seconds if seconds >= 0.9995 => digits(value) + " s",
            seconds if seconds >= 0.9995e-3 => digits(value * 1e3) + " ms",
            _ => digits(value * 1e6) + " µs",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let shown = [
            figure(Unit::PerSecond, 1_234_567.0),
            figure(Unit::PerSecond, 999.7),
            figure(Unit::PerSecond, 12_345.0),
            figure(Unit::Bytes, 346e6),
            figure(Unit::Bytes, 12.0),
            figure(Unit::Ratio, 0.6512),
            figure(Unit::Seconds, 0.0704),
            figure(Unit::Seconds, 105e-6),
            figure(Unit::Seconds, 2.25),
        ];
        assert_eq!(shown, ["1.23 M", "1.00 k", "12.3 k", "346 MB", "12.0 B", "0.65", "70.4 ms", "105 µs", "2.25 s"]);
    }
}
