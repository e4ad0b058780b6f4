//! Field names: which ones we know, and what bytes names and values may hold.

/// A field name we treat in some way of our own; [`FieldName::Other`] is every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldName {
    Other,
    Connection,
    ContentLength,
    ContentLocation,
    Cookie,
    Date,
    Expect,
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedPort,
    ForwardedProto,
    /// What other front ends say about a visitor or the target (`X-Forwarded-*`, `X-Real-IP`, `X-Original-URL`,
    /// `X-Rewrite-URL`): site servers believe it, so it comes from trusted peers alone.
    FrontEnd,
    Host,
    Http2Settings,
    KeepAlive,
    Location,
    /// `Proxy` (which CGI turns into `HTTP_PROXY`) and the fields between a client and its own proxy.
    Proxy,
    RequestId,
    SetCookie,
    StrictTransportSecurity,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
}

impl FieldName {
    /// Which name this is, in any case. Length and first byte choose, so that a name we do not know costs one look.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else {
            return Self::Other;
        };
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match (name.len(), first | 0x20) {
            (2, b't') if is("te") => Self::Te,
            (3, b'v') if is("via") => Self::Via,
            (4, b'h') if is("host") => Self::Host,
            (4, b'd') if is("date") => Self::Date,
            (5, b'p') if is("proxy") => Self::Proxy,
            (6, b'c') if is("cookie") => Self::Cookie,
            (6, b'e') if is("expect") => Self::Expect,
            (7, b'u') if is("upgrade") => Self::Upgrade,
            (7, b't') if is("trailer") => Self::Trailer,
            (8, b'l') if is("location") => Self::Location,
            (9, b'f') if is("forwarded") => Self::Forwarded,
            (9, b'x') if is("x-real-ip") => Self::FrontEnd,
            (10, b'c') if is("connection") => Self::Connection,
            (10, b'k') if is("keep-alive") => Self::KeepAlive,
            (10, b's') if is("set-cookie") => Self::SetCookie,
            (12, b'x') if is("x-request-id") => Self::RequestId,
            (13, b'x') if is("x-rewrite-url") => Self::FrontEnd,
            (14, b'c') if is("content-length") => Self::ContentLength,
            (14, b'h') if is("http2-settings") => Self::Http2Settings,
            (14, b'x') if is("x-original-url") => Self::FrontEnd,
            (16, b'p') if is("proxy-connection") => Self::Proxy,
            (16, b'c') if is("content-location") => Self::ContentLocation,
            (17, b't') if is("transfer-encoding") => Self::TransferEncoding,
            (18, b'p') if is("proxy-authenticate") => Self::Proxy,
            (19, b'p') if is("proxy-authorization") => Self::Proxy,
            (25, b'p') if is("proxy-authentication-info") => Self::Proxy,
            (25, b's') if is("strict-transport-security") => Self::StrictTransportSecurity,
            (13.., b'x') => match name.split_at_checked(12) {
                Some((family, rest)) if family.eq_ignore_ascii_case(b"x-forwarded-") => {
                    Self::x_forwarded(rest)
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    fn x_forwarded(rest: &[u8]) -> Self {
        match rest.len() {
            3 if rest.eq_ignore_ascii_case(b"for") => Self::ForwardedFor,
            4 if rest.eq_ignore_ascii_case(b"host") => Self::ForwardedHost,
            4 if rest.eq_ignore_ascii_case(b"port") => Self::ForwardedPort,
            5 if rest.eq_ignore_ascii_case(b"proto") => Self::ForwardedProto,
            _ => Self::FrontEnd,
        }
    }
}

/// Fields for all recipients that are in [`FieldName::Other`]: never connection options, never in trailers.
/// With them goes everything that begins with `content-`, `if-`, `accept` or `sec-`.
const END_TO_END: [&str; 24] = [
    "age",
    "allow",
    "authentication-info",
    "authorization",
    "cache-control",
    "etag",
    "expires",
    "from",
    "last-modified",
    "link",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie2",
    "traceparent",
    "user-agent",
    "vary",
    "warning",
    "www-authenticate",
];

/// Whether this is a field meant for all recipients: it must not be nominated by `Connection` (RFC 9110 §7.6.1).
pub fn is_end_to_end(name: &[u8]) -> bool {
    let begins =
        |text: &str| name.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text.as_bytes()));
    match FieldName::of(name) {
        FieldName::Other => {
            END_TO_END.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
                || ["content-", "if-", "accept", "sec-"].iter().any(|family| begins(family))
        }
        FieldName::Connection
        | FieldName::Http2Settings
        | FieldName::KeepAlive
        | FieldName::Proxy
        | FieldName::Te
        | FieldName::Trailer
        | FieldName::Upgrade => false,
        _ => true,
    }
}

const fn table(also: &[u8]) -> [bool; 256] {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        allowed[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < also.len() {
        allowed[also[at] as usize] = true;
        at += 1;
    }
    allowed
}

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
const PLAIN: [bool; 256] = table(b"-");

/// A `tchar` (RFC 9110 §5.6.2).
#[inline]
pub fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// One or more `tchar`.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// A byte of a field value: HTAB, SP, visible ASCII and obs-text (RFC 9110 §5.5).
#[inline]
pub fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether a name has letters, digits and `-` only. Other tokens are legal, yet servers that pass fields on as
/// variables (CGI, WSGI, PHP) fold them onto one of ours: `X_Forwarded_For` and `X-Forwarded-For` are one there.
#[inline]
pub fn is_plain_name(name: &[u8]) -> bool {
    // No early exit: names are short and nearly always plain.
    name.iter().fold(true, |plain, &byte| plain & PLAIN[usize::from(byte)])
}

/// Text without the SP and HTAB around it (`OWS`, RFC 9110 §5.6.3).
#[inline]
pub fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = text.iter().position(|byte| !blank(byte)) else {
        return &[];
    };
    let last = text.iter().rposition(|byte| !blank(byte)).unwrap_or(first);
    text.get(first..=last).unwrap_or(&[])
}

/// The elements of a comma-separated list without quoted strings (RFC 9110 §5.6.1), empty ones left in.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// Where fields are written to: the lines of HTTP/1.1 (a `Vec<u8>`), or a header map of HTTP/2.
pub trait FieldSink {
    /// `name` is a token as spelled by its sender, `value` is checked text.
    fn field(&mut self, name: &[u8], value: &[u8]);
    /// A value that is put together by `write`, which only appends; when it returns `false` there is no such field.
    fn field_with(&mut self, name: &[u8], write: &mut dyn FnMut(&mut Vec<u8>) -> bool);
}

impl FieldSink for Vec<u8> {
    #[inline]
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.reserve(name.len() + value.len() + 4);
        self.extend_from_slice(name);
        self.extend_from_slice(b": ");
        self.extend_from_slice(value);
        self.extend_from_slice(b"\r\n");
    }

    fn field_with(&mut self, name: &[u8], write: &mut dyn FnMut(&mut Vec<u8>) -> bool) {
        let before = self.len();
        self.extend_from_slice(name);
        self.extend_from_slice(b": ");
        if write(self) {
            self.extend_from_slice(b"\r\n");
        } else {
            self.truncate(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, expected) in [
            ("TE", FieldName::Te),
            ("te", FieldName::Te),
            ("VIA", FieldName::Via),
            ("hOST", FieldName::Host),
            ("Date", FieldName::Date),
            ("Proxy", FieldName::Proxy),
            ("Cookie", FieldName::Cookie),
            ("Expect", FieldName::Expect),
            ("Upgrade", FieldName::Upgrade),
            ("Trailer", FieldName::Trailer),
            ("Location", FieldName::Location),
            ("Forwarded", FieldName::Forwarded),
            ("X-Real-IP", FieldName::FrontEnd),
            ("Connection", FieldName::Connection),
            ("Keep-Alive", FieldName::KeepAlive),
            ("Set-Cookie", FieldName::SetCookie),
            ("X-Request-ID", FieldName::RequestId),
            ("X-Rewrite-URL", FieldName::FrontEnd),
            ("Content-Length", FieldName::ContentLength),
            ("HTTP2-Settings", FieldName::Http2Settings),
            ("X-Original-URL", FieldName::FrontEnd),
            ("X-Forwarded-For", FieldName::ForwardedFor),
            ("x-forwarded-host", FieldName::ForwardedHost),
            ("x-forwarded-port", FieldName::ForwardedPort),
            ("X-FORWARDED-PROTO", FieldName::ForwardedProto),
            ("X-Forwarded-Ssl", FieldName::FrontEnd),
            ("X-Forwarded-Prefix", FieldName::FrontEnd),
            ("Proxy-Connection", FieldName::Proxy),
            ("Content-Location", FieldName::ContentLocation),
            ("Transfer-Encoding", FieldName::TransferEncoding),
            ("Proxy-Authenticate", FieldName::Proxy),
            ("Proxy-Authorization", FieldName::Proxy),
            ("Proxy-Authentication-Info", FieldName::Proxy),
            ("Strict-Transport-Security", FieldName::StrictTransportSecurity),
            ("", FieldName::Other),
            ("X-Forwarded-", FieldName::Other),
            ("X-Forwarder-For", FieldName::Other),
            ("Hos\u{74}s", FieldName::Other),
            ("User-Agent", FieldName::Other),
            ("X_Forwarded_For", FieldName::Other),
        ] {
            assert_eq!(FieldName::of(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn names_that_servers_fold_onto_others_are_not_plain() {
        assert!(is_plain_name(b"X-Forwarded-For") && is_plain_name(b"DNT") && is_plain_name(b"sec-ch-ua"));
        for name in ["X_Forwarded_For", "X.Forwarded.For", "X-Forwarded_For", "a!", "a~b", "a'b"] {
            assert!(!is_plain_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_only() {
        for (text, expected) in [("", ""), (" \t ", ""), (" a b\t", "a b"), ("a", "a"), ("\u{b}a", "\u{b}a")]
        {
            assert_eq!(trim(text.as_bytes()), expected.as_bytes());
        }
    }
}
