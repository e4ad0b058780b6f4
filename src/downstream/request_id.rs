//! Request identifiers: unique over workers and restarts, nothing to allocate or to lock.

use std::cell::Cell;

/// Hexadecimal digits of an identifier.
pub const REQUEST_ID_BYTES: usize = 32;

pub struct RequestIds {
    // Random for each start of a worker.
    prefix: u64,
    next: Cell<u64>,
}

impl RequestIds {
    pub fn new(worker: usize) -> RequestIds {
        let mut random = [0; 16];
        // Without randomness identifiers repeat after a restart; nothing depends on more.
        let _ = aws_lc_rs::rand::fill(&mut random);
        let (prefix, start) = random.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        RequestIds { prefix: number(prefix) ^ worker as u64, next: Cell::new(number(start)) }
    }

    pub fn next(&self) -> [u8; REQUEST_ID_BYTES] {
        let count = self.next.get();
        self.next.set(count.wrapping_add(1));
        let mut text = [0; REQUEST_ID_BYTES];
        hexadecimal(self.prefix, &mut text[..16]);
        hexadecimal(count, &mut text[16..]);
        text
    }
}

fn hexadecimal(number: u64, into: &mut [u8]) {
    for (position, digit) in into.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * position)) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ_and_are_hexadecimal() {
        let ids = RequestIds::new(3);
        let (one, two) = (ids.next(), ids.next());
        assert_ne!(one, two);
        assert!(one.iter().all(u8::is_ascii_hexdigit));
        assert_ne!(RequestIds::new(3).next()[..16], one[..16]);
    }
}
