//! Parses a pattern into a tree: PCRE's syntax, bytes instead of characters.

use super::bytes::{Bytes, is_space, is_word};
use super::{PatternProblem, PatternProblemKind as Kind};

/// Deepest nesting of groups; parsing and compiling recurse this far.
const DEPTH_MAX: u32 = 50;
/// Highest bound of a repetition.
const REPEAT_MAX: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Start,
    End,
    LineStart,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Empty,
    Set(Bytes),
    Look(Look),
    /// A group that captures, with its number from 1.
    Group(u32, Box<Tree>),
    Sequence(Vec<Tree>),
    Either(Vec<Tree>),
    Repeat {
        tree: Box<Tree>,
        min: u32,
        max: Option<u32>,
        greed: Greed,
    },
    Around {
        tree: Box<Tree>,
        ahead: bool,
        negative: bool,
    },
    Atomic(Box<Tree>),
    /// The text group `.0` matched; either case when `.1`.
    Reference(u32, bool),
}

/// A parsed pattern.
pub(super) struct Syntax {
    pub(super) tree: Tree,
    /// An automaton can run it.
    pub(super) is_regular: bool,
    /// How many groups capture.
    pub(super) groups: u32,
}

pub(super) fn parse(pattern: &[u8]) -> Result<Syntax, PatternProblem> {
    let mut parser = Parser {
        pattern,
        at: 0,
        options: Options::default(),
        groups: 0,
        groups_total: count_groups(pattern),
        depth: 0,
        names: Vec::new(),
        is_regular: true,
        references: Vec::new(),
    };
    let tree = parser.either()?;
    if parser.at < pattern.len() {
        return Err(parser.problem(parser.at, Kind::Parenthesis));
    }
    for reference in &parser.references {
        if reference.group == 0 || reference.group > parser.groups {
            return Err(PatternProblem { start: reference.start, end: reference.end, kind: Kind::Reference });
        }
    }
    Ok(Syntax { tree, is_regular: parser.is_regular, groups: parser.groups })
}

/// What `(?i)` and its like set.
#[derive(Clone, Copy, Default)]
pub(super) struct Options {
    pub(super) either_case: bool,
    pub(super) lines: bool,
    pub(super) dot_takes_all: bool,
    pub(super) spaced: bool,
    pub(super) swap_greed: bool,
}

/// A reference as written: checked once all groups are known.
pub(super) struct Used {
    pub(super) group: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Parses from left to right; groups in this file, [escapes](super::escape) and [classes](super::class) in theirs.
pub(super) struct Parser<'a> {
    pub(super) pattern: &'a [u8],
    pub(super) at: usize,
    pub(super) options: Options,
    pub(super) groups: u32,
    /// Groups in the whole pattern: `\10` is a reference only if there are ten.
    pub(super) groups_total: u32,
    pub(super) depth: u32,
    pub(super) names: Vec<(&'a [u8], u32)>,
    pub(super) is_regular: bool,
    pub(super) references: Vec<Used>,
}

pub(super) type Parsed<T> = Result<T, PatternProblem>;

impl<'a> Parser<'a> {
    pub(super) fn problem(&self, start: usize, kind: Kind) -> PatternProblem {
        PatternProblem { start, end: self.at.max(start + 1).min(self.pattern.len().max(start)), kind }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    pub(super) fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn eat(&mut self, text: &[u8]) -> bool {
        let found = self.pattern[self.at..].starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// The text up to `end`, which is eaten too.
    pub(super) fn until(&mut self, end: &[u8], kind: Kind) -> Parsed<&'a [u8]> {
        let start = self.at;
        match memchr::memmem::find(&self.pattern[start..], end) {
            Some(length) => {
                self.at = start + length + end.len();
                Ok(&self.pattern[start..start + length])
            }
            None => Err(self.problem(start, kind)),
        }
    }

    fn either(&mut self) -> Parsed<Tree> {
        let outside = self.options;
        let mut branches = vec![self.sequence()?];
        while self.eat(b"|") {
            branches.push(self.sequence()?);
        }
        self.options = outside;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Tree::Either(branches) })
    }

    fn sequence(&mut self) -> Parsed<Tree> {
        let mut items = Vec::new();
        loop {
            if self.options.spaced {
                self.skip_space();
            }
            let start = self.at;
            let item = match self.peek() {
                None | Some(b'|' | b')') => break,
                Some(b'\\') if self.eat(b"\\Q") => {
                    let text = self.quoted();
                    for (index, &byte) in text.iter().enumerate() {
                        let item = self.literal(byte);
                        // Only the last byte of a quoted text is repeated by what follows.
                        items.push(if index + 1 == text.len() { self.repeated(item)? } else { item });
                    }
                    continue;
                }
                Some(b'\\') if self.eat(b"\\E") => continue,
                Some(b'*' | b'+' | b'?') => return Err(self.problem(start, Kind::NothingToRepeat)),
                Some(b'{') if self.bounds_follow() => {
                    return Err(self.problem(start, Kind::NothingToRepeat));
                }
                Some(_) => self.item()?,
            };
            let Some(item) = item else { continue };
            items.push(self.repeated(item)?);
        }
        Ok(match items.len() {
            0 => Tree::Empty,
            1 => items.remove(0),
            _ => Tree::Sequence(items),
        })
    }

    fn skip_space(&mut self) {
        while let Some(byte) = self.peek() {
            if is_space(byte) {
                self.at += 1;
            } else if byte == b'#' {
                let rest = &self.pattern[self.at..];
                self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            } else {
                break;
            }
        }
    }

    fn quoted(&mut self) -> &'a [u8] {
        let rest = &self.pattern[self.at..];
        let (text, past) = match memchr::memmem::find(rest, b"\\E") {
            Some(end) => (&rest[..end], end + 2),
            None => (rest, rest.len()),
        };
        self.at += past;
        text
    }

    pub(super) fn literal(&self, byte: u8) -> Tree {
        let mut bytes = Bytes::default();
        bytes.add(byte);
        Tree::Set(if self.options.either_case { bytes.either_case() } else { bytes })
    }

    /// One thing; None for what stands for nothing, such as `(?i)` and comments.
    fn item(&mut self) -> Parsed<Option<Tree>> {
        let start = self.at;
        Ok(Some(match self.take() {
            Some(b'^') => Tree::Look(if self.options.lines { Look::LineStart } else { Look::Start }),
            Some(b'$') => Tree::Look(if self.options.lines { Look::LineEnd } else { Look::End }),
            Some(b'.') if self.options.dot_takes_all => Tree::Set(Bytes::of(|_| true)),
            Some(b'.') => Tree::Set(Bytes::of(|byte| byte != b'\n')),
            Some(b'[') => Tree::Set(self.class(start)?),
            Some(b'(') => return self.group(start),
            Some(b'\\') => return self.escape(start).map(Some),
            Some(byte) => self.literal(byte),
            None => Tree::Empty,
        }))
    }

    /// What follows an item: nothing, or one repetition.
    fn repeated(&mut self, tree: Tree) -> Parsed<Tree> {
        if self.options.spaced {
            self.skip_space();
        }
        let bounds_at = self.at;
        let (min, max) = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') if self.bounds_follow() => {
                self.at += 1;
                let text = self.until(b"}", Kind::RepeatBounds)?;
                let number = |digits: &[u8]| -> Option<u32> {
                    std::str::from_utf8(digits).ok()?.parse().ok().filter(|&number| number <= REPEAT_MAX)
                };
                let bounds = match memchr::memchr(b',', text) {
                    None => number(text).map(|exact| (exact, Some(exact))),
                    Some(comma) if comma + 1 == text.len() => number(&text[..comma]).map(|min| (min, None)),
                    Some(comma) => number(&text[..comma]).zip(number(&text[comma + 1..]).map(Some)),
                };
                self.at -= 1;
                match bounds {
                    Some((min, max)) if max.is_none_or(|max| max >= min) => (min, max),
                    _ => return Err(self.problem(bounds_at, Kind::RepeatBounds)),
                }
            }
            _ => return Ok(tree),
        };
        self.at += 1;
        let greed = match self.peek() {
            Some(b'?') if self.options.swap_greed => Greed::Greedy,
            Some(b'?') => Greed::Lazy,
            Some(b'+') => Greed::Possessive,
            _ if self.options.swap_greed => Greed::Lazy,
            _ => Greed::Greedy,
        };
        if matches!(self.peek(), Some(b'?' | b'+')) {
            self.at += 1;
        }
        self.is_regular &= greed != Greed::Possessive;
        Ok(Tree::Repeat { tree: Box::new(tree), min, max, greed })
    }

    /// `{` begins a repetition only as `{n}`, `{n,}` or `{n,m}`; else it is itself.
    fn bounds_follow(&self) -> bool {
        let rest = self.pattern.get(self.at + 1..).unwrap_or_default();
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let first = digits(rest);
        if first == 0 {
            return false;
        }
        match rest.get(first) {
            Some(b'}') => true,
            Some(b',') => {
                let second = digits(&rest[first + 1..]);
                rest.get(first + 1 + second) == Some(&b'}')
            }
            _ => false,
        }
    }

    fn group(&mut self, start: usize) -> Parsed<Option<Tree>> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.problem(start, Kind::Depth));
        }
        let tree = self.group_inside(start)?;
        self.depth -= 1;
        Ok(tree)
    }

    fn group_inside(&mut self, start: usize) -> Parsed<Option<Tree>> {
        if self.peek() == Some(b'*') {
            return Err(self.problem(start, Kind::Unsupported));
        }
        if !self.eat(b"?") {
            return self.capturing(start).map(Some);
        }
        if self.eat(b"#") {
            self.until(b")", Kind::Parenthesis)?;
            return Ok(None);
        }
        if self.eat(b":") {
            return self.rest_of_group(start).map(Some);
        }
        for (sign, ahead, negative) in
            [(&b"="[..], true, false), (b"!", true, true), (b"<=", false, false), (b"<!", false, true)]
        {
            if self.eat(sign) {
                self.is_regular = false;
                let tree = Box::new(self.rest_of_group(start)?);
                return Ok(Some(Tree::Around { tree, ahead, negative }));
            }
        }
        if self.eat(b">") {
            self.is_regular = false;
            return Ok(Some(Tree::Atomic(Box::new(self.rest_of_group(start)?))));
        }
        if self.eat(b"P=") {
            let name = self.until(b")", Kind::Parenthesis)?;
            return self.reference_by_name(name, start).map(Some);
        }
        for (open, close) in [(&b"P<"[..], &b">"[..]), (b"<", b">"), (b"'", b"'")] {
            if self.eat(open) {
                let name = self.until(close, Kind::Group)?;
                if name.is_empty() || name[0].is_ascii_digit() || !name.iter().all(|&byte| is_word(byte)) {
                    return Err(self.problem(start, Kind::Group));
                }
                self.names.push((name, self.groups + 1));
                return self.capturing(start).map(Some);
            }
        }
        if matches!(self.peek(), Some(b'|' | b'(' | b'R' | b'C' | b'&' | b'+' | b'0'..=b'9'))
            || self.eat(b"P>")
            || self.pattern.get(self.at + 1).is_some_and(u8::is_ascii_digit)
        {
            return Err(self.problem(start, Kind::Unsupported));
        }
        self.options(start)
    }

    fn capturing(&mut self, start: usize) -> Parsed<Tree> {
        self.groups += 1;
        let number = self.groups;
        Ok(Tree::Group(number, Box::new(self.rest_of_group(start)?)))
    }

    fn rest_of_group(&mut self, start: usize) -> Parsed<Tree> {
        let tree = self.either()?;
        if self.eat(b")") { Ok(tree) } else { Err(self.problem(start, Kind::Parenthesis)) }
    }

    /// `(?i)`, which holds to the end of the group around it, or `(?i:…)`.
    fn options(&mut self, start: usize) -> Parsed<Option<Tree>> {
        let mut options = self.options;
        let mut on = true;
        loop {
            match self.take() {
                Some(b'i') => options.either_case = on,
                Some(b'm') => options.lines = on,
                Some(b's') => options.dot_takes_all = on,
                Some(b'x') => options.spaced = on,
                Some(b'U') => options.swap_greed = on,
                Some(b'-') if on => on = false,
                Some(b')') => {
                    self.options = options;
                    return Ok(None);
                }
                Some(b':') => {
                    let outside = std::mem::replace(&mut self.options, options);
                    let tree = self.rest_of_group(start)?;
                    self.options = outside;
                    return Ok(Some(tree));
                }
                Some(b'J') => return Err(self.problem(start, Kind::Unsupported)),
                _ => return Err(self.problem(start, Kind::Group)),
            }
        }
    }
}

/// Capturing groups in the whole pattern; a guess that only decides what `\10` means.
fn count_groups(pattern: &[u8]) -> u32 {
    let mut groups = 0;
    let mut in_class = false;
    let mut at = 0;
    while let Some(&byte) = pattern.get(at) {
        let next = pattern.get(at + 1);
        match byte {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' if !in_class && next != Some(&b'?') && next != Some(&b'*') => groups += 1,
            b'(' if !in_class => {
                let named = [&b"(?P<"[..], b"(?'"].iter().any(|open| pattern[at..].starts_with(open));
                let angle =
                    pattern[at..].starts_with(b"(?<") && !matches!(pattern.get(at + 3), Some(b'=' | b'!'));
                groups += u32::from(named || angle);
            }
            _ => {}
        }
        at += 1;
    }
    groups
}
