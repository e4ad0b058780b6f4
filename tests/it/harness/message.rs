//! A second reader of HTTP/1.1 messages, simple and independent of the one under test.

use std::io::{self, Read};

/// A request or a response, read whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line, without its end.
    pub start: String,
    pub fields: Vec<(String, String)>,
    /// After transfer decoding.
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub chunked: bool,
}

impl Message {
    #[track_caller]
    pub fn status(&self) -> u16 {
        let word = self.start.split(' ').nth(1).unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("a status line: {:?}", self.start))
    }

    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of a field that is there once at most.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there {} times: {self:?}", all.len());
        all.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The connection ends after this message.
    pub fn closes(&self) -> bool {
        self.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// How a body ends.
pub enum Ends {
    None,
    Length(usize),
    Chunked,
    Close,
}

/// Reads the head at the front of `unread`, reading more as needed; `None`: the peer ended before one byte.
pub fn read_head(from: &mut impl Read, unread: &mut Vec<u8>) -> io::Result<Option<Message>> {
    let end = loop {
        if let Some(at) = find(unread, b"\r\n\r\n") {
            break at;
        }
        if more(from, unread)? == 0 {
            return match unread.is_empty() {
                true => Ok(None),
                false => Err(io::Error::other(format!("ended inside a head: {}", show(unread)))),
            };
        }
    };
    let head: Vec<u8> = unread.drain(..end + 4).collect();
    let mut lines = head[..end]
        .split(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned());
    let start = lines.next().unwrap_or_default();
    let fields = lines.map(|line| split_field(&line)).collect::<io::Result<_>>()?;
    Ok(Some(Message { start, fields, ..Message::default() }))
}

/// Reads the body of a message into it.
pub fn read_body(
    from: &mut impl Read,
    unread: &mut Vec<u8>,
    ends: Ends,
    message: &mut Message,
) -> io::Result<()> {
    match ends {
        Ends::None => {}
        Ends::Length(length) => message.body = take(from, unread, length)?,
        Ends::Close => {
            while more(from, unread)? > 0 {}
            message.body = std::mem::take(unread);
        }
        Ends::Chunked => {
            message.chunked = true;
            loop {
                let line = take_line(from, unread)?;
                let size = usize::from_str_radix(&line, 16)
                    .map_err(|_| io::Error::other(format!("a chunk size: {line:?}")))?;
                if size == 0 {
                    break;
                }
                message.body.extend(take(from, unread, size)?);
                if take(from, unread, 2)? != b"\r\n" {
                    return Err(io::Error::other("no line end behind a chunk"));
                }
            }
            loop {
                let line = take_line(from, unread)?;
                if line.is_empty() {
                    break;
                }
                message.trailers.push(split_field(&line)?);
            }
        }
    }
    Ok(())
}

/// Of a request (RFC 9112 §6.3).
pub fn request_ends(head: &Message) -> Ends {
    framing(head).unwrap_or(Ends::None)
}

/// Of a response to a request with this method.
pub fn response_ends(head: &Message, method: &str) -> Ends {
    match head.status() {
        100..=199 | 204 | 304 => Ends::None,
        _ if method == "HEAD" => Ends::None,
        _ => framing(head).unwrap_or(Ends::Close),
    }
}

fn framing(head: &Message) -> Option<Ends> {
    match (head.field("transfer-encoding"), head.field("content-length")) {
        (Some(_), Some(_)) => panic!("both a coding and a length: {head:?}"),
        (Some(coding), None) => {
            assert_eq!(coding, "chunked");
            Some(Ends::Chunked)
        }
        (None, Some(length)) => Some(Ends::Length(length.parse().expect("a length is a number"))),
        (None, None) => None,
    }
}

pub fn more(from: &mut impl Read, unread: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = vec![0; 64 * 1024];
    let read = loop {
        match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    unread.extend_from_slice(&piece[..read]);
    Ok(read)
}

/// Exactly so many bytes.
pub fn take(from: &mut impl Read, unread: &mut Vec<u8>, count: usize) -> io::Result<Vec<u8>> {
    while unread.len() < count {
        if more(from, unread)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} bytes instead of {count}", unread.len()),
            ));
        }
    }
    let rest = unread.split_off(count);
    Ok(std::mem::replace(unread, rest))
}

fn take_line(from: &mut impl Read, unread: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(at) = find(unread, b"\r\n") {
            let line: Vec<u8> = unread.drain(..at + 2).collect();
            return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
        }
        if more(from, unread)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn split_field(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("a field: {line:?}")))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).escape_debug().to_string()
}

/// Chunks that are wrong, the first of them or a later one.
pub const BAD_CHUNKS: &[&[u8]] = &[
    b"\r\nabc\r\n0\r\n\r\n",
    b"g\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nab\r\n0\r\n\r\n",
    b"ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"3;\x00\r\nabc\r\n0\r\n\r\n",
    b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
    b"10000000000000000\r\nabc\r\n0\r\n\r\n",
    b"3;\"\n\"\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\nno colon\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: y\n\r\n",
];
