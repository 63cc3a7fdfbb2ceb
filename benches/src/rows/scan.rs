//! Reads of many users: a filter without an index, the first by a prefix, pages of a listing.

use anyhow::{Context, Result, ensure};

use super::mistakes;
use crate::load::{Keys, Spread};
use crate::measure::{Act, rate};
use crate::peer::{Reader, Seen};
use crate::population::{Population, Text};
use crate::suite::{Bench, Sample};

/// What is searched in family names, anywhere and in any case.
const PART: &str = "ar";
const PAGE_USERS: usize = 60;
/// The far page, if there are so many.
const FAR_PAGE: usize = 10_000;
const PREFIXES: usize = 500;

/// Counts users by a part of the family name.
pub(super) fn filter(bench: &mut Bench<'_>) -> Result<()> {
    let wanted = bench.people.count_family_name(PART);
    bench.in_turns("filter", |turn, member| {
        let peer = member.peer()?;
        if turn.round == 0 {
            // The first may have to read the files.
            peer.reader()?.count_family_name(PART)?;
        }
        each(turn.options.time, "filter", || {
            let mut reader = peer.reader()?;
            Ok(Box::new(move || {
                let count = reader.count_family_name(PART)?;
                ensure!(count == wanted, "{count} family names contain {PART:?}, not {wanted}");
                Ok(())
            }))
        })
    })
}

/// The first users by username from a prefix on, whole profiles.
pub(super) fn prefix(bench: &mut Bench<'_>) -> Result<()> {
    let prefixes = prefixes(&bench.people);
    bench.in_turns_times("prefix", bench.options.heavy_repetitions(), &mut |turn, member| {
        let peer = member.peer()?;
        if turn.round == 0 {
            let mut reader = peer.reader()?;
            for (at, prefix) in prefixes.iter().enumerate() {
                let mut seen = if at < 20 { Seen::keeping() } else { Seen::default() };
                reader.first_by_prefix(prefix, PAGE_USERS, &mut seen)?;
                if at < 20 {
                    mistakes::none_in_prefix(seen, turn.people, prefix, PAGE_USERS)?;
                }
            }
        }
        each(turn.options.time, "prefix", || {
            let (mut reader, mut next) = (peer.reader()?, prefixes.iter().cycle());
            Ok(Box::new(move || {
                let prefix = next.next().context("there are prefixes")?;
                let mut seen = Seen::default();
                ensure!(reader.first_by_prefix(prefix, PAGE_USERS, &mut seen)? > 0, "nobody begins with {prefix:?}");
                std::hint::black_box(seen);
                Ok(())
            }))
        })
    })
}

/// Prefixes of usernames that exist: three characters in a large population, two in a small one, so that most name 60
/// users at least.
fn prefixes(people: &Population) -> Vec<String> {
    let length = if people.users.len() >= 200_000 { 3 } else { 2 };
    let mut keys = Keys::new(Spread::Uniform, people.users.len(), 4242);
    let mut of_a_user = || people.users[keys.draw()].text(Text::Username).chars().take(length).collect();
    (0..PREFIXES).map(|_| of_a_user()).collect()
}

/// The first page of a listing, and one far behind it, with the cursor of the page before.
pub(super) fn pages(bench: &mut Bench<'_>) -> Result<()> {
    let far = FAR_PAGE.min(bench.people.users.len() / PAGE_USERS * 3 / 5).max(2);
    bench.in_turns_times("page", bench.options.heavy_repetitions(), &mut |turn, member| {
        let peer = member.peer()?;
        let page = |row: &str, cursor: Option<&[u8]>| {
            each(turn.options.time, row, || {
                let (mut reader, cursor) = (peer.reader()?, cursor.map(<[u8]>::to_vec));
                Ok(Box::new(move || {
                    let mut seen = Seen::default();
                    let next = reader.page(cursor.as_deref(), PAGE_USERS, &mut seen)?;
                    ensure!(next.is_some() && seen.values > PAGE_USERS as u64 * 12, "a page is not full");
                    Ok(())
                }))
            })
        };
        let mut samples = page("page-first", None)?;
        // Walked to anew each time: a listing need not be kept while thousands of others begin.
        let cursor = walk_to(&mut *peer.reader()?, far)?;
        samples.extend(page("page-far", Some(&cursor))?);
        Ok(samples)
    })
}

/// The cursor of page `far`, from 1; every page on the way must be full.
fn walk_to(reader: &mut dyn Reader, far: usize) -> Result<Vec<u8>> {
    let mut cursor: Option<Vec<u8>> = None;
    for page in 1..far {
        let mut seen = Seen::default();
        cursor = reader.page(cursor.as_deref(), PAGE_USERS, &mut seen)?;
        ensure!(cursor.is_some(), "the listing ends with page {page}");
    }
    let mut seen = Seen::keeping();
    reader.page(cursor.as_deref(), PAGE_USERS, &mut seen)?;
    let kept = seen.into_kept();
    let mut subs: Vec<_> = kept.iter().filter_map(|user| user.get("sub")).collect();
    subs.sort_unstable();
    subs.dedup();
    ensure!(subs.len() == PAGE_USERS, "page {far} has {} users", subs.len());
    cursor.context("a far page has a cursor")
}

/// How long one takes, on one thread: the median, so that a pause of a shared machine does not count for a thousand.
fn each<'a>(time: std::time::Duration, row: &str, ready: impl Fn() -> Result<Act<'a>> + Sync) -> Result<Vec<Sample>> {
    let latencies = rate(1, time, |_| ready())?.latencies;
    let median = latencies.value_at_quantile(0.5) as f64 / 1e9;
    Ok(vec![Sample { latencies: Some(latencies), ..Sample::of(row, median) }])
}
