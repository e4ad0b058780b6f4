//! Where the bytes that mean something stand in a piece of a target, found sixteen at a time.

use wide::u8x16;

/// Most bytes looked at in one go.
pub(super) const PIECE_BYTES: usize = 64;

/// Bit i says what byte i is. At most one of them says something of a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// `/`
    pub(super) slash: u64,
    /// `%`
    pub(super) percent: u64,
    /// `?` or `#`, where a path ends.
    pub(super) end: u64,
    /// A space or a control byte.
    pub(super) unfit: u64,
}

impl Marks {
    /// `piece`: at most [`PIECE_BYTES`] of them count.
    #[inline(always)]
    pub(super) fn of(piece: &[u8]) -> Marks {
        let piece = &piece[..piece.len().min(PIECE_BYTES)];
        let mut marks = Marks::default();
        if let Some(last) = piece.last_chunk() {
            let mut at = 0;
            while let Some(sixteen) = piece[at..].first_chunk() {
                marks.add(sixteen, at);
                at += 16;
            }
            if at < piece.len() {
                // Some of these were seen before, and say the same again.
                marks.add(last, piece.len() - 16);
            }
            return marks;
        }
        marks.add(&padded(piece), 0);
        let there = (1 << piece.len()) - 1;
        Marks {
            slash: marks.slash & there,
            percent: marks.percent & there,
            end: marks.end & there,
            unfit: marks.unfit & there,
        }
    }

    /// Adds what these sixteen bytes say, the first of them at `at`.
    #[inline(always)]
    fn add(&mut self, sixteen: &[u8; 16], at: usize) {
        let bytes = u8x16::new(*sixteen);
        let are = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
        let bits = |found: u8x16| u64::from(found.to_bitmask()) << at;
        self.slash |= bits(are(b'/'));
        let percent = are(b'%');
        let end = are(b'?') | are(b'#');
        let unfit = bytes.min(u8x16::splat(b' ')).simd_eq(bytes) | are(0x7f);
        // Most have slashes alone.
        if (percent | end | unfit).to_bitmask() != 0 {
            self.percent |= bits(percent);
            self.end |= bits(end);
            self.unfit |= bits(unfit);
        }
    }
}

/// Fewer than sixteen bytes, zeros after them.
#[inline(always)]
fn padded(few: &[u8]) -> [u8; 16] {
    let length = few.len();
    let both =
        |first: u64, last: u64, width: usize| u128::from(first) | u128::from(last) << (8 * (length - width));
    let number = if let (Some(first), Some(last)) = (few.first_chunk(), few.last_chunk()) {
        both(u64::from_le_bytes(*first), u64::from_le_bytes(*last), 8)
    } else if let (Some(first), Some(last)) = (few.first_chunk(), few.last_chunk()) {
        both(u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into(), 4)
    } else {
        few.iter().rev().fold(0, |number, &byte| number << 8 | u128::from(byte))
    };
    number.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What byte is what, one by one.
    fn plainly(piece: &[u8]) -> Marks {
        let mut marks = Marks::default();
        for (at, byte) in piece.iter().enumerate() {
            let bit = 1 << at;
            match byte {
                b'/' => marks.slash |= bit,
                b'%' => marks.percent |= bit,
                b'?' | b'#' => marks.end |= bit,
                0..=b' ' | 0x7f => marks.unfit |= bit,
                _ => {}
            }
        }
        marks
    }

    #[test]
    fn every_byte_is_what_it_is_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..16 {
                for around in [b'a', 0, b'/', 0x7f, 0x80, 0xff] {
                    let mut sixteen = [around; 16];
                    sixteen[at] = byte;
                    assert_eq!(Marks::of(&sixteen), plainly(&sixteen), "{sixteen:?}");
                }
            }
        }
    }

    #[test]
    fn pieces_of_every_length_are_marked_to_their_end() {
        let text: Vec<u8> = b"a/%?# \x7fz".iter().copied().cycle().take(PIECE_BYTES + 8).collect();
        for from in 0..8 {
            for length in 0..=PIECE_BYTES {
                let piece = &text[from..from + length];
                assert_eq!(Marks::of(piece), plainly(piece), "{from} {length}");
            }
        }
        assert_eq!(Marks::of(&text), plainly(&text[..PIECE_BYTES]));
    }
}
