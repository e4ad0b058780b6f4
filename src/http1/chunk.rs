//! Chunks as we write them (RFC 9112 §7.1).

/// Sixteen hex digits and CRLF.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// Writes the size line of a chunk of `length` octets and says how many bytes it took. After the chunk comes `\r\n`.
/// `length` must not be 0: that is [`write_last_chunk`].
pub fn chunk_head(length: u64, head: &mut [u8; CHUNK_HEAD_BYTES_MAX]) -> usize {
    debug_assert!(length > 0, "a chunk without octets ends the body");
    let digits = (16 - length.leading_zeros() as usize / 4).max(1);
    let mut rest = length;
    for place in head.iter_mut().take(digits).rev() {
        *place = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    for (place, byte) in head.iter_mut().skip(digits).zip(*b"\r\n") {
        *place = byte;
    }
    digits + 2
}

/// Appends the last chunk, `trailers` (whole lines, as [`super::BodyReader::trailers`] gives them; or none) and the
/// empty line.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_hex() {
        for length in [1, 9, 10, 15, 16, 255, 256, 4095, 65536, u64::from(u32::MAX), u64::MAX] {
            let mut head = [0; CHUNK_HEAD_BYTES_MAX];
            let written = chunk_head(length, &mut head);
            assert_eq!(&head[..written], format!("{length:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn the_last_chunk_carries_trailers() {
        let mut out = Vec::new();
        write_last_chunk(&mut out, b"");
        write_last_chunk(&mut out, b"A: b\r\n");
        assert_eq!(out, b"0\r\n\r\n0\r\nA: b\r\n\r\n");
    }
}
