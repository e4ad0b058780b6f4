//! Reads one HTTP/1.1 response and checks it against what is due.

use crate::body;
use crate::workload::Answer;

const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is wrong with a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    HeadTooLong,
    NotHttp,
    Status(u16),
    NoLength,
    Length(usize),
    /// The body differs from what the upstream sent, at this offset or after it.
    Body(usize),
    Location(String),
    /// Bytes after the end of the response.
    Extra,
    /// HTTP/2: a frame of this type, RST_STREAM or GOAWAY.
    Reset(u8),
}

/// A response as it arrives; reused from request to request.
#[derive(Default)]
pub struct Response {
    head: Vec<u8>,
    length: Option<usize>,
    received: usize,
    /// The server said `Connection: close`.
    pub close: bool,
}

impl Response {
    pub fn reset(&mut self) {
        self.head.clear();
        self.length = None;
        self.received = 0;
        self.close = false;
    }

    /// Takes the next bytes; true when the response is complete.
    ///
    /// # Errors
    /// The first thing that differs from `due`; the connection is of no use then.
    pub fn feed(&mut self, mut bytes: &[u8], due: &Answer) -> Result<bool, Fault> {
        if self.length.is_none() {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let from = before.saturating_sub(3);
            let Some(end) = find(&self.head[from..], b"\r\n\r\n").map(|at| from + at + 4) else {
                return if self.head.len() > HEAD_BYTES_MAX { Err(Fault::HeadTooLong) } else { Ok(false) };
            };
            self.head.truncate(end);
            bytes = &bytes[end - before..];
            self.length = Some(self.read_head(due)?);
        }
        let length = self.length.unwrap_or(0);
        if self.received + bytes.len() > length {
            return Err(Fault::Extra);
        }
        if matches!(due, Answer::Body(_)) && !body::matches(self.received, bytes) {
            return Err(Fault::Body(self.received));
        }
        self.received += bytes.len();
        Ok(self.received == length)
    }

    fn read_head(&mut self, due: &Answer) -> Result<usize, Fault> {
        let status = match self.head.get(..12) {
            Some(start) if start.starts_with(b"HTTP/1.") => number(&start[9..12]).ok_or(Fault::NotHttp)?,
            _ => return Err(Fault::NotHttp),
        };
        let wanted = match due {
            Answer::Body(_) => 200,
            Answer::RedirectToHttps => 302,
        };
        if status != wanted {
            return Err(Fault::Status(u16::try_from(status).unwrap_or(0)));
        }
        let length = header(&self.head, "content-length").and_then(number).ok_or(Fault::NoLength)?;
        self.close =
            header(&self.head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        match due {
            Answer::Body(bytes) if *bytes != length => Err(Fault::Length(length)),
            Answer::Body(_) => Ok(length),
            Answer::RedirectToHttps => {
                let location = header(&self.head, "location").unwrap_or_default();
                // A port of its own is right for a server that does not listen on 443.
                let fits = location.starts_with(b"https://bench.test") && location.ends_with(b"/secure/x");
                if fits {
                    Ok(length)
                } else {
                    Err(Fault::Location(String::from_utf8_lossy(location).into_owned()))
                }
            }
        }
    }
}

/// The value of the first field of this name in a message head.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (field, value) = (&line[..colon], &line[colon + 1..]);
        field.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// Where `needle` begins in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Decimal digits and nothing else.
pub fn number(bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() || bytes.len() > 12 {
        return None;
    }
    bytes.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + usize::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8], due: Answer) -> Result<bool, Fault> {
        Response::default().feed(text, &due)
    }

    fn answer(head: &str, bytes: usize) -> Vec<u8> {
        let mut text = head.as_bytes().to_vec();
        body::append(&mut text, bytes);
        text
    }

    #[test]
    fn takes_a_response_at_once_and_byte_by_byte() {
        let text = answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5);
        assert_eq!(whole(&text, Answer::Body(5)), Ok(true));
        let mut response = Response::default();
        for (at, byte) in text.iter().enumerate() {
            let done = response.feed(&[*byte], &Answer::Body(5));
            assert_eq!(done, Ok(at + 1 == text.len()), "byte {at}");
        }
    }

    #[test]
    fn names_what_differs() {
        let cases: &[(&[u8], Answer, Fault)] = &[
            (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", Answer::Body(0), Fault::Status(502)),
            (b"HTTP/1.1 200 OK\r\n\r\n", Answer::Body(0), Fault::NoLength),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", Answer::Body(5), Fault::Length(4)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", Answer::Body(1), Fault::Body(0)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx", Answer::Body(0), Fault::Extra),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Answer::Body(0), Fault::NotHttp),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://bench.test/secure/x\r\nContent-Length: 0\r\n\r\n",
                Answer::RedirectToHttps,
                Fault::Location("http://bench.test/secure/x".to_owned()),
            ),
        ];
        for (text, due, fault) in cases {
            assert_eq!(whole(text, *due).as_ref(), Err(fault), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn takes_redirects_with_and_without_a_port() {
        for location in ["https://bench.test/secure/x", "https://bench.test:8443/secure/x"] {
            let text = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 2\r\n\r\nhi");
            assert_eq!(whole(text.as_bytes(), Answer::RedirectToHttps), Ok(true));
        }
    }

    #[test]
    fn sees_that_the_server_closes() {
        let mut response = Response::default();
        let text = b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(response.feed(text, &Answer::Body(0)), Ok(true));
        assert!(response.close);
    }
}
