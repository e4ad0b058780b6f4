//! The configuration as typed: every key and value with its place, nothing decided yet.
//!
//! The TOML crate parses; its tree keeps keys in alphabetical order, this one in the order of the file, so
//! that problems come in that order, and holds flags of the command line in the same form.

use std::path::Path;
use std::sync::Arc;

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
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub at: Spot,
}

#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
    pub at: Spot,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: Spot,
    pub node: Node,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
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
    let (root, errors) = DeTable::parse_recoverable(&text.text);
    let whole = Spot { source, start: 0, end: 0 };
    let table = convert_table(source, text, root.get_ref(), whole);
    let mut broken: Vec<(Spot, Broken)> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.text.len()..text.text.len());
        let at = spot(source, text, span);
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

/// Spans come from the parser; they are cut to the text and to characters all the same.
fn spot(source: usize, text: &Text, span: std::ops::Range<usize>) -> Spot {
    let text = &text.text;
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    Spot { source, start, end: floor(span.end).max(start) }
}

fn convert(source: usize, text: &Text, value: &DeValue<'_>, at: Spot) -> Value {
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
                let at = spot(source, text, item.span());
                Node { value: convert(source, text, item.get_ref(), at), at }
            };
            Value::Array(array.iter().map(node).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(source, text, table, at)),
    }
}

// The parser bounds the nesting (80), so recursion here ends.
fn convert_table(source: usize, text: &Text, table: &DeTable<'_>, at: Spot) -> Table {
    let entry = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        let at = spot(source, text, value.span());
        Entry {
            key: key.get_ref().to_string(),
            key_at: spot(source, text, key.span()),
            node: Node { value: convert(source, text, value.get_ref(), at), at },
        }
    };
    let mut entries: Vec<Entry> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.key_at.start);
    Table { entries, at }
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
