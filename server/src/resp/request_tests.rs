use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { argument_bytes: 1024, arguments: 16, request_bytes: 4096, inline: true };

fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Reads all requests of `input`, which arrives in pieces of `piece` bytes.
fn read_all(input: &[u8], piece: usize, bounds: &Bounds) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
    let (mut parser, mut start, mut requests) = (Parser::default(), 0, Vec::new());
    for end in (0..=input.len()).step_by(piece.max(1)).chain([input.len()]) {
        while start < end {
            let Some(used) = parser.advance(&input[start..end], bounds)? else { break };
            let words = parser.words(&input[start..end]);
            requests.push(words.iter().map(<[u8]>::to_vec).collect());
            parser.begin();
            start += used;
        }
    }
    Ok(requests)
}

fn one(line: &str) -> Result<Vec<String>, ProtocolError> {
    let mut requests = read_all(line.as_bytes(), line.len(), &BOUNDS)?;
    Ok(requests.remove(0).into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
}

#[test]
fn an_array_of_bulk_strings() {
    let words = vec![b"PING".to_vec(), vec![], b"\r\n$1\r\n".to_vec()];
    assert_eq!(read_all(&encode(&words), 1, &BOUNDS).unwrap(), [words]);
}

#[test]
fn an_empty_array_is_no_words() {
    assert_eq!(read_all(b"*0\r\n*1\r\n$1\r\nx\r\n", 3, &BOUNDS).unwrap(), [vec![], vec![b"x".to_vec()]]);
}

#[test]
fn inline_words() {
    assert_eq!(one("  GET  a\r\n").unwrap(), ["GET", "a"]);
    assert_eq!(one("SET \"a b\\x21\\n\" 'it\\'s'\n").unwrap(), ["SET", "a b!\n", "it's"]);
    assert_eq!(one("\r\n").unwrap(), [""; 0]);
    assert_eq!(one("GET \"open\r\n"), Err(ProtocolError::Malformed));
    assert_eq!(one("GET \"a\"b\r\n"), Err(ProtocolError::Malformed));
}

#[test]
fn other_protocols_are_refused() {
    for foreign in ["POST / HTTP/1.1\r\n", "Host: localhost\r\n", "\x16\x03\x01\x02\x00", "$3\r\nfoo\r\n"] {
        assert_eq!(one(foreign), Err(ProtocolError::Malformed), "{foreign:?}");
    }
    let closed = Bounds { inline: false, ..BOUNDS };
    assert_eq!(read_all(b"PING\r\n", 6, &closed), Err(ProtocolError::Malformed));
}

#[test]
fn bounds_are_checked_before_the_bytes_arrive() {
    assert_eq!(one("*17\r\n"), Err(ProtocolError::TooManyArguments));
    assert_eq!(one("*99999999999999999999\r\n"), Err(ProtocolError::TooManyArguments));
    assert_eq!(one("*1\r\n$1025\r\n"), Err(ProtocolError::ArgumentTooLong));
    let tight = Bounds { request_bytes: 20, ..BOUNDS };
    assert_eq!(read_all(b"*2\r\n$4\r\nPING\r\n$9\r\n", 64, &tight), Err(ProtocolError::RequestTooLong));
    assert_eq!(read_all(&[b'x'; 21], 64, &tight), Err(ProtocolError::RequestTooLong));
}

#[test]
fn broken_framing_is_refused() {
    for broken in ["*-1\r\n", "*\r\n", "*1\n", "*1\r$", "*1\r\n+a\r\n", "*1\r\n$-1\r\n", "*1\r\n$1\r\nabc", "*1a\r\n"] {
        assert_eq!(one(broken), Err(ProtocolError::Malformed), "{broken:?}");
    }
    assert_eq!(one(&format!("*{}", "0".repeat(40))), Err(ProtocolError::Malformed));
}

proptest! {
    #[test]
    fn what_was_encoded_is_read_however_it_is_split(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8), 1..5),
        piece in 1usize..50,
    ) {
        let input: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        prop_assert_eq!(read_all(&input, piece, &BOUNDS).unwrap(), requests);
    }

    #[test]
    fn any_bytes_are_read_or_refused_the_same_however_they_are_split(
        input in prop::collection::vec(
            prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'"'), b'0'..=b'9', any::<u8>()], 0..200),
        piece in 1usize..20,
    ) {
        prop_assert_eq!(read_all(&input, piece, &BOUNDS), read_all(&input, input.len(), &BOUNDS));
    }

    #[test]
    fn an_owned_request_has_the_same_words(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..8)) {
        let input = encode(&words);
        let mut parser = Parser::default();
        parser.advance(&input, &BOUNDS).unwrap();
        let owned = parser.words(&input).to_owned();
        prop_assert_eq!(owned.words().iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), words);
    }
}
