//! The target as the matcher read it, written out again: what `path_reading = "normalized"` forwards.

use super::path::{BadTarget, Segment, Span, Stack, scan};

/// Appends a target that reads the same as this one and leaves nothing to read differently: `..` is applied,
/// escapes are the necessary ones in capitals, segments that are dots after all are `%2E`,
/// `+` that stood for a space is `%20`, a fragment is gone. Empty segments and a slash at the end stay; so does the query.
///
/// Returns false and appends nothing when it is no target: no slash in front, or a space or
/// control byte in it. Allocates nothing besides `out`, which grows by at most three times the target.
pub fn write_normalized(target: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut writer = Writer { target, out, start, depth: 0 };
    if let Err(BadTarget::Form | BadTarget::TooLong) = scan(target, &mut writer) {
        out.truncate(start);
        return false;
    }
    if out.len() == start {
        out.push(b'/');
    }
    let end = memchr::memchr(b'#', target).unwrap_or(target.len());
    if let Some(query) = memchr::memchr(b'?', &target[..end]) {
        out.extend_from_slice(&target[query..end]);
    }
    true
}

/// Segments go out as they come; the last one can be taken back, since none holds a slash.
struct Writer<'a> {
    target: &'a [u8],
    out: &'a mut Vec<u8>,
    /// Where the path begins in `out`.
    start: usize,
    depth: usize,
}

impl Stack for Writer<'_> {
    fn depth(&self) -> usize {
        self.depth
    }

    fn push(&mut self, span: Span, escaped: bool) {
        self.depth += 1;
        self.out.push(b'/');
        write_segment(span.of(self.target, escaped), self.out);
    }

    fn pop(&mut self) {
        self.depth -= 1;
        let slash = memchr::memrchr(b'/', &self.out[self.start..]).unwrap_or(0);
        self.out.truncate(self.start + slash);
    }
}

fn write_segment(segment: Segment<'_>, out: &mut Vec<u8>) {
    let dots = segment.equals(b".") || segment.equals(b"..");
    // Without an escape `+` is itself, with one it would be a space.
    let as_it_is = !dots && segment.decoded().all(|byte| byte == b'+' || stays(byte));
    for byte in segment.decoded() {
        let plain = !dots && stays(byte) || as_it_is;
        if plain {
            out.push(byte);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// The bytes of a segment that need no escape (`pchar`, RFC 3986 §3.3), `+` apart.
fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_was_read() {
        for (target, expected) in [
            ("/", "/"),
            ("//", "//"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a"),
            ("/a/../../b", "/%2E%2E/b"),
            ("/a/%2e%2e/b", "/a/%2E%2E/b"),
            ("/./a", "/%2E/a"),
            ("/%61%2fb", "/a%2Fb"),
            ("/a+b", "/a+b"),
            ("/a+b%20c", "/a%20b%20c"),
            ("/a%2Bb", "/a+b"),
            ("/a%2B%20", "/a%2B%20"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/%zz", "/%25zz"),
            ("/a|b\\c", "/a%7Cb%5Cc"),
            ("/a//b?x=%61/../#y", "/a//b?x=%61/../"),
            ("/a#b?c", "/a"),
        ] {
            let mut out = b"GET ".to_vec();
            assert!(write_normalized(target.as_bytes(), &mut out), "{target}");
            assert_eq!(String::from_utf8_lossy(&out), format!("GET {expected}"), "{target}");
        }
        let mut out = b"GET ".to_vec();
        for target in ["", "a", "*", "/a b", "/a\n", "/a/b?\r"] {
            assert!(!write_normalized(target.as_bytes(), &mut out), "{target:?}");
            assert_eq!(out, b"GET ");
        }
    }
}
