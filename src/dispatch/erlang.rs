//! Erlang terms as text: what `file:consult/1` reads.
//!
//! A file is a row of terms, each ended by a dot. Read are numbers (`1_000`, `16#ff`, `$c`, floats),
//! atoms, strings (adjacent ones joined, triple-quoted ones, sigils), binaries with sizes and types,
//! tuples, lists with tails, maps, `fun module:name/1` and parentheses around any of them. What would
//! have to be evaluated (variables, operators, calls, macros) is refused, as `consult` refuses it.
//!
//! Reading takes time in proportion to the text and nests at most [`NESTING_MAX`] deep, so a file that
//! is not meant well costs no more than its length.

mod bits;
mod scan;
mod wrong;

use std::borrow::Cow;

use scan::Cursor;
pub use wrong::{Opened, TermError, WrongTerm};

/// The deepest nesting read. Dispatch files need five or six.
pub const NESTING_MAX: usize = 128;

/// A term and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub value: Value,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// What a term is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Atom(String),
    /// Characters (`$c`) too: Erlang knows no difference.
    Integer(i64),
    /// An integer that does not fit; what it is was not kept.
    LargeInteger,
    Float(f64),
    /// A list of characters written as a string; `""` is also `[]`.
    String(String),
    Binary(Vec<u8>),
    /// A binary whose last byte is not whole; what it holds was not kept.
    Bitstring,
    /// A tail that is itself a list was joined to the items: `[a|[b]]` is `[a,b]`.
    List {
        items: Vec<Term>,
        tail: Option<Box<Term>>,
    },
    Tuple(Vec<Term>),
    /// As written; of equal keys Erlang keeps the last.
    Map(Vec<(Term, Term)>),
    /// `fun module:name/1`.
    Function,
}

/// Reads every term of a file.
///
/// The text is UTF-8 unless a comment in its first two lines says `coding: latin-1`; where it says nothing
/// and the bytes are not UTF-8, they are Latin-1, as `epp` has it.
///
/// # Errors
/// The first thing wrong; nothing behind it can be trusted to mean what it seems to.
pub fn read(text: &[u8]) -> Result<Vec<Term>, TermError> {
    let text = decode(text)?;
    let mut cursor = Cursor::new(text.strip_prefix('\u{feff}').unwrap_or(&text));
    let mut terms = Vec::new();
    loop {
        cursor.skip_blanks();
        if cursor.peek().is_none() {
            return Ok(terms);
        }
        terms.push(term(&mut cursor, 0)?);
        cursor.skip_blanks();
        match cursor.peek() {
            Some('.') => cursor.end_of_term()?,
            None => return Err(cursor.error(WrongTerm::NoDot)),
            Some(found) if starts_term(found) => return Err(cursor.error(WrongTerm::NoDot)),
            Some(found) => return Err(cursor.error(WrongTerm::Unexpected(found))),
        }
    }
}

/// Reads one term; blanks before it are skipped. `depth`: how many terms it is inside of.
fn term(cursor: &mut Cursor<'_>, depth: usize) -> Result<Term, TermError> {
    cursor.skip_blanks();
    if depth > NESTING_MAX {
        return Err(cursor.error(WrongTerm::Nesting));
    }
    let (line, column) = cursor.place();
    let value = value(cursor, depth)?;
    Ok(Term { value, line, column })
}

fn value(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, TermError> {
    match cursor.peek() {
        Some('{') => {
            let (line, column) = cursor.place();
            cursor.bump();
            sequence(cursor, depth, '}', Unclosed(Opened::Tuple, line, column)).map(Value::Tuple)
        }
        Some('[') => list(cursor, depth),
        Some('<') if cursor.rest().starts_with("<<") => binary(cursor, depth),
        Some('#') => map(cursor, depth),
        Some('(') => {
            let (line, column) = cursor.place();
            cursor.bump();
            let inner = term(cursor, depth + 1)?;
            cursor.skip_blanks();
            match cursor.peek() {
                Some(')') => cursor.bump(),
                found => return Err(Unclosed(Opened::Parenthesis, line, column).or(cursor, found)),
            };
            Ok(inner.value)
        }
        Some('"') => cursor.strings().map(Value::String),
        Some('~') => cursor.sigil(),
        Some('\'') => cursor.quoted_atom().map(Value::Atom),
        Some('$') => cursor.character().map(|c| Value::Integer(i64::from(u32::from(c)))),
        Some('0'..='9') => cursor.number(false),
        Some(sign @ ('-' | '+')) => {
            cursor.bump();
            cursor.skip_blanks();
            match cursor.peek() {
                Some('0'..='9') => cursor.number(sign == '-'),
                Some('$') => {
                    let code = i64::from(u32::from(cursor.character()?));
                    Ok(Value::Integer(if sign == '-' { -code } else { code }))
                }
                Some(found) => Err(cursor.error(WrongTerm::Unexpected(found))),
                None => Err(cursor.error(WrongTerm::NoTerm)),
            }
        }
        Some(found) if scan::starts_atom(found) => match cursor.bare_atom()? {
            Some(atom) => Ok(Value::Atom(atom)),
            None => cursor.function(),
        },
        Some(found) if found == '_' || found.is_uppercase() => Err(cursor.error(WrongTerm::Variable)),
        Some('?') => Err(cursor.error(WrongTerm::Macro)),
        Some(found) => Err(cursor.error(WrongTerm::Unexpected(found))),
        None => Err(cursor.error(WrongTerm::NoTerm)),
    }
}

fn starts_term(found: char) -> bool {
    scan::starts_atom(found)
        || matches!(found, '{' | '[' | '<' | '(' | '"' | '~' | '\'' | '$' | '0'..='9' | '_')
        || found.is_uppercase()
}

/// What stays open when a bracket is not closed.
struct Unclosed(Opened, u32, u32);

impl Unclosed {
    /// The error when `found` comes where a comma or the closing bracket should.
    fn or(self, cursor: &Cursor<'_>, found: Option<char>) -> TermError {
        let Unclosed(opened, line, column) = self;
        match found {
            None => TermError { line, column, wrong: WrongTerm::Unclosed(opened) },
            Some(found) if starts_term(found) => cursor.error(WrongTerm::NoComma),
            // A dot that ends a term, long before the bracket is closed: the bracket is the mistake.
            Some('.') => TermError { line, column, wrong: WrongTerm::Unclosed(opened) },
            Some(found) => cursor.error(WrongTerm::Unexpected(found)),
        }
    }
}

/// Terms with commas between them, up to and with `close`.
fn sequence(
    cursor: &mut Cursor<'_>,
    depth: usize,
    close: char,
    unclosed: Unclosed,
) -> Result<Vec<Term>, TermError> {
    let mut items = Vec::new();
    cursor.skip_blanks();
    if cursor.take(close) {
        return Ok(items);
    }
    loop {
        items.push(item(cursor, depth, &unclosed)?);
        cursor.skip_blanks();
        match cursor.peek() {
            Some(',') => cursor.bump(),
            Some(found) if found == close => {
                cursor.bump();
                return Ok(items);
            }
            found => return Err(unclosed.or(cursor, found)),
        };
    }
}

/// A term inside brackets: at the end of the text the bracket is what is wrong.
fn item(cursor: &mut Cursor<'_>, depth: usize, unclosed: &Unclosed) -> Result<Term, TermError> {
    cursor.skip_blanks();
    match cursor.peek() {
        None => Err(Unclosed(unclosed.0, unclosed.1, unclosed.2).or(cursor, None)),
        Some('}' | ']') => Err(cursor.error(WrongTerm::TrailingComma)),
        Some(_) => term(cursor, depth + 1),
    }
}

fn list(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, TermError> {
    let (line, column) = cursor.place();
    let unclosed = Unclosed(Opened::List, line, column);
    cursor.bump();
    cursor.skip_blanks();
    let mut items = Vec::new();
    if cursor.take(']') {
        return Ok(Value::List { items, tail: None });
    }
    loop {
        items.push(item(cursor, depth, &unclosed)?);
        cursor.skip_blanks();
        match cursor.peek() {
            Some(',') => cursor.bump(),
            Some(']') => {
                cursor.bump();
                return Ok(Value::List { items, tail: None });
            }
            Some('|') => break,
            found => return Err(unclosed.or(cursor, found)),
        };
    }
    cursor.bump();
    let end = term(cursor, depth + 1)?;
    cursor.skip_blanks();
    if !cursor.take(']') {
        return Err(unclosed.or(cursor, cursor.peek()));
    }
    let Term { value, line, column } = end;
    let tail = match value {
        Value::List { items: more, tail } => {
            items.extend(more);
            tail
        }
        Value::String(text) => {
            let character = |c| Term { value: Value::Integer(i64::from(u32::from(c))), line, column };
            items.extend(text.chars().map(character));
            None
        }
        value => Some(Box::new(Term { value, line, column })),
    };
    Ok(Value::List { items, tail })
}

fn map(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, TermError> {
    let (line, column) = cursor.place();
    let unclosed = Unclosed(Opened::Map, line, column);
    cursor.bump();
    cursor.skip_blanks();
    if !cursor.take('{') {
        // A record, `#name{`, has no meaning without its definition.
        return Err(TermError { line, column, wrong: WrongTerm::Record });
    }
    let mut pairs = Vec::new();
    cursor.skip_blanks();
    if cursor.take('}') {
        return Ok(Value::Map(pairs));
    }
    loop {
        let key = item(cursor, depth, &unclosed)?;
        cursor.skip_blanks();
        if !cursor.take_text("=>") {
            return Err(match cursor.peek() {
                None => unclosed.or(cursor, None),
                Some(_) => cursor.error(WrongTerm::NoArrow),
            });
        }
        let value = item(cursor, depth, &unclosed)?;
        pairs.push((key, value));
        cursor.skip_blanks();
        match cursor.peek() {
            Some(',') => cursor.bump(),
            Some('}') => {
                cursor.bump();
                return Ok(Value::Map(pairs));
            }
            found => return Err(unclosed.or(cursor, found)),
        };
    }
}

/// `<<…>>`; each segment is `Value`, `Value:Size`, `Value/Types` or `Value:Size/Types`.
fn binary(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, TermError> {
    let (line, column) = cursor.place();
    let unclosed = Unclosed(Opened::Binary, line, column);
    cursor.bump();
    cursor.bump();
    let mut bits = bits::Bits::default();
    cursor.skip_blanks();
    if cursor.take_text(">>") {
        return Ok(bits.into_value());
    }
    loop {
        let segment = item(cursor, depth, &unclosed)?;
        let (line, column) = (segment.line, segment.column);
        let mut specification = bits::Specification::default();
        cursor.skip_blanks();
        if cursor.take(':') {
            specification.size = Some(small_integer(cursor, depth)?);
            cursor.skip_blanks();
        }
        if cursor.take('/') {
            loop {
                cursor.skip_blanks();
                let error = cursor.error(WrongTerm::Segment);
                let Some(word) = cursor.bare_atom()? else {
                    return Err(error);
                };
                cursor.skip_blanks();
                let unit = if cursor.take(':') { Some(small_integer(cursor, depth)?) } else { None };
                specification.add(&word, unit).map_err(|wrong| TermError { wrong, ..error })?;
                cursor.skip_blanks();
                if !cursor.take('-') {
                    break;
                }
            }
        }
        bits.push(segment.value, specification).map_err(|wrong| TermError { line, column, wrong })?;
        match cursor.peek() {
            Some(',') => cursor.bump(),
            _ if cursor.take_text(">>") => return Ok(bits.into_value()),
            found => return Err(unclosed.or(cursor, found)),
        };
    }
}

/// A size or a unit.
fn small_integer(cursor: &mut Cursor<'_>, depth: usize) -> Result<u32, TermError> {
    cursor.skip_blanks();
    let error = cursor.error(WrongTerm::Segment);
    match cursor.peek() {
        Some('0'..='9' | '$' | '(') => match term(cursor, depth + 1)?.value {
            Value::Integer(number) => u32::try_from(number).map_err(|_| error),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

fn decode(text: &[u8]) -> Result<Cow<'_, str>, TermError> {
    let declared = declared_encoding(text);
    let latin1 = || Cow::Owned(text.iter().copied().map(char::from).collect());
    if declared == Some(Encoding::Latin1) {
        return Ok(latin1());
    }
    match std::str::from_utf8(text) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) if declared == Some(Encoding::Utf8) => {
            let valid = text.get(..error.valid_up_to()).unwrap_or_default();
            let mut cursor = Cursor::new(std::str::from_utf8(valid).unwrap_or_default());
            while cursor.bump().is_some() {}
            Err(cursor.error(WrongTerm::NotUtf8))
        }
        Err(_) => Ok(latin1()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Latin1,
    Utf8,
}

/// `%% -*- coding: latin-1 -*-` in one of the first two lines.
fn declared_encoding(text: &[u8]) -> Option<Encoding> {
    text.split(|&octet| octet == b'\n').take(2).find_map(|line| {
        let comment = line.trim_ascii_start().strip_prefix(b"%")?;
        let at = memchr::memmem::find(comment, b"coding")?;
        let after = comment.get(at + b"coding".len()..)?.trim_ascii_start();
        let name = after.strip_prefix(b":").or_else(|| after.strip_prefix(b"="))?.trim_ascii_start();
        let in_name = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
        let name = name.split(|octet| !in_name(octet)).next()?;
        if name.eq_ignore_ascii_case(b"latin-1") {
            Some(Encoding::Latin1)
        } else if name.eq_ignore_ascii_case(b"utf-8") {
            Some(Encoding::Utf8)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests;
