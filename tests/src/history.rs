//! Whether what many clients of one pool were answered can be explained by one order of things.
//!
//! A history is a list of calls, each with when it began, when it was answered, and the answer. It is
//! *linearizable* if every call can be given one moment between its beginning and its answer such
//! that a single user of a plain model, making the calls one after another in the order of these
//! moments, is answered the same (Herlihy and Wing, 1990). Finding such an order is hard in general
//! (Wing and Gong, 1993); here Stoa itself says which one it claims: every transaction's answer
//! carries its Seq, and so does a snapshot. So this checker tests a stronger claim, in linear time:
//!
//! 1. Seqs of transactions are distinct and without gap: no write is lost, doubled or invented.
//! 2. Carried out by the model in the order of Seq, each transaction is answered as it was.
//! 3. A call that changes nothing (a read, a refusal) is answered as the model answers in the state
//!    after some Seq: the one that it names, or, where its answer names none (reads over the wire,
//!    refusals), the earliest one that fits.
//! 4. Calls that do not overlap in time take effect in that order: a later one never in an earlier
//!    state, a later transaction always under a higher Seq.
//!
//! **Sound**: a history that passes is linearizable: order calls by state, each transaction before
//! what reads its state, reads of one state by when they began; 4. makes that agree with time. **Complete**
//! for the claim: the earliest fitting state for 3. leaves later calls the most room, so a history
//! is refused only if no choice explains it in the order of its Seqs. **It can fail**: the tests
//! below plant a lost update, a stale read, a torn swap, a refusal without reason, a Seq out of
//! time, and more, and each is found.

use std::fmt;

/// One user as the model has it, and as a read shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its unique alias.
    pub name: String,
    /// +1 for each change.
    pub version: u64,
    /// What was written last: different for every write of a history.
    pub value: u64,
}

/// What a client asks for. Users are known by their place in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Reads the users of these names, all from one state.
    Read(Vec<String>),
    /// Sets a user's value, if the user's version is this.
    Set(usize, u64, u64),
    /// Sets the value of whoever has this name.
    SetNamed(String, u64),
    /// Gives a user this name, and sets its value.
    Rename(usize, String, u64),
    /// Gives two users these names, and sets both values: as one, or not at all.
    Swap([(usize, String); 2], u64),
}

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Who has these names.
    Users(Vec<Option<(usize, User)>>),
    /// The versions of the users that were changed.
    Done(Vec<u64>),
    /// The first word of the refusal.
    Refused(String),
}

/// One call and its answer.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it began, on a clock that all clients share.
    pub began_ns: u64,
    /// When its answer was there.
    pub ended_ns: u64,
    /// What was asked for.
    pub call: Call,
    /// What was answered.
    pub answer: Answer,
    /// The Seq of the transaction, or of the state that was read, where the answer names it.
    pub seq: Option<u64>,
}

/// A plain pool.
#[derive(Debug, Clone)]
pub struct Model {
    /// All users.
    pub users: Vec<User>,
}

impl Model {
    fn named(&self, name: &str) -> Option<usize> {
        self.users.iter().position(|user| user.name == name)
    }

    fn refused(word: &str) -> (Answer, Option<Self>) {
        (Answer::Refused(word.to_owned()), None)
    }

    /// Changes users, unless two have one name then.
    fn change(&self, changes: &[(usize, Option<&String>)], value: u64) -> (Answer, Option<Self>) {
        let mut after = self.clone();
        for (user, name) in changes {
            let user = &mut after.users[*user];
            user.version += 1;
            user.value = value;
            if let Some(name) = name {
                user.name.clone_from(name);
            }
        }
        if after.users.iter().enumerate().any(|(at, user)| after.named(&user.name) != Some(at)) {
            return Self::refused("DUPLICATE");
        }
        let versions = changes.iter().map(|(user, _)| after.users[*user].version).collect();
        (Answer::Done(versions), Some(after))
    }

    /// The answer to a call in this state, and the state after it where that is another.
    pub fn answer(&self, call: &Call) -> (Answer, Option<Self>) {
        match call {
            Call::Read(names) => {
                let found = |name: &String| self.named(name).map(|at| (at, self.users[at].clone()));
                (Answer::Users(names.iter().map(found).collect()), None)
            }
            Call::Set(user, version, _) if self.users[*user].version != *version => Self::refused("CONFLICT"),
            Call::Set(user, _, value) => self.change(&[(*user, None)], *value),
            Call::SetNamed(name, value) => match self.named(name) {
                Some(user) => self.change(&[(user, None)], *value),
                None => Self::refused("NOUSER"),
            },
            Call::Rename(user, name, value) => self.change(&[(*user, Some(name))], *value),
            Call::Swap([(one, first), (two, second)], value) => {
                self.change(&[(*one, Some(first)), (*two, Some(second))], *value)
            }
        }
    }
}

/// Why a history cannot be explained.
#[derive(Debug)]
pub struct Unexplained(String);

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn unexplained<T>(what: &str, event: &Event) -> Result<T, Unexplained> {
    Err(Unexplained(format!("{what}: {event:?}")))
}

/// Checks a history of a pool that was in state `model` at `first_seq`. Answers how many transactions it holds.
///
/// # Errors
/// What cannot be explained, and why.
pub fn check(model: Model, first_seq: u64, history: &[Event]) -> Result<usize, Unexplained> {
    let states = replay(model, first_seq, history)?;
    let mut events: Vec<&Event> = history.iter().collect();
    events.sort_by_key(|event| event.ended_ns);
    let latest = Latest::new(history, first_seq, states.len());
    // Of what has ended: when, and the highest state that any so far has seen or made.
    let mut ended: Vec<(u64, usize)> = Vec::with_capacity(events.len());
    for event in events {
        let before = ended.partition_point(|(at, _)| *at < event.began_ns);
        let earliest = before.checked_sub(1).map_or(0, |at| ended[at].1);
        let state = match fixed_state(event, first_seq) {
            Some(state) if !is_write(event) && state >= states.len() => {
                return unexplained("a state was read that never was", event);
            }
            Some(state) if state < earliest + usize::from(is_write(event)) => {
                return unexplained("something that ended before it began saw or made a later state", event);
            }
            Some(state) => state,
            None => {
                let fits = |state: &usize| states[*state].answer(&event.call).0 == event.answer;
                match (earliest..=latest.state(event.ended_ns)).find(fits) {
                    Some(state) => state,
                    None => return unexplained("no state of its time explains it", event),
                }
            }
        };
        if !is_write(event) && states[state].answer(&event.call).0 != event.answer {
            return unexplained("the state that it names does not explain it", event);
        }
        let highest = ended.last().map_or(0, |(_, highest)| *highest).max(state);
        ended.push((event.ended_ns, highest));
    }
    Ok(states.len() - 1)
}

fn is_write(event: &Event) -> bool {
    matches!(event.answer, Answer::Done(_))
}

/// The state that a call made, or says that it saw: 0 is the first.
fn fixed_state(event: &Event, first_seq: u64) -> Option<usize> {
    event.seq.map(|seq| seq.wrapping_sub(first_seq) as usize)
}

/// Every state that the transactions made, in the order of their Seqs.
fn replay(model: Model, first_seq: u64, history: &[Event]) -> Result<Vec<Model>, Unexplained> {
    let mut writes: Vec<&Event> = history.iter().filter(|event| is_write(event)).collect();
    writes.sort_by_key(|event| event.seq);
    let mut states = vec![model];
    for write in writes {
        if write.seq != Some(first_seq + states.len() as u64) {
            return unexplained("its Seq is not the next one", write);
        }
        let (answer, after) = states[states.len() - 1].answer(&write.call);
        match after {
            Some(after) if answer == write.answer => states.push(after),
            _ => return unexplained(&format!("in the order of Seqs the answer is {answer:?}"), write),
        }
    }
    Ok(states)
}

/// The latest state that a call may have seen: what began after it ended saw no earlier one.
struct Latest {
    /// When something of known state began, and the lowest state that it or any later one starts from.
    begun: Vec<(u64, usize)>,
    last: usize,
}

impl Latest {
    fn new(history: &[Event], first_seq: u64, states: usize) -> Self {
        let last = states - 1;
        let from = |event: &Event| Some(fixed_state(event, first_seq)?.saturating_sub(usize::from(is_write(event))));
        let mut begun: Vec<_> = history.iter().filter_map(|event| Some((event.began_ns, from(event)?))).collect();
        begun.sort_unstable();
        let mut lowest = last;
        for (_, state) in begun.iter_mut().rev() {
            lowest = lowest.min(*state);
            *state = lowest;
        }
        Self { begun, last }
    }

    fn state(&self, ended_ns: u64) -> usize {
        let after = self.begun.partition_point(|(began, _)| *began <= ended_ns);
        self.begun.get(after).map_or(self.last, |(_, state)| *state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, version: u64, value: u64) -> User {
        User { name: name.to_owned(), version, value }
    }

    fn model() -> Model {
        Model { users: vec![user("a", 1, 0), user("b", 1, 0)] }
    }

    fn event(time: (u64, u64), call: Call, answer: Answer, seq: Option<u64>) -> Event {
        Event { began_ns: time.0, ended_ns: time.1, call, answer, seq }
    }

    fn read(time: (u64, u64), names: &[&str], found: Vec<Option<(usize, User)>>, seq: Option<u64>) -> Event {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        event(time, Call::Read(names), Answer::Users(found), seq)
    }

    fn set(time: (u64, u64), version: u64, value: u64, seq: u64) -> Event {
        event(time, Call::Set(0, version, value), Answer::Done(vec![version + 1]), Some(seq))
    }

    fn swap(time: (u64, u64), seq: u64) -> Event {
        let call = Call::Swap([(0, "b".to_owned()), (1, "a".to_owned())], 9);
        event(time, call, Answer::Done(vec![2, 2]), Some(seq))
    }

    fn refused(time: (u64, u64), call: Call, word: &str) -> Event {
        event(time, call, Answer::Refused(word.to_owned()), None)
    }

    fn found(history: &[Event]) -> String {
        check(model(), 10, history).unwrap_err().to_string()
    }

    #[test]
    fn what_can_be_explained_is() {
        let history = [
            set((0, 10), 1, 5, 11),
            // Overlaps: may see either.
            read((5, 8), &["a"], vec![Some((0, user("a", 1, 0)))], None),
            read((6, 9), &["a"], vec![Some((0, user("a", 2, 5)))], Some(11)),
            refused((12, 20), Call::Set(0, 1, 6), "CONFLICT"),
            // Under way together, and both right: one sees the swap, the other not yet.
            event((30, 40), Call::Swap([(0, "b".into()), (1, "a".into())], 9), Answer::Done(vec![3, 2]), Some(12)),
            read((31, 39), &["a", "b"], vec![Some((0, user("a", 2, 5))), Some((1, user("b", 1, 0)))], None),
            read((31, 39), &["a", "b"], vec![Some((1, user("a", 2, 9))), Some((0, user("b", 3, 9)))], None),
            refused((50, 51), Call::SetNamed("c".into(), 7), "NOUSER"),
            refused((52, 53), Call::Rename(0, "a".into(), 8), "DUPLICATE"),
        ];
        assert_eq!(check(model(), 10, &history).unwrap(), 2);
    }

    #[test]
    fn a_lost_update_is_found() {
        let history = [set((0, 10), 1, 5, 11), set((0, 10), 1, 6, 12)];
        assert!(found(&history).starts_with("in the order of Seqs the answer is Refused(\"CONFLICT\")"));
    }

    #[test]
    fn a_stale_read_is_found() {
        let old = vec![Some((0, user("a", 1, 0)))];
        let written = set((0, 10), 1, 5, 11);
        let unnamed = [written.clone(), read((11, 12), &["a"], old.clone(), None)];
        assert!(found(&unnamed).starts_with("no state of its time"));
        let named = [written, read((11, 12), &["a"], old, Some(10))];
        assert!(found(&named).starts_with("something that ended before"));
    }

    #[test]
    fn two_reads_that_go_back_in_time_are_found() {
        let (old, new) = (vec![Some((0, user("a", 1, 0)))], vec![Some((0, user("a", 2, 5)))]);
        let history = [set((0, 100), 1, 5, 11), read((10, 20), &["a"], new, None), read((30, 40), &["a"], old, None)];
        assert!(found(&history).starts_with("no state of its time"));
    }

    #[test]
    fn a_read_of_the_future_is_found() {
        let new = vec![Some((0, user("a", 2, 5)))];
        let history = [read((0, 5), &["a"], new.clone(), None), set((10, 20), 1, 5, 11)];
        assert!(found(&history).starts_with("no state of its time"));
        let history = [read((0, 5), &["a"], new, Some(11)), set((10, 20), 1, 5, 11)];
        assert!(found(&history).starts_with("something that ended before"));
        let history = [read((0, 5), &["a"], vec![Some((0, user("a", 1, 0)))], Some(11))];
        assert!(found(&history).starts_with("a state was read that never was"));
    }

    #[test]
    fn a_torn_swap_is_found() {
        let torn = vec![Some((0, user("a", 1, 0))), Some((0, user("b", 2, 9)))];
        assert!(found(&[swap((0, 10), 11), read((1, 9), &["a", "b"], torn, None)]).starts_with("no state"));
        let nobody = vec![None, Some((0, user("b", 2, 9)))];
        assert!(found(&[swap((0, 10), 11), read((1, 9), &["a", "b"], nobody, Some(11))]).starts_with("the state"));
    }

    #[test]
    fn a_refusal_without_reason_is_found() {
        assert!(found(&[refused((0, 10), Call::Set(0, 1, 5), "CONFLICT")]).starts_with("no state"));
        // The reason came only later.
        let history = [refused((0, 10), Call::Set(0, 1, 5), "CONFLICT"), set((20, 30), 1, 6, 11)];
        assert!(found(&history).starts_with("no state"));
    }

    #[test]
    fn seqs_that_jump_repeat_or_turn_time_around_are_found() {
        assert!(found(&[set((0, 10), 1, 5, 12)]).starts_with("its Seq is not the next one"));
        assert!(found(&[set((0, 10), 1, 5, 11), set((0, 10), 2, 6, 11)]).starts_with("its Seq is not the next one"));
        let history = [set((20, 30), 1, 5, 11), set((0, 10), 2, 6, 12)];
        assert!(found(&history).starts_with("something that ended before"));
    }
}
