//! The configuration as typed: every key and value with its place, nothing decided yet.
//!
//! The TOML crate parses; its tree keeps keys in alphabetical order, this one in the order of the file, so
//! that problems come in that order, and holds flags of the command line in the same form.

use std::path::Path;
use std::sync::Arc;

use memchr::memmem;
use toml::de::{DeTable, DeValue};

use crate::dispatch::Place;

/// A stretch of a source: `start <= end`, octets, both on character boundaries of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub source: usize,
    pub start: usize,
    pub end: usize,
}

/// The text that something was read from.
#[derive(Debug)]
pub(super) struct Text {
    /// The file, or the flag.
    pub name: Arc<Path>,
    pub text: String,
    pub is_flag: bool,
    /// Lines (from 1) the parser could not read: what else is said about them is a consequence.
    pub broken_lines: Vec<u32>,
    // Where each line starts; the first at 0.
    lines: Vec<usize>,
}

impl Text {
    pub(super) fn new(name: Arc<Path>, text: String, is_flag: bool) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after).collect();
        Self { name, text, is_flag, broken_lines: Vec::new(), lines }
    }

    /// Line from 1 and where it starts.
    fn line_start(&self, at: usize) -> (u32, usize) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        (u32::try_from(line).unwrap_or(u32::MAX), self.lines.get(line - 1).copied().unwrap_or(0))
    }

    pub(super) fn line(&self, at: usize) -> u32 {
        self.line_start(at).0
    }

    /// A flag has line 0 and column 0.
    pub(super) fn place(&self, at: usize) -> Place {
        if self.is_flag {
            return Place { file: self.name.clone(), line: 0, column: 0 };
        }
        let (line, start) = self.line_start(at);
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        Place { file: self.name.clone(), line, column: u32::try_from(column).unwrap_or(u32::MAX) }
    }

    /// Octets to a place in this text; the end of its line when the line is shorter.
    pub(super) fn offset(&self, place: &Place) -> usize {
        let start = self.lines.get(place.line.max(1) as usize - 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..).and_then(|rest| rest.split('\n').next()).unwrap_or("");
        let column = place.column.max(1) as usize - 1;
        start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
    }

    /// The line that holds `start`, and how many of its characters the stretch covers, at least 1.
    pub(super) fn line_text(&self, start: usize, end: usize) -> (&str, usize) {
        let (_, line_start) = self.line_start(start);
        let rest = self.text.get(line_start..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("");
        let line = line.strip_suffix('\r').unwrap_or(line);
        let end = end.min(line_start + line.len());
        let marked = self.text.get(start..end.max(start)).map_or(0, |marked| marked.chars().count());
        (line, marked.max(1))
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    pub at: Spot,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// `None`: beyond 64 bits.
    Integer(Option<i64>),
    Float,
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

impl Value {
    /// For messages: "this is …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float => "a number with a fraction",
            Self::Boolean(true) => "true",
            Self::Boolean(false) => "false",
            Self::Datetime => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// A table; keys in the order written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
    pub at: Spot,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: Spot,
    pub node: Node,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at).node)
    }

    /// Puts a value in the place of the one written, or adds it.
    pub(super) fn set(&mut self, key: &str, node: Node) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.node = node;
        } else {
            self.entries.push(Entry { key: key.to_owned(), key_at: node.at, node });
        }
    }

    /// The table of that name, made at `at` when it is missing; `None` when something else has the name.
    pub(super) fn table_mut(&mut self, key: &str, at: Spot) -> Option<&mut Table> {
        if self.get(key).is_none() {
            self.set(key, Node { value: Value::Table(Table { entries: Vec::new(), at }), at });
        }
        let entry = self.entries.iter_mut().find(|entry| entry.key == key)?;
        match &mut entry.node.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// What the parser did not like.
pub(super) enum Broken {
    Syntax { message: String, expected: Option<String> },
    KeyTwice { key: String, first: Option<u32> },
}

/// Parses a file. What can be read of it is read, even when parts are broken.
pub(super) fn parse(source: usize, text: &Text) -> (Table, Vec<(Spot, Broken)>) {
    match parse_in_pieces(source, &text.text) {
        Some(table) => (table, Vec::new()),
        None => parse_whole(source, text),
    }
}

/// What every site of a file begins with, unless somebody writes it in another way: then the pieces are larger.
const SITE_HEADER: &str = "\n[[site]]";
/// The parser's tree is many times as large as its text.
const PIECE_BYTES_MIN: usize = 32 * 1024;

/// A file of many sites, cut where a site begins, so that the parser's tree of one piece is gone before the next one
/// comes. `None`: it is small, it is broken, or something but sites follows the first site; as a whole it is read right.
///
/// A piece that is good alone has no string or array open at its end, so the pieces mean what the whole means.
fn parse_in_pieces(source: usize, text: &str) -> Option<Table> {
    let starts = memmem::find_iter(text.as_bytes(), SITE_HEADER).map(|at| at + 1);
    let mut cuts: Vec<usize> = Vec::new();
    for start in starts {
        if cuts.last().is_none_or(|last| start - last >= PIECE_BYTES_MIN) {
            cuts.push(start);
        }
    }
    let (&first, rest) = cuts.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let mut root = Piece { source, text: text.get(..first)?, start: 0 }.parse()?;
    let ends = rest.iter().copied().chain([text.len()]);
    let mut site: Option<Entry> = None;
    for (start, end) in cuts.iter().copied().zip(ends) {
        let mut piece = Piece { source, text: text.get(start..end)?, start }.parse()?.entries;
        let entry = piece.pop().filter(|entry| entry.key == "site" && piece.is_empty())?;
        match (&mut site, entry.node.value) {
            (None, value) => site = Some(Entry { node: Node { value, ..entry.node }, ..entry }),
            (Some(Entry { node: Node { value: Value::Array(all), .. }, .. }), Value::Array(more)) => {
                all.extend(more);
            }
            _ => return None,
        }
    }
    if root.get("site").is_some() {
        return None;
    }
    root.entries.extend(site);
    Some(root)
}

fn parse_whole(source: usize, text: &Text) -> (Table, Vec<(Spot, Broken)>) {
    let (root, errors) = DeTable::parse_recoverable(&text.text);
    let piece = Piece { source, text: &text.text, start: 0 };
    let table = piece.convert_table(root.get_ref(), piece.root());
    let mut broken: Vec<(Spot, Broken)> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.text.len()..text.text.len());
        let at = piece.spot(span);
        // One mistake often breaks the rest of its line as well: the first message says it best.
        if broken.iter().any(|(before, _)| text.line(before.start) == text.line(at.start)) {
            continue;
        }
        let message = error.message();
        let what = if message == "duplicate key" {
            let key = text.text.get(at.start..at.end).unwrap_or("").trim_matches(['"', '\'']).to_owned();
            let first = first_of(text, &table, &key, at).map(|first| text.line(first));
            Broken::KeyTwice { key, first }
        } else {
            let (message, expected) = match message.split_once(", expected ") {
                Some((message, expected)) => (message, Some(expected.to_owned())),
                None => (message, None),
            };
            Broken::Syntax { message: message.to_owned(), expected }
        };
        broken.push((at, what));
    }
    (table, broken)
}

/// Text that is parsed alone, and where it starts in its source.
struct Piece<'t> {
    source: usize,
    text: &'t str,
    start: usize,
}

impl Piece<'_> {
    /// `None`: something is wrong with it.
    fn parse(&self) -> Option<Table> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        errors.is_empty().then(|| self.convert_table(root.get_ref(), self.root()))
    }

    /// Where the table around everything is said to be.
    fn root(&self) -> Spot {
        Spot { source: self.source, start: 0, end: 0 }
    }

    /// Spans come from the parser; they are cut to the text and to characters all the same.
    fn spot(&self, span: std::ops::Range<usize>) -> Spot {
        let floor = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(span.start);
        let end = floor(span.end).max(start);
        Spot { source: self.source, start: self.start + start, end: self.start + end }
    }

    fn convert(&self, value: &DeValue<'_>, at: Spot) -> Value {
        match value {
            DeValue::String(string) => Value::Text(string.to_string()),
            DeValue::Integer(integer) => {
                Value::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok())
            }
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(array) => {
                let node = |item: &toml::Spanned<DeValue<'_>>| {
                    let at = self.spot(item.span());
                    Node { value: self.convert(item.get_ref(), at), at }
                };
                Value::Array(array.iter().map(node).collect())
            }
            DeValue::Table(table) => Value::Table(self.convert_table(table, at)),
        }
    }

    // The parser bounds the nesting (80), so recursion here ends.
    fn convert_table(&self, table: &DeTable<'_>, at: Spot) -> Table {
        let entry = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
            let at = self.spot(value.span());
            Entry {
                key: key.get_ref().to_string(),
                key_at: self.spot(key.span()),
                node: Node { value: self.convert(value.get_ref(), at), at },
            }
        };
        let mut entries: Vec<Entry> = table.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.key_at.start);
        Table { entries, at }
    }
}

/// Where the key that is repeated at `at` was written first, in the same table: the innermost inline table
/// around it, else the table whose header is the last before it.
fn first_of(text: &Text, root: &Table, key: &str, at: Spot) -> Option<usize> {
    let (line, _) = text.line_text(at.start, at.end);
    if line.trim_start().starts_with('[') {
        // The parser keeps one of two tables, so only the text still has both headers.
        let header = line.trim();
        let mut start = 0;
        for line in text.text.split_inclusive('\n') {
            if line.trim() == header {
                return (text.line(start) < text.line(at.start)).then_some(start);
            }
            start += line.len();
        }
        return None;
    }
    let is_inline = |table: &Table| text.text.get(table.at.start..).is_some_and(|text| text.starts_with('{'));
    let mut best = root;
    let mut best_inline = false;
    let mut stack = vec![root];
    while let Some(table) = stack.pop() {
        let inline = is_inline(table);
        let holds = if inline {
            table.at.start < at.start && at.end <= table.at.end
        } else {
            table.at.end <= at.start && !best_inline
        };
        if holds && (table.at.start >= best.at.start || (inline && !best_inline)) {
            (best, best_inline) = (table, inline);
        }
        for entry in &table.entries {
            match &entry.node.value {
                Value::Table(table) => stack.push(table),
                Value::Array(items) => stack.extend(items.iter().filter_map(|item| match &item.value {
                    Value::Table(table) => Some(table),
                    _ => None,
                })),
                _ => {}
            }
        }
    }
    let first = best.entries.iter().find(|entry| entry.key == key && entry.key_at.start < at.start);
    first.map(|entry| entry.key_at.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sites enough for several pieces, each with `body`.
    fn sites(body: &str) -> String {
        let fill = "x".repeat(PIECE_BYTES_MIN / 8);
        (0..40).map(|number| format!("[[site]]\n# é {fill}\nname = \"{number}\"\n{body}")).collect()
    }

    fn text(text: &str) -> Text {
        Text::new(Path::new("site.toml").into(), text.to_owned(), false)
    }

    #[test]
    fn pieces_mean_what_the_whole_means() {
        for (head, body) in [
            ("", ""),
            ("\n", "hosts = [\n\"ä.example\", 'b']\n"),
            (
                "workers = 1\n[listen]\nhttp = [\"[::]:80\"]\n",
                "tls.a = { b = 1 }\n[site.hsts]\nmax_age = 1\n",
            ),
            ("# [[site]]\r\n", "[[site.upstream]]\nx = 1\n[[site.upstream]]\nx = 2\n\r\n"),
        ] {
            let text = text(&format!("{head}\n{}", sites(body)));
            let pieces = parse_in_pieces(0, &text.text).expect("it is made of sites");
            let (whole, broken) = parse_whole(0, &text);
            assert!(broken.is_empty(), "{head:?} {body:?}");
            assert_eq!(pieces, whole, "{head:?} {body:?}");
        }
    }

    #[test]
    fn what_is_not_made_of_sites_alone_is_parsed_whole() {
        for (head, tail) in [
            ("site = []\n", ""),
            ("[site.x]\n", ""),
            ("site.x = 1\n", ""),
            ("a = \"\"\"\n", "\"\"\"\n"),
            ("a = [\n", "]\n"),
            ("a = {\n", "}\n"),
            ("a = 1\na = 2\n", ""),
            ("", "[listen]\n"),
            ("", "[site]\n"),
            ("", "x = \n"),
            ("", "name = 1\nname = 2\n"),
            ("", "x = \"\"\""),
        ] {
            let text = format!("{head}\n{}{tail}", sites(""));
            assert_eq!(parse_in_pieces(0, &text), None, "{head:?} {tail:?}");
        }
        assert_eq!(parse_in_pieces(0, "\n[[site]]\nname = 1\n"), None);
    }
}
