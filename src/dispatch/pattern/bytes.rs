//! Sets of bytes and the classes of ISO 8859-1, whose tables Erlang's `re` is built with.

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes([u64; 4]);

impl Bytes {
    pub(super) fn contains(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    pub(super) fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub(super) fn of(is: impl Fn(u8) -> bool) -> Bytes {
        let mut bytes = Bytes::default();
        (0..=255).filter(|&byte| is(byte)).for_each(|byte| bytes.add(byte));
        bytes
    }

    pub(super) fn union(self, other: Bytes) -> Bytes {
        Bytes(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    pub(super) fn complement(self) -> Bytes {
        Bytes(self.0.map(|word| !word))
    }

    pub(super) fn either_case(self) -> Bytes {
        Bytes::of(|byte| self.contains(byte) || self.contains(lower(byte)) || self.contains(upper(byte)))
    }
}

pub(super) fn lower(byte: u8) -> u8 {
    if is_upper(byte) { byte + 32 } else { byte }
}

fn upper(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | 0xe0..=0xf6 | 0xf8..=0xfe => byte - 32,
        _ => byte,
    }
}

pub(super) fn is_upper(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde)
}

pub(super) fn is_lower(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | 0xaa | 0xb5 | 0xba | 0xdf..=0xf6 | 0xf8..=0xff)
}

pub(super) fn is_alpha(byte: u8) -> bool {
    is_upper(byte) || is_lower(byte)
}

pub(super) fn is_alnum(byte: u8) -> bool {
    is_alpha(byte) || byte.is_ascii_digit()
}

/// A byte of a word: what `\w` takes and `\b` looks for.
pub(super) fn is_word(byte: u8) -> bool {
    is_alnum(byte) || byte == b'_'
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

pub(super) fn is_horizontal(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ' | 0xa0)
}

pub(super) fn is_vertical(byte: u8) -> bool {
    matches!(byte, b'\n'..=b'\r' | 0x85)
}
