//! Paths of rules as an operator writes them in the configuration.
//!
//! Two forms say the same: a string, `"/video/{id:^[0-9]+$}"`, and an array with one string for each
//! segment, `["video", "{id:^[0-9]+$}"]`.
//!
//! | segment | means |
//! |---|---|
//! | `logon` | exactly this text |
//! | `{id}` | a variable: one segment |
//! | `{id:^[0-9]+$}` | one segment in which the regular expression is found |
//! | `{z_language}` | one of the site's languages |
//! | `*` | at the end the rest of the path, elsewhere one segment |
//!
//! In literal text `%XX` is the byte `XX`, as in a URL: so every byte can be written, those included that
//! mean something here (`%7B` for `{`, `%2A` for `*`, `%2F` for a slash inside a segment, `%25` for `%`)
//! and those that are not UTF-8. A `+` is a plus. A lone `%` is refused rather than guessed at.
//!
//! The string form is read as targets are (one leading `/` removed, one last empty segment dropped): a rule
//! for `/a/` is the rule for `/a`. Braces in a regular expression nest there (`{id:^[0-9]{3}$}`) and may
//! hold `/`; a `\` keeps the brace after it from counting. One whose braces do not pair (`[^}]`) needs the
//! array form, where a segment ends where its string ends.

use std::fmt;

use super::rule::Element;

/// The most segments a written path may have: a target of the longest head has no more worth telling apart.
pub const SEGMENTS_MAX: usize = 256;

/// The variable that stands for one of the site's `languages`.
const LANGUAGE: &str = "z_language";

/// What is wrong with a written path, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Which segment, from 0; for the array form the index into it.
    pub segment: usize,
    /// Where the offending text starts: octets from the start of the string that was given (of the
    /// segment's own string in the array form). On a character boundary.
    pub offset: usize,
    /// How many octets it takes; 0 where something is missing.
    pub length: usize,
    pub wrong: WrongPath,
}

/// What can be wrong with a written path; displayed as what is wrong and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongPath {
    /// The string form does not start with `/`.
    NoLeadingSlash,
    /// A `/` inside a segment of the array form.
    SlashInSegment,
    /// `?` or `#`: a path ends before them.
    Query,
    /// A `%` without two hexadecimal digits.
    Percent,
    /// `{` without its `}`.
    Unclosed,
    /// The string form cannot tell where a regular expression with unpaired braces ends.
    Unpaired,
    /// `}` without its `{`.
    Unopened,
    /// Text beside a variable in one segment: `page-{id}`.
    PartlyVariable,
    /// Text beside a `*` in one segment: `*.css`.
    PartlyStar,
    /// `{}` or `{:…}`.
    NoName,
    /// A name with a character no name has: `{*}`, `{a/b}`, `{a{b}}`.
    Name,
    /// `{id:}`: a regular expression that says nothing.
    NoPattern,
    /// More than [`SEGMENTS_MAX`] segments.
    TooLong,
}

impl fmt::Display for WrongPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLeadingSlash => "a path starts with \"/\"; put one in front",
            Self::SlashInSegment => {
                "a segment holds no \"/\"; make it two segments, or write \"%2F\" for a slash inside one"
            }
            Self::Query => {
                "a path ends before \"?\" and \"#\"; leave the query out, or write \"%3F\" or \"%23\" for the character itself"
            }
            Self::Percent => "\"%\" wants two hexadecimal digits after it; write \"%25\" for a percent sign",
            Self::Unclosed => "\"{\" without its \"}\"; close it, or write \"%7B\" for a brace in the text",
            Self::Unpaired => {
                "the braces of this regular expression do not pair; write the path as an array, one string for each segment"
            }
            Self::Unopened => "\"}\" without its \"{\"; write \"%7D\" for a brace in the text",
            Self::PartlyVariable => {
                "a variable takes a whole segment; write a regular expression such as \"{page:^page-[0-9]+$}\""
            }
            Self::PartlyStar => {
                "\"*\" takes a whole segment; write a regular expression such as \"{file:[.]css$}\", or \"%2A\" for a star in the text"
            }
            Self::NoName => "a variable needs a name, such as \"{id}\"",
            Self::Name => {
                "a name holds none of \"{\", \"}\", \"/\", \"*\", \"%\" and no control character; choose another (\"*\" stands without braces)"
            }
            Self::NoPattern => "nothing after \":\"; write a regular expression, or \"{id}\" for any segment",
            Self::TooLong => "more than 256 segments; end the path with \"*\"",
        })
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wrong.fmt(f)
    }
}

impl std::error::Error for PathError {}

/// Reads the string form: `"/video/{id:^[0-9]+$}"`.
///
/// Regular expressions are taken as they stand; whether they compile is for who compiles the rule.
///
/// # Errors
/// The first thing wrong; offsets are octets into `path`.
pub fn parse_path(path: &str) -> Result<Vec<Element>, PathError> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(PathError { segment: 0, offset: 0, length: 0, wrong: WrongPath::NoLeadingSlash });
    };
    let mut elements = Vec::new();
    let mut start = 1;
    let mut remaining = rest;
    loop {
        let (end, paired) = segment_end(remaining);
        let (segment, after) = remaining.split_at(end);
        if after.is_empty() && segment.is_empty() {
            // The last empty segment, which targets drop too: "/a/" is "/a".
            return Ok(elements);
        }
        let placed =
            |error: PathError| PathError { segment: elements.len(), offset: start + error.offset, ..error };
        if elements.len() == SEGMENTS_MAX {
            return Err(placed(whole(segment, WrongPath::TooLong)));
        }
        let element = parse_segment(segment).map_err(placed)?;
        if !paired {
            return Err(placed(whole(segment, WrongPath::Unpaired)));
        }
        elements.push(element);
        match after.strip_prefix('/') {
            Some(after) => {
                start += end + 1;
                remaining = after;
            }
            None => return Ok(elements),
        }
    }
}

/// Reads the array form: one string for each segment.
///
/// # Errors
/// The first thing wrong; offsets are octets into the string of the segment that `segment` names.
pub fn parse_segments<S: AsRef<str>>(segments: &[S]) -> Result<Vec<Element>, PathError> {
    if let Some(extra) = segments.get(SEGMENTS_MAX) {
        return Err(PathError { segment: SEGMENTS_MAX, ..whole(extra.as_ref(), WrongPath::TooLong) });
    }
    let read = |(index, segment): (usize, &S)| {
        parse_segment(segment.as_ref()).map_err(|error| PathError { segment: index, ..error })
    };
    segments.iter().enumerate().map(read).collect()
}

/// Reads one segment; the `segment` of its error is 0.
///
/// # Errors
/// The first thing wrong.
pub fn parse_segment(segment: &str) -> Result<Element, PathError> {
    if segment == "*" {
        return Ok(Element::Rest);
    }
    if let Some(inside) = segment.strip_prefix('{') {
        let closed_early = || inside.split(':').next().is_some_and(|name| name.contains('}'));
        return match inside.strip_suffix('}') {
            Some(inside) if !inside.contains('}') || !closed_early() => parse_variable(inside),
            _ if inside.contains('}') => Err(whole(segment, WrongPath::PartlyVariable)),
            _ => Err(at(0, 1, WrongPath::Unclosed)),
        };
    }
    parse_literal(segment)
}

/// The inside of `{…}`.
fn parse_variable(inside: &str) -> Result<Element, PathError> {
    let (name, pattern) = match inside.split_once(':') {
        Some((name, pattern)) => (name, Some(pattern)),
        None => (inside, None),
    };
    if name.is_empty() {
        return Err(at(0, inside.len() + 2, WrongPath::NoName));
    }
    if let Some((offset, wrong)) = name.char_indices().find(|&(_, c)| !in_name(c)) {
        return Err(at(1 + offset, wrong.len_utf8(), WrongPath::Name));
    }
    match pattern {
        Some("") => Err(at(1 + name.len(), 1, WrongPath::NoPattern)),
        Some(pattern) => Ok(Element::Pattern { name: name.to_owned(), pattern: pattern.to_owned() }),
        None if name == LANGUAGE => Ok(Element::Language),
        None => Ok(Element::Variable(name.to_owned())),
    }
}

/// Names are keys in reports; what would make a path unreadable stays out of them.
fn in_name(c: char) -> bool {
    !matches!(c, '{' | '}' | '/' | '*' | '%' | ':') && !c.is_control()
}

fn parse_literal(text: &str) -> Result<Element, PathError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut octets = text.bytes().enumerate();
    while let Some((offset, octet)) = octets.next() {
        let wrong = match octet {
            b'%' => {
                let digits = text.as_bytes().get(offset + 1..offset + 3);
                if let Some(decoded) = digits.and_then(hexadecimal) {
                    bytes.push(decoded);
                    octets.nth(1);
                    continue;
                }
                WrongPath::Percent
            }
            b'/' => WrongPath::SlashInSegment,
            b'?' | b'#' => WrongPath::Query,
            b'{' if text.get(offset..).is_some_and(|rest| rest.contains('}')) => {
                return Err(whole(text, WrongPath::PartlyVariable));
            }
            b'{' => WrongPath::Unclosed,
            b'}' => WrongPath::Unopened,
            b'*' => WrongPath::PartlyStar,
            _ => {
                bytes.push(octet);
                continue;
            }
        };
        return Err(at(offset, 1, wrong));
    }
    Ok(Element::Literal(bytes))
}

/// Where the first segment of `text` ends, at a `/` outside braces or at the end of the text; and whether
/// its braces pair with the first as its end.
fn segment_end(text: &str) -> (usize, bool) {
    // Braces open a variable only at the start of a segment; elsewhere they are a mistake that should not
    // swallow the rest of the path.
    if !text.starts_with('{') {
        return (text.find('/').unwrap_or(text.len()), true);
    }
    let mut depth = 0_usize;
    let mut closed = None;
    let mut octets = text.bytes().enumerate();
    while let Some((offset, octet)) = octets.next() {
        match octet {
            b'/' if depth == 0 => return (offset, closed == Some(offset)),
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && closed.is_none() {
                    closed = Some(offset + 1);
                }
            }
            b'\\' if depth > 0 => {
                octets.next();
            }
            _ => {}
        }
    }
    (text.len(), depth == 0 && closed == Some(text.len()))
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    match digits {
        [high, low] => u8::try_from(value(*high)? * 16 + value(*low)?).ok(),
        _ => None,
    }
}

fn at(offset: usize, length: usize, wrong: WrongPath) -> PathError {
    PathError { segment: 0, offset, length, wrong }
}

fn whole(segment: &str, wrong: WrongPath) -> PathError {
    at(0, segment.len(), wrong)
}

/// A path in the form that reads best and is read back as the same elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Path(String),
    Segments(Vec<String>),
}

/// Writes a path. `None`: no form says it, which only happens with names [`WrongPath::Name`] refuses, with
/// regular expressions that are empty, and with paths that are too long.
pub fn write(elements: &[Element]) -> Option<Written> {
    let segments: Vec<String> = elements.iter().map(write_segment).collect::<Option<_>>()?;
    let path = format!("/{}", segments.join("/"));
    // A last empty segment and braces that do not pair are lost in the string form. Asking the reader is
    // shorter than knowing, and stays true.
    if parse_path(&path).as_deref() == Ok(elements) {
        return Some(Written::Path(path));
    }
    let same = parse_segments(&segments).as_deref() == Ok(elements);
    same.then_some(Written::Segments(segments))
}

/// Writes one segment of the array form. `None`: see [`write`].
pub fn write_segment(element: &Element) -> Option<String> {
    let written = match element {
        Element::Literal(bytes) => write_literal(bytes),
        Element::Variable(name) => format!("{{{name}}}"),
        Element::Pattern { name, pattern } => format!("{{{name}:{pattern}}}"),
        Element::Language => format!("{{{LANGUAGE}}}"),
        Element::Rest => "*".to_owned(),
    };
    (parse_segment(&written).as_ref() == Ok(element)).then_some(written)
}

fn write_literal(bytes: &[u8]) -> String {
    let mut written = String::with_capacity(bytes.len());
    let escape = |written: &mut String, bytes: &[u8]| {
        for byte in bytes {
            written.push_str(&format!("%{byte:02X}"));
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || matches!(c, '%' | '/' | '?' | '#' | '{' | '}' | '*') {
                escape(&mut written, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                written.push(c);
            }
        }
        escape(&mut written, chunk.invalid());
    }
    written
}

#[cfg(test)]
mod tests;
