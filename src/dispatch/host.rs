//! The host of a request: what `Host` and `:authority` may hold, and the text it is looked up by.

use std::net::Ipv6Addr;

/// Longest name looked up, in bytes: DNS allows 253 (RFC 1035 §2.3.4), an address in brackets 47.
pub const HOST_BYTES_MAX: usize = 255;

/// Why an authority names no host; every one of them is answered 400 (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHost {
    /// Nothing, or nothing before the port.
    Empty,
    /// Longer than [`HOST_BYTES_MAX`].
    TooLong,
    /// Not one of letters, digits, `-`, `.` and `_`: user information, an escape, a second
    /// colon, a space, a control or non-ASCII byte.
    Byte,
    /// Two dots in a row, or one in front.
    EmptyLabel,
    /// Brackets without an IPv6 address in them (RFC 3986 §3.2.2); zones and later versions too.
    Address,
    /// Not digits, or more than 65535.
    Port,
}

impl BadHost {
    /// A word for logs and `explain`.
    pub fn reason(self) -> &'static str {
        match self {
            BadHost::Empty => "host-empty",
            BadHost::TooLong => "host-too-long",
            BadHost::Byte => "host-byte",
            BadHost::EmptyLabel => "host-empty-label",
            BadHost::Address => "host-address",
            BadHost::Port => "host-port",
        }
    }
}

/// A host and perhaps a port, as they came: any case, without the one trailing dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// Letters, digits, `-`, `.`, `_`; or an IPv6 address in its brackets. 1 to 255 bytes.
    pub name: &'a [u8],
    /// What follows the colon, if anything does.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `host [ ":" port ]` (RFC 3986 §3.2, RFC 9110 §7.2), narrower than the grammar where
    /// the grammar is wider than names and addresses need. Borrows, allocates nothing.
    ///
    /// # Errors
    /// [`BadHost`]: answer 400.
    pub fn parse(authority: &'a [u8]) -> Result<Host<'a>, BadHost> {
        if authority.first() == Some(&b'[') {
            return Host::parse_address(authority);
        }
        let mut end = authority.len();
        let mut before = b'.';
        for (at, &byte) in authority.iter().enumerate() {
            match HOST_BYTE[usize::from(byte)] {
                NAME => {}
                DOT if before == b'.' => {
                    return Err(if authority.len() == 1 { BadHost::Empty } else { BadHost::EmptyLabel });
                }
                DOT => {}
                COLON => {
                    end = at;
                    break;
                }
                _ => return Err(BadHost::Byte),
            }
            before = byte;
        }
        let (name, rest) = authority.split_at(end);
        let name = name.strip_suffix(b".").unwrap_or(name);
        if name.is_empty() {
            return Err(BadHost::Empty);
        }
        if name.len() > HOST_BYTES_MAX {
            return Err(BadHost::TooLong);
        }
        Ok(Host { name, port: port(rest)? })
    }

    fn parse_address(authority: &'a [u8]) -> Result<Host<'a>, BadHost> {
        let end = memchr::memchr(b']', authority).ok_or(BadHost::Address)?;
        let (name, rest) = authority.split_at(end + 1);
        let inside = &name[1..end];
        // The longest text of an address has 45 bytes, so this looks at little.
        let text = std::str::from_utf8(inside).map_err(|_| BadHost::Address)?;
        text.parse::<Ipv6Addr>().map_err(|_| BadHost::Address)?;
        Ok(Host { name, port: port(rest)? })
    }
}

/// `rest` is what follows the host: nothing, `":"`, or `":"` and digits (RFC 3986 §3.2.3).
fn port(rest: &[u8]) -> Result<Option<u16>, BadHost> {
    let Some(digits) = rest.strip_prefix(b":") else {
        return if rest.is_empty() { Ok(None) } else { Err(BadHost::Port) };
    };
    if digits.is_empty() {
        return Ok(None);
    }
    let mut number: u16 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(BadHost::Port);
        }
        number = number
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u16::from(digit - b'0')))
            .ok_or(BadHost::Port)?;
    }
    Ok(Some(number))
}

const NAME: u8 = 1;
const DOT: u8 = 2;
const COLON: u8 = 3;

/// What each byte is in a host; 0 may not be there.
static HOST_BYTE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || byte == b'-' as usize || byte == b'_' as usize {
            table[byte] = NAME;
        }
        byte += 1;
    }
    table[b'.' as usize] = DOT;
    table[b':' as usize] = COLON;
    table
};

/// Whether a name is in the form it is looked up by. Most are; for the others see [`write_lookup_name`], a step of its
/// own so that most requests have no buffer to clear.
#[inline]
pub(super) fn is_lookup_name(name: &[u8]) -> bool {
    // In one pass without a way out of it, so that it is done many bytes at a time.
    name.iter().fold(true, |plain, &byte| plain & !byte.is_ascii_uppercase() & (byte != b'['))
}

/// The text a host is looked up by: lower case, an IPv6 address in its shortest form. `name`: at most
/// [`HOST_BYTES_MAX`] bytes, as any text in the table.
pub(super) fn write_lookup_name<'a>(name: &[u8], buffer: &'a mut [u8; HOST_BYTES_MAX]) -> Option<&'a [u8]> {
    let room = buffer.len();
    let inside = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let address =
        inside.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse::<Ipv6Addr>().ok());
    if let Some(address) = address {
        // `[0:0::1]` and `[::1]` are one host.
        let mut left: &mut [u8] = buffer;
        std::io::Write::write_fmt(&mut left, format_args!("[{address}]")).ok()?;
        let length = room - left.len();
        return buffer.get(..length);
    }
    let written = buffer.get_mut(..name.len())?;
    written.copy_from_slice(name);
    written.make_ascii_lowercase();
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(authority: &str, name: &str, port: Option<u16>) {
        assert_eq!(
            Host::parse(authority.as_bytes()),
            Ok(Host { name: name.as_bytes(), port }),
            "{authority:?}"
        );
    }

    #[track_caller]
    fn refuses(authority: &[u8], why: BadHost) {
        assert_eq!(Host::parse(authority), Err(why), "{:?}", String::from_utf8_lossy(authority));
    }

    #[test]
    fn cuts_the_port_and_one_trailing_dot() {
        reads("example.com", "example.com", None);
        reads("Example.COM:8443", "Example.COM", Some(8443));
        reads("example.com.", "example.com", None);
        reads("example.com.:80", "example.com", Some(80));
        reads("example.com:", "example.com", None);
        reads("my_host-1", "my_host-1", None);
        reads("127.0.0.1:65535", "127.0.0.1", Some(65535));
        reads("[::1]", "[::1]", None);
        reads("[2001:db8::1]:443", "[2001:db8::1]", Some(443));
        reads("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None);
        reads(&"a".repeat(255), &"a".repeat(255), None);
    }

    #[test]
    fn refuses_what_is_no_host() {
        refuses(b"", BadHost::Empty);
        refuses(b":80", BadHost::Empty);
        refuses(b".", BadHost::Empty);
        refuses(b"example.com..", BadHost::EmptyLabel);
        refuses(b".example.com", BadHost::EmptyLabel);
        refuses(b"a..b", BadHost::EmptyLabel);
        for text in [
            &b"user@example.com"[..],
            b"user:secret@example.com",
            b"example.com/path",
            b"example.com\\x",
            b"exam%70le.com",
            b"a b",
            b" a",
            b"a\0",
            b"a\r\nb",
            b"a,b",
            b"\xc3\xa9.example",
            b"a?b",
            b"a#b",
            b"*.example.com",
        ] {
            let why = if text.starts_with(b"user:") { BadHost::Port } else { BadHost::Byte };
            refuses(text, why);
        }
        for text in [
            &b"a:65536"[..],
            b"a:99999999999999",
            b"a:80:80",
            b"a:-1",
            b"a:+1",
            b"a: 80",
            b"a:8o",
            b"[::1]80",
        ] {
            refuses(text, BadHost::Port);
        }
        for text in [&b"["[..], b"[]", b"[::1", b"[1.2.3.4]", b"[::1%25eth0]", b"[v1.a]", b"[:::]", b"[\xff]"]
        {
            refuses(text, BadHost::Address);
        }
        refuses("a".repeat(256).as_bytes(), BadHost::TooLong);
    }

    #[test]
    fn looks_up_lower_case_and_the_shortest_address() {
        let check = |name: &str, expected: &str| {
            let mut buffer = [0; HOST_BYTES_MAX];
            assert_eq!(write_lookup_name(name.as_bytes(), &mut buffer), Some(expected.as_bytes()));
            let is_plain = name == expected && !name.starts_with('[');
            assert_eq!(is_lookup_name(name.as_bytes()), is_plain, "{name}");
        };
        check("WWW.Example.com", "www.example.com");
        check("[0:0:0:0:0:0:0:1]", "[::1]");
        check("[2001:DB8::0:1]", "[2001:db8::1]");
        check("plain.example", "plain.example");
        check("[::1]", "[::1]");
        check(&"A".repeat(255), &"a".repeat(255));
        for too_long in [[b'a'; 256], [b'A'; 256]] {
            assert_eq!(write_lookup_name(&too_long, &mut [0; HOST_BYTES_MAX]), None);
        }
    }
}
