//! The load generator: a thread (or a few) that keeps many connections busy without waiting for any single one.
//!
//! Each connection has so many questions under way as the depth says; an answer makes room for the next. What is asked
//! is made by scripts, which also judge the answers. The load is closed: a slow server is asked less often, so that
//! its latencies are those under its own full load.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mio::{Events, Interest, Poll, Token};

use super::Served;
use super::talk::{Answer, Kind, Question, Talk};
use crate::measure::{Latencies, no_latencies};
use crate::peer::Seen;

/// A server that answers nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 << 10;
/// Whole answers of a page of an export fit.
const LINE_BYTES: usize = 512 << 10;

/// How many questions are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Connections, at least one.
    pub connections: usize,
    /// Questions under way on each, at least one.
    pub depth: usize,
}

/// What one connection asks.
pub trait Script {
    /// The next question; `None` when there are no more, however much time is left.
    fn next(&mut self) -> Option<Question<'_>>;

    /// What an answer is shown to; one that keeps it, if it is to be compared.
    fn seen(&self) -> Seen {
        Seen::default()
    }

    /// Judges the answer to the oldest open question.
    ///
    /// # Errors
    /// If it is wrong, which ends the run.
    fn judge(&mut self, kind: Kind, found: bool, seen: Seen) -> Result<()>;
}

/// What came of it.
pub struct Driven {
    /// Answers a second, over all connections.
    pub per_second: f64,
    /// From the question to its answer, by kind.
    pub by_kind: BTreeMap<Kind, Latencies>,
}

impl Driven {
    /// The latencies of all kinds together.
    pub fn latencies(&self) -> Latencies {
        let mut all = no_latencies();
        for of in self.by_kind.values() {
            // Histograms of one shape always add up.
            let _ = all.add(of);
        }
        all
    }
}

/// Has every connection ask what its script says until the time is over, and waits for the last answers.
///
/// # Errors
/// What the server or a script says.
pub fn drive<'s>(
    served: &dyn Served,
    shape: Shape,
    time: Duration,
    script: &(dyn Fn(usize) -> Box<dyn Script + 's> + Sync),
) -> Result<Driven> {
    let threads = threads_for(shape.connections);
    let start = Barrier::new(threads + 1);
    let (results, elapsed) = std::thread::scope(|scope| {
        let start = &start;
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let numbers = (thread..shape.connections).step_by(threads);
                    let ready = Thread::connect(served, shape.depth, numbers.map(|number| (number, script(number))));
                    // Whoever cannot make ready must not keep the others waiting.
                    start.wait();
                    ready?.run(Instant::now() + time)
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        let panicked = |_| Err(anyhow::anyhow!("a thread of the client panicked"));
        let results: Vec<Result<BTreeMap<Kind, Latencies>>> =
            handles.into_iter().map(|handle| handle.join().unwrap_or_else(panicked)).collect();
        (results, started.elapsed())
    });
    let mut by_kind: BTreeMap<Kind, Latencies> = BTreeMap::new();
    for result in results {
        for (kind, latencies) in result? {
            by_kind.entry(kind).or_insert_with(no_latencies).add(latencies).context("histograms are of one kind")?;
        }
    }
    let answers: u64 = by_kind.values().map(Latencies::len).sum();
    Ok(Driven { per_second: answers as f64 / elapsed.as_secs_f64(), by_kind })
}

/// One thread for each four cores: the others are the server's.
fn threads_for(connections: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 4).clamp(1, connections.max(1))
}

/// The connections of one thread.
struct Thread<'s> {
    poll: Poll,
    connections: Vec<Connection<'s>>,
    by_kind: BTreeMap<Kind, Latencies>,
}

struct Connection<'s> {
    stream: mio::net::TcpStream,
    talk: Box<dyn Talk>,
    script: Box<dyn Script + 's>,
    depth: usize,
    /// What is to be sent, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// What has come and is not read yet: `filled` bytes.
    input: Vec<u8>,
    filled: usize,
    pending: VecDeque<(Kind, Instant)>,
}

impl<'s> Thread<'s> {
    fn connect(
        served: &dyn Served,
        depth: usize,
        scripts: impl Iterator<Item = (usize, Box<dyn Script + 's>)>,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for (number, script) in scripts {
            let link = served.connect().with_context(|| format!("connection {number}"))?;
            link.stream.set_nodelay(true)?;
            link.stream.set_nonblocking(true)?;
            let mut stream = mio::net::TcpStream::from_std(link.stream);
            let token = Token(connections.len());
            poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection {
                stream,
                talk: link.talk,
                script,
                depth,
                out: Vec::new(),
                sent: 0,
                input: vec![0; READ_BYTES],
                filled: 0,
                pending: VecDeque::new(),
            });
        }
        Ok(Self { poll, connections, by_kind: BTreeMap::new() })
    }

    fn run(mut self, end: Instant) -> Result<BTreeMap<Kind, Latencies>> {
        let mut busy = 0;
        for connection in &mut self.connections {
            connection.fill(Instant::now())?;
            busy += usize::from(!connection.pending.is_empty());
        }
        let mut events = Events::with_capacity(self.connections.len().max(1));
        while busy > 0 {
            self.poll.poll(&mut events, Some(SILENCE_MAX))?;
            ensure!(!events.is_empty(), "the server has answered nothing for {} s", SILENCE_MAX.as_secs());
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if connection.pending.is_empty() {
                    continue;
                }
                connection.on_ready(end, &mut self.by_kind)?;
                busy -= usize::from(connection.pending.is_empty());
            }
        }
        Ok(self.by_kind)
    }
}

impl Connection<'_> {
    /// Takes what has come, asks as much anew, sends it. Events say once that something is there: all of it is taken.
    fn on_ready(&mut self, end: Instant, by_kind: &mut BTreeMap<Kind, Latencies>) -> Result<()> {
        loop {
            if self.filled == self.input.len() {
                self.input.resize(self.input.len() * 2, 0);
            }
            let room = self.input.len() - self.filled;
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => anyhow::bail!("the server has closed the connection"),
                Ok(count) => {
                    self.filled += count;
                    let now = Instant::now();
                    self.take_answers(now, by_kind)?;
                    if now < end {
                        self.fill(now)?;
                    }
                    if count < room {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.flush()
    }

    fn take_answers(&mut self, now: Instant, by_kind: &mut BTreeMap<Kind, Latencies>) -> Result<()> {
        let mut taken = 0;
        while let Some((kind, asked)) = self.pending.front().copied() {
            let mut seen = self.script.seen();
            let Some(answer) = self.talk.answer(kind, &self.input[taken..self.filled], &mut seen)? else { break };
            taken += answer.length;
            self.pending.pop_front();
            let took = now.saturating_duration_since(asked).as_nanos() as u64;
            by_kind.entry(kind).or_insert_with(no_latencies).saturating_record(took);
            self.script.judge(kind, answer.found, seen)?;
        }
        self.input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        ensure!(self.filled == 0 || !self.pending.is_empty(), "the server answers what nobody asked");
        Ok(())
    }

    /// Asks until so many questions are under way as the depth says.
    fn fill(&mut self, now: Instant) -> Result<()> {
        while self.pending.len() < self.depth {
            let Some(question) = self.script.next() else { break };
            self.pending.push_back((question.kind(), now));
            self.talk.ask(question, &mut self.out);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}

/// A connection that waits for each answer, for what is asked beside a measurement.
pub struct Line {
    stream: std::net::TcpStream,
    talk: Box<dyn Talk>,
    out: Vec<u8>,
    bytes: Vec<u8>,
}

impl Line {
    /// A connection to a server.
    ///
    /// # Errors
    /// What the server says.
    pub fn to(served: &dyn Served) -> Result<Self> {
        let link = served.connect()?;
        link.stream.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(Self { stream: link.stream, talk: link.talk, out: Vec::new(), bytes: Vec::new() })
    }

    /// Asks one question; what is found is kept.
    ///
    /// # Errors
    /// What the server says.
    pub fn ask(&mut self, question: Question<'_>) -> Result<(bool, Seen)> {
        let (answer, seen) = self.ask_seeing(question, &Seen::keeping)?;
        Ok((answer.found, seen))
    }

    /// Asks one question; the answer is shown to what `seen` makes.
    ///
    /// # Errors
    /// What the server says.
    pub fn ask_seeing(&mut self, question: Question<'_>, seen: &dyn Fn() -> Seen) -> Result<(Answer, Seen)> {
        self.out.clear();
        self.talk.ask(question, &mut self.out);
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(&self.out)?;
        let mut filled = 0;
        loop {
            filled = self.take(filled)?;
            let mut seen = seen();
            if let Some(answer) = self.talk.answer(question.kind(), &self.bytes[..filled], &mut seen)? {
                ensure!(answer.length == filled, "the server answers what nobody asked");
                return Ok((answer, seen));
            }
        }
    }

    /// Waits for bytes, and takes all that have come by then, since a long answer is read anew when more of it is there;
    /// answers how many there are.
    fn take(&mut self, mut filled: usize) -> Result<usize> {
        self.stream.set_nonblocking(false)?;
        let mut waits = true;
        loop {
            if filled == self.bytes.len() {
                self.bytes.resize((filled * 2).max(LINE_BYTES), 0);
            }
            match self.stream.read(&mut self.bytes[filled..]) {
                Ok(0) => anyhow::bail!("the server has closed the connection"),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock && !waits => return Ok(filled),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("the server answers nothing"),
            }
            waits = false;
            self.stream.set_nonblocking(true)?;
        }
    }
}
