//! Versions, schemes, where a body ends, whether a connection lives on, and how large a head may be.

/// The most header fields any head may have, whatever is configured: it sizes arrays on the stack.
pub const HEADERS_CEILING: usize = 256;

/// The version a message came in, as far as we tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    /// As `Via` writes it (RFC 9110 §7.6.3: `received-protocol`, "HTTP/" left out).
    pub fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2.0",
        }
    }
}

/// The scheme a request came by, or a URI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port a URI of this scheme means when it names none (RFC 9110 §4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https` in any case; anything else is `None`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"http") {
            Some(Self::Http)
        } else if text.eq_ignore_ascii_case(b"https") {
            Some(Self::Https)
        } else {
            None
        }
    }
}

/// Where the body of a message ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// There is no body.
    None,
    /// After this many octets.
    Length(u64),
    /// Where the last chunk says.
    Chunked,
    /// Where the connection closes; responses only.
    Close,
}

impl BodyEnd {
    /// How a response body that ends like `self` goes to a client of this version.
    ///
    /// A body that ends with the connection becomes chunked, so that the client's connection lives on and a cut is
    /// seen; HTTP/1.0 knows no chunks and gets the close.
    pub fn relayed_to(self, client: Version) -> Self {
        match (self, client) {
            (Self::None | Self::Length(_), _) => self,
            (Self::Chunked | Self::Close, Version::Http10) => Self::Close,
            (Self::Chunked | Self::Close, _) => Self::Chunked,
        }
    }

    /// Whether no octet of a body follows.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Whether the connection may carry another exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    Keep,
    Close,
}

impl Reuse {
    /// Keep only if both do.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Keep, Self::Keep) => Self::Keep,
            _ => Self::Close,
        }
    }
}

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets from the start line to the empty line, both included.
    pub head_bytes_max: usize,
    /// Header fields; more than [`HEADERS_CEILING`] counts as that.
    pub headers_max: usize,
    /// Octets of the request target (RFC 9112 §3 asks for at least 8000 octets of request line).
    pub target_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: 32 * 1024, headers_max: 100, target_bytes_max: 16 * 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_end_with_the_connection_are_chunked_for_those_who_know_chunks() {
        for (body, client, expected) in [
            (BodyEnd::Close, Version::Http11, BodyEnd::Chunked),
            (BodyEnd::Close, Version::Http10, BodyEnd::Close),
            (BodyEnd::Chunked, Version::Http10, BodyEnd::Close),
            (BodyEnd::Chunked, Version::Http11, BodyEnd::Chunked),
            (BodyEnd::Length(3), Version::Http10, BodyEnd::Length(3)),
            (BodyEnd::None, Version::Http10, BodyEnd::None),
        ] {
            assert_eq!(body.relayed_to(client), expected);
        }
    }
}
