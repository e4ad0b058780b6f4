//! Lines of a file of any size, each in bounded memory.

use std::io::{self, BufRead as _, BufReader, Read};

/// Longer than any request line that is served: a target of 65,535 octets, a host, and fields of a log.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Octets asked for at a time.
const READ_BYTES: usize = 64 * 1024;

/// Reads lines that end in LF; the last one may do without.
pub struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    /// Of the line last read, from 1.
    number: u64,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Whole(&'a [u8]),
    /// Longer than [`LINE_BYTES_MAX`]; the rest of it is skipped.
    TooLong,
}

impl<R: Read> Lines<R> {
    pub fn new(from: R) -> Lines<R> {
        Lines { from: BufReader::with_capacity(READ_BYTES, from), line: Vec::new(), number: 0 }
    }

    /// The number of the line last read, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line is not in hand: reading it may wait for somebody, who may wait for an answer.
    pub fn would_wait(&self) -> bool {
        memchr::memchr(b'\n', self.from.buffer()).is_none()
    }

    /// The next line, `None` at the end.
    ///
    /// # Errors
    /// As the source says.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut limited = (&mut self.from).take(LINE_BYTES_MAX as u64 + 1);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > LINE_BYTES_MAX {
            self.from.skip_until(b'\n')?;
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Whole(&self.line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_once() {
        let mut text = b"a\n\nb\r\n".to_vec();
        text.extend(vec![b'x'; LINE_BYTES_MAX]);
        text.push(b'\n');
        text.extend(vec![b'y'; 3 * LINE_BYTES_MAX]);
        text.extend(b"\nlast");
        let mut lines = Lines::new(&text[..]);
        let longest = vec![b'x'; LINE_BYTES_MAX];
        let expected = [
            Line::Whole(b"a"),
            Line::Whole(b""),
            Line::Whole(b"b\r"),
            Line::Whole(&longest),
            Line::TooLong,
            Line::Whole(b"last"),
        ];
        for (index, line) in expected.into_iter().enumerate() {
            assert_eq!(lines.next().expect("memory"), Some(line), "{index}");
            assert_eq!(lines.number(), index as u64 + 1);
        }
        assert_eq!(lines.next().expect("memory"), None);
    }
}
