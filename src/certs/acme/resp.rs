//! The protocol of Redis and its kin (RESP2), as far as the fleet's store needs it: commands out, replies in.
//!
//! Own code: seven commands over one blocking socket are less than the twenty crates a client brings, and every
//! reply has a bound here.

use std::io::{self, BufRead, Read};

/// A certificate with its chain and key takes some 10 KiB.
const BULK_BYTES_MAX: usize = 1024 * 1024;
const ARRAY_ITEMS_MAX: usize = 20_000;
const LINE_BYTES_MAX: u64 = 64 * 1024;
const DEPTH_MAX: usize = 4;

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Text(String),
    Error(String),
    Integer(i64),
    /// `None`: there is no such thing.
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

/// Appends a command with its arguments.
pub(super) fn write_command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads one reply, and nothing behind it.
///
/// # Errors
/// Those of the reader; `UnexpectedEof`; `InvalidData` for what is no reply, or one past the bounds. The connection is
/// of no use then.
pub(super) fn read_reply(from: &mut impl BufRead) -> io::Result<Reply> {
    read_at_depth(from, 0)
}

fn read_at_depth(from: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    if depth > DEPTH_MAX {
        return Err(invalid("a reply nested too deep"));
    }
    let line = read_line(from)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| invalid("an empty line"))?;
    match kind {
        "+" => Ok(Reply::Text(rest.to_owned())),
        "-" => Ok(Reply::Error(rest.to_owned())),
        ":" => rest.parse().map(Reply::Integer).map_err(|_| invalid("not a number")),
        "$" => match length(rest, BULK_BYTES_MAX)? {
            None => Ok(Reply::Bulk(None)),
            Some(length) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                if !bytes.ends_with(b"\r\n") {
                    return Err(invalid("a string without its end"));
                }
                bytes.truncate(length);
                Ok(Reply::Bulk(Some(bytes)))
            }
        },
        "*" => match length(rest, ARRAY_ITEMS_MAX)? {
            None => Ok(Reply::Bulk(None)),
            // Grows as items come: a count is no promise.
            Some(count) => (0..count)
                .map(|_| read_at_depth(from, depth + 1))
                .collect::<io::Result<_>>()
                .map(Reply::Array),
        },
        _ => Err(invalid("not a reply")),
    }
}

/// `None`: -1, nothing.
fn length(text: &str, most: usize) -> io::Result<Option<usize>> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(number) => match usize::try_from(number) {
            Ok(length) if length <= most => Ok(Some(length)),
            _ => Err(invalid("a length past the bound")),
        },
        Err(_) => Err(invalid("not a length")),
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| invalid("a line without its end"))?;
    String::from_utf8(line.to_vec()).map_err(|_| invalid("a line that is no text"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_with_their_lengths() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"SET", b"a", b"\r\n"]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n");
    }

    #[test]
    fn replies_are_read_whole_and_nothing_behind_them() {
        let text = |text: &str| Reply::Text(text.to_owned());
        let bulk = |bytes: &[u8]| Reply::Bulk(Some(bytes.to_vec()));
        for (bytes, expected) in [
            (&b"+OK\r\n"[..], text("OK")),
            (b"-ERR no\r\n", Reply::Error("ERR no".to_owned())),
            (b":-7\r\n", Reply::Integer(-7)),
            (b"$-1\r\n", Reply::Bulk(None)),
            (b"$0\r\n\r\n", bulk(b"")),
            (b"$4\r\na\r\nb\r\n", bulk(b"a\r\nb")),
            (b"*-1\r\n", Reply::Bulk(None)),
            (
                b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
                Reply::Array(vec![bulk(b"a"), Reply::Array(vec![Reply::Integer(1)])]),
            ),
        ] {
            let behind = [bytes, b"+more\r\n"].concat();
            let mut from = &behind[..];
            assert_eq!(read_reply(&mut from).expect("a reply"), expected);
            assert_eq!(from, b"+more\r\n");
            for cut in 0..bytes.len() {
                assert!(read_reply(&mut &bytes[..cut]).is_err(), "{expected:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error_and_takes_no_memory() {
        let deep = "*1\r\n".repeat(100_000);
        for bytes in [
            &b"\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\n",
            b":x\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"+OK\n",
            b"$99999999999\r\n",
            b"*99999999999\r\n",
            b"*20000\r\n",
            b"$1\r\nabc",
            b"+\xff\r\n",
            deep.as_bytes(),
        ] {
            assert!(
                read_reply(&mut &bytes[..]).is_err(),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(20)])
            );
        }
    }
}
