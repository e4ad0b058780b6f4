//! What follows a backslash.

use super::PatternProblemKind as Kind;
use super::bytes::{Bytes, is_horizontal, is_space, is_vertical, is_word};
use super::syntax::{Look, Parsed, Parser, Tree, Used};

impl Parser<'_> {
    /// After a backslash, outside classes.
    pub(super) fn escape(&mut self, start: usize) -> Parsed<Tree> {
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
                let pair =
                    Tree::Sequence([b'\r', b'\n'].map(|byte| Tree::Set(Bytes::of(|b| b == byte))).into());
                Tree::Atomic(Box::new(Tree::Either(vec![pair, Tree::Set(Bytes::of(is_vertical))])))
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
                let digits =
                    self.pattern[self.at - 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
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
        self.references.push(Used { group, start, end: self.at });
        Tree::Reference(group, self.options.either_case)
    }

    pub(super) fn reference_by_name(&mut self, name: &[u8], start: usize) -> Parsed<Tree> {
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
            let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
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
    pub(super) fn class_escape(&mut self) -> Option<Bytes> {
        let set = match self.peek()? {
            b'd' | b'D' => Bytes::of(|byte| byte.is_ascii_digit()),
            b'w' | b'W' => Bytes::of(is_word),
            b's' | b'S' => Bytes::of(is_space),
            b'h' | b'H' => Bytes::of(is_horizontal),
            b'v' | b'V' => Bytes::of(is_vertical),
            _ => return None,
        };
        let negative = self.take().is_some_and(|letter| letter.is_ascii_uppercase());
        Some(if negative { set.complement() } else { set })
    }

    /// An escape that stands for one byte.
    pub(super) fn byte_escape(&mut self, start: usize) -> Parsed<u8> {
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
                let digits = rest.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                self.at += digits;
                return if digits == 0 { Ok(0) } else { self.number(&rest[..digits], 16, start) };
            }
            Some(b'o') if self.eat(b"{") => {
                let text = self.until(b"}", escape)?;
                return self.number(text, 8, start);
            }
            Some(b'0'..=b'7') => {
                let rest = &self.pattern[self.at - 1..];
                let digits =
                    1 + rest[1..].iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
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
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
