//! What the client itself and the loopback cost: a server that looks at nothing, asked by the same client in the same
//! shapes. No system behind TCP can answer more on this machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use mio::{Events, Interest, Poll, Token};

use super::client::{Script, Shape, drive};
use super::talk::{Answer, Kind, Question, Talk};
use super::{Link, Served};
use crate::peer::Seen;

/// Bytes of a question, and of an answer: those of a profile's.
const ASKED_BYTES: usize = 64;
const ANSWERED_BYTES: usize = 512;
const LISTENER: Token = Token(usize::MAX);
/// So often the server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// How many questions of 64 bytes are answered in a second by 512 bytes that nobody had to look for.
///
/// # Errors
/// If there is no loopback.
pub fn answers_per_second(shape: Shape, time: Duration) -> Result<f64> {
    let echo = Echo::start()?;
    let driven = drive(&echo, shape, time, &|_| Box::new(Nothing))?;
    Box::new(echo).stop()?;
    Ok(driven.per_second)
}

struct Echo {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Echo {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, ends) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || answer_all(mio::net::TcpListener::from_std(listener), &told));
        Ok(Self { address, ends, thread })
    }
}

impl Served for Echo {
    fn connect(&self) -> Result<Link> {
        Ok(Link { stream: TcpStream::connect(self.address)?, talk: Box::new(Fixed) })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the echoing thread panicked"))?
    }
}

struct Asker {
    stream: mio::net::TcpStream,
    /// Bytes of a question that is not whole yet, and of answers that are not sent yet.
    begun: usize,
    owed: usize,
}

impl Asker {
    /// Answers all that has come.
    fn on_ready(&mut self, room: &mut [u8], answers: &[u8]) -> std::io::Result<bool> {
        loop {
            while self.owed > 0 {
                match self.stream.write(&answers[..self.owed.min(answers.len())]) {
                    Ok(count) => self.owed -= count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            match self.stream.read(room) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.begun += count;
                    self.owed += self.begun / ASKED_BYTES * ANSWERED_BYTES;
                    self.begun %= ASKED_BYTES;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}

fn answer_all(mut listener: mio::net::TcpListener, ends: &AtomicBool) -> Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut events, mut askers) = (Events::with_capacity(128), Vec::<Option<Asker>>::new());
    let (mut room, answers) = (vec![0; 16 << 10], vec![b'a'; 128 << 10]);
    while !ends.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(LOOK))?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(askers.len()), both)?;
                    askers.push(Some(Asker { stream, begun: 0, owed: 0 }));
                }
                continue;
            }
            let slot = askers.get_mut(event.token().0).context("an event of nobody")?;
            // Who has gone is dropped: what the client thinks of that, it says itself.
            if slot.as_mut().is_some_and(|asker| !asker.on_ready(&mut room, &answers).unwrap_or(false)) {
                *slot = None;
            }
        }
    }
    Ok(())
}

/// Bytes of fixed lengths.
struct Fixed;

impl Talk for Fixed {
    fn ask(&mut self, _: Question<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&[b'q'; ASKED_BYTES]);
    }

    fn answer(&mut self, _: Kind, bytes: &[u8], _: &mut Seen) -> Result<Option<Answer>> {
        Ok((bytes.len() >= ANSWERED_BYTES).then(|| Answer::of(ANSWERED_BYTES, true)))
    }
}

/// Asks the same for ever.
struct Nothing;

impl Script for Nothing {
    fn next(&mut self) -> Option<Question<'_>> {
        Some(Question::Profile(""))
    }

    fn judge(&mut self, _: Kind, _: bool, _: Seen) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_answered() {
        for (connections, depth) in [(1, 1), (5, 1), (5, 200)] {
            let found = answers_per_second(Shape { connections, depth }, Duration::from_millis(5));
            assert!(found.expect("a loopback") > 10.0);
        }
    }
}
