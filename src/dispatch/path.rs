//! The reading of a target: its segments, as the matcher and the site server's dispatcher see them.
//!
//! Up to `?` or `#`; one leading `/` goes; split at `/`; a `..` takes away the segment before it;
//! then each segment that holds a `%` is decoded; a last empty segment goes. The order matters:
//! `..` is looked for before decoding, so `%2e%2e` is a segment like any other.

use super::marks::{Marks, PIECE_BYTES};

/// Longest target read, in bytes: offsets are 16 bits wide. The head of a request is shorter.
pub const TARGET_BYTES_MAX: usize = u16::MAX as usize;

/// Segments kept while matching; those beyond are counted. A rule has fewer elements
/// ([`super::RULE_ELEMENTS_MAX`]), so no rule can tell 64 segments from more of them.
pub(super) const SEGMENTS_KEPT: usize = 64;

/// Why a target is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadTarget {
    /// No leading slash, or a space or control byte in the path or the query.
    Form,
    TooLong,
}

/// Bytes of the target that make up one segment, still encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The span's segment of the target it was read from.
    #[inline]
    pub(super) fn of(self, target: &[u8], escaped: bool) -> Segment<'_> {
        Segment {
            raw: target.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default(),
            escaped,
        }
    }
}

/// Where segments go while `..` may still take them away again.
pub(super) trait Stack {
    fn depth(&self) -> usize;
    fn push(&mut self, span: Span, escaped: bool);
    fn pop(&mut self);
}

/// Room for the segments of one target, on the stack of the thread.
pub(super) struct Room([Span; SEGMENTS_KEPT]);

impl Room {
    #[inline(always)]
    pub(super) fn new() -> Room {
        Room([Span::default(); SEGMENTS_KEPT])
    }
}

/// The first segments; those beyond [`SEGMENTS_KEPT`] are counted only.
struct Kept<'r> {
    room: &'r mut Room,
    /// Bit i: segment i is kept and holds a `%`.
    escaped: u64,
    depth: usize,
}

impl Stack for Kept<'_> {
    #[inline(always)]
    fn depth(&self) -> usize {
        self.depth
    }

    #[inline(always)]
    fn push(&mut self, span: Span, escaped: bool) {
        if let Some(place) = self.room.0.get_mut(self.depth) {
            *place = span;
            self.escaped |= u64::from(escaped) << self.depth;
        }
        self.depth += 1;
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth < SEGMENTS_KEPT {
            self.escaped &= !(1 << self.depth);
        }
    }
}

impl Stack for Vec<(Span, bool)> {
    fn depth(&self) -> usize {
        self.len()
    }

    fn push(&mut self, span: Span, escaped: bool) {
        Vec::push(self, (span, escaped));
    }

    fn pop(&mut self) {
        Vec::pop(self);
    }
}

/// One segment: encoded bytes, and whether reading them means decoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
}

impl<'a> Segment<'a> {
    /// The segment as rules see it: `%XX` is its byte, `+` a space, a malformed escape itself;
    /// without a `%` in the segment every byte is itself.
    pub(super) fn decoded(self) -> Decoded<'a> {
        Decoded { left: self.raw, escaped: self.escaped }
    }

    pub(super) fn equals(self, bytes: &[u8]) -> bool {
        if self.escaped { self.decoded().eq(bytes.iter().copied()) } else { self.raw == bytes }
    }

    /// The decoded bytes when there are at most `buffer.len()` of them.
    pub(super) fn decode_into<'b>(self, buffer: &'b mut [u8]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        if !self.escaped {
            return (self.raw.len() <= buffer.len()).then_some(self.raw);
        }
        let mut length = 0;
        for byte in self.decoded() {
            *buffer.get_mut(length)? = byte;
            length += 1;
        }
        Some(&buffer[..length])
    }
}

/// Decodes on the fly: comparing and matching need no memory, however long the segment.
#[derive(Clone, Debug)]
pub(super) struct Decoded<'a> {
    left: &'a [u8],
    escaped: bool,
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.left.split_first()?;
        self.left = rest;
        if !self.escaped {
            return Some(first);
        }
        match first {
            b'%' => {
                if let [high, low, rest @ ..] = rest
                    && let (Some(high), Some(low)) = (hex(*high), hex(*low))
                {
                    self.left = rest;
                    return Some(high << 4 | low);
                }
                Some(b'%')
            }
            b'+' => Some(b' '),
            byte => Some(byte),
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The segments of a target as far as rules can tell them apart. Borrows the target.
pub(super) struct Reading<'a> {
    target: &'a [u8],
    /// The segments rules see, at most [`SEGMENTS_KEPT`].
    spans: &'a [Span],
    /// Bit i: segment i of them holds a `%`.
    escaped: u64,
    /// How many more there are.
    beyond: usize,
    prefix_cut: bool,
}

impl<'a> Reading<'a> {
    /// Reads the path and looks over the query. Allocates nothing.
    ///
    /// A leading segment that `is_prefix` says is a language is cut when more follows: of `/en/` and `/en/x`, not of
    /// `/en`.
    #[inline(always)]
    pub(super) fn new(
        target: &'a [u8],
        room: &'a mut Room,
        is_prefix: impl FnOnce(Segment<'a>) -> bool,
    ) -> Result<Reading<'a>, BadTarget> {
        let mut kept = Kept { room, escaped: 0, depth: 0 };
        scan(target, &mut kept)?;
        // The target ends in a slash, or nothing is left of it: what a site server calls a directory. Exact for at
        // most SEGMENTS_KEPT segments, which is when anything depends on it.
        let is_dir = match kept.depth.checked_sub(1) {
            None => true,
            Some(last) => kept.room.0.get(last).is_some_and(|span| span.is_empty()),
        };
        if is_dir {
            kept.pop();
        }
        let Kept { room, escaped, depth } = kept;
        let spans = &room.0[..depth.min(SEGMENTS_KEPT)];
        let mut reading = Reading { target, spans, escaped, beyond: depth - spans.len(), prefix_cut: false };
        if let Some((first, rest)) = spans.split_first()
            && (is_dir || !rest.is_empty())
            && is_prefix(first.of(target, escaped & 1 == 1))
        {
            (reading.spans, reading.escaped, reading.prefix_cut) = (rest, escaped >> 1, true);
        }
        Ok(reading)
    }

    /// How many segments rules see; more than [`SEGMENTS_KEPT`] are only counted.
    pub(super) fn count(&self) -> usize {
        self.spans.len() + self.beyond
    }

    /// The segment, if there is one and it was kept.
    #[inline]
    pub(super) fn segment(&self, index: usize) -> Option<Segment<'a>> {
        let span = self.spans.get(index)?;
        Some(span.of(self.target, self.escaped >> index & 1 == 1))
    }

    pub(super) fn prefix_cut(&self) -> bool {
        self.prefix_cut
    }
}

/// Every segment of a target, and whether it [ends in a slash](is_dir). Allocates: for showing, not
/// for deciding.
pub(super) fn all_segments(target: &[u8]) -> Result<(Vec<Segment<'_>>, bool), BadTarget> {
    let mut spans: Vec<(Span, bool)> = Vec::new();
    scan(target, &mut spans)?;
    let is_dir = spans.last().is_none_or(|(span, _)| span.is_empty());
    if is_dir {
        spans.pop();
    }
    let segments = spans.into_iter().map(|(span, escaped)| span.of(target, escaped)).collect();
    Ok((segments, is_dir))
}

/// Whether a target ends in a slash once read, or nothing is left of it. `false` for what is no target.
pub fn is_dir(target: &[u8]) -> bool {
    all_segments(target).is_ok_and(|(_, is_dir)| is_dir)
}

/// Splits the path and lets `..` take segments away; checks every byte of the target.
///
/// `..` without a segment before it stays, and is itself taken away by a second one: the pair
/// `X, ".."` is deleted whatever X is, leftmost first, which is what a stack does.
#[inline(always)]
pub(super) fn scan(target: &[u8], stack: &mut impl Stack) -> Result<(), BadTarget> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(BadTarget::TooLong);
    }
    if target.first() != Some(&b'/') {
        return Err(BadTarget::Form);
    }
    let mut start = 1;
    let mut escaped = false;
    let mut end = None;
    for (number, piece) in target.chunks(PIECE_BYTES).enumerate() {
        let base = number * PIECE_BYTES;
        let marks = Marks::of(piece);
        // In the query too: what follows the path goes into `Location` as it is.
        if marks.unfit != 0 {
            return Err(BadTarget::Form);
        }
        if end.is_some() {
            continue;
        }
        // All bits below the first end.
        let path = marks.end.wrapping_sub(1) & !marks.end;
        let mut percents = marks.percent & path;
        // The slash in front closes nothing.
        let mut slashes = marks.slash & path & !u64::from(base == 0);
        while slashes != 0 {
            let before = slashes.wrapping_sub(1) & !slashes;
            let at = base + slashes.trailing_zeros() as usize;
            close(target, start, at, escaped | (percents & before != 0), stack);
            start = at + 1;
            escaped = false;
            percents &= !before;
            slashes &= slashes - 1;
        }
        escaped |= percents != 0;
        if marks.end != 0 {
            end = Some(base + marks.end.trailing_zeros() as usize);
        }
    }
    close(target, start, end.unwrap_or(target.len()), escaped, stack);
    Ok(())
}

#[inline(always)]
fn close(target: &[u8], start: usize, end: usize, escaped: bool, stack: &mut impl Stack) {
    if end - start == 2 && target.get(start..end) == Some(b"..") && stack.depth() > 0 {
        stack.pop();
        return;
    }
    // Both are at most TARGET_BYTES_MAX.
    stack.push(Span { start: start as u16, end: end as u16 }, escaped);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(target: &'a str, room: &'a mut Room) -> Result<Reading<'a>, BadTarget> {
        Reading::new(target.as_bytes(), room, |_| false)
    }

    /// Both readings, which must agree on what is kept.
    fn segments(target: &str) -> (Vec<String>, bool) {
        let (all, is_dir) = all_segments(target.as_bytes()).expect("a target");
        let mut room = Room::new();
        let reading = read(target, &mut room).expect("a target");
        let decode = |segment: Segment<'_>| {
            String::from_utf8_lossy(&segment.decoded().collect::<Vec<_>>()).into_owned()
        };
        let all: Vec<String> = all.into_iter().map(decode).collect();
        if all.len() < SEGMENTS_KEPT {
            assert_eq!(reading.count(), all.len(), "{target}");
        } else {
            assert!(reading.count() + 1 >= SEGMENTS_KEPT);
        }
        for (index, text) in all.iter().enumerate().take(SEGMENTS_KEPT) {
            assert_eq!(reading.segment(index).map(decode).as_ref(), Some(text), "{target}");
        }
        (all, is_dir)
    }

    #[test]
    fn reads_as_the_dispatcher_does() {
        let cases: &[(&str, &[&str], bool)] = &[
            ("/", &[], true),
            ("//", &[""], true),
            ("/a", &["a"], false),
            ("/a/", &["a"], true),
            ("/a//", &["a", ""], true),
            ("/a/b?c/d#e", &["a", "b"], false),
            ("/a#b/c", &["a"], false),
            ("/?x", &[], true),
            ("/a/..", &[], true),
            ("/a/../", &[], true),
            ("/..", &[".."], false),
            ("/../..", &[], true),
            ("/../a", &["..", "a"], false),
            ("/../../a", &["a"], false),
            ("/../../../a", &["..", "a"], false),
            ("/a/b/../../c", &["c"], false),
            ("/a/../../c", &["..", "c"], false),
            ("/a//..", &["a"], false),
            ("/./a/.", &[".", "a", "."], false),
            ("/%2e%2e/a", &["..", "a"], false),
            ("/a/%2e%2e", &["a", ".."], false),
            ("/a%2Fb/c", &["a/b", "c"], false),
            ("/a+b", &["a+b"], false),
            ("/a+b%20c", &["a b c"], false),
            ("/%zz+%", &["%zz %"], false),
            ("/%4", &["%4"], false),
            ("/%%41", &["%A"], false),
            ("/...", &["..."], false),
        ];
        for (target, expected, is_dir) in cases {
            assert_eq!(
                segments(target),
                (expected.iter().map(|s| s.to_string()).collect(), *is_dir),
                "{target}"
            );
        }
    }

    #[test]
    fn keeps_count_beyond_what_it_keeps() {
        for count in [62, 63, 64, 65, 66, 1000] {
            let deep = "/x".repeat(count);
            segments(&deep);
            segments(&format!("{deep}/"));
            // All but one taken away again: what comes back from beyond is right.
            assert_eq!(segments(&format!("{deep}{}/y", "/..".repeat(count - 1))).0, ["x", "y"]);
        }
    }

    #[test]
    fn refuses_what_must_not_reach_a_location() {
        for target in [
            "",
            "x",
            "*",
            "http://a/",
            "/a b",
            "/a\r\nb",
            "/\0",
            "/\x7f",
            "/a?b c",
            "/a?\n",
            "/#\t",
            "/?\x7f",
        ] {
            assert_eq!(read(target, &mut Room::new()).err(), Some(BadTarget::Form), "{target:?}");
        }
        assert_eq!(read(&"/x".repeat(32768), &mut Room::new()).err(), Some(BadTarget::TooLong));
        assert!(read(&"/x".repeat(32768)[..65535], &mut Room::new()).is_ok());
        assert!(read("/caf\u{e9}?\u{e9}", &mut Room::new()).is_ok());
    }

    #[test]
    fn cuts_a_language_only_when_more_follows() {
        for (target, cut, count) in [
            ("/en", false, 1),
            ("/en/", true, 0),
            ("/en/x", true, 1),
            ("/e%6e/x", true, 1),
            ("/nl/x", false, 2),
            ("/en/x/..", false, 1),
            ("/", false, 0),
        ] {
            let mut room = Room::new();
            let reading = Reading::new(target.as_bytes(), &mut room, |segment| segment.equals(b"en"))
                .expect("a target");
            assert_eq!((reading.prefix_cut(), reading.count()), (cut, count), "{target}");
        }
    }
}
