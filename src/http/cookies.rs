//! Session cookies: `Secure` on those that leave over HTTPS, and a hand on the values both ways.

use super::field::trim;

/// What becomes of one cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Keep,
    /// It does not go on.
    Drop,
    /// It goes on with the value that was appended.
    Replaced,
}

/// Judges one cookie: its name, its value, and where a new value is appended for [`Verdict::Replaced`].
/// Requests ask it about every cookie, responses about those in `session_cookies`.
pub type Judge<'a> = dyn Fn(&[u8], &[u8], &mut Vec<u8>) -> Verdict + 'a;

/// A browser ignores an attribute with a longer value (RFC 6265bis §5.6).
const ATTRIBUTE_VALUE_MAX: usize = 1024;

/// Appends the value of a `Set-Cookie` field; `false` when the cookie does not go on.
///
/// A cookie in `session_cookies` is shown to `judge` and gains `; Secure` unless it has it. All other text stays byte
/// for byte. The reading is that of browsers (RFC 6265bis §5.6): the first `;` ends the pair, quotes mean nothing,
/// and an attribute counts by its name whatever its value.
pub fn write_set_cookie(
    out: &mut Vec<u8>,
    value: &[u8],
    session_cookies: &[String],
    judge: Option<&Judge<'_>>,
) -> bool {
    let pair_end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    let (pair, attributes) = value.split_at(pair_end);
    let (name, cookie) = split_pair(pair);
    if !session_cookies.iter().any(|known| known.as_bytes() == name) {
        out.extend_from_slice(value);
        return true;
    }
    let start = out.len();
    match judge {
        None => out.extend_from_slice(pair),
        Some(judge) => {
            out.extend_from_slice(name);
            out.push(b'=');
            match judge(name, cookie, out) {
                Verdict::Replaced => {}
                Verdict::Drop => {
                    out.truncate(start);
                    return false;
                }
                Verdict::Keep => {
                    out.truncate(start);
                    out.extend_from_slice(pair);
                }
            }
        }
    }
    out.extend_from_slice(attributes);
    if !has_secure(attributes) {
        out.extend_from_slice(b"; Secure");
    }
    true
}

/// The name and value of `name=value`; without `=` all of it is the value, as browsers read it.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|&byte| byte == b'=') {
        Some(at) => (trim(pair.get(..at).unwrap_or(&[])), trim(pair.get(at + 1..).unwrap_or(&[]))),
        None => (&[], trim(pair)),
    }
}

fn has_secure(attributes: &[u8]) -> bool {
    attributes.split(|&byte| byte == b';').any(|attribute| {
        let mut parts = attribute.splitn(2, |&byte| byte == b'=');
        let name = trim(parts.next().unwrap_or(&[]));
        let value = trim(parts.next().unwrap_or(&[]));
        name.eq_ignore_ascii_case(b"secure") && value.len() <= ATTRIBUTE_VALUE_MAX
    })
}

/// Appends the value of the one `Cookie` field that goes on; `false` when nothing is left.
///
/// Several `Cookie` fields become one: HTTP/2 splits them (RFC 9113 §8.2.3), and servers differ on which of two
/// counts. Without a `judge` the text of each is untouched.
pub fn write_cookie<'a>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = &'a [u8]>,
    judge: Option<&Judge<'_>>,
) -> bool {
    let start = out.len();
    for value in values.filter(|value| !value.is_empty()) {
        match judge {
            None => {
                separate(out, start);
                out.extend_from_slice(value);
            }
            Some(judge) => {
                for pair in value.split(|&byte| byte == b';').map(trim).filter(|pair| !pair.is_empty()) {
                    let before = out.len();
                    separate(out, start);
                    let written = out.len();
                    let (name, cookie) = split_pair(pair);
                    out.extend_from_slice(name);
                    out.push(b'=');
                    match judge(name, cookie, out) {
                        Verdict::Replaced => {}
                        Verdict::Drop => out.truncate(before),
                        Verdict::Keep => {
                            out.truncate(written);
                            out.extend_from_slice(pair);
                        }
                    }
                }
            }
        }
    }
    out.len() > start
}

fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.extend_from_slice(b"; ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_cookie(value: &str, judge: Option<&Judge<'_>>) -> Option<String> {
        let mut out = b"before ".to_vec();
        let kept = write_set_cookie(&mut out, value.as_bytes(), &["z_sid".into(), "z_logon".into()], judge);
        let text = String::from_utf8(out).unwrap();
        kept.then(|| text.strip_prefix("before ").unwrap().to_owned())
    }

    #[test]
    fn session_cookies_gain_secure_once() {
        for (value, expected) in [
            ("z_sid=abc", "z_sid=abc; Secure"),
            ("z_sid=abc; Path=/; HttpOnly", "z_sid=abc; Path=/; HttpOnly; Secure"),
            (" z_sid = abc ;Path=/", " z_sid = abc ;Path=/; Secure"),
            ("z_logon=\"a b\"; path=/", "z_logon=\"a b\"; path=/; Secure"),
            ("z_sid=", "z_sid=; Secure"),
            ("z_sid=a;", "z_sid=a;; Secure"),
            // In quotes, too, the first semicolon ends the value: what follows is an attribute to a browser.
            ("z_sid=\"a; secure\"", "z_sid=\"a; secure\"; Secure"),
            ("z_sid=secure; Comment=secure", "z_sid=secure; Comment=secure; Secure"),
            ("z_sid=a; Securely", "z_sid=a; Securely; Secure"),
            // There already, in whatever spelling.
            ("z_sid=a; Secure", "z_sid=a; Secure"),
            ("z_sid=a;SECURE;Path=/", "z_sid=a;SECURE;Path=/"),
            ("z_sid=a; \tsecure ; Path=/", "z_sid=a; \tsecure ; Path=/"),
            ("z_sid=a; secure=false", "z_sid=a; secure=false"),
            // Others' cookies.
            ("Z_SID=a", "Z_SID=a"),
            ("z_sidx=a; Path=/", "z_sidx=a; Path=/"),
            ("z_sid", "z_sid"),
            ("other=z_sid=1", "other=z_sid=1"),
            ("", ""),
        ] {
            assert_eq!(set_cookie(value, None).as_deref(), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn an_attribute_browsers_ignore_is_not_secure() {
        let value = format!("z_sid=a; Secure={}", "x".repeat(1025));
        assert_eq!(set_cookie(&value, None), Some(format!("{value}; Secure")));
    }

    #[test]
    fn a_judge_changes_values_of_session_cookies_only() {
        let seal = |name: &[u8], value: &[u8], out: &mut Vec<u8>| {
            assert_eq!(name, b"z_sid");
            match value {
                b"drop" => Verdict::Drop,
                b"keep" => Verdict::Keep,
                _ => {
                    out.extend_from_slice(b"sealed");
                    Verdict::Replaced
                }
            }
        };
        for (value, expected) in [
            ("z_sid=x; Path=/", Some("z_sid=sealed; Path=/; Secure")),
            ("z_sid=drop; Path=/", None),
            ("z_sid = keep; Secure", Some("z_sid = keep; Secure")),
            ("other=x", Some("other=x")),
        ] {
            assert_eq!(set_cookie(value, Some(&seal)).as_deref(), expected);
        }
    }

    #[test]
    fn cookies_go_on_in_one_field() {
        let write = |values: &[&str], judge: Option<&Judge<'_>>| {
            let mut out = Vec::new();
            write_cookie(&mut out, values.iter().map(|value| value.as_bytes()), judge)
                .then(|| String::from_utf8(out).unwrap())
        };
        assert_eq!(write(&["a=1;b=2", "", "c=3"], None).unwrap(), "a=1;b=2; c=3");
        let judge = |name: &[u8], value: &[u8], out: &mut Vec<u8>| match name {
            b"gone" => Verdict::Drop,
            b"open" => {
                out.extend(value.iter().rev());
                Verdict::Replaced
            }
            _ => Verdict::Keep,
        };
        assert_eq!(
            write(&["gone=1; a=1 ;open=xyz;;", "gone=2", "bare; b=\"q\""], Some(&judge)).unwrap(),
            "a=1; open=zyx; bare; b=\"q\""
        );
        assert_eq!(write(&["gone=1"], Some(&judge)), None);
    }
}
