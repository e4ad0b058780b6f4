//! Any bytes inside the quotes of a line.

/// Appends text for between the quotes of a JSON string (RFC 8259 §7).
///
/// Bytes that are not UTF-8 become `%XX`: JSON has no bytes, and in a target the two are read alike.
pub(super) fn json(text: &[u8], out: &mut Vec<u8>) {
    // What nearly all text is: nothing to escape.
    if text.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\') {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                // The two line ends of Unicode, too: some readers split lines there.
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    let code = u32::from(character);
                    out.extend_from_slice(b"\\u");
                    out.extend([12, 8, 4, 0].map(|shift| LOWER[(code >> shift & 15) as usize]));
                }
                _ => {
                    let mut bytes = [0; 4];
                    out.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                }
            }
        }
        for byte in chunk.invalid() {
            out.push(b'%');
            hexadecimal(*byte, out);
        }
    }
}

/// Appends text for between the quotes of the combined format, as nginx and Apache do: `\xHH` for what is not
/// visible ASCII, for quotes and for backslashes.
pub(super) fn combined(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                out.extend_from_slice(b"\\x");
                hexadecimal(*byte, out);
            }
            _ => out.push(*byte),
        }
    }
}

const LOWER: &[u8; 16] = b"0123456789abcdef";

fn hexadecimal(byte: u8, out: &mut Vec<u8>) {
    let digits = b"0123456789ABCDEF";
    out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
}
