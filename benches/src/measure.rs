//! Runs something on threads for a while and says how often it happened and how long each took.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

/// Latencies in nanoseconds, to three digits.
pub type Latencies = Histogram<u64>;

/// The longest latency that is told from longer ones.
const LATENCY_MAX_NS: u64 = 600_000_000_000;

/// No latencies yet.
pub fn no_latencies() -> Latencies {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).unwrap_or_else(|_| unreachable!("the bounds are valid"))
}

/// What a while came to.
pub struct Rate {
    /// How often it happened in a second, on all threads together.
    pub per_second: f64,
    /// How long each took.
    pub latencies: Latencies,
}

/// What one thread does, over and over.
pub type Act<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// Has each of `threads` make ready and then act until the time is over; all begin together.
///
/// # Errors
/// What a thread fails with.
pub fn rate<'a>(threads: usize, time: Duration, ready: impl Fn(usize) -> Result<Act<'a>> + Sync) -> Result<Rate> {
    let start = Barrier::new(threads + 1);
    let (results, elapsed) = std::thread::scope(|scope| {
        let (ready, start) = (&ready, &start);
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    // Whoever cannot make ready must not keep the others waiting.
                    let act = ready(thread);
                    start.wait();
                    until(Instant::now() + time, act?)
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        let results: Vec<Result<Latencies>> = handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the benchmark panicked"))))
            .collect();
        (results, started.elapsed())
    });
    let mut latencies = no_latencies();
    for result in results {
        latencies.add(result?).context("histograms are of one kind")?;
    }
    Ok(Rate { per_second: latencies.len() as f64 / elapsed.as_secs_f64(), latencies })
}

fn until(end: Instant, mut act: Act<'_>) -> Result<Latencies> {
    let mut latencies = no_latencies();
    let mut begun = Instant::now();
    // Once at the least, however short the time.
    loop {
        act()?;
        let now = Instant::now();
        latencies.saturating_record((now - begun).as_nanos() as u64);
        begun = now;
        if now >= end {
            return Ok(latencies);
        }
    }
}

/// How long one thing took.
///
/// # Errors
/// What it fails with.
pub fn time<T>(act: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let started = Instant::now();
    let result = act()?;
    Ok((result, started.elapsed()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_thread_acts_and_a_failure_comes_out() {
        let counts = [const { AtomicU64::new(0) }; 3];
        let rate_of = rate(3, Duration::from_millis(5), |thread| {
            let count = &counts[thread];
            Ok(Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }))
        });
        let sum: u64 = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        assert_eq!(rate_of.expect("nothing fails").latencies.len(), sum);
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) > 0));
        let failed = rate(2, Duration::from_millis(5), |thread| match thread {
            0 => Ok(Box::new(|| Ok(()))),
            _ => Ok(Box::new(|| anyhow::bail!("no"))),
        });
        assert!(failed.is_err());
    }
}
