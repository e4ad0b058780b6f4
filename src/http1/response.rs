//! The head of a response: read as strictly as a request, since what an upstream confuses is our next client's answer.

use httparse::{Header, Status};

use super::flaw::{BadResponse, Flaw};
use super::request::HeaderSlots;
use super::request_fields::{content_length, is_chunked};
use super::scan::{HeadScan, HeadSpan, flaw_of};
use crate::http::{BodyEnd, ConnectionOptions, FieldName, HEADERS_CEILING, Limits, Reuse, Version};

/// What the request was, as far as the response's framing depends on it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestKind {
    /// It was HEAD: the response has no body, whatever it says.
    pub head: bool,
    /// It asked for an upgrade: 101 is an answer.
    pub upgrade: bool,
}

/// A response that has one meaning. It borrows the buffer it was read from.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'h, 'b> {
    /// 100 to 999.
    pub status: u16,
    /// Empty when the upstream sent none, or one that is not ASCII.
    pub reason_phrase: &'b str,
    pub version: Version,
    pub body: BodyEnd,
    /// `Content-Length` as declared, which HEAD and 304 have without a body.
    pub declared_length: Option<u64>,
    /// Whether the upstream connection may be used again once the body has ended.
    pub reuse: Reuse,
    /// 1xx but not 101: another head follows on the connection.
    pub is_interim: bool,
    /// Of 101: the protocol switched to.
    pub upgrade: Option<&'b [u8]>,
    /// Octets the head took out of the buffer.
    pub head_bytes: usize,
    pub(super) connection: ConnectionOptions<'b>,
    headers: &'h [Header<'b>],
}

impl<'h, 'b> ResponseHead<'h, 'b> {
    /// All fields as received, in order.
    pub fn headers(&self) -> &'h [Header<'b>] {
        self.headers
    }

    /// The first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }
}

/// Reads the head at the beginning of `bytes`. `None`: more bytes are needed.
///
/// # Errors
/// [`BadResponse`]: answer 502 and close the upstream connection.
pub fn parse_response<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut HeaderSlots<'b>,
    request: RequestKind,
    limits: &Limits,
) -> Result<Option<ResponseHead<'h, 'b>>, BadResponse> {
    match HeadScan::new().response(bytes, limits)? {
        Some(span) => parse_scanned_response(bytes, span, slots, request, limits).map(Some),
        None => Ok(None),
    }
}

/// Reads the head that [`HeadScan::response`] found in `bytes`.
///
/// # Errors
/// [`BadResponse`]: answer 502 and close the upstream connection.
pub fn parse_scanned_response<'h, 'b>(
    bytes: &'b [u8],
    span: HeadSpan,
    slots: &'h mut HeaderSlots<'b>,
    request: RequestKind,
    limits: &Limits,
) -> Result<ResponseHead<'h, 'b>, BadResponse> {
    let raw = bytes.get(span.start..span.end).ok_or(BadResponse::StatusLine)?;
    let room = limits.headers_max.min(HEADERS_CEILING);
    let slots = slots.get_mut(..room).ok_or(Flaw::TooManyFields)?;
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, raw, slots) {
        Ok(Status::Complete(end)) if end == raw.len() => {}
        Ok(_) => return Err(BadResponse::StatusLine),
        Err(error) => return Err(refusal(raw, error)),
    }
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(BadResponse::StatusLine);
    };
    if status < 100 {
        return Err(BadResponse::StatusLine);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let headers: &'h [Header<'b>] = parsed.headers;

    let mut length = None;
    let mut coding = false;
    let mut connection = ConnectionOptions::default();
    let mut upgrade = None;
    for &Header { name, value } in headers {
        match FieldName::of(name.as_bytes()) {
            FieldName::ContentLength => {
                let declared = content_length(Some(raw), value)?;
                if length.replace(declared).is_some() {
                    return Err(Flaw::LengthRepeated.into());
                }
            }
            FieldName::TransferEncoding => {
                if coding || version == Version::Http10 || !is_chunked(Some(raw), value) {
                    return Err(Flaw::Coding.into());
                }
                coding = true;
            }
            FieldName::Connection => connection.add(value).map_err(Flaw::from)?,
            FieldName::Upgrade => upgrade = Some(value),
            _ => {}
        }
    }
    if length.is_some() && coding {
        return Err(Flaw::LengthWithCoding.into());
    }

    let switches = status == 101;
    if switches && !(request.upgrade && connection.upgrade && upgrade.is_some_and(|value| !value.is_empty()))
    {
        return Err(BadResponse::UnaskedSwitch);
    }
    let bodiless_status = status < 200 || status == 204;
    let body = if bodiless_status || request.head || status == 304 {
        BodyEnd::None
    } else if coding {
        BodyEnd::Chunked
    } else {
        length.map_or(BodyEnd::Close, BodyEnd::Length)
    };
    // RFC 9112 §6.1 and RFC 9110 §8.6 forbid framing here. Such an upstream may well send the body it speaks of.
    let doubtful = bodiless_status && (coding || length.is_some_and(|length| length > 0));
    if doubtful && status < 200 {
        return Err(if coding { Flaw::Coding } else { Flaw::LengthInvalid }.into());
    }
    let keep = match version {
        Version::Http10 => connection.keep_alive && !connection.close,
        _ => !connection.close,
    };
    let reusable = keep && !doubtful && !switches && body != BodyEnd::Close;
    Ok(ResponseHead {
        status,
        reason_phrase: parsed.reason.unwrap_or(""),
        version,
        body,
        declared_length: length,
        reuse: if reusable { Reuse::Keep } else { Reuse::Close },
        is_interim: status < 200 && !switches,
        upgrade: upgrade.filter(|_| switches),
        head_bytes: span.end,
        connection,
        headers,
    })
}

fn refusal(raw: &[u8], error: httparse::Error) -> BadResponse {
    match (flaw_of(raw, error), error) {
        (Some(flaw), _) => BadResponse::Flaw(flaw),
        (None, httparse::Error::Version) => BadResponse::Version,
        (None, _) => BadResponse::StatusLine,
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
