//! The head of a request that came by HTTP/2, put into the same words.

use httparse::Header;

use super::flaw::{BadRequest, Flaw};
use super::request::{RequestHead, Target, check_authority, check_method, read_target};
use super::request_fields::Fields;
use crate::http::location::same_authority;
use crate::http::{BodyEnd, HEADERS_CEILING, Limits, Reuse, Scheme, Version};

/// The head of an HTTP/2 request, judged by the same rules (RFC 9113 §8.2, §8.3); its framing layer has checked that
/// pseudo-fields are there and names are lower case.
///
/// `authority`: `:authority`, or empty when only `Host` came. `path`: `:path`. `ends`: the stream ended with the head.
///
/// # Errors
/// [`BadRequest`]: answer its status; the stream is over, the connection lives.
pub fn request_from_http2<'h, 'b>(
    method: &'b str,
    authority: &'b [u8],
    path: &'b [u8],
    headers: &'h [Header<'b>],
    ends: bool,
    limits: &Limits,
) -> Result<RequestHead<'h, 'b>, BadRequest> {
    if path.len() > limits.target_bytes_max {
        return Err(BadRequest::TargetTooLong);
    }
    if headers.len() > limits.headers_max.min(HEADERS_CEILING) {
        return Err(Flaw::TooManyFields.into());
    }
    check_method(method)?;
    let fields = Fields::read(headers, None)?;
    let target = read_target(method, path)?;
    if matches!(target, Target::Absolute { .. }) {
        return Err(BadRequest::Target);
    }
    let authority = match fields.host {
        Some(host) if authority.is_empty() => host,
        Some(host) if !same_authority(authority, Scheme::Https, host, Scheme::Https) => {
            return Err(BadRequest::HostConflict);
        }
        _ => authority,
    };
    check_authority(authority)?;
    let body = match (fields.length, ends) {
        (Some(0) | None, true) => fields.length.map_or(BodyEnd::None, BodyEnd::Length),
        (Some(_), true) => return Err(BadRequest::Http2Field),
        (Some(length), false) => BodyEnd::Length(length),
        (None, false) => BodyEnd::Chunked,
    };
    Ok(RequestHead {
        method,
        version: Version::Http2,
        target,
        body,
        reuse: Reuse::Keep,
        expects_continue: fields.expects_continue && !body.is_empty(),
        upgrade: None,
        accepts_trailers: fields.accepts_trailers,
        head_bytes: 0,
        ambiguous_names: fields.ambiguous_names,
        own_hops: fields.own_hops,
        connection: fields.connection,
        authority,
        headers,
    })
}
