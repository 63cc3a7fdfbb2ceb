//! Writes replies, RESP2 or RESP3, to the end of a buffer.
//!
//! Sent are only: simple strings, errors, integers, bulk strings, arrays, maps, booleans and null;
//! on RESP2 a map is a flat array, a boolean 1 or 0, and null the null bulk string.

/// Appends replies to a buffer.
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
}

impl<'a> Reply<'a> {
    /// Replies in RESP3, or else RESP2, at the end of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>, resp3: bool) -> Self {
        Self { out, resp3 }
    }

    /// An array of as many of `items` as fit in `bytes_max`, but at least one.
    pub(crate) fn array_within<T>(&mut self, items: &[T], bytes_max: usize, mut write: impl FnMut(&mut Reply<'_>, &T)) {
        let mut written = Vec::new();
        let mut count = 0;
        for item in items {
            let before = written.len();
            write(&mut Reply::new(&mut written, self.resp3), item);
            if count > 0 && written.len() > bytes_max {
                written.truncate(before);
                break;
            }
            count += 1;
        }
        self.array(count);
        self.raw(&written);
    }

    /// From now on in this protocol (HELLO answers in the protocol that it sets).
    pub(crate) fn switch(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// How long the buffer is.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written after the buffer had this length.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Puts what `write` writes before what was written after the buffer had this length.
    pub(crate) fn before(&mut self, len: usize, write: impl FnOnce(&mut Self)) {
        let end = self.out.len();
        write(self);
        self.out[len..].rotate_left(end - len);
    }

    /// Appends replies that were written elsewhere in the same protocol.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// `+text`; the text is one of the server's own.
    pub(crate) fn simple(&mut self, text: &'static str) {
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`
    pub(crate) fn ok(&mut self) {
        self.simple("OK");
    }

    /// `-WORD sentence`; line breaks cannot stand in it.
    pub(crate) fn error(&mut self, word: &str, sentence: &str) {
        self.out.push(b'-');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b' ');
        self.out.extend(sentence.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub(crate) fn integer(&mut self, number: i64) {
        self.out.push(b':');
        if number < 0 {
            self.out.push(b'-');
        }
        self.digits(number.unsigned_abs());
    }

    /// A count, version or Seq (below 2^53).
    pub(crate) fn count(&mut self, number: u64) {
        self.header(b':', number);
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    /// Null.
    pub(crate) fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A bulk string.
    pub(crate) fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        // Head, bytes and both line ends: room once.
        self.out.reserve(bytes.len() + 25);
        self.header(b'$', bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string, or null.
    pub(crate) fn bulk_or_null(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A count, or null.
    pub(crate) fn count_or_null(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.count(number),
            None => self.null(),
        }
    }

    /// The head of an array of `len` replies.
    pub(crate) fn array(&mut self, len: usize) {
        self.header(b'*', len as u64);
    }

    /// The head of a map of `len` pairs of replies.
    pub(crate) fn map(&mut self, len: usize) {
        if self.resp3 {
            self.header(b'%', len as u64);
        } else {
            self.header(b'*', len as u64 * 2);
        }
    }

    /// An array of bulk strings.
    pub(crate) fn bulks<T: AsRef<[u8]>>(&mut self, items: impl ExactSizeIterator<Item = T>) {
        self.array(items.len());
        for item in items {
            self.bulk(item);
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, number: u64) {
        match number {
            // Lengths mostly are small.
            0..10 => self.out.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']),
            10..100 => {
                let (tens, ones) = ((number / 10) as u8, (number % 10) as u8);
                self.out.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
            }
            _ => {
                self.out.push(kind);
                self.digits(number);
            }
        }
    }

    /// Decimal digits and the end of the line.
    fn digits(&mut self, mut number: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resp3: bool, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, resp3));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn both_protocols() {
        let all = |reply: &mut Reply<'_>| {
            reply.map(1);
            reply.bulk("k");
            reply.boolean(true);
            reply.null();
            reply.integer(i64::MIN);
            reply.count(u64::MAX);
            reply.array(0);
            reply.ok();
        };
        assert_eq!(
            written(true, all),
            "%1\r\n$1\r\nk\r\n#t\r\n_\r\n:-9223372036854775808\r\n:18446744073709551615\r\n*0\r\n+OK\r\n"
        );
        assert_eq!(
            written(false, all),
            "*2\r\n$1\r\nk\r\n:1\r\n$-1\r\n:-9223372036854775808\r\n:18446744073709551615\r\n*0\r\n+OK\r\n"
        );
    }

    #[test]
    fn what_goes_before_stands_before() {
        let all = |reply: &mut Reply<'_>| {
            reply.ok();
            let start = reply.len();
            reply.count(7);
            reply.before(start, |reply| reply.array(1));
        };
        assert_eq!(written(true, all), "+OK\r\n*1\r\n:7\r\n");
    }

    #[test]
    fn an_array_ends_where_its_bytes_do() {
        let within = |bytes_max| {
            written(true, |reply| reply.array_within(&[1, 22, 333], bytes_max, |reply, number| reply.count(*number)))
        };
        assert_eq!(within(0), "*1\r\n:1\r\n");
        assert_eq!(within(9), "*2\r\n:1\r\n:22\r\n");
        assert_eq!(within(100), "*3\r\n:1\r\n:22\r\n:333\r\n");
    }

    #[test]
    fn an_error_stays_on_its_line() {
        assert_eq!(written(false, |reply| reply.error("ERR", "a\r\n+OK")), "-ERR a  +OK\r\n");
    }
}
