//! Where a head ends, found while it arrives; each byte is looked at once.

use memchr::memchr;

use super::flaw::{BadRequest, BadResponse, Flaw};
use crate::http::Limits;
use crate::http::field::is_token_byte;

/// The longest method; the registry's longest has 17 letters.
pub(super) const METHOD_BYTES_MAX: usize = 32;
/// Empty lines skipped before a request line (RFC 9112 §2.2): old clients send one after a body.
const EMPTY_LINES_MAX: u8 = 4;
/// The longest status line; reason phrases are decoration.
const STATUS_LINE_BYTES_MAX: usize = 1024;

/// Remembers how far a head was searched for its end, so that one that comes byte by byte costs no more than one that
/// comes at once. One for each message: make a new one, or [`HeadScan::reset`], when the next begins.
///
/// It also refuses as early as it can: a first byte that begins no request, a first line that is no request line, a
/// line that does not end with CRLF, a head that is past its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    // start <= line <= scanned <= length of all bytes seen
    /// Where the start line begins, past empty lines.
    start: usize,
    /// Where the line begins that is being read.
    line: usize,
    /// No line feed is before this and at or after `line`.
    scanned: usize,
    empty_lines: u8,
}

enum Kind {
    Request,
    Response,
}

/// Where a whole head stands in the bytes that were scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSpan {
    /// The first byte of the start line.
    pub start: usize,
    /// The first byte after the empty line: what the head takes out of the buffer.
    pub end: usize,
}

impl HeadScan {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Looks at what is new in `bytes`, which begins where it began the last time. `None`: the head goes on.
    ///
    /// # Errors
    /// [`BadRequest`]: no bytes to come can mend it.
    pub fn request(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<HeadSpan>, BadRequest> {
        self.scan(bytes, limits, &Kind::Request)
    }

    /// The same for the head of a response.
    ///
    /// # Errors
    /// [`BadResponse`]: no bytes to come can mend it.
    pub fn response(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<HeadSpan>, BadResponse> {
        self.scan(bytes, limits, &Kind::Response).map_err(|bad| match bad {
            BadRequest::Flaw(flaw) => BadResponse::Flaw(flaw),
            _ => BadResponse::StatusLine,
        })
    }

    fn scan(&mut self, bytes: &[u8], limits: &Limits, kind: &Kind) -> Result<Option<HeadSpan>, BadRequest> {
        loop {
            let unseen = bytes.get(self.scanned..).unwrap_or(&[]);
            let Some(found) = memchr(b'\n', unseen) else {
                self.scanned = bytes.len();
                return self.unfinished(bytes, limits, kind).map(|()| None);
            };
            let line_feed = self.scanned + found;
            let Some(line) = bytes.get(self.line..line_feed).and_then(|line| line.strip_suffix(b"\r")) else {
                return Err(Flaw::BareLineFeed.into());
            };
            let next = line_feed + 1;
            if self.line == self.start {
                if line.is_empty() {
                    self.empty_lines += 1;
                    if matches!(kind, Kind::Response) || self.empty_lines > EMPTY_LINES_MAX {
                        return Err(BadRequest::RequestLine);
                    }
                    self.start = next;
                } else {
                    first_line(line, limits, kind)?;
                }
            } else if line.is_empty() {
                if next - self.start > limits.head_bytes_max {
                    return Err(Flaw::HeadTooLarge.into());
                }
                return Ok(Some(HeadSpan { start: self.start, end: next }));
            }
            self.line = next;
            self.scanned = next;
        }
    }

    /// Judges a head that has no end yet.
    fn unfinished(&self, bytes: &[u8], limits: &Limits, kind: &Kind) -> Result<(), BadRequest> {
        let head = bytes.get(self.start..).unwrap_or(&[]);
        if self.line == self.start
            && let Some(&first) = head.first()
        {
            let empty_line_begins = head == b"\r";
            if !is_token_byte(first) && !empty_line_begins {
                return Err(BadRequest::RequestLine);
            }
            if head.len() > first_line_bytes_max(limits, kind) {
                return Err(first_line_too_long(kind));
            }
        }
        // A head of this many bytes and no end is longer when it ends.
        if head.len() >= limits.head_bytes_max { Err(Flaw::HeadTooLarge.into()) } else { Ok(()) }
    }
}

/// Method, target, version, two spaces and the CR.
fn first_line_bytes_max(limits: &Limits, kind: &Kind) -> usize {
    match kind {
        Kind::Request => limits.target_bytes_max.saturating_add(METHOD_BYTES_MAX + " HTTP/1.1 \r".len()),
        Kind::Response => STATUS_LINE_BYTES_MAX,
    }
}

fn first_line_too_long(kind: &Kind) -> BadRequest {
    match kind {
        Kind::Request => BadRequest::TargetTooLong,
        Kind::Response => Flaw::HeadTooLarge.into(),
    }
}

/// Refuses a first line at once, for one that is not HTTP/1.1 may never come to an empty line (HTTP/0.9 does not).
fn first_line(line: &[u8], limits: &Limits, kind: &Kind) -> Result<(), BadRequest> {
    if line.len() >= first_line_bytes_max(limits, kind) {
        return Err(first_line_too_long(kind));
    }
    if !line.first().is_some_and(|&first| is_token_byte(first)) {
        return Err(BadRequest::RequestLine);
    }
    if matches!(kind, Kind::Response) || line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") {
        return Ok(());
    }
    if line == b"PRI * HTTP/2.0" {
        return Err(BadRequest::Http2Preface);
    }
    let last = line.rsplit(|&byte| byte == b' ').next().unwrap_or(&[]);
    let named = last.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/"));
    Err(if named { BadRequest::Version } else { BadRequest::RequestLine })
}

/// What `httparse` balked at, in our words. Off the usual path, so that it may search again.
pub(super) fn flaw_of(head: &[u8], error: httparse::Error) -> Option<Flaw> {
    use httparse::Error;
    let follows = |byte: u8, accept: fn(Option<&u8>) -> bool| {
        memchr::memchr_iter(byte, head).any(|at| accept(head.get(at + 1)))
    };
    match error {
        Error::TooManyHeaders => Some(Flaw::TooManyFields),
        _ if follows(b'\r', |next| next != Some(&b'\n')) => Some(Flaw::BareCarriageReturn),
        Error::HeaderName if follows(b'\n', |next| matches!(next, Some(b' ' | b'\t'))) => {
            Some(Flaw::FoldedLine)
        }
        Error::HeaderName => Some(Flaw::FieldName),
        Error::HeaderValue => Some(Flaw::FieldValue),
        Error::NewLine | Error::Status | Error::Token | Error::Version => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { head_bytes_max: 64, headers_max: 4, target_bytes_max: 16 };

    fn by_byte(bytes: &[u8]) -> Result<Option<HeadSpan>, BadRequest> {
        let mut scan = HeadScan::new();
        for end in 0..bytes.len() {
            if let Some(span) = scan.request(&bytes[..end], &LIMITS)? {
                return Ok(Some(span));
            }
        }
        scan.request(bytes, &LIMITS)
    }

    #[test]
    fn finds_the_same_end_at_once_and_byte_by_byte() {
        let span = |start, end| Ok(Some(HeadSpan { start, end }));
        for (text, expected) in [
            ("", Ok(None)),
            ("GET / HTTP/1.1\r\n", Ok(None)),
            ("GET / HTTP/1.1\r\n\r\n", span(0, 18)),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\nrest", span(0, 24)),
            ("\r\n\r\nGET / HTTP/1.0\r\n\r\n", span(4, 22)),
            ("\r\n\r\n\r\n\r\n\r\n", Err(BadRequest::RequestLine)),
            ("\n", Err(BadRequest::Flaw(Flaw::BareLineFeed))),
            ("GET / HTTP/1.1\n", Err(BadRequest::Flaw(Flaw::BareLineFeed))),
            ("GET / HTTP/1.1\r\nA: b\n", Err(BadRequest::Flaw(Flaw::BareLineFeed))),
            ("GET / HTTP/1.1\r\n\n", Err(BadRequest::Flaw(Flaw::BareLineFeed))),
            ("GET /\r\n", Err(BadRequest::RequestLine)),
            ("GET / HTTP/1.2\r\n", Err(BadRequest::Version)),
            ("GET / http/1.1\r\n", Err(BadRequest::Version)),
            ("PRI * HTTP/2.0\r\n", Err(BadRequest::Http2Preface)),
            ("\u{16}\u{3}\u{1}", Err(BadRequest::RequestLine)),
            (" GET / HTTP/1.1\r\n\r\n", Err(BadRequest::RequestLine)),
        ] {
            assert_eq!(HeadScan::new().request(text.as_bytes(), &LIMITS), expected, "{text:?}");
            assert_eq!(by_byte(text.as_bytes()), expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn limits_hold_exactly() {
        let head = |length: usize| {
            let mut text = b"GET / HTTP/1.1\r\nA: ".to_vec();
            text.resize(length - 4, b'x');
            text.extend_from_slice(b"\r\n\r\n");
            text
        };
        assert_eq!(by_byte(&head(64)), Ok(Some(HeadSpan { start: 0, end: 64 })));
        let too_large = Err(BadRequest::Flaw(Flaw::HeadTooLarge));
        assert_eq!(by_byte(&head(65)), too_large);
        assert_eq!(HeadScan::new().request(&head(65), &LIMITS), too_large);
        assert_eq!(HeadScan::new().request(&head(65)[..64], &LIMITS), too_large);
        assert_eq!(HeadScan::new().request(&head(64)[..63], &LIMITS), Ok(None));
        let long = [b'x'; 16 + METHOD_BYTES_MAX + 12];
        assert_eq!(HeadScan::new().request(&long, &LIMITS), Err(BadRequest::TargetTooLong));
    }

    #[test]
    fn a_large_head_byte_by_byte_is_looked_at_once() {
        let limits = Limits { headers_max: 256, ..Limits::default() };
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        while head.len() < limits.head_bytes_max - 200 {
            head.extend_from_slice(b"Name: ");
            head.extend_from_slice(&[b'v'; 150]);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let mut scan = HeadScan::new();
        let mut looked_at = 0;
        for end in 1..=head.len() {
            let before = scan.scanned;
            scan.request(&head[..end], &limits).unwrap();
            looked_at += end - before;
        }
        assert_eq!(looked_at, head.len());
    }
}
