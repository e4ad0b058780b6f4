//! What a request to the admin listener asks for, and whether it may.

use crate::http1::RequestHead;

/// Where a request came in.
#[derive(Clone, Copy)]
pub(super) enum Door<'a> {
    /// Whoever may open the file may ask.
    Unix,
    /// Whoever has the token may ask.
    Tcp { token: &'a [u8] },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Page,
    Style,
    Script,
    Status,
    Certificates,
    Metrics,
    Health,
    Ready,
    Reload,
    Drain,
    /// The certificate of this site.
    Renew(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// 401
    Token,
    /// 403: a page of somebody else asks through the operator's browser.
    Foreign,
    /// 404
    NoSuchPath,
    /// 405, with what is allowed.
    Method(&'static str),
}

/// # Errors
/// Why it is not answered.
pub(super) fn route<'a>(door: Door<'_>, head: &RequestHead<'_, 'a>) -> Result<Route<'a>, Refused> {
    let mut parts = head.path_and_query().splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Whether it runs is no secret, and balancers have no token.
    let open = matches!(path, b"/health" | b"/ready");
    match door {
        Door::Tcp { token } if !open && !shows(head.field("authorization"), token) => {
            return Err(Refused::Token);
        }
        Door::Tcp { .. } => {}
        Door::Unix if !is_local(host(head.authority())) => return Err(Refused::Foreign),
        Door::Unix => {}
    }
    let route = match path {
        b"/" => Route::Page,
        b"/page.css" => Route::Style,
        b"/page.js" => Route::Script,
        b"/status" => Route::Status,
        b"/certificates" => Route::Certificates,
        b"/metrics" => Route::Metrics,
        b"/health" => Route::Health,
        b"/ready" => Route::Ready,
        b"/reload" => Route::Reload,
        b"/drain" => Route::Drain,
        // The names of sites need no escapes.
        b"/renew" => {
            let site = query.strip_prefix(b"site=").and_then(|site| std::str::from_utf8(site).ok());
            Route::Renew(site.ok_or(Refused::NoSuchPath)?)
        }
        _ => return Err(Refused::NoSuchPath),
    };
    let changes = matches!(route, Route::Reload | Route::Drain | Route::Renew(_));
    match (changes, head.method) {
        (true, "POST") if is_own_origin(head) => Ok(route),
        (true, "POST") => Err(Refused::Foreign),
        (true, _) => Err(Refused::Method("POST")),
        (false, "GET" | "HEAD") => Ok(route),
        (false, _) => Err(Refused::Method("GET, HEAD")),
    }
}

/// `Bearer TOKEN`, or `Basic` with the token as password, which browsers ask for.
fn shows(authorization: Option<&[u8]>, token: &[u8]) -> bool {
    let Some((scheme, rest)) = authorization.and_then(|value| {
        let space = value.iter().position(|byte| *byte == b' ')?;
        Some((&value[..space], value[space + 1..].trim_ascii()))
    }) else {
        return false;
    };
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return equal(rest, token);
    }
    let Some(decoded) = scheme.eq_ignore_ascii_case(b"basic").then(|| base64(rest)).flatten() else {
        return false;
    };
    let colon = decoded.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| equal(&decoded[colon + 1..], token))
}

/// Takes as long for a token that is wrong at its end as at its beginning; its length is no secret.
fn equal(shown: &[u8], token: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(shown, token).is_ok()
}

fn base64(text: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut count) = (0u32, 0);
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

fn host(authority: &[u8]) -> &[u8] {
    crate::http::location::split_port(authority).0
}

/// A name that only this machine answers to, or an address: no name that somebody else's DNS could point here.
fn is_local(host: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(host) else { return false };
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.is_empty() || text.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

/// No browser, or a page of our own.
fn is_own_origin(head: &RequestHead<'_, '_>) -> bool {
    let Some(origin) = head.field("origin") else {
        return head.field("sec-fetch-site").is_none_or(|site| matches!(site, b"same-origin" | b"none"));
    };
    let authority = origin.strip_prefix(b"http://").or(origin.strip_prefix(b"https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(head.authority()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;
    use crate::http1::{header_slots, parse_request};

    fn asked(door: Door<'_>, request: &str) -> Result<Route<'static>, Refused> {
        let text: &'static str = Box::leak(format!("{request}\r\n\r\n").into_boxed_str());
        let mut slots = header_slots();
        let head =
            parse_request(text.as_bytes(), &mut slots, &Limits::default()).expect("valid").expect("whole");
        route(door, &head)
    }

    const TOKEN: &[u8] = b"0123456789abcdef";

    #[test]
    fn the_token_opens_the_tcp_door() {
        let door = Door::Tcp { token: TOKEN };
        for (field, expected) in [
            ("Authorization: Bearer 0123456789abcdef", Ok(Route::Status)),
            ("Authorization: bearer  0123456789abcdef", Ok(Route::Status)),
            ("Authorization: Bearer 0123456789abcdeg", Err(Refused::Token)),
            ("Authorization: Bearer 0123456789abcde", Err(Refused::Token)),
            ("Authorization: Bearer", Err(Refused::Token)),
            // x:0123456789abcdef
            ("Authorization: Basic eDowMTIzNDU2Nzg5YWJjZGVm", Ok(Route::Status)),
            ("Authorization: Basic eDowMTIzNDU2Nzg5YWJjZGVn", Err(Refused::Token)),
            ("Authorization: Basic ????", Err(Refused::Token)),
            ("Authorization: Digest 0123456789abcdef", Err(Refused::Token)),
            ("X: y", Err(Refused::Token)),
        ] {
            assert_eq!(
                asked(door, &format!("GET /status HTTP/1.1\r\nHost: a\r\n{field}")),
                expected,
                "{field}"
            );
        }
        assert_eq!(asked(door, "GET /health HTTP/1.1\r\nHost: a"), Ok(Route::Health));
        assert_eq!(asked(door, "GET /nothing HTTP/1.1\r\nHost: a"), Err(Refused::Token));
    }

    #[test]
    fn a_browser_is_not_made_to_act_by_strangers() {
        for (request, expected) in [
            ("GET / HTTP/1.1\r\nHost: localhost:8081", Ok(Route::Page)),
            ("GET / HTTP/1.1\r\nHost: 127.0.0.1", Ok(Route::Page)),
            ("GET / HTTP/1.1\r\nHost: [::1]:80", Ok(Route::Page)),
            ("GET / HTTP/1.1\r\nHost: evil.example", Err(Refused::Foreign)),
            ("POST /reload HTTP/1.1\r\nHost: localhost", Ok(Route::Reload)),
            ("POST /reload HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:1", Ok(Route::Reload)),
            (
                "POST /reload HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:2",
                Err(Refused::Foreign),
            ),
            (
                "POST /drain HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example",
                Err(Refused::Foreign),
            ),
            ("POST /drain HTTP/1.1\r\nHost: localhost\r\nOrigin: null", Err(Refused::Foreign)),
            ("POST /drain HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site", Err(Refused::Foreign)),
            ("GET /drain HTTP/1.1\r\nHost: localhost", Err(Refused::Method("POST"))),
            ("DELETE / HTTP/1.1\r\nHost: localhost", Err(Refused::Method("GET, HEAD"))),
            ("HEAD /metrics?x HTTP/1.1\r\nHost: localhost", Ok(Route::Metrics)),
            ("GET /nothing HTTP/1.1\r\nHost: localhost", Err(Refused::NoSuchPath)),
            ("POST /renew?site=a-b.c_d HTTP/1.1\r\nHost: localhost", Ok(Route::Renew("a-b.c_d"))),
            ("POST /renew?site= HTTP/1.1\r\nHost: localhost\r\nOrigin: null", Err(Refused::Foreign)),
            ("GET /renew?site=a HTTP/1.1\r\nHost: localhost", Err(Refused::Method("POST"))),
            ("POST /renew HTTP/1.1\r\nHost: localhost", Err(Refused::NoSuchPath)),
            ("POST /renew?site=%ff HTTP/1.1\r\nHost: localhost", Ok(Route::Renew("%ff"))),
        ] {
            assert_eq!(asked(Door::Unix, request), expected, "{request}");
        }
    }
}
