//! What to merge: a pure choice from sizes.
//!
//! A byte of a sparse run is written once more for each join and, with its share of the base, when the base is
//! rewritten. So the base is rewritten only when the runs over it have grown to about its size, and until then
//! runs of like size are joined, which each byte sees a logarithmic number of times.

use std::ops::Range;

/// How many runs may stand over each other, and how big files get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Most sparse runs over a base.
    pub sparse_max: usize,
    /// Most sorted runs of a keyspace.
    pub sorted_max: usize,
    /// Where a column partition ends, in bytes.
    pub partition_bytes: u64,
    /// Up to here everything is merged into one: it costs nothing.
    pub small_bytes: u64,
    /// Fewer entries than these are few.
    pub small_entries: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { sparse_max: 4, sorted_max: 6, partition_bytes: 64 << 20, small_bytes: 1 << 20, small_entries: 4096 }
    }
}

/// Bytes on disk of each run of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunSizes {
    /// Sparse runs of a column, or all runs of a keyspace; newest first.
    pub runs: Vec<u64>,
    /// The base of a column, all partitions together; 0 for a keyspace.
    pub base: u64,
    /// Entries of all sparse runs of a column; 0 for a keyspace.
    pub run_entries: u64,
    /// Entries of the base of a column; 0 for a keyspace.
    pub base_entries: u64,
}

/// What to do about a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnStep {
    /// Nothing now.
    Nothing,
    /// Join these of the sparse runs into one sparse run.
    Join(Range<usize>),
    /// Write all sparse runs into the base.
    Rebase,
}

/// What to do about a keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortedStep {
    /// Nothing now.
    Nothing,
    /// Merge these of the runs into one. If the oldest is among them, deleted keys are dropped.
    Merge(Range<usize>),
}

/// What to do about a column of these sizes.
pub fn choose_column(sizes: &RunSizes, policy: &Policy) -> ColumnStep {
    let over: u64 = sizes.runs.iter().sum();
    let crowded = sizes.runs.len() > policy.sparse_max;
    let outgrown = sizes.base > 0 && over >= sizes.base && over > policy.small_bytes;
    // One value for everybody takes next to nothing, and yet every scan looks at all that lies below it.
    let covered =
        sizes.base > 0 && sizes.run_entries >= sizes.base_entries && sizes.run_entries >= policy.small_entries;
    if outgrown || covered {
        return ColumnStep::Rebase;
    }
    if !crowded {
        return ColumnStep::Nothing;
    }
    if over + sizes.base <= policy.small_bytes || over.saturating_mul(5) >= sizes.base.saturating_mul(4) {
        return ColumnStep::Rebase;
    }
    ColumnStep::Join(alike(&sizes.runs))
}

/// What to do about a keyspace of these sizes.
pub fn choose_sorted(sizes: &RunSizes, policy: &Policy) -> SortedStep {
    if sizes.runs.len() <= policy.sorted_max {
        return SortedStep::Nothing;
    }
    let all: u64 = sizes.runs.iter().sum();
    if all <= policy.small_bytes {
        return SortedStep::Merge(0..sizes.runs.len());
    }
    SortedStep::Merge(alike(&sizes.runs))
}

/// The newest runs, two at least, up to one that is bigger than all before it: joining that would write many
/// bytes to save few.
fn alike(runs: &[u64]) -> Range<usize> {
    let mut sum = runs.iter().take(1).sum::<u64>();
    let mut end = 1;
    while end < runs.len() && (end < 2 || runs[end] <= sum) {
        sum += runs[end];
        end += 1;
    }
    0..end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written by compaction over bytes flushed, for a column whose flushes have a `part`th of the base
    /// each: a hot, narrow attribute.
    fn amplification(part: u64) -> f64 {
        let base = 100 << 20;
        let (policy, flush) = (Policy::default(), base / part);
        let mut sizes = RunSizes { base, ..RunSizes::default() };
        let (mut flushed, mut written) = (0, 0);
        for _ in 0..part * 40 {
            sizes.runs.insert(0, flush);
            flushed += flush;
            loop {
                match choose_column(&sizes, &policy) {
                    ColumnStep::Nothing => break,
                    ColumnStep::Join(range) => {
                        // Without any overwriting among the runs: the worst case.
                        let sum = sizes.runs[range.clone()].iter().sum();
                        written += sum;
                        sizes.runs.splice(range, [sum]);
                    }
                    ColumnStep::Rebase => {
                        written += base;
                        sizes.runs.clear();
                    }
                }
            }
            assert!(sizes.runs.len() <= policy.sparse_max);
        }
        written as f64 / flushed as f64
    }

    #[test]
    fn a_hot_attribute_is_written_less_than_three_times() {
        for part in [1, 2, 3, 4, 6, 8, 12, 16, 32] {
            let amplification = amplification(part);
            assert!(amplification < 3.0, "flushes of 1/{part} of the base: {amplification}");
        }
    }

    #[test]
    fn small_and_few_runs_are_left_alone() {
        let policy = Policy::default();
        let sizes = RunSizes { runs: vec![100, 100], ..RunSizes::default() };
        assert_eq!(choose_column(&sizes, &policy), ColumnStep::Nothing);
        assert_eq!(choose_sorted(&sizes, &policy), SortedStep::Nothing);
        let sizes = RunSizes { runs: vec![100; 7], base: 5000, ..RunSizes::default() };
        assert_eq!(choose_column(&sizes, &policy), ColumnStep::Rebase);
        assert_eq!(choose_sorted(&sizes, &policy), SortedStep::Merge(0..7));
    }

    #[test]
    fn a_run_that_says_something_of_everybody_goes_into_the_base() {
        let policy = Policy::default();
        let sizes = |run_entries| RunSizes { runs: vec![2000], base: 10 << 20, run_entries, base_entries: 1_000_000 };
        assert_eq!(choose_column(&sizes(1_000_000), &policy), ColumnStep::Rebase);
        assert_eq!(choose_column(&sizes(900_000), &policy), ColumnStep::Nothing);
        let few = RunSizes { runs: vec![2000], base: 2000, run_entries: 10, base_entries: 10 };
        assert_eq!(choose_column(&few, &policy), ColumnStep::Nothing);
    }

    #[test]
    fn sorted_runs_stay_few_at_a_logarithmic_cost() {
        let (policy, flush) = (Policy::default(), 4 << 20);
        let mut sizes = RunSizes::default();
        let (mut flushed, mut written) = (0, 0);
        for _ in 0..1000 {
            sizes.runs.insert(0, flush);
            flushed += flush;
            while let SortedStep::Merge(range) = choose_sorted(&sizes, &policy) {
                let sum = sizes.runs[range.clone()].iter().sum();
                written += sum;
                sizes.runs.splice(range, [sum]);
            }
            assert!(sizes.runs.len() <= policy.sorted_max);
        }
        let amplification = written as f64 / flushed as f64;
        assert!(amplification < 6.0, "{amplification}");
    }
}
