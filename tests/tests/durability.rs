//! What was acknowledged is there, whatever happens to the process or to the replies.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stoa_tests::{Server, client, root};

/// A connection that speaks RESP2 as plainly as can be.
struct Plain(TcpStream);

impl Plain {
    fn new(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(stream)
    }

    /// The first line of the answer; `None` if the connection broke.
    fn call(&mut self, words: &[&str]) -> Option<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // A map of a write's answer ends with its last line; one read may bring it in parts.
        loop {
            match self.0.read(&mut buffer) {
                Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
                _ => return None,
            }
            if complete(&answer) {
                return Some(String::from_utf8_lossy(&answer).into_owned());
            }
        }
    }
}

/// Whether a whole reply stands at the start of `bytes`.
fn complete(bytes: &[u8]) -> bool {
    fn skip(bytes: &[u8], at: usize) -> Option<usize> {
        let line_end = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")? + at + 2;
        let number = || std::str::from_utf8(&bytes[at + 1..line_end - 2]).ok()?.parse::<i64>().ok();
        match bytes[at] {
            b'$' => match number()? {
                -1 => Some(line_end),
                len => Some(line_end + len as usize + 2).filter(|end| *end <= bytes.len()),
            },
            b'*' => {
                let mut at = line_end;
                for _ in 0..number()?.max(0) {
                    at = skip(bytes, at)?;
                }
                Some(at)
            }
            _ => Some(line_end),
        }
    }
    skip(bytes, 0).is_some()
}

#[test]
fn every_acknowledged_write_is_there_after_kill_9_under_64_writers() {
    const WRITERS: usize = 64;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let server = Server::start(&data, &[]);
    let mut setup = Plain::new(&server);
    setup.call(&["POOL.CREATE", "acme"]).unwrap();
    for writer in 0..WRITERS {
        setup.call(&["USER.CREATE", "acme", "username", &format!("w{writer}")]).unwrap();
    }
    let acknowledged: Arc<Mutex<BTreeMap<usize, u64>>> = Arc::default();
    let total = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let mut connection = Plain::new(&server);
            let (acknowledged, total, stop) = (Arc::clone(&acknowledged), Arc::clone(&total), Arc::clone(&stop));
            std::thread::spawn(move || {
                let user = format!("username=w{writer}");
                for i in 1.. {
                    let value = i.to_string();
                    let Some(answer) = connection.call(&["USER.SET", "acme", &user, "nickname", &value]) else {
                        return;
                    };
                    assert!(answer.starts_with('*'), "{answer}");
                    acknowledged.lock().unwrap().insert(writer, i);
                    total.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            })
        })
        .collect();
    while total.load(Ordering::Relaxed) < 2000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.kill();
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let server = Server::start(&data, &[]);
    let mut reader = Plain::new(&server);
    for (writer, value) in acknowledged.lock().unwrap().iter() {
        let answer = reader.call(&["USER.GET", "acme", &format!("username=w{writer}"), "nickname"]).unwrap();
        let stored: u64 = answer.lines().nth(4).and_then(|line| line.parse().ok()).unwrap_or_default();
        // The write in flight at the kill may be there too, and no more.
        assert!((*value..=*value + 1).contains(&stored), "writer {writer}: acknowledged {value}, found {answer:?}");
    }
    server.stop();
}

/// Passes bytes both ways, and drops every 20th of the server's answers with the connection.
fn lossy_proxy(server: &Server) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (target, stop) = (server.address(), Arc::new(AtomicBool::new(false)));
    let answers = Arc::new(AtomicUsize::new(0));
    let stopping = Arc::clone(&stop);
    std::thread::spawn(move || {
        for incoming in listener.incoming() {
            if stopping.load(Ordering::Relaxed) {
                return;
            }
            let (Ok(mut near), Ok(mut far)) = (incoming, TcpStream::connect(&target)) else { continue };
            let (mut near_reads, mut far_writes) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut near_reads, &mut far_writes);
                let _ = far_writes.shutdown(std::net::Shutdown::Both);
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(count @ 1..) = far.read(&mut buffer) {
                    if answers.fetch_add(1, Ordering::Relaxed) % 20 == 19 || near.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = near.shutdown(std::net::Shutdown::Both);
                let _ = far.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (port, stop)
}

#[test]
fn lost_replies_do_no_harm_to_clients_that_use_tokens() {
    let (Some(python), Some(node)) = (client("python"), client("node")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("DATA"), &[]);
    let (port, stop) = lossy_proxy(&server);
    let direct = server.port.to_string();
    let mut py = Command::new(python);
    py.arg(root().join("tests/clients/lossy.py")).args([&port.to_string(), &direct]);
    let mut js = Command::new(node);
    js.env("STOA_NODE_ENV", root().join("target/test-env/node").canonicalize().unwrap());
    js.arg(root().join("tests/clients/lossy.mjs")).args([&port.to_string(), &direct]);
    for mut command in [py, js] {
        let output = command.output().unwrap();
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{error}");
    }
    stop.store(true, Ordering::Relaxed);
    server.stop();
}
