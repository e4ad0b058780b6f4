//! Lines of access logs: the combined format of Apache and nginx, with or without the virtual host in front, and
//! JSON.
//!
//! ```text
//! 192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "referer" "agent"
//! example.com:443 192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "referer" "agent"
//! {"scheme":"https","host":"example.com","method":"GET","target":"/a", …}
//! ```
//!
//! What follows the request is of no interest, so the common format is read as well.

use std::fmt;
use std::net::IpAddr;

use crate::cli::explain::url::{absolute_form, is_token};
use crate::http::Scheme;

/// A request as a log tells it; read anew for each line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Logged {
    pub scheme: Option<Scheme>,
    /// Of the virtual host, where no scheme is told.
    pub port: Option<u16>,
    /// Host and perhaps a port.
    pub host: Option<Vec<u8>>,
    pub method: Vec<u8>,
    /// Origin form, or whatever the client sent.
    pub target: Vec<u8>,
}

/// Why a line holds no request.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    TooLong,
    /// Neither of the formats.
    Format,
    /// The client sent something that is no request, or nothing.
    NoRequest,
    /// In the words of the JSON parser.
    Json(String),
    /// A JSON object without this key, or with something else than text there.
    Key(&'static str),
    /// A `scheme` that is neither http nor https.
    Scheme(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::TooLong => f.write_str("too long"),
            Unreadable::Format => f.write_str("neither the combined format nor JSON"),
            Unreadable::NoRequest => f.write_str("the client sent no request"),
            Unreadable::Json(error) => write!(f, "no JSON: {error}"),
            Unreadable::Key(key) => write!(f, "no text under \"{key}\""),
            Unreadable::Scheme(scheme) => write!(f, "\"{scheme}\" is neither \"http\" nor \"https\""),
        }
    }
}

impl Logged {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// Why there is no request in it.
    pub fn read(line: &[u8]) -> Result<Logged, Unreadable> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut logged = if line.first() == Some(&b'{') { json(line) } else { combined(line) }?;
        if let Some((authority, rest)) = absolute_form(&logged.target) {
            // The host of the target is the one that counts (RFC 9112 §3.2.2).
            let slash: &[u8] = if rest.first() == Some(&b'/') { b"" } else { b"/" };
            logged.host = Some(authority.to_vec());
            logged.target = [slash, rest].concat();
        }
        Ok(logged)
    }
}

fn combined(line: &[u8]) -> Result<Logged, Unreadable> {
    // The user is any text, so the date is looked for by what surrounds it.
    let date = memchr::memmem::find(line, b" [").ok_or(Unreadable::Format)?;
    let (front, rest) = line.split_at(date);
    let quote = memchr::memmem::find(rest, b"] \"").ok_or(Unreadable::Format)?;
    let request = &rest[quote + 3..];
    let end = closing_quote(request).ok_or(Unreadable::Format)?;
    let (request, after) = request.split_at(end);
    // `" 200 `: without a status it is something else that has brackets and quotes.
    let is_status = |text: &[u8]| text == b"-" || (text.len() == 3 && text.iter().all(u8::is_ascii_digit));
    let status = after.strip_prefix(b"\" ").and_then(|after| after.split(|&byte| byte == b' ').next());
    if !status.is_some_and(is_status) {
        return Err(Unreadable::Format);
    }
    let mut fields = front.split(|&byte| byte == b' ');
    let (first, second, third) = (fields.next(), fields.next(), fields.next());
    let (Some(first), Some(second), Some(_)) = (first, second, third) else {
        return Err(Unreadable::Format);
    };
    let (host, port) = virtual_host(first, second);
    let (method, target) = request_line(&unescape(request)).ok_or(Unreadable::NoRequest)?;
    Ok(Logged { scheme: None, port, host, method, target })
}

/// The host in front of the client's address, when there is one: `name:port`, or a name before an address.
fn virtual_host(first: &[u8], second: &[u8]) -> (Option<Vec<u8>>, Option<u16>) {
    let is_address =
        |field: &[u8]| std::str::from_utf8(field).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    if is_address(first) {
        return (None, None);
    }
    let colon = memchr::memrchr(b':', first);
    let port = colon.and_then(|colon| std::str::from_utf8(&first[colon + 1..]).ok()?.parse::<u16>().ok());
    match (colon, port) {
        (Some(colon), Some(port)) => (Some(first[..colon].to_vec()), Some(port)),
        _ if is_address(second) => (Some(first.to_vec()), None),
        // The client by its name.
        _ => (None, None),
    }
}

/// Where the quote ends that began before; a backslash takes the next octet along.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// `\xHH` of both servers, and Apache's `\"`, `\\`, `\n` and the like; other backslashes stay.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (plain, taken) = match rest {
            [b'x', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'\\', 0),
            },
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'b', ..] => (0x08, 1),
            [b'v', ..] => (0x0b, 1),
            [quoted @ (b'"' | b'\\'), ..] => (*quoted, 1),
            _ => (b'\\', 0),
        };
        out.push(plain);
        left = &rest[taken..];
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    // A hexadecimal digit is below 16.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Method and target; the version may be missing (HTTP/0.9), and what a client sends instead of a request is `None`.
fn request_line(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (method, rest) = line.split_at(memchr::memchr(b' ', line)?);
    let rest = &rest[1..];
    let target = match memchr::memrchr(b' ', rest) {
        Some(space) if rest[space + 1..].starts_with(b"HTTP/") => &rest[..space],
        None if rest.starts_with(b"HTTP/") => return None,
        _ => rest,
    };
    (is_token(method) && !target.is_empty()).then(|| (method.to_vec(), target.to_vec()))
}

fn json(line: &[u8]) -> Result<Logged, Unreadable> {
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(line).map_err(|error| Unreadable::Json(error.to_string()))?;
    // As our log writes what could not be read.
    if object.get("method").is_some_and(serde_json::Value::is_null) {
        return Err(Unreadable::NoRequest);
    }
    let mut text = |key: &'static str| match object.remove(key) {
        Some(serde_json::Value::String(text)) => Ok(Some(text)),
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(_) => Err(Unreadable::Key(key)),
    };
    let scheme = text("scheme")?
        .map(|scheme| Scheme::parse(scheme.as_bytes()).ok_or(Unreadable::Scheme(scheme)))
        .transpose()?;
    Ok(Logged {
        scheme,
        port: None,
        host: text("host")?.map(String::into_bytes),
        method: text("method")?.ok_or(Unreadable::Key("method"))?.into_bytes(),
        target: text("target")?.ok_or(Unreadable::Key("target"))?.into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: &str = "200 2326 \"http://a/\\\"x\" \"Mozilla/5.0 [en] \\\"q\\\"\"";
    const DATE: &str = "[10/Oct/2000:13:55:36 -0700]";

    #[track_caller]
    fn reads(line: &str, host: Option<&str>, port: Option<u16>, method: &str, target: &[u8]) {
        let expected = Logged {
            scheme: None,
            port,
            host: host.map(|host| host.as_bytes().to_vec()),
            method: method.as_bytes().to_vec(),
            target: target.to_vec(),
        };
        assert_eq!(Logged::read(line.as_bytes()), Ok(expected), "{line}");
    }

    #[test]
    fn the_front_of_a_line_tells_whether_a_virtual_host_is_there() {
        for (front, host, port) in [
            ("192.0.2.1 - -", None, None),
            ("2001:db8::1 - -", None, None),
            ("::1 - john doe", None, None),
            ("client.example.net - frank", None, None),
            ("example.com:443 192.0.2.1 - -", Some("example.com"), Some(443)),
            ("[::1]:8080 2001:db8::1 - -", Some("[::1]"), Some(8080)),
            ("192.0.2.9:80 192.0.2.1 - jo ann", Some("192.0.2.9"), Some(80)),
            ("example.com 192.0.2.1 - -", Some("example.com"), None),
        ] {
            let line = format!("{front} {DATE} \"GET /a?b HTTP/1.1\" {AFTER}");
            reads(&line, host, port, "GET", b"/a?b");
        }
    }

    #[test]
    fn escapes_of_both_servers_are_undone() {
        for (written, target) in [
            (r"/a\x22b", &b"/a\"b"[..]),
            (r#"/a\"b"#, b"/a\"b"),
            (r"/a\\b", b"/a\\b"),
            (r"/a\x5Cx41", b"/a\\x41"),
            (r"/caf\xC3\xa9", "/café".as_bytes()),
            (r"/\xff", b"/\xff"),
            (r"/a\tb\n", b"/a\tb\n"),
            (r"/a\qb\x4", b"/a\\qb\\x4"),
            ("/%22", b"/%22"),
            ("/a b", b"/a b"),
        ] {
            let line = format!("192.0.2.1 - - {DATE} \"POST {written} HTTP/2.0\" {AFTER}");
            reads(&line, None, None, "POST", target);
        }
        reads(&format!("192.0.2.1 - - {DATE} \"GET /old\" 200 12"), None, None, "GET", b"/old");
        reads(&format!("192.0.2.1 - - {DATE} \"OPTIONS * HTTP/1.1\" - -\r"), None, None, "OPTIONS", b"*");
    }

    #[test]
    fn the_host_of_an_absolute_form_counts() {
        let line = format!("a.example:80 192.0.2.1 - - {DATE} \"GET http://b.example?c HTTP/1.1\" {AFTER}");
        reads(&line, Some("b.example"), Some(80), "GET", b"/?c");
    }

    #[test]
    fn json_has_four_keys_of_interest() {
        let read = |text: &str| Logged::read(text.as_bytes());
        let whole = r#"{"time":1,"target":"/a\"?b","host":"example.com:8443","scheme":"https","method":"PUT","x":{"y":[]}}"#;
        let expected = Logged {
            scheme: Some(Scheme::Https),
            port: None,
            host: Some(b"example.com:8443".to_vec()),
            method: b"PUT".to_vec(),
            target: b"/a\"?b".to_vec(),
        };
        assert_eq!(read(whole), Ok(expected));
        let least = read(r#"{"method":"GET","target":"/"}"#).expect("flags say the rest");
        assert_eq!((least.scheme, least.host), (None, None));
        assert_eq!(read(r#"{"method":"GET"}"#), Err(Unreadable::Key("target")));
        assert_eq!(read(r#"{"method":"GET","target":7}"#), Err(Unreadable::Key("target")));
        let gopher = read(r#"{"scheme":"gopher","method":"GET","target":"/"}"#);
        assert_eq!(gopher, Err(Unreadable::Scheme("gopher".to_owned())));
        assert!(matches!(read(r#"{"method":"GET""#), Err(Unreadable::Json(_))));
    }

    #[test]
    fn what_is_no_request_is_told_from_what_is_no_log() {
        for (request, expected) in [
            ("-", Unreadable::NoRequest),
            ("", Unreadable::NoRequest),
            (r"\x16\x03\x01\x02 \x01", Unreadable::NoRequest),
            ("GET", Unreadable::NoRequest),
            ("GET HTTP/1.1", Unreadable::NoRequest),
            ("GET  HTTP/1.1", Unreadable::NoRequest),
        ] {
            let line = format!("192.0.2.1 - - {DATE} \"{request}\" 400 0 \"-\" \"-\"");
            assert_eq!(Logged::read(line.as_bytes()), Err(expected), "{line}");
        }
        for line in [
            "",
            "hello",
            "# Fields: date time",
            "a - - [date] \"GET / HTTP/1.1",
            "a - - [date] \"GET / HTTP/1.1\"",
            "a - - [date] \"GET / HTTP/1.1\" hello",
            "[date] \"GET / HTTP/1.1\" 200 1",
            " [d] \"GET / HTTP/1.1\" 200 1",
        ] {
            assert_eq!(Logged::read(line.as_bytes()), Err(Unreadable::Format), "{line}");
        }
    }
}
