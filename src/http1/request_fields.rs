//! What the fields of a request say about the request itself: host, framing, connection, expectations.

use httparse::Header;

use super::flaw::{BadRequest, Flaw};
use crate::http::field::{is_plain_name, list, trim};
use crate::http::forwarded::own_hops;
use crate::http::{ConnectionOptions, FieldName};

/// What the fields of a request say about the request itself.
#[derive(Default)]
pub(super) struct Fields<'b> {
    pub(super) host: Option<&'b [u8]>,
    pub(super) length: Option<u64>,
    pub(super) coding: bool,
    pub(super) connection: ConnectionOptions<'b>,
    pub(super) expects_continue: bool,
    pub(super) upgrade: Option<&'b [u8]>,
    pub(super) accepts_trailers: bool,
    pub(super) ambiguous_names: usize,
    pub(super) own_hops: u8,
}

impl<'b> Fields<'b> {
    /// `raw` is the head as it stood on the wire; `None` means HTTP/2, where fields of the connection are malformed.
    pub(super) fn read(headers: &[Header<'b>], raw: Option<&[u8]>) -> Result<Self, BadRequest> {
        let mut fields = Self::default();
        let mut upgrades = 0;
        for &Header { name, value } in headers {
            // RFC 9113 §8.2.1; in HTTP/1.1 the reader has taken it off.
            if raw.is_none()
                && matches!((value.first(), value.last()), (Some(b' ' | b'\t'), _) | (_, Some(b' ' | b'\t')))
            {
                return Err(BadRequest::Http2Field);
            }
            match FieldName::of(name.as_bytes()) {
                FieldName::Other => fields.ambiguous_names += usize::from(!is_plain_name(name.as_bytes())),
                FieldName::Via => fields.own_hops = fields.own_hops.saturating_add(own_hops(value)),
                FieldName::Host => {
                    if fields.host.replace(value).is_some() {
                        return Err(BadRequest::HostRepeated);
                    }
                    if tab_beside(raw, value) {
                        return Err(BadRequest::HostInvalid);
                    }
                }
                FieldName::ContentLength => {
                    let length = content_length(raw, value)?;
                    if fields.length.replace(length).is_some() {
                        return Err(Flaw::LengthRepeated.into());
                    }
                }
                FieldName::Te if raw.is_none() && !value.eq_ignore_ascii_case(b"trailers") => {
                    return Err(BadRequest::Http2Field);
                }
                FieldName::Te => fields.accepts_trailers |= says_trailers(value),
                FieldName::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                    fields.expects_continue = true
                }
                FieldName::Expect => return Err(BadRequest::Expectation),
                FieldName::Connection
                | FieldName::KeepAlive
                | FieldName::TransferEncoding
                | FieldName::Upgrade
                | FieldName::Http2Settings
                    if raw.is_none() =>
                {
                    return Err(BadRequest::Http2Field);
                }
                FieldName::Connection => fields.connection.add(value).map_err(Flaw::from)?,
                FieldName::TransferEncoding => {
                    if fields.coding || !is_chunked(raw, value) {
                        return Err(Flaw::Coding.into());
                    }
                    fields.coding = true;
                }
                FieldName::Upgrade => {
                    upgrades += 1;
                    fields.upgrade = can_pass(value).then_some(value);
                }
                _ => {}
            }
        }
        if upgrades > 1 {
            fields.upgrade = None; // which of them the other side would take is anybody's guess
        }
        Ok(fields)
    }
}

/// RFC 9112 §6.2: digits and nothing else, once. A list of equal numbers may be taken for one, and is refused.
pub(super) fn content_length(raw: Option<&[u8]>, value: &[u8]) -> Result<u64, Flaw> {
    if value.is_empty() || tab_beside(raw, value) {
        return Err(Flaw::LengthInvalid);
    }
    let mut length: u64 = 0;
    for &byte in value {
        if byte == b',' {
            return Err(Flaw::LengthRepeated);
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Flaw::LengthInvalid);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(digit)))
            // Readers that count in signed numbers must agree with us.
            .filter(|&length| i64::try_from(length).is_ok())
            .ok_or(Flaw::LengthInvalid)?;
    }
    Ok(length)
}

/// Exactly `chunked`, in any case. Every other list is refused: we undo no other coding, and readers differ on odd
/// spellings of this one.
pub(super) fn is_chunked(raw: Option<&[u8]>, value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"chunked") && !tab_beside(raw, value)
}

/// Whether HTAB stands around a value. It is legal, but some servers strip spaces only and then see another value:
/// good enough reason to refuse it where the framing depends on it.
fn tab_beside(raw: Option<&[u8]>, value: &[u8]) -> bool {
    let Some(raw) = raw else { return false };
    let start = (value.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
    let Some((before, after)) = raw.split_at_checked(start) else {
        return true;
    };
    let after = after.get(value.len()..).unwrap_or(&[]);
    let space = |byte: &&u8| **byte == b' ';
    before.iter().rev().find(|byte| !space(byte)) != Some(&b':')
        || after.iter().find(|byte| !space(byte)) != Some(&b'\r')
}

fn says_trailers(value: &[u8]) -> bool {
    list(value).any(|element| {
        let coding = element.split(|&byte| byte == b';').next().unwrap_or(&[]);
        trim(coding).eq_ignore_ascii_case(b"trailers")
    })
}

/// Whether an upgrade may go through to the site server. Not `h2c`: requests inside would pass no rule of ours. Not
/// `TLS/1.0`, which is about this hop (RFC 2817).
fn can_pass(upgrade: &[u8]) -> bool {
    let mut empty = true;
    for protocol in list(upgrade).filter(|protocol| !protocol.is_empty()) {
        empty = false;
        let name = protocol.split(|&byte| byte == b'/').next().unwrap_or(&[]);
        if name.eq_ignore_ascii_case(b"h2c")
            || name.eq_ignore_ascii_case(b"h2")
            || name.eq_ignore_ascii_case(b"tls")
        {
            return false;
        }
    }
    !empty
}
