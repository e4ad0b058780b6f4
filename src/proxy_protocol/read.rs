//! Reading a header, without taking a byte that comes behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ends, FIXED_BYTES, HEADER_BYTES_MAX, LINE_BYTES_MAX, SIGNATURE};

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// On behalf of somebody else.
    Proxied(Ends),
    /// The balancer speaks for itself, to see whether we live, or does not know for whom (`LOCAL`, `UNKNOWN`).
    Local,
}

/// The connection must end: what it is for is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// It begins with something else.
    Missing,
    Malformed,
    TooLong,
}

impl BadHeader {
    /// One word for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            BadHeader::Missing => "proxy_header_missing",
            BadHeader::Malformed => "proxy_header_malformed",
            BadHeader::TooLong => "proxy_header_too_long",
        }
    }
}

/// How many octets of `seen`, which come behind `taken`, belong to the header for sure; at least one. 0: `taken` is the
/// whole header, for [`read`].
///
/// # Errors
/// [`BadHeader`]: this is no header.
pub fn take(taken: &[u8], seen: &[u8]) -> Result<usize, BadHeader> {
    // What is looked at is short: bytes are asked one by one across the seam.
    let at = |index: usize| taken.get(index).or_else(|| seen.get(index.checked_sub(taken.len())?)).copied();
    let begins = |with: &[u8]| {
        with.iter().enumerate().all(|(index, byte)| at(index).is_none_or(|found| found == *byte))
    };
    let known = taken.len() + seen.len();
    let wanted = if known > 0 && begins(&SIGNATURE) {
        let length = match (taken.get(14), taken.get(15)) {
            (Some(high), Some(low)) => FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
            _ => FIXED_BYTES,
        };
        if length > HEADER_BYTES_MAX {
            return Err(BadHeader::TooLong);
        }
        length
    } else if known > 0 && begins(b"PROXY ") {
        if taken.ends_with(b"\n") {
            return Ok(0);
        }
        let line_end = seen.iter().position(|byte| *byte == b'\n').map(|end| taken.len() + end + 1);
        let length = line_end.unwrap_or(known);
        if length > LINE_BYTES_MAX || (line_end.is_none() && length == LINE_BYTES_MAX) {
            return Err(BadHeader::TooLong);
        }
        length
    } else {
        return Err(BadHeader::Missing);
    };
    Ok((wanted - taken.len().min(wanted)).min(seen.len()))
}

/// Reads a header that [`take`] said is whole.
///
/// # Errors
/// [`BadHeader`]: the connection must end.
pub fn read(header: &[u8]) -> Result<Header, BadHeader> {
    if header.starts_with(&SIGNATURE) { version_2(header) } else { version_1(header) }
}

fn version_1(line: &[u8]) -> Result<Header, BadHeader> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(BadHeader::Malformed)?.split(' ');
    if words.next() != Some("PROXY") {
        return Err(BadHeader::Missing);
    }
    let family = words.next();
    if family == Some("UNKNOWN") {
        // What follows is to be ignored.
        return Ok(Header::Local);
    }
    let mut address = || -> Option<IpAddr> {
        let text = words.next()?;
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            Some("TCP6") => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let addresses = (address(), address());
    let mut port = || -> Option<u16> {
        let text = words.next()?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        plain.then(|| text.parse().ok()).flatten()
    };
    let ports = (port(), port());
    match (addresses, ports, words.next()) {
        ((Some(source), Some(destination)), (Some(source_port), Some(destination_port)), None) => {
            Ok(Header::Proxied(Ends {
                source: SocketAddr::new(source, source_port),
                destination: SocketAddr::new(destination, destination_port),
            }))
        }
        _ => Err(BadHeader::Malformed),
    }
}

fn version_2(header: &[u8]) -> Result<Header, BadHeader> {
    let (fixed, rest) = header.split_at_checked(FIXED_BYTES).ok_or(BadHeader::Malformed)?;
    let command = fixed[12];
    if rest.len() != usize::from(u16::from_be_bytes([fixed[14], fixed[15]])) {
        return Err(BadHeader::Malformed);
    }
    match command {
        0x20 => return Ok(Header::Local),
        0x21 => {}
        _ => return Err(BadHeader::Malformed),
    }
    let port = |at: usize| rest.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let v4 =
        |at: usize| rest.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(IpAddr::from);
    let v6 = |at: usize| {
        rest.get(at..at + 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(IpAddr::from)
    };
    let ends = match fixed[13] {
        // TCP over IPv4, over IPv6; datagrams do not come here.
        0x11 => (v4(0), port(8), v4(4), port(10)),
        0x21 => (v6(0), port(32), v6(16), port(34)),
        // A unix socket, or a family the sender does not name: nothing we could use, and no mistake.
        0x00 | 0x31 => return Ok(Header::Local),
        _ => return Err(BadHeader::Malformed),
    };
    match ends {
        (Some(source), Some(source_port), Some(destination), Some(destination_port)) => {
            Ok(Header::Proxied(Ends {
                source: SocketAddr::new(source, source_port),
                destination: SocketAddr::new(destination, destination_port),
            }))
        }
        _ => Err(BadHeader::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as the shell does, from pieces; also says what is left.
    fn receive(pieces: &[&[u8]]) -> (Result<Option<Header>, BadHeader>, Vec<u8>) {
        let mut taken = Vec::new();
        let mut pending: Vec<u8> = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            pending.extend_from_slice(piece);
            let rest = |pending: &[u8]| [pending, &pieces[number + 1..].concat()].concat();
            while !pending.is_empty() {
                match take(&taken, &pending) {
                    Err(bad) => return (Err(bad), rest(&pending)),
                    Ok(0) => return (read(&taken).map(Some), rest(&pending)),
                    Ok(count) => taken.extend(pending.drain(..count)),
                }
            }
        }
        match take(&taken, &[]) {
            Ok(0) if !taken.is_empty() && is_whole(&taken) => (read(&taken).map(Some), pending),
            Err(bad) if !taken.is_empty() => (Err(bad), pending),
            _ => (Ok(None), pending),
        }
    }

    fn is_whole(taken: &[u8]) -> bool {
        take(taken, b"x") == Ok(0)
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&[command, family]);
        header.extend_from_slice(&(body.len() as u16).to_be_bytes());
        header.extend_from_slice(body);
        header
    }

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied(Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
    }

    fn cases() -> Vec<(Vec<u8>, Header)> {
        let mut six = vec![0x20, 1, 0xd, 0xb8];
        six.extend_from_slice(&[0; 11]);
        six.push(7);
        six.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        six.extend_from_slice(&[0xdc, 4, 1, 0xbb]);
        let tlvs = [[203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb].as_slice(), &[4, 0, 1, 0]].concat();
        vec![
            (
                b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".to_vec(),
                proxied("203.0.113.7:56324", "192.0.2.1:443"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n".to_vec(),
                proxied("[2001:db8::7]:56324", "[::1]:443"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Header::Local),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Header::Local),
            (v2(0x21, 0x11, &tlvs), proxied("203.0.113.7:56324", "192.0.2.1:443")),
            (v2(0x21, 0x21, &six), proxied("[2001:db8::7]:56324", "[::1]:443")),
            (v2(0x20, 0x00, b""), Header::Local),
            (v2(0x20, 0x11, &tlvs), Header::Local),
            (v2(0x21, 0x31, &[0; 216]), Header::Local),
        ]
    }

    #[test]
    fn headers_are_read_from_any_pieces_and_what_follows_stays() {
        for (header, expected) in cases() {
            let follows = b"\x16\x03\x01 or GET /\r\n";
            let whole = [header.as_slice(), follows].concat();
            assert_eq!(receive(&[&whole]), (Ok(Some(expected)), follows.to_vec()));
            for at in 1..whole.len() {
                let (header, rest) = receive(&[&whole[..at], &whole[at..]]);
                assert_eq!((header, rest), (Ok(Some(expected)), follows.to_vec()), "split at {at}");
            }
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(receive(&bytes[..header.len()]).0, Ok(Some(expected)), "byte by byte");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 120]].concat();
        let cases: Vec<(Vec<u8>, BadHeader)> = vec![
            (b"GET / HTTP/1.1\r\n".to_vec(), BadHeader::Missing),
            (b"\x16\x03\x01".to_vec(), BadHeader::Missing),
            (b"PROXYTCP4".to_vec(), BadHeader::Missing),
            (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), BadHeader::Missing),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n".to_vec(), BadHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY TCP4 ::1 5.6.7.8 1 2\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 2\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(), BadHeader::Malformed),
            (b"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(), BadHeader::Malformed),
            (long, BadHeader::TooLong),
            (v2(0x22, 0x11, &[0; 12]), BadHeader::Malformed),
            (v2(0x11, 0x11, &[0; 12]), BadHeader::Malformed),
            (v2(0x21, 0x12, &[0; 12]), BadHeader::Malformed),
            (v2(0x21, 0x11, &[0; 11]), BadHeader::Malformed),
            (v2(0x21, 0x21, &[0; 35]), BadHeader::Malformed),
            (v2(0x21, 0x11, &[0; 5000]), BadHeader::TooLong),
        ];
        for (bytes, expected) in cases {
            let (found, _) = receive(&[&bytes, b"x"]);
            assert_eq!(found, Err(expected), "{}", bytes[..bytes.len().min(60)].escape_ascii());
        }
    }
}
