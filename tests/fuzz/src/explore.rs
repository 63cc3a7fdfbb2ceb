//! Drives a target: kept findings, seeds, then inputs made of those that went somewhere new.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::allocator;
use crate::guard::Guard;
use crate::mutate::mutate;
use crate::random::Random;
use crate::seen::Seen;

/// Time for each target: some thirty of them make a minute.
const SECONDS: f64 = 2.0;
/// What inputs are made from unless it is said.
const SEED: u64 = 1;
/// A case that takes longer fails.
const CASE_MAX: Duration = Duration::from_secs(10);
/// How often a slow case is tried before it fails.
const SLOW_TIMES: usize = 3;
/// How long a finding is made smaller.
const SHRINK_MAX: Duration = Duration::from_secs(20);
/// Inputs that are kept as a start of others.
const CORPUS_MAX: usize = 4096;

/// How much memory a case may hold at one time.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Bytes for each byte of the input.
    pub an_input_byte: usize,
    /// Bytes besides.
    pub besides: usize,
}

/// A parser, and what to try it with.
pub struct Target<'a> {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    tokens: Vec<Vec<u8>>,
    repair: Option<fn(&mut [u8])>,
    input_bytes_max: usize,
    memory: Memory,
    run: Box<dyn Fn(&[u8], &mut Seen) + 'a>,
}

/// What was tried.
#[derive(Debug, Default, Clone, Copy)]
struct Tried {
    cases: u64,
    kept: usize,
    peak_bytes: usize,
}

impl<'a> Target<'a> {
    /// A target: `run` panics if an oracle is broken. `name` is that of its folder in `cases`.
    pub fn new(name: &'static str, run: impl Fn(&[u8], &mut Seen) + 'a) -> Self {
        Self {
            name,
            seeds: Vec::new(),
            tokens: Vec::new(),
            repair: None,
            input_bytes_max: 8 << 10,
            memory: Memory { an_input_byte: 64, besides: 64 << 10 },
            run: Box::new(run),
        }
    }

    /// Starts from these.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.seeds.extend(seeds.into_iter().map(Into::into));
        self
    }

    /// Words of the language, to be put in here and there.
    #[must_use]
    pub fn tokens(mut self, tokens: &[impl AsRef<[u8]>]) -> Self {
        self.tokens.extend(tokens.iter().map(|token| token.as_ref().to_vec()));
        self
    }

    /// Makes the checksums of a changed input right, so that what is behind them is reached.
    #[must_use]
    pub fn repair(mut self, repair: fn(&mut [u8])) -> Self {
        self.repair = Some(repair);
        self
    }

    /// The longest input; 8 KiB unless it is set.
    #[must_use]
    pub fn longest(mut self, bytes: usize) -> Self {
        self.input_bytes_max = bytes;
        self
    }

    /// What a case may hold of memory; 64 bytes for each of its own and 64 KiB unless it is set.
    #[must_use]
    pub fn memory(mut self, an_input_byte: usize, besides: usize) -> Self {
        self.memory = Memory { an_input_byte, besides };
        self
    }

    /// Tries kept findings, seeds and as many other inputs as there is time for.
    ///
    /// # Panics
    /// If one of them fails: with its reason, its file, and how to try it again.
    pub fn explore(self) {
        let seconds = variable("STOA_FUZZ_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
        let seed = variable("STOA_FUZZ_SEED").and_then(|text| text.parse().ok()).unwrap_or(SEED);
        match self.attempt(Duration::from_secs_f64(seconds), seed) {
            Ok(Tried { cases, kept, peak_bytes }) => {
                eprintln!(
                    "fuzz {}: {cases} inputs, {kept} went somewhere new, {peak_bytes} bytes at most, seed {seed}",
                    self.name
                );
            }
            Err((input, reason)) => {
                let (input, reason) = self.shrink(input, reason);
                let file = self.keep(&input);
                let name = self.name;
                panic!(
                    "fuzz {name}: {reason}\n  input of {} bytes: {}\n  again: STOA_FUZZ_CASE={file} cargo test --workspace \
                     fuzz_{name}\n  found with STOA_FUZZ_SEED={seed}; mended: move the file to tests/fuzz/cases/{name}",
                    input.len(),
                    shown(&input),
                    file = file.display(),
                );
            }
        }
    }

    /// As [`Target::explore`]; answers the first failing input and why.
    fn attempt(&self, time: Duration, seed: u64) -> Result<Tried, (Vec<u8>, String)> {
        quiet();
        let guard = Guard::new(self.name, scratch("found").join(format!("{}-unending", self.name)));
        let mut explorer = Explorer {
            keeps_last: variable("STOA_FUZZ_LAST").is_some(),
            target: self,
            guard,
            notes: HashSet::new(),
            seen: Seen::new(),
            tried: Tried::default(),
        };
        if let Some(file) = variable("STOA_FUZZ_CASE") {
            let input = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            explorer.one(&input)?;
            return Ok(explorer.tried);
        }
        let mut corpus = self.seeds.clone();
        corpus.extend(files(&cases(self.name)));
        let shared = variable("STOA_FUZZ_CORPUS").map(|dir| Path::new(&dir).join(self.name));
        if let Some(dir) = &shared {
            corpus.extend(files(dir));
        }
        for input in &corpus {
            explorer.one(input)?;
        }
        let (since, mut random) = (Instant::now(), Random::new(seed));
        while since.elapsed() < time {
            for _ in 0..16 {
                let input = self.next(&corpus, &mut random);
                if explorer.one(&input)? {
                    explorer.tried.kept += 1;
                    shared.as_ref().inspect(|dir| save(dir, &input));
                    if corpus.len() < CORPUS_MAX {
                        corpus.push(input);
                    } else {
                        let place = random.below(corpus.len());
                        corpus[place] = input;
                    }
                }
            }
        }
        Ok(explorer.tried)
    }

    /// Another input, made of one that went somewhere.
    fn next(&self, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let mut input = match corpus.len() {
            0 => Vec::new(),
            // What was kept last has been tried least.
            len if random.once_in(2) => corpus[len - 1 - random.below(len.min(32))].clone(),
            len => corpus[random.below(len)].clone(),
        };
        mutate(&mut input, corpus, &self.tokens, self.input_bytes_max, random);
        if let Some(repair) = self.repair.filter(|_| !random.once_in(8)) {
            repair(&mut input);
        }
        input
    }

    /// Tries one input; answers the most memory that it held. A slow one is tried again: a machine stands still at times.
    fn case(&self, input: &[u8], seen: &mut Seen) -> Result<usize, String> {
        let mut took = Duration::ZERO;
        for _ in 0..SLOW_TIMES {
            let (peak, time) = self.once(input, seen)?;
            if time <= CASE_MAX {
                return Ok(peak);
            }
            took = time;
        }
        Err(format!("{} bytes of input took {took:?}, and long before", input.len()))
    }

    fn once(&self, input: &[u8], seen: &mut Seen) -> Result<(usize, Duration), String> {
        seen.clear();
        let since = Instant::now();
        CATCHES.set(true);
        allocator::begin();
        let caught = catch_unwind(AssertUnwindSafe(|| (self.run)(input, seen)));
        let peak = allocator::end();
        CATCHES.set(false);
        caught.map_err(|panic| panicked(&*panic))?;
        let most = self.memory.an_input_byte * input.len() + self.memory.besides;
        if peak > most {
            return Err(format!("{} bytes of input took {peak} bytes of memory, more than {most}", input.len()));
        }
        Ok((peak, since.elapsed()))
    }

    /// The smallest input found that fails too.
    fn shrink(&self, mut input: Vec<u8>, mut reason: String) -> (Vec<u8>, String) {
        let (since, mut seen) = (Instant::now(), Seen::new());
        let mut part = input.len().div_ceil(2);
        while part > 0 {
            let mut at = 0;
            while at < input.len() && since.elapsed() < SHRINK_MAX {
                let mut less = input.clone();
                less.drain(at..(at + part).min(input.len()));
                if let Some(repair) = self.repair {
                    repair(&mut less);
                }
                match self.case(&less, &mut seen) {
                    Err(why) if less.len() < input.len() => (input, reason) = (less, why),
                    _ => at += part,
                }
            }
            part /= 2;
        }
        (input, reason)
    }

    /// Writes a finding down; answers where.
    fn keep(&self, input: &[u8]) -> PathBuf {
        let dir = scratch("found").join(self.name);
        save(&dir, input);
        dir.join(name_of(input))
    }
}

struct Explorer<'t, 'a> {
    target: &'t Target<'a>,
    guard: Guard,
    notes: HashSet<u64>,
    seen: Seen,
    tried: Tried,
    /// Each input is written down before it is tried.
    keeps_last: bool,
}

impl Explorer<'_, '_> {
    /// Tries an input; answers whether it went somewhere new.
    fn one(&mut self, input: &[u8]) -> Result<bool, (Vec<u8>, String)> {
        self.guard.watch(input);
        if self.keeps_last {
            let _ = std::fs::write(scratch("last").join(self.target.name), input);
        }
        let peak = self.target.case(input, &mut self.seen).map_err(|reason| (input.to_vec(), reason))?;
        self.tried.cases += 1;
        self.tried.peak_bytes = self.tried.peak_bytes.max(peak);
        Ok(self.seen.is_new_in(&mut self.notes))
    }
}

thread_local! {
    /// A panic on this thread is part of a case.
    static CATCHES: Cell<bool> = const { Cell::new(false) };
    /// Where the last one was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a panic said, and where.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    let said: String = said.chars().take(600).collect();
    format!("panicked at {}: {said}", PLACE.take())
}

/// Keeps the panics of cases from being printed: an input is made smaller by thousands of them.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHES.get() {
                PLACE.set(info.location().map(ToString::to_string).unwrap_or_default());
            } else {
                before(info);
            }
        }));
    });
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Where kept findings of a target are.
fn cases(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name)
}

/// A folder under `target/fuzz`.
fn scratch(what: &str) -> PathBuf {
    let target = variable("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let dir = target.join("fuzz").join(what);
    let _ = std::fs::create_dir_all(&dir);
    dir
}

/// The files of a folder, in order of their names; none if there is no such folder.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn save(dir: &Path, input: &[u8]) {
    let _ = std::fs::create_dir_all(dir);
    let _ = std::fs::write(dir.join(name_of(input)), input);
}

/// The name of an input's file: equal inputs have one.
fn name_of(input: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The input as a Rust byte string, or its beginning.
fn shown(input: &[u8]) -> String {
    let mut text = String::from("b\"");
    for byte in input.iter().take(512) {
        let _ = write!(text, "{}", byte.escape_ascii());
    }
    text.push_str(if input.len() > 512 { "\"…" } else { "\"" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(target: &Target<'_>, seconds: f64) -> Option<(Vec<u8>, String)> {
        let found = target.attempt(Duration::from_secs_f64(seconds), 7).err()?;
        Some(target.shrink(found.0, found.1))
    }

    /// `length u16 ‖ body ‖ sum of all before`: a parser that believes the length.
    fn believes_its_length(input: &[u8], seen: &mut Seen) {
        let Some((sum, rest)) = input.split_last() else { return seen.note("empty") };
        if *sum != sum_of(rest) {
            return seen.note("sum");
        }
        let Some((length, body)) = rest.split_first_chunk::<2>() else { return seen.note("short") };
        let _ = body[..usize::from(u16::from_le_bytes(*length))].len();
        seen.note("good");
    }

    fn sum_of(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn mend(input: &mut [u8]) {
        if let Some(end) = input.len().checked_sub(1) {
            input[end] = sum_of(&input[..end]);
        }
    }

    #[test]
    fn a_length_that_is_believed_is_found_behind_a_checksum_and_made_small() {
        let mut seed = vec![5, 0, b'h', b'e', b'l', b'l', b'o', 0];
        mend(&mut seed);
        let target = Target::new("none", believes_its_length).seeds([seed]).repair(mend);
        let (input, reason) = finding(&target, 5.0).expect("found within 5 s");
        assert!(reason.contains("out of range"), "{reason}");
        assert!(input.len() <= 4, "{input:?}");
    }

    #[test]
    fn steps_that_are_seen_are_climbed() {
        let climbs = |input: &[u8], seen: &mut Seen| {
            let right = input.iter().zip(b"\x93\x0f\xc4\x51").take_while(|(a, b)| a == b).count();
            seen.count("right", 1 << right);
            assert!(right < 4);
        };
        assert!(finding(&Target::new("none", climbs).seeds([vec![0; 4]]), 20.0).is_some());
    }

    #[test]
    fn a_parser_that_finds_nothing_wrong_passes() {
        assert!(finding(&Target::new("none", |_, seen| seen.note(1)).seeds([b"abc".to_vec()]), 0.2).is_none());
    }

    #[test]
    fn a_number_that_is_allocated_is_found() {
        let takes = |input: &[u8], seen: &mut Seen| {
            let Some(count) = input.first_chunk() else { return };
            let room = Vec::<u8>::with_capacity(u32::from_le_bytes(*count) as usize >> 4);
            seen.count("room", std::hint::black_box(room).capacity());
        };
        let (_, reason) = finding(&Target::new("none", takes).seeds([vec![0; 8]]), 5.0).expect("found within 5 s");
        assert!(reason.contains("bytes of memory"), "{reason}");
    }

    #[test]
    fn one_seed_is_one_run() {
        let inputs = |seed| {
            let target = Target::new("none", |_, _| ()).seeds([b"some seed".to_vec(), b"another".to_vec()]);
            let mut random = Random::new(seed);
            (0..100).map(|_| target.next(&target.seeds, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(3), inputs(3));
        assert_ne!(inputs(3), inputs(4));
    }
}
