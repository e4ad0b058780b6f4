//! Classes in brackets.

use super::PatternProblemKind as Kind;
use super::bytes::{Bytes, is_alnum, is_alpha, is_lower, is_space, is_upper, is_word};
use super::syntax::{Parsed, Parser};

impl Parser<'_> {
    /// After `[`.
    pub(super) fn class(&mut self, start: usize) -> Parsed<Bytes> {
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
            if self.peek() == Some(b'-') && !matches!(self.pattern.get(self.at + 1), None | Some(b']')) {
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
        let name_length = rest.iter().take_while(|&&byte| byte.is_ascii_alphabetic() || byte == b'^').count();
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
