//! The URL that is asked about, and the parts of it a request has.

use crate::http::Scheme;

/// A URL as a client splits it before it sends anything (RFC 9110 §4.2, RFC 9112 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// Host and perhaps a port, as typed; not checked: the decision does that.
    pub authority: String,
    /// Origin form: path and query, `/` where there is none; a fragment is not sent.
    pub target: String,
}

impl Url {
    /// # Errors
    /// What is wrong and what to do, for the command line.
    pub fn parse(text: &str) -> Result<Url, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("the scheme is missing: write \"https://{text}\" or \"http://{text}\""));
        };
        let scheme = Scheme::parse(scheme.as_bytes())
            .ok_or_else(|| format!("\"{scheme}\" is neither \"http\" nor \"https\""))?;
        let rest = rest.split('#').next().unwrap_or("");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err("there is no host in it".to_owned());
        }
        if authority.contains('@') {
            return Err(
                "leave out what stands before the \"@\": clients do not send it with the host".to_owned()
            );
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url { scheme, authority: authority.to_owned(), target: format!("{slash}{target}") })
    }
}

/// Splits the absolute form of a target (RFC 9112 §3.2.2) into authority, path and query; the path may be empty.
pub fn absolute_form(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let (scheme, rest) = target.split_at_checked(memchr::memmem::find(target, b"://")?)?;
    Scheme::parse(scheme)?;
    let rest = rest.get(3..)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    rest.split_at_checked(end)
}

/// `--header`: a field that has a meaning here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of [`HEADERS`], as spelled there.
    pub name: &'static str,
    pub value: String,
}

/// What stands in place of the URL's host, and what a trusted proxy says.
const HEADERS: [&str; 4] = ["Host", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host"];

impl Header {
    /// # Errors
    /// What is wrong and what to do, for the command line.
    pub fn parse(text: &str) -> Result<Header, String> {
        let Some((name, value)) = text.split_once(':') else {
            return Err("a field is written \"Name: value\"".to_owned());
        };
        match HEADERS.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            Some(name) => Ok(Header { name, value: value.trim_matches([' ', '\t']).to_owned() }),
            None => Err(format!(
                "\"{name}\" decides nothing; only \"Host\" does, beside the method and the URL, and what \
                 a trusted --peer says in \"Forwarded\", \"X-Forwarded-Proto\" and \"X-Forwarded-Host\""
            )),
        }
    }

    pub fn is_host(&self) -> bool {
        self.name == "Host"
    }
}

/// `--method`: a token (RFC 9110 §9.1), in the case it is sent in.
///
/// # Errors
/// What is wrong, for the command line.
pub fn method(text: &str) -> Result<String, String> {
    if is_token(text.as_bytes()) {
        Ok(text.to_owned())
    } else {
        Err("this is no name of a method".to_owned())
    }
}

/// RFC 9110 §5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_url_as_a_client_does() {
        for (text, scheme, authority, target) in [
            ("https://example.com", Scheme::Https, "example.com", "/"),
            ("http://example.com/a?b=c#d", Scheme::Http, "example.com", "/a?b=c"),
            ("HTTPS://Example.COM:8443?q", Scheme::Https, "Example.COM:8443", "/?q"),
            ("http://[::1]:80//x@y", Scheme::Http, "[::1]:80", "//x@y"),
            ("http://h#/a", Scheme::Http, "h", "/"),
            ("http://h/a?u=http://b/", Scheme::Http, "h", "/a?u=http://b/"),
        ] {
            let expected = Url { scheme, authority: authority.to_owned(), target: target.to_owned() };
            assert_eq!(Url::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_what_to_write() {
        for (text, part) in [
            ("example.com/a", "\"https://example.com/a\""),
            ("ftp://example.com/", "neither"),
            ("https:///a", "no host"),
            ("https://user@example.com/", "\"@\""),
        ] {
            let said = Url::parse(text).expect_err(text);
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn only_what_decides_is_a_header_here() {
        let host = Header { name: "Host", value: "a.example".to_owned() };
        assert_eq!(Header::parse("host:  a.example "), Ok(host));
        assert!(Header::parse("x-forwarded-proto: https").is_ok_and(|header| !header.is_host()));
        assert!(Header::parse("Cookie: a=b").expect_err("no meaning").contains("only \"Host\""));
        assert!(Header::parse("Host").is_err());
    }

    #[test]
    fn an_absolute_form_has_its_own_host() {
        let split = |text: &'static str| absolute_form(text.as_bytes());
        assert_eq!(split("http://a.example:80/b?c"), Some((&b"a.example:80"[..], &b"/b?c"[..])));
        assert_eq!(split("https://a.example"), Some((&b"a.example"[..], &b""[..])));
        assert_eq!(split("/a?u=http://b/"), None);
        assert_eq!(split("ftp://a/"), None);
    }
}
