//! Where Stoa stands in a row: against the best peer, its goal, and the machine's limit.

use crate::results::{Figure, Run, median};
use crate::rows::{Bound, Goal, Row};

/// Whose verdict it is: Stoa, however it is reached.
pub(crate) fn is_ours(system: &str) -> bool {
    system == "stoa" || system.starts_with("stoa-")
}

/// Where Stoa stands in one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The best peer, and how many times better than it Stoa is.
    pub best: Option<(String, f64)>,
    /// The goal in words; empty if there is none.
    pub goal: String,
    /// Whether it is reached; none where nothing can be said.
    pub reached: Option<bool>,
    /// Which share of the machine's limit Stoa reaches.
    pub of_limit: Option<f64>,
    /// The same as `best` of rates over what the disk allowed beside each: what a disk that swings does to one system and
    /// not to the other is taken out of it.
    pub best_beside_disk: Option<f64>,
}

impl Verdict {
    /// The verdict on a row of a run; `None` where Stoa has no figure.
    pub fn of(run: &Run, id: &str, row: &Row) -> Option<Self> {
        let result = run.row(id)?;
        let ours = result.figures.iter().find(|figure| is_ours(&figure.system) && !figure.samples.is_empty())?;
        let mine = ours.median();
        let better = |theirs: f64| if row.unit.more_is_better() { mine / theirs } else { theirs / mine };
        let beside = |figure: &Figure| figure.median() / median(&figure.syncs);
        let all = result.figures.iter().filter(|figure| !is_ours(&figure.system) && !figure.syncs.is_empty());
        let best_beside_disk = all.map(|figure| beside(ours) / beside(figure)).min_by(f64::total_cmp);
        let best_beside_disk = best_beside_disk.filter(|ratio| row.bound == Bound::Syncs && ratio.is_finite());
        let peers = result.figures.iter().filter(|figure| !is_ours(&figure.system) && !figure.samples.is_empty());
        let best = peers
            .map(|figure| (figure.system.clone(), better(figure.median())))
            .filter(|(_, ratio)| ratio.is_finite() && *ratio > 0.0)
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let of_limit = match row.bound {
            Bound::Syncs if !ours.syncs.is_empty() => Some(mine / median(&ours.syncs)),
            Bound::Echoes(name) => run.limit(name).map(|limit| mine / limit),
            _ => None,
        };
        let (mut goal, mut reached) = match row.goal {
            Goal::Times(times) => (times_text(times), best.as_ref().map(|(_, ratio)| *ratio >= times)),
            Goal::AtMost(most) => (format!("≤ {}", super::figure(row.unit, most)), Some(mine <= most)),
            Goal::OfSyncs(share) => (format!("{share} of the syncs"), of_limit.map(|reached| reached >= share)),
            Goal::None => (String::new(), None),
        };
        for (system, times) in row.also {
            let theirs = result.figure(system).map(|figure| better(figure.median()) >= *times);
            goal += &format!("{}{} {system}", if goal.is_empty() { "" } else { ", " }, times_text(*times));
            reached = match (reached, theirs) {
                (Some(a), Some(b)) => Some(a && b),
                (a, b) => a.or(b),
            };
        }
        Some(Self { best, goal, reached, of_limit, best_beside_disk })
    }
}

fn times_text(times: f64) -> String {
    format!("{times}×")
}
