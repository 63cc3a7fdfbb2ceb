//! Connections that send as much as they can.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use stoa_tests::resp::{Client, encode};

use crate::alone;
use crate::probe::{measure, measure_during};
use crate::target::{BUFFERS_BYTES, Target};

/// A connection that sends the same over and over, and reads or does not.
struct Flood {
    client: Client,
    what: Vec<u8>,
    at: usize,
    reads: bool,
    ended: bool,
    sent_bytes: u64,
    /// The end of what it was told.
    last_words: Vec<u8>,
}

impl Flood {
    fn new(mut client: Client, first: &[u8], what: Vec<u8>, reads: bool) -> Self {
        client.send(first).unwrap();
        client.stream().set_nonblocking(true).unwrap();
        Self { client, what, at: 0, reads, ended: false, sent_bytes: 0, last_words: Vec::new() }
    }

    /// Sends what the connection takes now, and reads what has come; answers whether anything went.
    fn push(&mut self) -> bool {
        let mut stream: &TcpStream = self.client.stream();
        let mut went = false;
        match stream.write(&self.what[self.at..]) {
            Ok(sent) => {
                went = sent > 0;
                self.sent_bytes += sent as u64;
                self.at = (self.at + sent) % self.what.len();
            }
            Err(error) => self.ended |= error.kind() != ErrorKind::WouldBlock,
        }
        let mut sink = [0; 65536];
        while self.reads && !self.ended {
            match stream.read(&mut sink) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    went = true;
                    self.last_words = sink[read.saturating_sub(200)..read].to_vec();
                }
                Err(error) => {
                    self.ended |= error.kind() != ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        went
    }
}

/// Pushes all of them until it is over and so much was sent, which may take a busy machine longer.
fn push_all(mut floods: Vec<Flood>, least_bytes: u64, over: &AtomicBool) -> Vec<Flood> {
    let patience = Instant::now() + Duration::from_secs(60);
    let sent = |floods: &[Flood]| floods.iter().map(|flood| flood.sent_bytes).sum::<u64>();
    while !over.load(Relaxed) || (sent(&floods) <= least_bytes && Instant::now() < patience) {
        let went = floods.iter_mut().filter(|flood| !flood.ended).fold(false, |went, flood| flood.push() | went);
        if !went {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    floods
}

#[test]
fn clients_that_never_read_are_closed_and_memory_stays_bounded() {
    const FLOODS: usize = 64;
    let _alone = alone();
    let target = Target::start("");
    let normal = measure(&target);
    let request = encode(&[b"ECHO".to_vec(), vec![b'x'; 1_000_000]]);
    let (during, floods) = measure_during(&target, |over| {
        let floods = (0..FLOODS).map(|_| Flood::new(target.admin(), b"", request.clone(), false)).collect();
        push_all(floods, 2 * BUFFERS_BYTES, over)
    });
    during.assert_near("beside 64 clients that never read", normal);
    let sent: u64 = floods.iter().map(|flood| flood.sent_bytes).sum();
    println!(
        "{} MiB were sent, {} of {FLOODS} are closed",
        sent >> 20,
        floods.iter().filter(|flood| flood.ended).count()
    );
    assert!(sent > 2 * BUFFERS_BYTES, "that was no flood: {sent} bytes");
    target.assert_memory("clients that never read", FLOODS as u64, 0);
    // Who is left is closed when it has read nothing for too long.
    let mut floods = floods;
    target.wait_until("all are closed", || {
        for flood in &mut floods {
            flood.push();
        }
        floods.iter().all(|flood| flood.ended)
    });
    target.assert_nothing_is_lost();
}

#[test]
fn pipelined_floods_take_turns_with_others() {
    let _alone = alone();
    let target = Target::start("");
    target.admin().call(&["POOL.CREATE", "other"]).unwrap();
    let normal = measure(&target);
    let (during, floods) = measure_during(&target, |over| {
        let mut floods = Vec::new();
        let get = encode(&["USER.GET", "acme", "username=probe"]).repeat(500);
        let set = encode(&["USER.SET", "other", "username=nobody", "nickname", "x"]).repeat(500);
        let wait = encode(&["CHANGES", "acme", "FROM", "1000000", "BLOCK", "60000"]);
        for i in 0..16 {
            let what = match i % 4 {
                0 => b"PING\r\n".repeat(2000),
                1 => get.clone(),
                2 => set.clone(),
                _ => b"no.such.command\r\n".repeat(1000),
            };
            floods.push(Flood::new(target.admin(), b"", what, true));
        }
        // Behind a command that waits, and in a transaction that never ends.
        for _ in 0..8 {
            floods.push(Flood::new(target.admin(), &wait, b"no.such.command\r\n".repeat(1000), true));
            let queued = encode(&["USER.SET", "acme", "username=probe", "given_name", &"x".repeat(2000)]);
            floods.push(Flood::new(target.admin(), &encode(&["MULTI"]), queued.repeat(100), true));
        }
        push_all(floods, 0, over)
    });
    during.assert_near("beside 32 pipelined floods", normal);
    for flood in &floods {
        let words = String::from_utf8_lossy(&flood.last_words);
        assert!(!flood.ended, "one that reads was closed after {} bytes: {words}", flood.sent_bytes);
    }
    println!("{} MiB were sent", floods.iter().map(|flood| flood.sent_bytes).sum::<u64>() >> 20);
    target.assert_memory("pipelined floods", floods.len() as u64, 0);
    target.assert_nothing_is_lost();
}

/// Every client sends most of a request as large as any may be, and waits.
#[test]
fn half_requests_share_one_budget() {
    const FLOODS: usize = 40;
    let _alone = alone();
    let target = Target::start("");
    let normal = measure(&target);
    let mut half = b"*9\r\n$4\r\nECHO\r\n".to_vec();
    for _ in 0..7 {
        half.extend_from_slice(b"$1000000\r\n");
        half.resize(half.len() + 1_000_000, b'x');
        half.extend_from_slice(b"\r\n");
    }
    let (during, mut clients) = measure_during(&target, |over| {
        let mut clients: Vec<Client> = (0..FLOODS).map(|_| target.admin()).collect();
        for client in &mut clients {
            let _ = client.send(&half);
        }
        while !over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        clients
    });
    during.assert_near("beside 40 half requests of 7 MB", normal);
    target.assert_memory("half requests", FLOODS as u64, 0);
    let mut words = Vec::new();
    for client in &mut clients {
        // A reply may be lost with what was still on its way when the connection was closed.
        words.extend(client.read().ok().and_then(|reply| Some(reply.error()?.split_once(' ')?.0.to_owned())));
    }
    let count = |word: &str| words.iter().filter(|found| *found == word).count();
    println!("{} were told BUSY, {} LIMIT, of {FLOODS}", count("BUSY"), count("LIMIT"));
    assert!(count("BUSY") > 0 && count("BUSY") + count("LIMIT") == words.len(), "{words:?}");
    target.assert_nothing_is_lost();
}
