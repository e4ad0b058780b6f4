//! The bytes of every body: one fixed noise, so that a proxy that mixes, drops or repeats bytes is caught.

use std::sync::LazyLock;

const NOISE_BYTES: usize = 1 << 20;

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..NOISE_BYTES)
        .map(|_| {
            // xorshift64: no period that fits a buffer size.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'a' + (state >> 32) as u8 % 26
        })
        .collect()
});

/// As much of a body as lies in one piece from `offset`, at most `length` bytes.
pub fn piece(offset: usize, length: usize) -> &'static [u8] {
    let start = offset % NOISE_BYTES;
    &NOISE[start..NOISE_BYTES.min(start.saturating_add(length))]
}

/// Are these the bytes of a body at `offset`?
pub fn matches(mut offset: usize, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let due = piece(offset, bytes.len());
        let (here, rest) = bytes.split_at(due.len());
        if here != due {
            return false;
        }
        offset += here.len();
        bytes = rest;
    }
    true
}

#[cfg(test)]
pub fn append(out: &mut Vec<u8>, mut length: usize) {
    let mut offset = 0;
    while length > 0 {
        let here = piece(offset, length);
        out.extend_from_slice(here);
        offset += here.len();
        length -= here.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_longer_than_the_noise_repeat_it() {
        let mut long = Vec::new();
        append(&mut long, NOISE_BYTES + 100);
        assert!(matches(0, &long));
        assert!(matches(NOISE_BYTES - 10, &long[NOISE_BYTES - 10..]));
        assert!(!matches(1, &long));
    }
}
