//! Base64 for URLs (RFC 4648 §5) without padding, in place: a buffer is widened or narrowed where it lies.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Of so many octets.
pub(super) const fn encoded_length(octets: usize) -> usize {
    octets / 3 * 4 + [0, 2, 3][octets % 3]
}

/// Encodes what stands in `text` from `start` on.
pub(super) fn encode(text: &mut Vec<u8>, start: usize) {
    let octets = text.len() - start;
    text.resize(start + encoded_length(octets), 0);
    let Some(region) = text.get_mut(start..) else { return };
    // From the end: four letters never reach into three octets that are still to be read.
    for group in (0..octets.div_ceil(3)).rev() {
        let from = group * 3;
        let count = (octets - from).min(3);
        let mut bits = 0;
        for at in 0..3 {
            bits = bits << 8 | if at < count { u32::from(region[from + at]) } else { 0 };
        }
        for at in 0..=count {
            region[group * 4 + at] = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
        }
    }
}

/// Decodes what stands in `text` from `start` on; `None`, and what is there is of no use, when it is not what
/// [`encode`] writes.
pub(super) fn decode(text: &mut Vec<u8>, start: usize) -> Option<()> {
    let region = text.get_mut(start..)?;
    let letters = region.len();
    let mut written = 0;
    for from in (0..letters).step_by(4) {
        let count = (letters - from).min(4);
        let mut bits: u32 = 0;
        for at in 0..4 {
            bits = bits << 6 | if at < count { u32::from(octet(region[from + at])?) } else { 0 };
        }
        // One letter has too few bits; those behind the last octet are zero.
        if count == 1 || bits & (0x00ff_ffff >> (8 * (count - 1))) != 0 {
            return None;
        }
        for at in 0..count - 1 {
            region[written] = (bits >> (16 - 8 * at)) as u8;
            written += 1;
        }
    }
    text.truncate(start + written);
    Some(())
}

fn octet(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_in_place() {
        // RFC 4648 §10, without padding.
        for (plain, encoded) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"fooba", "Zm9vYmE"),
            (b"foobar", "Zm9vYmFy"),
            (b"\xfb\xff\xfe", "-__-"),
        ] {
            let mut text = [b"before ", plain].concat();
            encode(&mut text, 7);
            assert_eq!(text, [b"before ", encoded.as_bytes()].concat());
            assert_eq!(decode(&mut text, 7), Some(()));
            assert_eq!(text, [b"before ", plain].concat());
        }
        let mut long: Vec<u8> = (0..=255).cycle().take(1001).collect();
        let plain = long.clone();
        encode(&mut long, 1);
        assert_eq!(decode(&mut long, 1), Some(()));
        assert_eq!(long, plain);
    }

    #[test]
    fn refuses_what_it_would_not_write() {
        for text in ["Z", "Zm9vY", "Zh", "Zm9", "Zg==", "Zm+v", "Zm/v", "Zm v", "\u{e9}Z"] {
            assert_eq!(decode(&mut text.as_bytes().to_vec(), 0), None, "{text}");
        }
    }
}
