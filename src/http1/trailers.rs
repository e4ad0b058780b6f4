//! Trailer fields: gathered line by line, bounded, and only those that may stand after a body.

use super::flaw::BadBody;
use crate::http::FieldName;
use crate::http::field::{is_end_to_end, is_plain_name, is_token, is_value_byte};

const TRAILER_BYTES_MAX: usize = 8 * 1024;
const TRAILER_LINES_MAX: usize = 64;

/// Lines that were accepted, then the line being read. Allocates only when there are trailers.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    bytes: Vec<u8>,
    // accepted <= bytes.len()
    accepted: usize,
    lines: usize,
    /// All bytes seen, dropped lines included.
    seen: usize,
}

impl Trailers {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.accepted = 0;
        self.lines = 0;
        self.seen = 0;
    }

    /// Takes in a part of a line, its CRLF not included.
    pub(super) fn push(&mut self, part: &[u8]) -> Result<(), BadBody> {
        self.seen += part.len();
        if self.seen > TRAILER_BYTES_MAX {
            return Err(BadBody::TrailersTooLarge);
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    /// Judges the line that just ended. `true`: it was empty, the message is over.
    pub(super) fn end_line(&mut self) -> Result<bool, BadBody> {
        let line = self.bytes.get(self.accepted..).unwrap_or(&[]);
        if line.is_empty() {
            return Ok(true);
        }
        self.lines += 1;
        if self.lines > TRAILER_LINES_MAX {
            return Err(BadBody::TrailersTooLarge);
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(BadBody::Trailer)?;
        let (name, value) = line.split_at_checked(colon).ok_or(BadBody::Trailer)?;
        let value = value.get(1..).unwrap_or(&[]);
        if !is_token(name) || !value.iter().all(|&byte| is_value_byte(byte)) {
            return Err(BadBody::Trailer);
        }
        if may_trail(name) {
            // One space, the value, CRLF. Of white space, `value` can hold SP and HTAB only.
            let blank = value.len() - value.trim_ascii_start().len();
            let length = value.trim_ascii().len();
            let value_at = self.accepted + colon + 1;
            self.bytes.truncate(value_at + blank + length);
            self.bytes.splice(value_at..value_at + blank, *b" ");
            self.bytes.extend_from_slice(b"\r\n");
            self.accepted = self.bytes.len();
        } else {
            self.bytes.truncate(self.accepted);
        }
        Ok(false)
    }

    pub(super) fn lines(&self) -> &[u8] {
        self.bytes.get(..self.accepted).unwrap_or(&[])
    }
}

/// RFC 9110 §6.5.1: not what frames, routes, authenticates, or says how to read the content; and, as in heads, not
/// what ends at a hop, what a front end says, and names that could be folded onto another.
pub fn may_trail(name: &[u8]) -> bool {
    is_plain_name(name) && may_trail_response(name)
}

/// The same for trailers that go to a client alone: it folds no names onto others, and metadata of gRPC may have `_`
/// and `.` in theirs.
pub fn may_trail_response(name: &[u8]) -> bool {
    let known = matches!(FieldName::of(name), FieldName::Other);
    // Known only once the content is, so that trailers are its natural place.
    let useful = name.eq_ignore_ascii_case(b"etag");
    known && (useful || !is_end_to_end(name))
}
