//! Parses a pattern into a tree: PCRE's syntax, bytes instead of characters.

use super::{PatternProblem, PatternProblemKind as Kind};

/// Deepest nesting of groups; parsing and compiling recurse this far.
const DEPTH_MAX: u32 = 50;
/// Highest bound of a repetition.
const REPEAT_MAX: u32 = 1000;

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes([u64; 4]);

impl Bytes {
    pub(super) fn contains(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn of(is: impl Fn(u8) -> bool) -> Bytes {
        let mut bytes = Bytes::default();
        (0..=255)
            .filter(|&byte| is(byte))
            .for_each(|byte| bytes.add(byte));
        bytes
    }

    fn union(self, other: Bytes) -> Bytes {
        Bytes(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    fn complement(self) -> Bytes {
        Bytes(self.0.map(|word| !word))
    }

    fn either_case(self) -> Bytes {
        Bytes::of(|byte| {
            self.contains(byte) || self.contains(lower(byte)) || self.contains(upper(byte))
        })
    }
}

// ISO 8859-1, the tables Erlang's `re` is built with.
pub(super) fn lower(byte: u8) -> u8 {
    if is_upper(byte) { byte + 32 } else { byte }
}

fn upper(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | 0xe0..=0xf6 | 0xf8..=0xfe => byte - 32,
        _ => byte,
    }
}

fn is_upper(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde)
}

fn is_lower(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | 0xaa | 0xb5 | 0xba | 0xdf..=0xf6 | 0xf8..=0xff)
}

fn is_alpha(byte: u8) -> bool {
    is_upper(byte) || is_lower(byte)
}

fn is_alnum(byte: u8) -> bool {
    is_alpha(byte) || byte.is_ascii_digit()
}

/// A byte of a word: what `\w` takes and `\b` looks for.
pub(super) fn is_word(byte: u8) -> bool {
    is_alnum(byte) || byte == b'_'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

fn is_horizontal(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ' | 0xa0)
}

fn is_vertical(byte: u8) -> bool {
    matches!(byte, b'\n'..=b'\r' | 0x85)
}

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
            return Err(PatternProblem {
                start: reference.start,
                end: reference.end,
                kind: Kind::Reference,
            });
        }
    }
    Ok(Syntax {
        tree,
        is_regular: parser.is_regular,
        groups: parser.groups,
    })
}

#[derive(Clone, Copy, Default)]
struct Options {
    either_case: bool,
    lines: bool,
    dot_takes_all: bool,
    spaced: bool,
    swap_greed: bool,
}

struct Used {
    group: u32,
    start: usize,
    end: usize,
}

struct Parser<'a> {
    pattern: &'a [u8],
    at: usize,
    options: Options,
    groups: u32,
    /// Groups in the whole pattern: `\10` is a reference only if there are ten.
    groups_total: u32,
    depth: u32,
    names: Vec<(&'a [u8], u32)>,
    is_regular: bool,
    references: Vec<Used>,
}

type Parsed<T> = Result<T, PatternProblem>;

impl<'a> Parser<'a> {
    fn problem(&self, start: usize, kind: Kind) -> PatternProblem {
        PatternProblem {
            start,
            end: self.at.max(start + 1).min(self.pattern.len().max(start)),
            kind,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, text: &[u8]) -> bool {
        let found = self.pattern[self.at..].starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// The text up to `end`, which is eaten too.
    fn until(&mut self, end: &[u8], kind: Kind) -> Parsed<&'a [u8]> {
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
        Ok(if branches.len() == 1 {
            branches.remove(0)
        } else {
            Tree::Either(branches)
        })
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
                        items.push(if index + 1 == text.len() {
                            self.repeated(item)?
                        } else {
                            item
                        });
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

    fn literal(&self, byte: u8) -> Tree {
        let mut bytes = Bytes::default();
        bytes.add(byte);
        Tree::Set(if self.options.either_case {
            bytes.either_case()
        } else {
            bytes
        })
    }

    /// One thing; None for what stands for nothing, such as `(?i)` and comments.
    fn item(&mut self) -> Parsed<Option<Tree>> {
        let start = self.at;
        Ok(Some(match self.take() {
            Some(b'^') => Tree::Look(if self.options.lines {
                Look::LineStart
            } else {
                Look::Start
            }),
            Some(b'$') => Tree::Look(if self.options.lines {
                Look::LineEnd
            } else {
                Look::End
            }),
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
                    std::str::from_utf8(digits)
                        .ok()?
                        .parse()
                        .ok()
                        .filter(|&number| number <= REPEAT_MAX)
                };
                let bounds = match memchr::memchr(b',', text) {
                    None => number(text).map(|exact| (exact, Some(exact))),
                    Some(comma) if comma + 1 == text.len() => {
                        number(&text[..comma]).map(|min| (min, None))
                    }
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
        Ok(Tree::Repeat {
            tree: Box::new(tree),
            min,
            max,
            greed,
        })
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
        for (sign, ahead, negative) in [
            (&b"="[..], true, false),
            (b"!", true, true),
            (b"<=", false, false),
            (b"<!", false, true),
        ] {
            if self.eat(sign) {
                self.is_regular = false;
                let tree = Box::new(self.rest_of_group(start)?);
                return Ok(Some(Tree::Around {
                    tree,
                    ahead,
                    negative,
                }));
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
                if name.is_empty()
                    || name[0].is_ascii_digit()
                    || !name.iter().all(|&byte| is_word(byte))
                {
                    return Err(self.problem(start, Kind::Group));
                }
                self.names.push((name, self.groups + 1));
                return self.capturing(start).map(Some);
            }
        }
        if matches!(
            self.peek(),
            Some(b'|' | b'(' | b'R' | b'C' | b'&' | b'+' | b'0'..=b'9')
        ) || self.eat(b"P>")
            || self
                .pattern
                .get(self.at + 1)
                .is_some_and(u8::is_ascii_digit)
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
        if self.eat(b")") {
            Ok(tree)
        } else {
            Err(self.problem(start, Kind::Parenthesis))
        }
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

    /// After a backslash, outside classes.
    fn escape(&mut self, start: usize) -> Parsed<Tree> {
        let Some(byte) = self.peek() else {
            return Err(self.problem(start, Kind::Escape));
        };
        if let Some(set) = self.class_escape() {
            return Ok(Tree::Set(set));
        }
        self.at += 1;
        Ok(match byte {
            b'b' => Tree::Look(Look::WordBoundary),
            b'B' => Tree::Look(Look::NoWordBoundary),
            // \G: where the search began, which is always the start.
            b'A' | b'G' => Tree::Look(Look::Start),
            b'Z' | b'z' => Tree::Look(Look::End),
            b'N' if self.peek() != Some(b'{') => Tree::Set(Bytes::of(|byte| byte != b'\n')),
            b'C' => Tree::Set(Bytes::of(|_| true)),
            // \K moves the start of what was found; whether it is found stays.
            b'K' => Tree::Empty,
            b'R' => {
                self.is_regular = false;
                let pair = Tree::Sequence(
                    [b'\r', b'\n']
                        .map(|byte| Tree::Set(Bytes::of(|b| b == byte)))
                        .into(),
                );
                Tree::Atomic(Box::new(Tree::Either(vec![
                    pair,
                    Tree::Set(Bytes::of(is_vertical)),
                ])))
            }
            b'k' => {
                let close = match self.take() {
                    Some(b'<') => b">",
                    Some(b'{') => b"}",
                    Some(b'\'') => b"'",
                    _ => return Err(self.problem(start, Kind::Escape)),
                };
                let name = self.until(close, Kind::Escape)?;
                self.reference_by_name(name, start)?
            }
            b'g' => self.reference_by_g(start)?,
            b'1'..=b'9' => {
                let digits = self.pattern[self.at - 1..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                let text = &self.pattern[self.at - 1..self.at - 1 + digits];
                let number = decimal(text).unwrap_or(u32::MAX);
                if number < 10 || number <= self.groups_total {
                    self.at += digits - 1;
                    self.reference(number, start)
                } else {
                    self.at -= 1;
                    let byte = self.byte_escape(start)?;
                    self.literal(byte)
                }
            }
            b'p' | b'P' | b'X' | b'N' => return Err(self.problem(start, Kind::Unsupported)),
            _ => {
                self.at -= 1;
                let byte = self.byte_escape(start)?;
                self.literal(byte)
            }
        })
    }

    fn reference(&mut self, group: u32, start: usize) -> Tree {
        self.is_regular = false;
        self.references.push(Used {
            group,
            start,
            end: self.at,
        });
        Tree::Reference(group, self.options.either_case)
    }

    fn reference_by_name(&mut self, name: &[u8], start: usize) -> Parsed<Tree> {
        match self.names.iter().find(|(known, _)| *known == name) {
            Some(&(_, group)) => Ok(self.reference(group, start)),
            None => Err(self.problem(start, Kind::Reference)),
        }
    }

    /// `\g1`, `\g{1}`, `\g{-1}`, `\g{name}`.
    fn reference_by_g(&mut self, start: usize) -> Parsed<Tree> {
        let text = if self.eat(b"{") {
            self.until(b"}", Kind::Escape)?
        } else {
            let rest = &self.pattern[self.at..];
            let sign = usize::from(rest.first() == Some(&b'-'));
            let digits = rest[sign..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            self.at += sign + digits;
            &rest[..sign + digits]
        };
        if let Some(back) = text.strip_prefix(b"-").and_then(decimal) {
            let group = (self.groups + 1).checked_sub(back).filter(|_| back > 0);
            return match group {
                Some(group) => Ok(self.reference(group, start)),
                None => Err(self.problem(start, Kind::Reference)),
            };
        }
        match decimal(text) {
            Some(group) => Ok(self.reference(group, start)),
            None if text.is_empty() => Err(self.problem(start, Kind::Escape)),
            None => self.reference_by_name(text, start),
        }
    }

    /// `\d` and its like, in and outside classes.
    fn class_escape(&mut self) -> Option<Bytes> {
        let set = match self.peek()? {
            b'd' | b'D' => Bytes::of(|byte| byte.is_ascii_digit()),
            b'w' | b'W' => Bytes::of(is_word),
            b's' | b'S' => Bytes::of(is_space),
            b'h' | b'H' => Bytes::of(is_horizontal),
            b'v' | b'V' => Bytes::of(is_vertical),
            _ => return None,
        };
        let negative = self
            .take()
            .is_some_and(|letter| letter.is_ascii_uppercase());
        Some(if negative { set.complement() } else { set })
    }

    /// An escape that stands for one byte.
    fn byte_escape(&mut self, start: usize) -> Parsed<u8> {
        let escape = Kind::Escape;
        Ok(match self.take() {
            Some(b'a') => 0x07,
            Some(b'e') => 0x1b,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'c') => match self.take() {
                Some(byte) if byte.is_ascii() => byte.to_ascii_uppercase() ^ 0x40,
                _ => return Err(self.problem(start, escape)),
            },
            Some(b'x') if self.eat(b"{") => {
                let text = self.until(b"}", escape)?;
                return self.number(text, 16, start);
            }
            Some(b'x') => {
                let rest = &self.pattern[self.at..];
                let digits = rest
                    .iter()
                    .take(2)
                    .take_while(|byte| byte.is_ascii_hexdigit())
                    .count();
                self.at += digits;
                return if digits == 0 {
                    Ok(0)
                } else {
                    self.number(&rest[..digits], 16, start)
                };
            }
            Some(b'o') if self.eat(b"{") => {
                let text = self.until(b"}", escape)?;
                return self.number(text, 8, start);
            }
            Some(b'0'..=b'7') => {
                let rest = &self.pattern[self.at - 1..];
                let digits = 1 + rest[1..]
                    .iter()
                    .take(2)
                    .take_while(|byte| matches!(byte, b'0'..=b'7'))
                    .count();
                self.at += digits - 1;
                return self.number(&rest[..digits], 8, start);
            }
            Some(byte) if byte.is_ascii_alphanumeric() => return Err(self.problem(start, escape)),
            Some(byte) => byte,
            None => return Err(self.problem(start, escape)),
        })
    }

    fn number(&self, digits: &[u8], radix: u32, start: usize) -> Parsed<u8> {
        std::str::from_utf8(digits)
            .ok()
            .filter(|text| !text.starts_with('+'))
            .and_then(|text| u8::from_str_radix(text, radix).ok())
            .ok_or_else(|| self.problem(start, Kind::Escape))
    }

    /// After `[`.
    fn class(&mut self, start: usize) -> Parsed<Bytes> {
        let negative = self.eat(b"^");
        let mut set = Bytes::default();
        let mut first = true;
        loop {
            let at = self.at;
            let low = match self.peek() {
                None => return Err(self.problem(start, Kind::Bracket)),
                Some(b']') if !first => {
                    self.at += 1;
                    break;
                }
                Some(_) => self.class_item()?,
            };
            first = false;
            let low = match low {
                Item::Nothing => continue,
                Item::Set(bytes) => {
                    set = set.union(bytes);
                    continue;
                }
                Item::Byte(byte) => byte,
            };
            // `-` before `]` or a class is itself.
            if self.peek() == Some(b'-')
                && !matches!(self.pattern.get(self.at + 1), None | Some(b']'))
            {
                let dash = self.at;
                self.at += 1;
                match self.class_item()? {
                    Item::Byte(high) if high >= low => {
                        set = set.union(Bytes::of(|byte| (low..=high).contains(&byte)));
                        continue;
                    }
                    Item::Byte(_) => return Err(self.problem(at, Kind::Range)),
                    Item::Set(bytes) => {
                        set = set.union(bytes);
                        set.add(b'-');
                    }
                    Item::Nothing => self.at = dash,
                }
                if self.at == dash {
                    self.at += 1;
                    set.add(b'-');
                }
            }
            set.add(low);
        }
        if self.options.either_case {
            set = set.either_case();
        }
        Ok(if negative { set.complement() } else { set })
    }

    fn class_item(&mut self) -> Parsed<Item> {
        let start = self.at;
        if self.eat(b"\\Q") || self.eat(b"\\E") {
            // Quoting inside a class is rare enough to be refused rather than misread.
            return if self.pattern[start..self.at] == *b"\\E" {
                Ok(Item::Nothing)
            } else {
                Err(self.problem(start, Kind::Unsupported))
            };
        }
        match self.take() {
            Some(b'[') if matches!(self.peek(), Some(b':' | b'.' | b'=')) => self.posix(start),
            Some(b'\\') => {
                if let Some(set) = self.class_escape() {
                    return Ok(Item::Set(set));
                }
                if self.eat(b"b") {
                    return Ok(Item::Byte(0x08));
                }
                if matches!(self.peek(), Some(b'p' | b'P' | b'N' | b'X' | b'R')) {
                    return Err(self.problem(start, Kind::Unsupported));
                }
                self.byte_escape(start).map(Item::Byte)
            }
            Some(byte) => Ok(Item::Byte(byte)),
            None => Err(self.problem(start, Kind::Bracket)),
        }
    }

    /// `[:name:]`, of which `[` is eaten; a `[` without such an end is itself.
    fn posix(&mut self, start: usize) -> Parsed<Item> {
        let sign = self.peek().unwrap_or(b':');
        let rest = &self.pattern[self.at + 1..];
        let name_length = rest
            .iter()
            .take_while(|&&byte| byte.is_ascii_alphabetic() || byte == b'^')
            .count();
        let (name, after) = rest.split_at(name_length);
        if !after.starts_with(&[sign, b']']) {
            return Ok(Item::Byte(b'['));
        }
        self.at += 1 + name_length + 2;
        if sign != b':' {
            return Err(self.problem(start, Kind::Unsupported));
        }
        let (negative, name) = match name.strip_prefix(b"^") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let graphic = |byte: u8| byte.is_ascii_graphic() || byte >= 0xa1;
        let set = match name {
            b"alpha" => Bytes::of(is_alpha),
            b"lower" => Bytes::of(is_lower),
            b"upper" => Bytes::of(is_upper),
            b"alnum" => Bytes::of(is_alnum),
            b"digit" => Bytes::of(|byte| byte.is_ascii_digit()),
            b"xdigit" => Bytes::of(|byte| byte.is_ascii_hexdigit()),
            b"ascii" => Bytes::of(|byte| byte.is_ascii()),
            b"blank" => Bytes::of(|byte| matches!(byte, b' ' | b'\t')),
            b"cntrl" => Bytes::of(|byte| byte < b' ' || (0x7f..0xa0).contains(&byte)),
            b"graph" => Bytes::of(graphic),
            b"print" => Bytes::of(|byte| graphic(byte) || byte == b' ' || byte == 0xa0),
            b"punct" => Bytes::of(|byte| graphic(byte) && !is_alnum(byte)),
            b"space" => Bytes::of(is_space),
            b"word" => Bytes::of(is_word),
            _ => return Err(self.problem(start, Kind::ClassName)),
        };
        Ok(Item::Set(if negative { set.complement() } else { set }))
    }
}

enum Item {
    Nothing,
    Byte(u8),
    Set(Bytes),
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
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
                let named = [&b"(?P<"[..], b"(?'"]
                    .iter()
                    .any(|open| pattern[at..].starts_with(open));
                let angle = pattern[at..].starts_with(b"(?<")
                    && !matches!(pattern.get(at + 3), Some(b'=' | b'!'));
                groups += u32::from(named || angle);
            }
            _ => {}
        }
        at += 1;
    }
    groups
}
