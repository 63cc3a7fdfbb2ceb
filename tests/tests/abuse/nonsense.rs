//! Bytes that are no request, or one that means nothing: each gets one clear error, and the server
//! goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use stoa_tests::resp::{Client, Reply, encode};

use crate::alone;
use crate::target::Target;

/// Sends, ends the sending side, and answers everything that comes back.
fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A certificate for localhost, and settings that use it.
fn tls(dir: &std::path::Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    format!("[tls]\nlisten = ['127.0.0.1:0']\ncert = '{}'\nkey = '{}'\n", cert.display(), key.display())
}

const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const HTTP: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\nFLUSHALL\r\nX\r\n";

#[test]
fn bytes_that_are_no_request_get_one_clear_error() {
    let _alone = alone();
    let certificates = tempfile::tempdir().unwrap();
    let target = Target::start(&tls(certificates.path()));
    let strangers: [(&str, &[u8], &str); 16] = [
        ("2^31 arguments", b"*2147483648\r\n", "-LIMIT before authentication a request has at most 10 arguments"),
        ("2^31 bytes", b"*1\r\n$2147483648\r\n", "-LIMIT before authentication"),
        ("a length beyond 64 bits", b"*99999999999999999999999\r\n", "-LIMIT before authentication"),
        ("a length beyond 64 bits that is read", b"*1\r\n$18446744073709551617\r\n", "-LIMIT before authentication"),
        ("a negative count", b"*-1\r\n", "-ERR Protocol error\r\n"),
        ("a negative length", b"*1\r\n$-1\r\n", "-ERR Protocol error\r\n"),
        ("arrays in arrays", &b"*1\r\n".repeat(1000), "-ERR Protocol error\r\n"),
        ("a length that is not kept", b"*1\r\n$4\r\nPINGPONG\r\n", "-ERR Protocol error\r\n"),
        ("an endless header", &[b'1'; 100], "-ERR Protocol error\r\n"),
        ("inline before authentication", b"PING\r\n", "-ERR Protocol error\r\n"),
        ("HTTP", HTTP, "-ERR Protocol error\r\n"),
        ("HTTP with a body", POST, "-ERR Protocol error\r\n"),
        ("TLS", HELLO, "-ERR Protocol error\r\n"),
        ("invalid UTF-8", b"\xff\xfe\xfd\r\n", "-ERR Protocol error\r\n"),
        ("half a frame", b"*2\r\n$4\r\nAUTH\r\n$5\r\nab", ""),
        ("nothing", b"", ""),
    ];
    for (what, bytes, expected) in strangers {
        let answer = exchange(target.server.port, bytes);
        assert!(answer.starts_with(expected), "{what}: {answer:?}");
        assert!(expected.is_empty() == answer.is_empty() && answer.lines().count() <= 1, "{what}: {answer:?}");
    }
    let port = target.server.tls_port.expect("a port for TLS");
    let refused = "-ERR Protocol error: this port speaks TLS\r\n";
    for (what, bytes) in
        [("RESP", &encode(&["PING"])[..]), ("HTTP", HTTP), ("inline", b"PING\r\n"), ("zeros", &[0; 64])]
    {
        assert_eq!(exchange(port, bytes), refused, "{what} on the port for TLS");
    }
    // Half a handshake, and one that means nothing: closed, by an alert at most.
    for bytes in [HELLO.to_vec(), [HELLO, &[0; 600]].concat()] {
        assert!(exchange(port, &bytes).len() <= 7);
    }
    // Half handshakes that stay: their places are given back.
    let halves: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(HELLO).unwrap();
            stream
        })
        .collect();
    let mut admin = target.admin();
    let clients = |admin: &mut Client| admin.call(&["CLIENT", "LIST"]).unwrap().text().lines().count();
    target.wait_until("handshakes begin", || clients(&mut admin) > 200);
    target.wait_until("half handshakes are given up", || clients(&mut admin) == 1);
    drop(halves);
    target.assert_memory("no requests", 400, 0);
    target.assert_nothing_is_lost();
}

#[test]
fn requests_that_mean_nothing_get_one_clear_error() {
    let _alone = alone();
    let target = Target::start("");
    let mut client = target.admin();
    let deep = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let objects = deep("{\"a\":", "}", 100_000);
    let nested = deep("[", "]", 100_000);
    let schema = format!("{{\"attributes\": {{\"custom:x\": {objects}}}}}");
    let parens = format!("{}username eq \"x\"{}", "(".repeat(1000), ")".repeat(1000));
    let nots = format!("{}username pr", "not ".repeat(900));
    let words: [(&str, Vec<&[u8]>, &[&str]); 17] = [
        ("deep JSON", vec![b"USER.CREATE", b"acme", b"JSON", objects.as_bytes()], &["INVALID", "LIMIT"]),
        ("deep arrays", vec![b"USER.CREATE", b"acme", b"JSON", nested.as_bytes()], &["INVALID", "LIMIT"]),
        ("deep schema", vec![b"POOL.CREATE", b"deep", b"SCHEMA", schema.as_bytes()], &["INVALID", "LIMIT"]),
        ("deep group", vec![b"GROUP.CREATE", b"acme", b"g", b"JSON", objects.as_bytes()], &["INVALID", "LIMIT"]),
        ("deep document", vec![b"POOL.CONFIG", b"acme", b"SET", b"x", nested.as_bytes()], &["INVALID", "LIMIT"]),
        ("parentheses", vec![b"USER.COUNT", b"acme", b"FILTER", parens.as_bytes()], &["INVALID", "LIMIT"]),
        ("nots", vec![b"USER.COUNT", b"acme", b"FILTER", nots.as_bytes()], &["INVALID", "LIMIT"]),
        ("a pool that is no UTF-8", vec![b"USER.GET", b"\xff\xfe", b"username=probe"], &["INVALID", "NOPOOL"]),
        ("a user that is no UTF-8", vec![b"USER.GET", b"acme", b"username=\xff"], &["INVALID"]),
        ("an attribute that is no UTF-8", vec![b"USER.GET", b"acme", b"username=probe", b"\xc3\x28"], &["INVALID"]),
        ("a value that is no UTF-8", vec![b"USER.SET", b"acme", b"username=probe", b"name", b"\xff"], &["INVALID"]),
        ("JSON that is no UTF-8", vec![b"USER.CREATE", b"acme", b"JSON", b"{\"name\":\"\xff\"}"], &["INVALID"]),
        ("a filter that is no UTF-8", vec![b"USER.COUNT", b"acme", b"FILTER", b"name eq \"\xff\""], &["INVALID"]),
        ("a command that is no UTF-8", vec![b"\xff\xfe"], &["ERR"]),
        ("half a surrogate", vec![b"USER.CREATE", b"acme", b"JSON", b"{\"name\":\"\\ud800\"}"], &["INVALID"]),
        ("a cursor that is none", vec![b"USER.LIST", b"acme", b"CURSOR", b"\xff\xff\xff"], &["INVALID", "EXPIRED"]),
        (
            "a hash that is none",
            vec![b"CRED.SET", b"acme", b"username=probe", b"HASH", b"$argon2id$\xff"],
            &["INVALID"],
        ),
    ];
    for (what, words, expected) in words {
        let reply = client.call(&words).unwrap_or_else(|error| panic!("{what} closed the connection: {error}"));
        let error = reply.error().unwrap_or_else(|| panic!("{what} was taken: {reply:?}"));
        let (word, sentence) = error.split_once(' ').unwrap_or_else(|| panic!("{what}: {error}"));
        assert!(expected.contains(&word), "{what}: {error}");
        assert!(sentence.len() > 8 && sentence.len() < 400 && !sentence.contains('\u{fffd}'), "{what}: {error}");
        assert_eq!(client.call(&["PING"]).unwrap(), Reply::Text("PONG".into()), "{what}");
    }
    for (what, bytes, expected) in [
        ("2^31 arguments", &b"*2147483648\r\n"[..], "LIMIT a request has more than 16384 arguments"),
        ("2^31 bytes", b"*2\r\n$4\r\nECHO\r\n$2147483648\r\n", "LIMIT an argument is longer than 1048576 bytes"),
        ("HTTP", HTTP, "ERR unknown command 'GET'"),
        ("quotes", b"ECHO \"x\r\n", "ERR Protocol error"),
    ] {
        let mut client = target.admin();
        client.send(bytes).unwrap();
        assert_eq!(client.read().unwrap().error(), Some(expected), "{what}");
        let rest = client.read();
        let is_last = |reply: &Reply| reply.error() == Some("ERR Protocol error");
        assert!(rest.as_ref().map_or(true, is_last) && client.has_ended(), "{what}: {rest:?}");
    }
    target.assert_memory("requests that mean nothing", 10, 0);
    target.assert_nothing_is_lost();
}
