//! Binaries, put together segment by segment as `<<…>>` says.

use super::{Value, WrongTerm};

/// The most bits one segment's size may ask for: what is written stays in proportion to the text.
const SEGMENT_BITS_MAX: u32 = 256;

/// `:Size/Types` of a segment.
#[derive(Clone, Copy, Default)]
pub(super) struct Specification {
    pub(super) size: Option<u32>,
    unit: Option<u32>,
    kind: Option<Kind>,
    little: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Float,
    Bytes,
    Bits,
    Utf8,
    Utf16,
    Utf32,
}

impl Specification {
    /// Adds one word of the types; `unit`: the number after `unit:`.
    pub(super) fn add(&mut self, word: &str, unit: Option<u32>) -> Result<(), WrongTerm> {
        let kind = match (word, unit) {
            ("unit", Some(unit @ 1..=256)) => {
                self.unit = Some(unit);
                return Ok(());
            }
            ("signed" | "unsigned" | "big", None) => return Ok(()),
            ("little" | "native", None) => {
                self.little = true;
                return Ok(());
            }
            ("integer", None) => Kind::Integer,
            ("float", None) => Kind::Float,
            ("binary" | "bytes", None) => Kind::Bytes,
            ("bitstring" | "bits", None) => Kind::Bits,
            ("utf8", None) => Kind::Utf8,
            ("utf16", None) => Kind::Utf16,
            ("utf32", None) => Kind::Utf32,
            _ => return Err(WrongTerm::Segment),
        };
        if self.kind.is_some_and(|already| already != kind) {
            return Err(WrongTerm::Segment);
        }
        self.kind = Some(kind);
        Ok(())
    }

    /// How many bits a number takes; `default` where nothing is said.
    fn bits(&self, default: u32) -> Result<u32, WrongTerm> {
        let bits = match self.size {
            Some(size) => size.saturating_mul(self.unit.unwrap_or(1)),
            None if self.unit.is_some() => return Err(WrongTerm::Segment),
            None => default,
        };
        if bits <= SEGMENT_BITS_MAX { Ok(bits) } else { Err(WrongTerm::Segment) }
    }
}

/// A binary being put together.
#[derive(Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    // Bits of the last byte that are in use, 0 when all are: 0..8.
    partial: u32,
}

impl Bits {
    pub(super) fn into_value(self) -> Value {
        if self.partial == 0 { Value::Binary(self.bytes) } else { Value::Bitstring }
    }

    /// Adds one segment.
    pub(super) fn push(&mut self, value: Value, specification: Specification) -> Result<(), WrongTerm> {
        match value {
            Value::String(text) => text.chars().try_for_each(|c| self.push_character(c, specification)),
            Value::Integer(number) => match specification.kind {
                Some(Kind::Utf8 | Kind::Utf16 | Kind::Utf32) => {
                    let code = u32::try_from(number).ok().and_then(char::from_u32);
                    self.push_character(code.ok_or(WrongTerm::Character)?, specification)
                }
                Some(Kind::Float) => self.push_float(number as f64, specification),
                None | Some(Kind::Integer) => self.push_integer(number, specification),
                Some(Kind::Bytes | Kind::Bits) => Err(WrongTerm::Segment),
            },
            Value::Float(number) if specification.kind == Some(Kind::Float) => {
                self.push_float(number, specification)
            }
            Value::Binary(bytes) => self.push_binary(&bytes, specification),
            _ => Err(WrongTerm::Segment),
        }
    }

    fn push_character(&mut self, c: char, specification: Specification) -> Result<(), WrongTerm> {
        let number = i64::from(u32::from(c));
        let unsized_ = specification.size.is_none() && specification.unit.is_none();
        match specification.kind {
            None | Some(Kind::Integer) => self.push_integer(number, specification),
            Some(Kind::Float) => self.push_float(f64::from(u32::from(c)), specification),
            Some(Kind::Utf8) if unsized_ => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.push_bits(byte, 8));
                Ok(())
            }
            Some(Kind::Utf16) if unsized_ => {
                for &unit in &*c.encode_utf16(&mut [0; 2]) {
                    self.push_number(u64::from(unit), false, 16, specification.little);
                }
                Ok(())
            }
            Some(Kind::Utf32) if unsized_ => {
                self.push_number(u64::from(u32::from(c)), false, 32, specification.little);
                Ok(())
            }
            Some(_) => Err(WrongTerm::Segment),
        }
    }

    fn push_integer(&mut self, number: i64, specification: Specification) -> Result<(), WrongTerm> {
        let bits = specification.bits(8)?;
        self.push_number(number as u64, number < 0, bits, specification.little);
        Ok(())
    }

    fn push_float(&mut self, number: f64, specification: Specification) -> Result<(), WrongTerm> {
        let (pattern, bits) = match specification.bits(64)? {
            64 => (number.to_bits(), 64),
            32 if (number as f32).is_finite() => (u64::from((number as f32).to_bits()), 32),
            _ => return Err(WrongTerm::Segment),
        };
        self.push_number(pattern, false, bits, specification.little);
        Ok(())
    }

    fn push_binary(&mut self, bytes: &[u8], specification: Specification) -> Result<(), WrongTerm> {
        let unit = specification.unit.unwrap_or(match specification.kind {
            Some(Kind::Bytes) => 8,
            Some(Kind::Bits) => 1,
            _ => return Err(WrongTerm::Segment),
        });
        let whole = bytes.len().saturating_mul(8);
        let bits = match specification.size {
            Some(size) => usize::try_from(size.saturating_mul(unit)).map_err(|_| WrongTerm::Segment)?,
            None => whole,
        };
        if bits > whole {
            return Err(WrongTerm::Segment);
        }
        let (full, part) = (bits / 8, bits % 8);
        bytes.iter().take(full).for_each(|&byte| self.push_bits(byte, 8));
        if let (1.., Some(&byte)) = (part, bytes.get(full)) {
            // part is below 8.
            self.push_bits(byte >> (8 - part), part as u32);
        }
        Ok(())
    }

    /// The lowest `bits` bits of a number in two's complement.
    fn push_number(&mut self, number: u64, negative: bool, bits: u32, little: bool) {
        let byte_at = |index: u32| match number.checked_shr(index * 8) {
            Some(shifted) => shifted as u8,
            None if negative => 0xff,
            None => 0,
        };
        let (full, part) = (bits / 8, bits % 8);
        if little {
            (0..full).for_each(|index| self.push_bits(byte_at(index), 8));
        }
        if part > 0 {
            self.push_bits(byte_at(full), part);
        }
        if !little {
            (0..full).rev().for_each(|index| self.push_bits(byte_at(index), 8));
        }
    }

    /// The lowest `count` bits of `byte`; `count` is from 1 to 8.
    fn push_bits(&mut self, byte: u8, count: u32) {
        let aligned = u16::from(byte) << (8 - count) & 0xff;
        match self.bytes.last_mut() {
            Some(last) if self.partial > 0 => {
                let pair = aligned << (8 - self.partial);
                *last |= (pair >> 8) as u8;
                if self.partial + count > 8 {
                    self.bytes.push(pair as u8);
                }
            }
            _ => self.bytes.push(aligned as u8),
        }
        self.partial = (self.partial + count) % 8;
    }
}
