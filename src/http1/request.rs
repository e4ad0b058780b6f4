//! The head of a request: read strictly, so that it has one meaning or is refused.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::flaw::{BadRequest, Flaw};
use super::request_fields::Fields;
use super::scan::{HeadScan, HeadSpan, METHOD_BYTES_MAX, flaw_of};
use crate::http::location::same_authority;
use crate::http::{BodyEnd, ConnectionOptions, HEADERS_CEILING, Limits, Reuse, Scheme, Version};

/// Room for the fields of one head, on the caller's stack: 8 KiB that nobody clears.
pub type HeaderSlots<'b> = [MaybeUninit<Header<'b>>; HEADERS_CEILING];

/// Fresh [`HeaderSlots`].
#[inline]
pub fn header_slots<'b>() -> HeaderSlots<'b> {
    [const { MaybeUninit::uninit() }; HEADERS_CEILING]
}

/// 253 octets of name, brackets or a dot, a colon and five digits.
const HOST_BYTES_MAX: usize = 261;

/// The form of a request target (RFC 9112 §3.2); authority-form belongs to `CONNECT`, which is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// Begins with `/`.
    Origin(&'b [u8]),
    /// `path_and_query` begins with `/` or `?`, or is `/` or (of OPTIONS) `*` when the URI has neither.
    Absolute { scheme: Scheme, authority: &'b [u8], path_and_query: &'b [u8] },
    /// `*`, of OPTIONS only.
    Asterisk,
}

/// A request that has one meaning. It borrows the buffer it was read from.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'h, 'b> {
    /// A token of at most 32 letters, as sent: methods are case-sensitive.
    pub method: &'b str,
    pub version: Version,
    pub target: Target<'b>,
    pub body: BodyEnd,
    pub reuse: Reuse,
    /// The client waits for 100 (Continue) before it sends the body (RFC 9110 §10.1.1); there is a body.
    pub expects_continue: bool,
    /// What `Upgrade` asks for, when `Connection` says so, too; never `h2c`, which we do not pass on. Nor beside a body:
    /// whether the bytes after a 101 are its rest or the other protocol would be for each reader to guess.
    pub upgrade: Option<&'b [u8]>,
    /// `TE: trailers`: the client reads trailers of the response.
    pub accepts_trailers: bool,
    /// Octets the head took out of the buffer, empty lines before it included; 0 from HTTP/2.
    pub head_bytes: usize,
    /// Fields whose names are not letters, digits and `-`; they are not passed on.
    pub ambiguous_names: usize,
    /// How often it came through a front end of our name, as `Via` says.
    pub own_hops: u8,
    pub(super) connection: ConnectionOptions<'b>,
    pub(super) authority: &'b [u8],
    pub(super) headers: &'h [Header<'b>],
}

impl<'h, 'b> RequestHead<'h, 'b> {
    /// The authority of an absolute target, else `Host`, as sent. Empty only in HTTP/1.0 without `Host`.
    /// Its length and characters are checked, its meaning is not.
    pub fn authority(&self) -> &'b [u8] {
        self.authority
    }

    /// The target in origin-form: begins with `/`, or with `?` when an absolute target had no path, or is `*`.
    pub fn path_and_query(&self) -> &'b [u8] {
        match self.target {
            Target::Origin(target) | Target::Absolute { path_and_query: target, .. } => target,
            Target::Asterisk => b"*",
        }
    }

    /// All fields as received, in order.
    pub fn headers(&self) -> &'h [Header<'b>] {
        self.headers
    }

    /// The first field of this name, in any case: for logs, not for framing.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }
}

/// Reads the head at the beginning of `bytes`. `None`: more bytes are needed.
///
/// To read a head that comes in pieces, keep a [`HeadScan`] and call [`parse_scanned_request`].
///
/// # Errors
/// [`BadRequest`]: answer its status and close.
pub fn parse_request<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut HeaderSlots<'b>,
    limits: &Limits,
) -> Result<Option<RequestHead<'h, 'b>>, BadRequest> {
    match HeadScan::new().request(bytes, limits)? {
        Some(span) => parse_scanned_request(bytes, span, slots, limits).map(Some),
        None => Ok(None),
    }
}

/// Reads the head that [`HeadScan::request`] found in `bytes`.
///
/// # Errors
/// [`BadRequest`]: answer its status and close.
pub fn parse_scanned_request<'h, 'b>(
    bytes: &'b [u8],
    span: HeadSpan,
    slots: &'h mut HeaderSlots<'b>,
    limits: &Limits,
) -> Result<RequestHead<'h, 'b>, BadRequest> {
    let raw = bytes.get(span.start..span.end).ok_or(BadRequest::RequestLine)?;
    let room = limits.headers_max.min(HEADERS_CEILING);
    let slots = slots.get_mut(..room).ok_or(Flaw::TooManyFields)?;
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(raw, slots) {
        // Only white space that httparse takes for empty lines can make it stop elsewhere.
        Ok(Status::Complete(end)) if end == raw.len() => {}
        Ok(_) => return Err(BadRequest::RequestLine),
        Err(error) => return Err(refusal(raw, error)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(BadRequest::RequestLine);
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    if target.len() > limits.target_bytes_max {
        return Err(BadRequest::TargetTooLong);
    }
    check_method(method)?;
    let headers: &'h [Header<'b>] = parsed.headers;
    let fields = Fields::read(headers, Some(raw))?;

    let target = read_target(method, target.as_bytes())?;
    let host = match fields.host {
        Some(host) => host,
        None if version == Version::Http10 => b"",
        None => return Err(BadRequest::HostMissing),
    };
    if fields.host.is_some() {
        check_authority(host)?;
    }
    let authority = match target {
        Target::Absolute { scheme, authority, .. } => {
            check_authority(authority)?;
            if fields.host.is_some() && !same_authority(authority, scheme, host, scheme) {
                return Err(BadRequest::HostConflict);
            }
            authority
        }
        _ => host,
    };

    let body = match (fields.length, fields.coding) {
        (Some(_), true) => return Err(Flaw::LengthWithCoding.into()),
        (None, true) if version == Version::Http10 => return Err(Flaw::Coding.into()),
        (None, true) => BodyEnd::Chunked,
        (Some(length), false) => BodyEnd::Length(length),
        (None, false) => BodyEnd::None,
    };
    let keep = match version {
        Version::Http10 => fields.connection.keep_alive && !fields.connection.close,
        _ => !fields.connection.close,
    };
    let at_least_11 = version != Version::Http10;
    Ok(RequestHead {
        method,
        version,
        target,
        body,
        reuse: if keep { Reuse::Keep } else { Reuse::Close },
        expects_continue: fields.expects_continue && at_least_11 && !body.is_empty(),
        upgrade: fields.upgrade.filter(|_| at_least_11 && fields.connection.upgrade && body.is_empty()),
        accepts_trailers: fields.accepts_trailers && at_least_11,
        head_bytes: span.end,
        ambiguous_names: fields.ambiguous_names,
        own_hops: fields.own_hops,
        connection: fields.connection,
        authority,
        headers,
    })
}

pub(super) fn check_method(method: &str) -> Result<(), BadRequest> {
    if method.len() > METHOD_BYTES_MAX {
        return Err(BadRequest::Method);
    }
    // In any case: a server that takes `connect` for CONNECT must not see it either.
    if method.eq_ignore_ascii_case("CONNECT") || method.eq_ignore_ascii_case("TRACE") {
        return Err(BadRequest::MethodNotAllowed);
    }
    Ok(())
}

pub(super) fn read_target<'b>(method: &str, target: &'b [u8]) -> Result<Target<'b>, BadRequest> {
    // httparse lets any UTF-8 pass.
    // No early exit, so that it runs many bytes at a time: targets are long and nearly always fine.
    if !target.iter().fold(true, |fine, byte| fine & byte.is_ascii_graphic() & (*byte != b'#')) {
        return Err(BadRequest::Target);
    }
    match target.first() {
        Some(b'/') => Ok(Target::Origin(target)),
        Some(b'*') if target.len() == 1 && method == "OPTIONS" => Ok(Target::Asterisk),
        _ => absolute(method, target).ok_or(BadRequest::Target),
    }
}

fn absolute<'b>(method: &str, target: &'b [u8]) -> Option<Target<'b>> {
    let colon = target.iter().take("https:".len()).position(|&byte| byte == b':')?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    let scheme = Scheme::parse(scheme)?;
    let rest = rest.strip_prefix(b"://")?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at_checked(end)?;
    let path_and_query = match path_and_query {
        // RFC 9112 §3.2.4: a proxy sends on `*` when the URI of OPTIONS has neither path nor query.
        b"" if method == "OPTIONS" => b"*",
        b"" => b"/",
        other => other,
    };
    Some(Target::Absolute { scheme, authority, path_and_query })
}

/// Shallow: not empty, not endless, only characters a host and a port are made of. No user information.
pub(super) fn check_authority(authority: &[u8]) -> Result<(), BadRequest> {
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b'%' | b':' | b'[' | b']')
    };
    if authority.is_empty() || authority.len() > HOST_BYTES_MAX || !authority.iter().all(allowed) {
        return Err(BadRequest::HostInvalid);
    }
    Ok(())
}

/// The scan has seen the version at the end of the line: where `httparse` misses it, the target holds a space.
fn refusal(raw: &[u8], error: httparse::Error) -> BadRequest {
    flaw_of(raw, error).map_or(BadRequest::RequestLine, BadRequest::Flaw)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
