//! `Location`: only the site's own addresses are mended, only in front of the path, and once.

use portcullis::http::Scheme;
use portcullis::http::location::{Mend, same_authority, split_port};

/// The first byte chooses scheme and ports; the others are what the site server sent.
pub fn check(bytes: &[u8]) {
    let [choice, location @ ..] = bytes else {
        return;
    };
    let wanted = |target: &[u8]| {
        assert!(target.starts_with(b"/") && !target.contains(&b'#'), "{}", target.escape_ascii());
        match target.get(1) {
            Some(b's') => Some(Scheme::Https),
            Some(b'p') => Some(Scheme::Http),
            _ => None,
        }
    };
    let inside = [b"127.0.0.1:8000".as_slice().into()];
    let mend = Mend {
        inside: if choice & 1 == 0 { &inside } else { &[] },
        scheme: if choice & 2 == 0 { Scheme::Https } else { Scheme::Http },
        http_authority: if choice & 4 == 0 { b"site.example:8080" } else { b"site.example" },
        https_authority: if choice & 8 == 0 { b"site.example" } else { b"[::1]:8443" },
        wanted: if choice & 16 == 0 { Some(&wanted) } else { None },
    };
    let mut out = b"before".to_vec();
    let mended = mend.mend(location, &mut out);
    let out = out.strip_prefix(b"before").expect("what was there stays");
    assert_eq!(mended, !out.is_empty());

    let absolute = split(location);
    let ours = absolute.is_some_and(|(_, authority, _)| {
        let (host, _) = split_port(authority);
        [&b"127.0.0.1"[..], b"site.example", b"[::1]"].iter().any(|our| host.eq_ignore_ascii_case(our))
    });
    assert!(ours || !mended, "the address of somebody else: {}", location.escape_ascii());
    if mended {
        let (_, _, rest) = absolute.expect("it is ours");
        let https = [b"https://", mend.https_authority, rest].concat();
        let http = [b"http://", mend.http_authority, rest].concat();
        assert!(out == https || out == http, "{} for {}", out.escape_ascii(), location.escape_ascii());
        let mut again = Vec::new();
        assert!(!mend.mend(out, &mut again), "{} twice: {}", out.escape_ascii(), again.escape_ascii());
    }

    let mut halves = location.splitn(2, |&byte| byte == b'\n');
    let (one, other) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    for (one_scheme, other_scheme) in [(Scheme::Http, Scheme::Https), (Scheme::Http, Scheme::Http)] {
        assert_eq!(
            same_authority(one, one_scheme, other, other_scheme),
            same_authority(other, other_scheme, one, one_scheme)
        );
    }
    let (host, port) = split_port(one);
    assert!(one == host || one == [host, b":", port].concat());
}

/// Scheme, authority and the rest of a URI or of a reference that begins with `//` (RFC 3986, appendix B).
fn split(location: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let slashes = location.windows(2).position(|pair| pair == b"//")?;
    let (scheme, after) = (&location[..slashes], &location[slashes + 2..]);
    let scheme = match scheme {
        b"" => scheme,
        _ => scheme.strip_suffix(b":")?,
    };
    let end = after.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(after.len());
    Some((scheme, &after[..end], &after[end..]))
}
