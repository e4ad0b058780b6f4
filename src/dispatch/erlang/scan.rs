//! The smallest parts of Erlang text: blanks, numbers, atoms, quoted text.

use super::{Opened, TermError, Value, WrongTerm};

/// An atom's most characters in Erlang.
const ATOM_CHARACTERS_MAX: usize = 255;

/// A text and how far it was read.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    // On a character boundary.
    at: usize,
    line: u32,
    column: u32,
}

pub(super) fn starts_atom(c: char) -> bool {
    matches!(c, 'a'..='z' | 'ß'..='ö' | 'ø'..='ÿ')
}

fn in_name(c: char) -> bool {
    starts_atom(c) || matches!(c, 'A'..='Z' | '0'..='9' | '_' | '@' | 'À'..='Ö' | 'Ø'..='Þ')
}

fn is_blank(c: char) -> bool {
    matches!(c, '\0'..=' ' | '\u{80}'..='\u{a0}')
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Cursor { text, at: 0, line: 1, column: 1 }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn place(&self) -> (u32, u32) {
        (self.line, self.column)
    }

    pub(super) fn error(&self, wrong: WrongTerm) -> TermError {
        TermError { line: self.line, column: self.column, wrong }
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }

    pub(super) fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn take_text(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            wanted.chars().for_each(|_| {
                self.bump();
            });
        }
        found
    }

    /// Blanks and comments.
    pub(super) fn skip_blanks(&mut self) {
        while let Some(c) = self.peek() {
            if c == '%' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.bump();
                }
            } else if is_blank(c) {
                self.bump();
            } else {
                return;
            }
        }
    }

    /// The dot that ends a term; a blank, a comment or the end of the text follows it.
    pub(super) fn end_of_term(&mut self) -> Result<(), TermError> {
        let error = self.error(WrongTerm::DotWithoutBlank);
        self.bump();
        match self.peek() {
            None => Ok(()),
            Some(c) if c == '%' || is_blank(c) => Ok(()),
            Some(_) => Err(error),
        }
    }

    /// A number, its sign already read.
    pub(super) fn number(&mut self, negative: bool) -> Result<Value, TermError> {
        let error = self.error(WrongTerm::Number);
        let start = self.at;
        let whole = self.digits(10, error)?;
        let value = if self.take('#') {
            let base = match whole {
                Some(base @ 2..=36) => u32::try_from(base).unwrap_or(10),
                _ => {
                    return Err(TermError { wrong: WrongTerm::Base, ..error });
                }
            };
            let base_error = TermError { wrong: WrongTerm::Base, ..error };
            integer(self.digits(base, base_error)?, negative)
        } else if self
            .rest()
            .strip_prefix('.')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        {
            self.bump();
            self.digits(10, error)?;
            if matches!(self.peek(), Some('e' | 'E')) {
                self.bump();
                if matches!(self.peek(), Some('-' | '+')) {
                    self.bump();
                }
                self.digits(10, error)?;
            }
            let text = self.text.get(start..self.at).unwrap_or_default().replace('_', "");
            let number: f64 = text.parse().map_err(|_| error)?;
            if !number.is_finite() {
                return Err(TermError { wrong: WrongTerm::Float, ..error });
            }
            Value::Float(if negative { -number } else { number })
        } else {
            integer(whole, negative)
        };
        if self.peek().is_some_and(in_name) {
            return Err(error);
        }
        Ok(value)
    }

    /// Digits with single underscores between them; `None`: more than fits.
    fn digits(&mut self, base: u32, error: TermError) -> Result<Option<i64>, TermError> {
        let mut value = Some(0_i64);
        let mut after_digit = false;
        loop {
            match self.peek() {
                Some('_') if after_digit => after_digit = false,
                Some(c) => match c.to_digit(base) {
                    Some(digit) => {
                        let tens = value.and_then(|value| value.checked_mul(i64::from(base)));
                        value = tens.and_then(|tens| tens.checked_add(i64::from(digit)));
                        after_digit = true;
                    }
                    None if after_digit => return Ok(value),
                    None => return Err(error),
                },
                None if after_digit => return Ok(value),
                None => return Err(error),
            }
            self.bump();
        }
    }

    /// `$c`.
    pub(super) fn character(&mut self) -> Result<char, TermError> {
        let error = self.error(WrongTerm::NoTerm);
        self.bump();
        match self.bump() {
            Some('\\') => self.escape(error),
            Some(c) => Ok(c),
            None => Err(error),
        }
    }

    /// What follows a backslash; `ends`: the error when nothing does.
    fn escape(&mut self, ends: TermError) -> Result<char, TermError> {
        let error = self.error(WrongTerm::Escape);
        let not_a_character = TermError { wrong: WrongTerm::Character, ..error };
        let c = match self.bump().ok_or(ends)? {
            'b' => '\u{8}',
            'd' => '\u{7f}',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            's' => ' ',
            't' => '\t',
            'v' => '\u{b}',
            '^' => match self.bump().ok_or(ends)? {
                '?' => '\u{7f}',
                c if c.is_ascii_graphic() => char::from(c as u8 & 31),
                _ => return Err(error),
            },
            first @ '0'..='7' => {
                let mut code = first.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.bump();
                }
                char::from_u32(code).ok_or(not_a_character)?
            }
            'x' if self.take('{') => {
                let mut code = None;
                loop {
                    match self.bump().ok_or(ends)? {
                        '}' => break,
                        c => {
                            let digit = c.to_digit(16).ok_or(error)?;
                            code = Some(code.unwrap_or(0_u32).saturating_mul(16).saturating_add(digit));
                        }
                    }
                }
                char::from_u32(code.ok_or(error)?).ok_or(not_a_character)?
            }
            'x' => {
                let mut digit = || self.bump().and_then(|c| c.to_digit(16)).ok_or(error);
                let code = digit()? * 16 + digit()?;
                char::from_u32(code).ok_or(not_a_character)?
            }
            c => c,
        };
        Ok(c)
    }

    /// Text up to `close`, which is read too.
    fn quoted(&mut self, close: char, opened: Opened, escapes: bool) -> Result<String, TermError> {
        let error = self.error(WrongTerm::Unclosed(opened));
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump().ok_or(error)? {
                c if c == close => return Ok(text),
                '\\' if escapes => text.push(self.escape(error)?),
                c => text.push(c),
            }
        }
    }

    pub(super) fn quoted_atom(&mut self) -> Result<String, TermError> {
        let error = self.error(WrongTerm::AtomTooLong);
        let atom = self.quoted('\'', Opened::Atom, true)?;
        if atom.chars().count() > ATOM_CHARACTERS_MAX { Err(error) } else { Ok(atom) }
    }

    /// An atom without quotes; `None`: the word `fun`.
    ///
    /// # Errors
    /// `Reserved` for the other words of the language.
    pub(super) fn bare_atom(&mut self) -> Result<Option<String>, TermError> {
        let here = self.clone();
        let unexpected = match self.peek() {
            Some(c) if starts_atom(c) => None,
            Some(c) => Some(WrongTerm::Unexpected(c)),
            None => Some(WrongTerm::NoTerm),
        };
        if let Some(wrong) = unexpected {
            return Err(self.error(wrong));
        }
        while self.peek().is_some_and(in_name) {
            self.bump();
        }
        let name = self.text.get(here.at..self.at).unwrap_or_default();
        if name == "fun" {
            return Ok(None);
        }
        if RESERVED.contains(&name) {
            return Err(here.error(WrongTerm::Reserved));
        }
        if name.chars().count() > ATOM_CHARACTERS_MAX {
            return Err(here.error(WrongTerm::AtomTooLong));
        }
        Ok(Some(name.to_owned()))
    }

    /// `module:name/1`, after the word `fun`.
    pub(super) fn function(&mut self) -> Result<Value, TermError> {
        self.skip_blanks();
        let error = self.error(WrongTerm::Function);
        let mut name = |mark: char| {
            let found = match self.peek() {
                Some('\'') => self.quoted_atom().is_ok(),
                Some(c) if starts_atom(c) => self.bare_atom()?.is_some(),
                _ => false,
            };
            self.skip_blanks();
            let marked = self.take(mark);
            self.skip_blanks();
            if found && marked { Ok(()) } else { Err(error) }
        };
        name(':')?;
        name('/')?;
        match self.peek() {
            Some('0'..='9') => self.number(false).map(|_| Value::Function),
            _ => Err(error),
        }
    }

    /// A string, with those that follow it.
    pub(super) fn strings(&mut self) -> Result<String, TermError> {
        let mut text = String::new();
        // Where the row of quotes ends that is known to open no triple-quoted string: a long row of empty
        // strings is looked over once.
        let mut known = 0;
        while self.peek() == Some('"') {
            let triple = if self.at < known { None } else { self.triple_quotes() };
            match triple {
                Some(quotes) => text.push_str(&self.triple_quoted(quotes)?),
                None => {
                    if self.at >= known {
                        known = self.at + self.quotes();
                    }
                    text.push_str(&self.quoted('"', Opened::String, true)?);
                }
            }
            self.skip_blanks();
        }
        Ok(text)
    }

    /// How many quotes are in a row here.
    fn quotes(&self) -> usize {
        self.rest().bytes().take_while(|&octet| octet == b'"').count()
    }

    /// How many quotes, at least three, open a triple-quoted string here. With text behind them on their
    /// line they are the empty string and another, as they were before Erlang/OTP 27.
    fn triple_quotes(&self) -> Option<usize> {
        let quotes = self.quotes();
        if quotes < 3 {
            return None;
        }
        let line = self.rest().get(quotes..)?;
        let after = line.chars().find(|&c| c == '\n' || !is_blank(c));
        (after == Some('\n')).then_some(quotes)
    }

    /// The lines between two lines of quotes, less the indentation of the second.
    fn triple_quoted(&mut self, quotes: usize) -> Result<String, TermError> {
        let error = self.error(WrongTerm::Unclosed(Opened::String));
        while self.bump().ok_or(error)? != '\n' {}
        let mut lines = Vec::new();
        let indentation = loop {
            let line = self.rest().split_inclusive('\n').next().ok_or(error)?;
            let inside = line.trim_start_matches([' ', '\t']);
            if inside.bytes().take_while(|&octet| octet == b'"').count() >= quotes {
                let indentation = line.len() - inside.len();
                for _ in 0..indentation + quotes {
                    self.bump();
                }
                break line.get(..indentation).unwrap_or_default();
            }
            lines.push((self.line, line.strip_suffix('\n').ok_or(error)?));
            while self.bump().ok_or(error)? != '\n' {}
        };
        let mut text = String::new();
        for (index, (number, line)) in lines.into_iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            match line.strip_prefix(indentation) {
                Some(line) => text.push_str(line),
                None if line.chars().all(is_blank) => {}
                None => {
                    return Err(TermError { line: number, column: 1, wrong: WrongTerm::Indentation });
                }
            }
        }
        Ok(text)
    }

    /// `~"…"` and its kin: a binary in UTF-8, or with `s` and `S` a string; with a capital letter verbatim.
    pub(super) fn sigil(&mut self) -> Result<Value, TermError> {
        let error = self.error(WrongTerm::Sigil);
        self.bump();
        let kind = match self.peek() {
            Some(kind @ ('b' | 'B' | 's' | 'S')) => {
                self.bump();
                Some(kind)
            }
            _ => None,
        };
        let lower = matches!(kind, Some('b' | 's'));
        let text = match self.triple_quotes() {
            Some(quotes) => {
                let text = self.triple_quoted(quotes)?;
                if lower { unescaped(&text, error)? } else { text }
            }
            None => {
                let close = match self.peek() {
                    Some('(') => ')',
                    Some('[') => ']',
                    Some('{') => '}',
                    Some('<') => '>',
                    Some(same @ ('/' | '|' | '\'' | '"' | '`' | '#')) => same,
                    _ => return Err(error),
                };
                self.quoted(close, Opened::String, lower || kind.is_none())?
            }
        };
        if self.peek().is_some_and(in_name) {
            return Err(error);
        }
        Ok(match kind {
            Some('s' | 'S') => Value::String(text),
            _ => Value::Binary(text.into_bytes()),
        })
    }
}

fn unescaped(text: &str, error: TermError) -> Result<String, TermError> {
    let mut cursor = Cursor::new(text);
    let mut result = String::new();
    while let Some(c) = cursor.bump() {
        let escape = |_| TermError { wrong: WrongTerm::Escape, ..error };
        result.push(if c == '\\' { cursor.escape(error).map_err(escape)? } else { c });
    }
    Ok(result)
}

fn integer(value: Option<i64>, negative: bool) -> Value {
    match value {
        Some(value) => Value::Integer(if negative { -value } else { value }),
        None => Value::LargeInteger,
    }
}

/// `erl_scan:reserved_word/1`, but `fun`. `maybe` and `else`, which newer releases reserve, are left to be
/// atoms, as older files have them.
const RESERVED: [&str; 26] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond",
    "div", "end", "if", "let", "not", "of", "or", "orelse", "receive", "rem", "try", "when", "xor",
];
