//! One redirect to the final URL: scheme and host settled together.

use super::Scheme;

/// Why a request is sent elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectReason {
    /// The host is an alias; the scheme was right.
    Alias,
    /// The scheme was wrong.
    Scheme,
    /// Both.
    AliasAndScheme,
}

impl RedirectReason {
    /// A word for logs and `explain`.
    pub fn reason(self) -> &'static str {
        match self {
            RedirectReason::Alias => "alias",
            RedirectReason::Scheme => "scheme",
            RedirectReason::AliasAndScheme => "alias-and-scheme",
        }
    }
}

/// Where to send the client. Borrows the rules and the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// 301, 302, 307 or 308 (RFC 9110 §15.4).
    pub status: u16,
    pub scheme: Scheme,
    /// The canonical host, or the requested one, which was found in the table: written in lower case.
    pub host: &'a [u8],
    /// The outside port, unless it is the scheme's own.
    pub port: Option<u16>,
    /// Path and query as received, with one slash in front. Holds no space and no control byte.
    pub target: &'a [u8],
    pub reason: RedirectReason,
}

impl Redirect<'_> {
    /// Appends the value of `Location`: an absolute URI, so that no client reads a host into the target.
    pub fn write_location(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.scheme.as_str().as_bytes());
        out.extend_from_slice(b"://");
        let start = out.len();
        out.extend_from_slice(self.host);
        out[start..].make_ascii_lowercase();
        if let Some(port) = self.port {
            write_port(port, out);
        }
        out.extend_from_slice(self.target);
    }
}

fn write_port(port: u16, out: &mut Vec<u8>) {
    let mut digits = [0; 5];
    let mut left = port;
    let mut first = digits.len();
    while first == digits.len() || left > 0 {
        first -= 1;
        // A digit.
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    out.push(b':');
    out.extend_from_slice(&digits[first..]);
}

/// 301 and 302 let a POST become a GET; 307 and 308 do not (RFC 9110 §15.4.8, §15.4.9).
pub(super) fn status(permanent: bool, method: &[u8]) -> u16 {
    match (permanent, matches!(method, b"GET" | b"HEAD")) {
        (false, true) => 302,
        (false, false) => 307,
        (true, true) => 301,
        (true, false) => 308,
    }
}

/// Extra slashes in front become one: `//host/` would be read as a host where the target alone is used.
pub(super) fn one_slash(target: &[u8]) -> &[u8] {
    let slashes = target.iter().take_while(|&&byte| byte == b'/').count();
    &target[slashes.saturating_sub(1)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_an_absolute_location() {
        let check = |host: &str, port: Option<u16>, target: &str, expected: &str| {
            let redirect = Redirect {
                status: 302,
                scheme: Scheme::Https,
                host: host.as_bytes(),
                port,
                target: one_slash(target.as_bytes()),
                reason: RedirectReason::Scheme,
            };
            let mut out = b"Location: ".to_vec();
            redirect.write_location(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("Location: {expected}"));
        };
        check("Example.COM", None, "/a?b=c", "https://example.com/a?b=c");
        check("example.com", Some(8443), "/", "https://example.com:8443/");
        check("example.com", Some(0), "/", "https://example.com:0/");
        check("[::1]", Some(65535), "/", "https://[::1]:65535/");
        check("example.com", None, "//evil.com/x", "https://example.com/evil.com/x");
        check("example.com", None, "////evil.com//x", "https://example.com/evil.com//x");
        check("example.com", None, "/\\evil.com", "https://example.com/\\evil.com");
        check("example.com", None, "/%0d%0aSet-Cookie:x", "https://example.com/%0d%0aSet-Cookie:x");
    }

    #[test]
    fn keeps_the_method_unless_it_is_get_or_head() {
        for (permanent, method, expected) in [
            (false, "GET", 302),
            (false, "HEAD", 302),
            (false, "POST", 307),
            (false, "get", 307),
            (true, "GET", 301),
            (true, "HEAD", 301),
            (true, "PUT", 308),
            (true, "", 308),
        ] {
            assert_eq!(status(permanent, method.as_bytes()), expected, "{method}");
        }
    }
}
