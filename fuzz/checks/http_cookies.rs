//! A session cookie leaves with `Secure`, and otherwise as it came.

use portcullis::http::cookies::{Verdict, write_set_cookie};

pub fn check(bytes: &[u8]) {
    let session_cookies = ["z_sid".to_owned()];
    gains_secure_at_most(bytes, &session_cookies);
    assert_eq!(write(bytes, &[]), bytes, "no session cookies, no change");

    let named = [b"z_sid=", bytes].concat();
    let written = gains_secure_at_most(&named, &session_cookies);
    assert!(is_secure(&written), "{}", written.escape_ascii());
    assert_eq!(written.len() > named.len(), !is_secure(&named), "added where it was missing only");

    let mut judged = b"before".to_vec();
    assert!(write_set_cookie(&mut judged, &named, &session_cookies, Some(&|_, _, _| Verdict::Keep)));
    assert_eq!(judged, [b"before", &written[..]].concat(), "kept by a judge");
    judged.truncate(6);
    let drop_it = |_: &[u8], _: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(b"left behind");
        Verdict::Drop
    };
    assert!(!write_set_cookie(&mut judged, &named, &session_cookies, Some(&drop_it)));
    assert_eq!(judged, b"before", "dropped by a judge");
}

fn write(value: &[u8], session_cookies: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(write_set_cookie(&mut out, value, session_cookies, None), "nobody dropped it");
    out
}

/// What is written: the value, perhaps with `Secure` behind it. Writing it again changes nothing.
fn gains_secure_at_most(value: &[u8], session_cookies: &[String]) -> Vec<u8> {
    let written = write(value, session_cookies);
    let added = written.strip_prefix(value).expect("the value itself comes first");
    assert!(added.is_empty() || added == b"; Secure", "{}", written.escape_ascii());
    assert_eq!(write(&written, session_cookies), written, "once");
    written
}

/// As a browser finds it (RFC 6265bis §5.6), written anew: attributes behind the first `;`, the name up to `=`, blanks
/// around name and value ignored, and the attribute as a whole when its value is longer than 1024 octets.
fn is_secure(value: &[u8]) -> bool {
    value.split(|&byte| byte == b';').skip(1).any(|attribute| {
        let equals = attribute.iter().position(|&byte| byte == b'=').unwrap_or(attribute.len());
        let (name, rest) = attribute.split_at(equals);
        let value = trim(rest.strip_prefix(b"=").unwrap_or(rest));
        trim(name).eq_ignore_ascii_case(b"secure") && value.len() <= 1024
    })
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
