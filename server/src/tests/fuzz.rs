//! Bytes from strangers: requests, cursors of names, objects in arguments; and the settings, from an operator.

use std::collections::HashSet;

use stoa_engine::PageRequest;
use stoa_format::Seq;
use stoa_fuzz::{Random, Seen, Target};

use crate::config::ServerConfig;
use crate::names::NameLists;
use crate::resp::{Bounds, Parser, ProtocolError};

const BOUNDS: Bounds = Bounds { argument_bytes: 1024, arguments: 16, request_bytes: 4096, inline: true };

type Requests = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>, usize);

/// Reads requests as a connection does, whose bytes come in pieces of these lengths; answers them, why reading stopped
/// and how many bytes are left of one that has begun.
fn requests(input: &[u8], bounds: &Bounds, mut piece: impl FnMut() -> usize) -> Requests {
    let (mut parser, mut requests, mut start, mut end) = (Parser::default(), Vec::new(), 0, 0);
    loop {
        match parser.advance(&input[start..end], bounds) {
            Ok(Some(length)) => {
                let words = parser.words(&input[start..end]);
                assert!(words.len() <= bounds.arguments, "more words than are taken");
                assert!(words.iter().all(|word| word.len() <= bounds.argument_bytes), "a longer word than is taken");
                assert_eq!(words.size_bytes(), words.iter().map(<[u8]>::len).sum::<usize>());
                assert!(length > 0 && length <= end - start, "a request longer than its bytes");
                requests.push(words.iter().map(<[u8]>::to_vec).collect());
                parser.begin();
                start += length;
            }
            Ok(None) if end == input.len() => return (requests, None, end - start),
            Ok(None) => end = (end + piece().max(1)).min(input.len()),
            Err(error) => return (requests, Some(error), 0),
        }
    }
}

fn array_of(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn resp(input: &[u8], seen: &mut Seen) {
    for bounds in [BOUNDS, Bounds { argument_bytes: 20, arguments: 3, request_bytes: 64, inline: false }] {
        let whole = requests(input, &bounds, || usize::MAX);
        let mut random = Random::new(input.len() as u64);
        assert!(requests(input, &bounds, || 1) == whole, "other requests byte by byte");
        assert!(requests(input, &bounds, || random.below(9)) == whole, "other requests in pieces");
        seen.note((bounds.inline, whole.1.map(|error| error as u8)));
        seen.count("requests", whole.0.len());
        seen.count("words", whole.0.iter().map(Vec::len).max().unwrap_or(0));
        for words in &whole.0 {
            let unbounded = Bounds { request_bytes: usize::MAX, ..bounds };
            let (again, error, _) = requests(&array_of(words), &unbounded, || usize::MAX);
            assert!(error.is_none() && again == [words.clone()], "words that cannot be sent as an array");
        }
    }
}

#[test]
fn fuzz_resp() {
    let seeds: [&[u8]; 9] = [
        b"*1\r\n$4\r\nPING\r\n",
        b"*4\r\n$8\r\nUSER.GET\r\n$4\r\nacme\r\n$12\r\nusername=ana\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
        b"PING\r\nUSER.GET acme username=ana\n",
        b"USER.CREATE acme username \"a \\x41\\n\\\"b\" email 'it\\'s'\r\n",
        b"*0\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n",
        b"\r\n\r\nPING\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"*2147483648\r\n$18446744073709551616\r\n",
    ];
    let tokens = [
        "\r\n",
        "*1\r\n",
        "*16\r\n",
        "$0\r\n",
        "$4\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "$1024\r\n",
        "\"",
        "'",
        "\\x4",
        "post ",
    ];
    Target::new("resp", resp).seeds(seeds).tokens(&tokens).memory(64, 64 << 10).longest(6000).explore();
}

#[test]
fn fuzz_cursor_of_names() {
    let lists = NameLists::new(None).expect("random bytes");
    let page = |of: &str, actor: &str, cursor: Option<&str>| {
        let request = PageRequest { limit: 2, cursor, actor, max_bytes: 1 << 20, min_seq: None, state: None };
        lists.page(of, &request, || (Seq(7), ["a", "b", "c", "d", "e"].map(Into::into).to_vec()))
    };
    let (mut cursors, mut next) = (HashSet::new(), page("POOL.LIST", "ops", None).expect("a page").cursor);
    while let Some(cursor) = next {
        next = page("POOL.LIST", "ops", Some(&cursor)).expect("a page").cursor;
        cursors.insert(cursor);
    }
    let run = |bytes: &[u8], seen: &mut Seen| {
        let Ok(cursor) = std::str::from_utf8(bytes) else { return };
        for (of, actor) in [("POOL.LIST", "ops"), ("POOL.LIST", "eve"), ("POOL.CONFIG acme", "ops")] {
            let may = (of, actor) == ("POOL.LIST", "ops") && cursors.contains(cursor);
            match page(of, actor, Some(cursor)) {
                Ok(_) => assert!(may, "a changed cursor works"),
                Err(refusal) => assert!(!may && refusal.word() == "INVALID", "{}", refusal.sentence()),
            }
        }
        seen.count("length", cursor.len());
    };
    let tokens = ["=", "-", "_", "AAAA"];
    Target::new("cursor_of_names", run).seeds(cursors.iter().map(String::as_bytes)).tokens(&tokens).explore();
}

#[test]
fn fuzz_config() {
    let seeds = [
        "",
        "listen = [\"127.0.0.1:7862\"]\n[limits]\nbuffers_bytes = 1000\nrequest_ms = 60000\n",
        "[store]\nreserve_bytes = 67108864\nerase_within_ms = 86400000\n[hashing]\nthreads = 2\n",
        "[tls]\nlisten = [\"[::1]:7863\"]\ncert = \"a\"\nkey = \"b\"\n",
    ];
    let tokens = [
        "[limits]",
        "[store]",
        "[hashing]",
        "[tls]",
        "[argon2]",
        "= -1",
        "= 1e9",
        "= true",
        "= [[",
        "= \"\"\"",
        "= 0x7fffffffffffffff",
    ];
    let run = |bytes: &[u8], seen: &mut Seen| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match ServerConfig::parse(text) {
            Ok(config) => seen.note(config.check().is_ok()),
            Err(error) => seen.message(&error.to_string()),
        }
    };
    Target::new("config", run).seeds(seeds).tokens(&tokens).memory(2000, 256 << 10).longest(2000).explore();
}
