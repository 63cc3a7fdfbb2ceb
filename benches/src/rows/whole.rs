//! Mix F over TCP: what goes through a whole pool. A count that no index helps, an export, the deletion of many.

use anyhow::{Result, ensure};

use super::mistakes;
use super::mixes::{CONNECTIONS, can};
use super::served::sample;
use crate::measure::time;
use crate::peer::Seen;
use crate::population::{Text, User};
use crate::suite::{Bench, Sample};
use crate::tcp::client::{Line, Script, Shape, drive};
use crate::tcp::talk::{Kind, Question};

/// One user in so many is deleted, but no more than so many.
const DELETED_PART: usize = 10;
const DELETED_MAX: usize = 20_000;
/// So many users are exported, if there are more: pages do not grow slower.
const EXPORTED_MAX: usize = 200_000;
/// What is searched in family names, anywhere and in any case.
const PART: &str = "ar";

/// All three, as far as a server can do them.
pub(super) fn all(bench: &mut Bench<'_>) -> Result<()> {
    bench.hosts_in_turns("mix-f", 1, &mut |turn, host| {
        let users = &turn.people.users[..host.users];
        let mut samples = Vec::new();
        if can(host, &[Kind::Count, Kind::Page]) {
            let mut line = Line::to(host.served()?)?;
            let wanted = crate::population::count_family_name(users, PART);
            for round in 0..3 {
                let ((_, seen), took) = time(|| line.ask(Question::Count(PART)))?;
                // Newcomers of the mixes have no such name.
                mistakes::none_in_kept(&seen.into_kept(), "count", &wanted.to_string())?;
                // The first may have to read the files.
                samples.extend((round > 0).then(|| Sample::of("mix-f-scan", took.as_secs_f64())));
            }
            let (count, took) = time(|| export(&mut line))?;
            ensure!(count >= users.len().min(EXPORTED_MAX), "an export has {count} users of {}", users.len());
            samples.push(Sample::of("mix-f-export", count as f64 / took.as_secs_f64()));
        }
        if can(host, &[Kind::Delete, Kind::BySub]) {
            let gone = &users[..(users.len() / DELETED_PART).min(DELETED_MAX)];
            let depth = if host.service.in_order { 16 } else { 1 };
            let shape = Shape { connections: CONNECTIONS, depth };
            let many = std::time::Duration::from_secs(3600);
            let (driven, syncs) = turn.beside_syncs(|| {
                drive(host.served()?, shape, many, &|at| {
                    Box::new(Deleting { users: gone, next: at, step: CONNECTIONS })
                })
            })?;
            let mut line = Line::to(host.served()?)?;
            for user in gone.iter().step_by((gone.len() / 50).max(1)) {
                ensure!(!line.ask(Question::BySub(&user.sub))?.0, "a user who was deleted is there");
                ensure!(!line.ask(Question::Profile(user.text(Text::Email)))?.0, "a deleted user's address is there");
            }
            samples.push(Sample { syncs: Some(syncs), ..sample("mix-f-delete".into(), driven) });
        }
        Ok(samples)
    })
}

/// Reads users page by page, all or enough; answers how many there were.
fn export(line: &mut Line) -> Result<usize> {
    let (mut values, mut count, mut cursor) = (0, 0, None::<String>);
    loop {
        let (answer, seen) = line.ask_seeing(Question::Page(cursor.as_deref()), &Seen::default)?;
        values += seen.values;
        count += seen.users as usize;
        match answer.cursor {
            Some(next) if count < EXPORTED_MAX => cursor = Some(next),
            _ => break,
        }
    }
    ensure!(values >= count as u64 * 10, "an export shows {values} values of {count} users");
    Ok(count)
}

/// Deletes its part of some users.
struct Deleting<'u> {
    users: &'u [User],
    next: usize,
    step: usize,
}

impl Script for Deleting<'_> {
    fn next(&mut self) -> Option<Question<'_>> {
        let user = self.users.get(self.next)?;
        self.next += self.step;
        Some(Question::Delete(user))
    }

    fn judge(&mut self, _: Kind, found: bool, _: Seen) -> Result<()> {
        ensure!(found, "a user of the population cannot be deleted");
        Ok(())
    }
}
