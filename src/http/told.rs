//! What a trusted peer says about the visitor behind it: scheme and host, from `Forwarded` and `X-Forwarded-*`.
//!
//! Only what is nearest to us counts, the last value of the last field: a peer that is trusted vouches for what it
//! wrote itself, not for what was there when the request came to it. A peer that passes one family of these fields on
//! unread and writes the other would let a visitor speak for it; so the two must say the same, or nothing is believed.

use super::field::{FieldName, is_token, trim};
use super::framing::Scheme;
use httparse::Header;

/// What the peer says; `None`: it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'b> {
    pub scheme: Option<Scheme>,
    /// A host with or without a port; its form is not checked. Never empty.
    pub host: Option<&'b [u8]>,
}

/// Why what the peer says cannot be believed: answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTold {
    /// Neither `http` nor `https`, nor `ws` or `wss`.
    Scheme,
    /// `Forwarded` and `X-Forwarded-*` differ.
    Conflict,
    /// `Forwarded` is not what RFC 7239 §4 says.
    Malformed,
}

impl BadTold {
    /// One word for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            BadTold::Scheme => "forwarded_scheme",
            BadTold::Conflict => "forwarded_conflict",
            BadTold::Malformed => "forwarded_malformed",
        }
    }
}

impl<'b> Told<'b> {
    /// Reads the fields of a request whose peer is trusted. Allocates nothing.
    ///
    /// # Errors
    /// The peer says two things, or nothing that has a meaning.
    pub fn read(headers: &[Header<'b>]) -> Result<Told<'b>, BadTold> {
        let (mut proto, mut host, mut forwarded) = (None, None, None);
        for header in headers {
            match FieldName::of(header.name.as_bytes()) {
                FieldName::ForwardedProto => proto = last(header.value),
                FieldName::ForwardedHost => host = last(header.value),
                FieldName::Forwarded => forwarded = Some(header.value),
                _ => {}
            }
        }
        let element = forwarded.map_or(Ok(Element::default()), last_element)?;
        let scheme = |text: &'b [u8]| scheme(text).ok_or(BadTold::Scheme);
        let (by_field, by_element) = (proto.map(scheme).transpose()?, element.proto.map(scheme).transpose()?);
        Ok(Told {
            scheme: agreed(by_field, by_element, |a, b| a == b)?,
            host: agreed(host, element.host, <[u8]>::eq_ignore_ascii_case)?,
        })
    }
}

fn agreed<T: Copy>(a: Option<T>, b: Option<T>, same: impl Fn(T, T) -> bool) -> Result<Option<T>, BadTold> {
    match (a, b) {
        (Some(a), Some(b)) if !same(a, b) => Err(BadTold::Conflict),
        (a, b) => Ok(a.or(b)),
    }
}

/// Some proxies name the scheme of a WebSocket (RFC 6455 §3).
fn scheme(text: &[u8]) -> Option<Scheme> {
    match text {
        _ if text.eq_ignore_ascii_case(b"ws") => Some(Scheme::Http),
        _ if text.eq_ignore_ascii_case(b"wss") => Some(Scheme::Https),
        _ => Scheme::parse(text),
    }
}

/// The last element of a list; an empty one says nothing.
fn last(value: &[u8]) -> Option<&[u8]> {
    value.rsplit(|&byte| byte == b',').next().map(trim).filter(|text| !text.is_empty())
}

/// What one hop says about the request it got.
#[derive(Default)]
struct Element<'b> {
    proto: Option<&'b [u8]>,
    host: Option<&'b [u8]>,
    malformed: bool,
}

/// All of the value is read, since where its last element begins depends on the quotes before. What else is wrong
/// with the elements before, which may be the visitor's own, is nobody's business.
fn last_element(value: &[u8]) -> Result<Element<'_>, BadTold> {
    let mut element = Element::default();
    let mut rest = trim(value);
    while !rest.is_empty() {
        let end = pair_end(rest)?;
        let (pair, after) = rest.split_at(end);
        let is_last_pair = after.first() == Some(&b',');
        // Empty elements and pairs are no mistakes in a list (RFC 9110 §5.6.1).
        if !trim(pair).is_empty() {
            element.take(trim(pair));
        }
        rest = trim(after.get(1..).unwrap_or(&[]));
        if is_last_pair && !rest.is_empty() {
            element = Element::default();
        }
    }
    if element.malformed { Err(BadTold::Malformed) } else { Ok(element) }
}

impl<'b> Element<'b> {
    fn take(&mut self, pair: &'b [u8]) {
        let Some(at) = memchr::memchr(b'=', pair) else {
            self.malformed = true;
            return;
        };
        let (name, value) = (&pair[..at], &pair[at + 1..]);
        let place = match name {
            _ if name.eq_ignore_ascii_case(b"proto") => &mut self.proto,
            _ if name.eq_ignore_ascii_case(b"host") => &mut self.host,
            _ => {
                self.malformed |= !is_token(name);
                return;
            }
        };
        let value = unquoted(value);
        // RFC 7239 §4: each parameter once in an element.
        self.malformed |= value.is_none() || place.is_some();
        *place = value.filter(|text| !text.is_empty());
    }
}

/// Where the first `;` or `,` outside quotes stands, or the end.
fn pair_end(text: &[u8]) -> Result<usize, BadTold> {
    let mut quoted = false;
    let mut bytes = text.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            b';' | b',' if !quoted => return Ok(at),
            _ => {}
        }
    }
    if quoted { Err(BadTold::Malformed) } else { Ok(text.len()) }
}

/// The text of a token or of a quoted string. Escapes are for bytes that no scheme and no host has: `None`.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let text = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    // Without quotes, colons and brackets are no mistake that could be read in two ways.
    (!text.iter().any(|byte| matches!(byte, b'"' | b'\\'))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    fn read(headers: Fields) -> Result<(Option<Scheme>, Option<String>), BadTold> {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let told = Told::read(&headers)?;
        Ok((told.scheme, told.host.map(|host| String::from_utf8_lossy(host).into_owned())))
    }

    #[test]
    fn what_is_nearest_to_us_counts() {
        const HTTP: Option<Scheme> = Some(Scheme::Http);
        const HTTPS: Option<Scheme> = Some(Scheme::Https);
        let cases: &[(Fields, Option<Scheme>, Option<&str>)] = &[
            (&[], None, None),
            (&[("X-Forwarded-Proto", "HTTPS")], HTTPS, None),
            (&[("x-forwarded-proto", "wss")], HTTPS, None),
            (&[("X-Forwarded-Proto", "ws")], HTTP, None),
            (&[("X-Forwarded-Proto", "")], None, None),
            (&[("X-Forwarded-Proto", "gopher, http")], HTTP, None),
            (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")], HTTP, None),
            (&[("X-Forwarded-Host", "a.example:8443")], None, Some("a.example:8443")),
            (&[("X-Forwarded-Host", "a.example, b.example")], None, Some("b.example")),
            (&[("Forwarded", "proto=http, for=1;Proto=\"https\"")], HTTPS, None),
            (&[("Forwarded", "proto=https, for=1")], None, None),
            (&[("Forwarded", "proto=https,")], HTTPS, None),
            (&[("Forwarded", "proto=http"), ("Forwarded", "proto=https")], HTTPS, None),
            (&[("Forwarded", "for=\"a,;proto=http\"; proto=https;")], HTTPS, None),
            (&[("Forwarded", "for=\"\\\"\";host=\"[::1]:80\" ; proto=https")], HTTPS, Some("[::1]:80")),
            (&[("Forwarded", "for=[::1]:5;host=a.example:80")], None, Some("a.example:80")),
            (
                &[("Forwarded", "host=A.example;proto=https"), ("X-Forwarded-Host", "a.example")],
                None.or(HTTPS),
                Some("a.example"),
            ),
            (&[("Forwarded", "for=1"), ("X-Forwarded-Proto", "http")], HTTP, None),
            // The visitor's own part.
            (&[("Forwarded", "junk; a b=c; proto=1;proto=2, for=1;proto=http")], HTTP, None),
        ];
        for (headers, scheme, host) in cases {
            assert_eq!(read(headers), Ok((*scheme, host.map(str::to_owned))), "{headers:?}");
        }
    }

    #[test]
    fn doubt_is_refused() {
        let cases: &[(Fields, BadTold)] = &[
            (&[("X-Forwarded-Proto", "ftp")], BadTold::Scheme),
            (&[("Forwarded", "proto=h2")], BadTold::Scheme),
            (&[("X-Forwarded-Proto", "http"), ("Forwarded", "proto=https")], BadTold::Conflict),
            (&[("X-Forwarded-Host", "a.example"), ("Forwarded", "host=b.example")], BadTold::Conflict),
            (&[("Forwarded", "for=\"1, proto=https")], BadTold::Malformed),
            (&[("Forwarded", "proto=http;proto=https")], BadTold::Malformed),
            (&[("Forwarded", "https")], BadTold::Malformed),
            (&[("Forwarded", "proto =https")], BadTold::Malformed),
            (&[("Forwarded", "host=a\"b\"")], BadTold::Malformed),
            (&[("Forwarded", "host=\"a\\.example\"")], BadTold::Malformed),
        ];
        for (headers, why) in cases {
            assert_eq!(read(headers), Err(*why), "{headers:?}");
        }
    }
}
