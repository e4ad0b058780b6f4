//! `Location` of a site server, mended when it names the server's own inside address or the wrong scheme.

use super::framing::Scheme;

/// Appends a mended `Location` and returns `true`; `false` leaves it as it is.
pub type Rewrite<'a> = dyn Fn(&[u8], &mut Vec<u8>) -> bool + 'a;

/// The scheme dispatch wants for a target of a site; `None` when any will do.
pub type Wanted<'a> = dyn Fn(&[u8]) -> Option<Scheme> + 'a;

/// Where inside addresses are outside.
#[derive(Clone, Copy)]
pub struct Mend<'a> {
    /// The authorities we reach the site servers by, such as `127.0.0.1:8000`; a unix socket has none.
    pub inside: &'a [Box<[u8]>],
    /// The scheme of the request.
    pub scheme: Scheme,
    /// The authority of the site for visitors over HTTP, with the outside port unless it is 80.
    pub http_authority: &'a [u8],
    /// The same over HTTPS.
    pub https_authority: &'a [u8],
    /// `None`: schemes of the site's own addresses are left alone.
    pub wanted: Option<&'a Wanted<'a>>,
}

impl Mend<'_> {
    /// Appends the mended form of `location` and returns `true`, or leaves `out` alone.
    ///
    /// A URI at the inside address moves to the outside origin of the request; one at the site itself changes its
    /// scheme when dispatch would redirect it at once. Relative references and other sites are left alone.
    pub fn mend(&self, location: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(uri) = Absolute::split(location) else {
            return false;
        };
        let scheme = uri.scheme.unwrap_or(self.scheme);
        let is = |authority: &[u8], at: Scheme| {
            !authority.is_empty() && same_authority(uri.authority, scheme, authority, at)
        };
        let is_inside = self.inside.iter().any(|inside| is(inside, scheme) || is(inside, Scheme::Http));
        let wanted = if is_inside {
            self.wanted(uri.rest).unwrap_or(self.scheme)
        } else if is(self.http_authority, Scheme::Http) || is(self.https_authority, Scheme::Https)
            // An application that knows its host but not the scheme leaves the port out or keeps the other one.
            || is(self.http_authority, scheme) || is(self.https_authority, scheme)
        {
            match self.wanted(uri.rest) {
                Some(wanted) if wanted != scheme => wanted,
                _ => return false,
            }
        } else {
            return false;
        };
        out.extend_from_slice(wanted.as_str().as_bytes());
        out.extend_from_slice(b"://");
        out.extend_from_slice(match wanted {
            Scheme::Http => self.http_authority,
            Scheme::Https => self.https_authority,
        });
        out.extend_from_slice(uri.rest);
        true
    }

    fn wanted(&self, rest: &[u8]) -> Option<Scheme> {
        let target = if rest.starts_with(b"/") { rest } else { b"/" };
        let end = target.iter().position(|&byte| byte == b'#').unwrap_or(target.len());
        self.wanted?(target.get(..end).unwrap_or(target))
    }
}

struct Absolute<'a> {
    /// `None`: a reference such as `//host/path`, which takes the scheme of the request.
    scheme: Option<Scheme>,
    authority: &'a [u8],
    /// Path, query, fragment.
    rest: &'a [u8],
}

impl<'a> Absolute<'a> {
    fn split(location: &'a [u8]) -> Option<Self> {
        let (scheme, after) = if let Some(after) = location.strip_prefix(b"//") {
            (None, after)
        } else {
            let colon = location.iter().take(6).position(|&byte| byte == b':')?;
            let (scheme, after) = location.split_at_checked(colon)?;
            (Some(Scheme::parse(scheme)?), after.strip_prefix(b"://")?)
        };
        let end = after.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(after.len());
        let (authority, rest) = after.split_at_checked(end)?;
        Some(Self { scheme, authority, rest })
    }
}

/// Whether two authorities mean the same host and port, each under its scheme.
pub fn same_authority(one: &[u8], one_scheme: Scheme, other: &[u8], other_scheme: Scheme) -> bool {
    let (one_host, one_port) = split_port(one);
    let (other_host, other_port) = split_port(other);
    one_host.eq_ignore_ascii_case(other_host)
        && port(one_port, one_scheme).is_some_and(|number| Some(number) == port(other_port, other_scheme))
}

/// Host and port text of an authority; the port is empty when there is none. `[v6]` keeps its brackets.
pub fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    let after_bracket = authority.iter().rposition(|&byte| byte == b']').map_or(0, |at| at + 1);
    match authority.iter().rposition(|&byte| byte == b':') {
        Some(colon) if colon >= after_bracket => {
            (authority.get(..colon).unwrap_or(&[]), authority.get(colon + 1..).unwrap_or(&[]))
        }
        _ => (authority, &[]),
    }
}

fn port(text: &[u8], scheme: Scheme) -> Option<u16> {
    if text.is_empty() {
        return Some(scheme.default_port());
    }
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mend(location: &str, scheme: Scheme) -> Option<String> {
        let wanted = |target: &[u8]| match target {
            b"/logon" => Some(Scheme::Https),
            b"/video?q" => Some(Scheme::Http),
            _ => None,
        };
        let mend = Mend {
            inside: &[b"127.0.0.1:8000".as_slice().into()],
            scheme,
            http_authority: b"example.com:8080",
            https_authority: b"example.com",
            wanted: Some(&wanted),
        };
        let mut out = Vec::new();
        mend.mend(location.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn inside_addresses_become_outside_ones() {
        for (location, expected) in [
            ("http://127.0.0.1:8000/a?b#c", "https://example.com/a?b#c"),
            ("HTTP://127.0.0.1:8000", "https://example.com"),
            ("//127.0.0.1:8000/a", "https://example.com/a"),
            ("https://127.0.0.1:8000?x", "https://example.com?x"),
            ("http://127.0.0.1:8000/video?q", "http://example.com:8080/video?q"),
        ] {
            assert_eq!(mend(location, Scheme::Https).as_deref(), Some(expected), "{location}");
        }
        assert_eq!(
            mend("http://127.0.0.1:8000/a", Scheme::Http).as_deref(),
            Some("http://example.com:8080/a")
        );
    }

    #[test]
    fn the_wrong_scheme_is_mended_only_where_dispatch_wants_another() {
        for (location, expected) in [
            ("http://example.com:8080/logon#x", Some("https://example.com/logon#x")),
            ("http://EXAMPLE.com/logon", Some("https://example.com/logon")),
            ("https://example.com/logon", None),
            ("https://example.com/video?q", Some("http://example.com:8080/video?q")),
            ("http://example.com/other", None),
        ] {
            assert_eq!(mend(location, Scheme::Https).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn other_places_are_left_alone() {
        for location in [
            "",
            "/",
            "/a",
            "a",
            "?x",
            "#",
            "http:/x",
            "http:",
            "mailto:a@b",
            "http://127.0.0.1:8001/",
            "http://127.0.0.1/",
            "http://127.0.0.1:8000@evil.example/",
            "http://other.example/logon",
            "http://example.com.evil.example/logon",
            "http://example.com:99999/logon",
            "http://example.com:+80/logon",
            "ftp://127.0.0.1:8000/",
        ] {
            assert_eq!(mend(location, Scheme::Https), None, "{location}");
        }
    }

    #[test]
    fn ports_are_split_from_hosts() {
        for (authority, host, port) in [
            ("a", "a", ""),
            ("a:", "a", ""),
            ("a:1", "a", "1"),
            ("[::1]", "[::1]", ""),
            ("[::1]:2", "[::1]", "2"),
            ("", "", ""),
            (":", "", ""),
        ] {
            assert_eq!(split_port(authority.as_bytes()), (host.as_bytes(), port.as_bytes()), "{authority}");
        }
    }
}
