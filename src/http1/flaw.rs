//! What can be wrong with a message, and what a client is told about it.

use crate::http::BadConnection;

/// What heads of requests and responses can both have wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line that ends with LF alone.
    BareLineFeed,
    /// CR that no LF follows.
    BareCarriageReturn,
    /// A field line that begins with white space (obs-fold, or white space before the first field).
    FoldedLine,
    /// A name that is empty, is no token, or has white space before its colon; or a line without a colon.
    FieldName,
    /// A control byte in a value.
    FieldValue,
    /// Longer than `head_bytes_max`.
    HeadTooLarge,
    /// More than `headers_max` fields.
    TooManyFields,
    /// `Content-Length` that is not digits, or is past what fits.
    LengthInvalid,
    /// Several lengths, equal or not.
    LengthRepeated,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthWithCoding,
    /// `Transfer-Encoding` other than exactly `chunked`, or in HTTP/1.0.
    Coding,
    /// `Connection` with an element that is no token, or with too many.
    Connection,
    /// `Connection` that nominates a field it must not take away.
    Nomination,
}

impl Flaw {
    fn reason(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::BareCarriageReturn => "bare_carriage_return",
            Self::FoldedLine => "folded_line",
            Self::FieldName => "field_name",
            Self::FieldValue => "field_value",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::LengthInvalid => "content_length_invalid",
            Self::LengthRepeated => "content_length_repeated",
            Self::LengthWithCoding => "content_length_with_transfer_encoding",
            Self::Coding => "transfer_encoding",
            Self::Connection => "connection_options",
            Self::Nomination => "connection_nomination",
        }
    }
}

impl From<BadConnection> for Flaw {
    fn from(bad: BadConnection) -> Self {
        match bad {
            BadConnection::Syntax | BadConnection::TooMany => Self::Connection,
            BadConnection::Nomination => Self::Nomination,
        }
    }
}

/// A request that is refused. Answer [`BadRequest::status`] and close: the bytes that follow have no sure meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    Flaw(Flaw),
    /// Not `method SP target SP version`; TLS on a plain port ends here.
    RequestLine,
    /// A method longer than any.
    Method,
    /// A target with other bytes than visible ASCII, with `#`, or in no form its method may have.
    Target,
    TargetTooLong,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// The preface of HTTP/2 where HTTP/1.1 was agreed on.
    Http2Preface,
    /// `CONNECT` and `TRACE`: we are nobody's forward proxy, and a site's answer to TRACE would show our own fields.
    MethodNotAllowed,
    HostMissing,
    HostRepeated,
    HostInvalid,
    /// `Host` and the authority of the target differ.
    HostConflict,
    /// `Expect` other than `100-continue`.
    Expectation,
    /// A field HTTP/2 does not allow (RFC 9113 §8.2.2), or a length that the stream belies.
    Http2Field,
}

impl BadRequest {
    /// The status to answer with.
    ///
    /// Unknown transfer codings and versions get 400, too, though RFC 9112 §6.1 and RFC 9110 §15.6.6 suggest 501 and
    /// 505: to a client that sent what we cannot frame, all of them say "do not send this again".
    pub fn status(self) -> u16 {
        match self {
            Self::Flaw(Flaw::HeadTooLarge | Flaw::TooManyFields) => 431,
            Self::TargetTooLong => 414,
            Self::MethodNotAllowed => 405,
            Self::Expectation => 417,
            _ => 400,
        }
    }

    /// A stable word for log and metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Flaw(flaw) => flaw.reason(),
            Self::RequestLine => "request_line",
            Self::Method => "method",
            Self::Target => "target",
            Self::TargetTooLong => "target_too_long",
            Self::Version => "version",
            Self::Http2Preface => "http2_preface",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::HostInvalid => "host_invalid",
            Self::HostConflict => "host_conflict",
            Self::Expectation => "expectation",
            Self::Http2Field => "http2_field",
        }
    }
}

impl From<Flaw> for BadRequest {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// A response that is not passed on: answer 502, and do not use the upstream connection again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadResponse {
    Flaw(Flaw),
    /// Not `version SP status [SP reason]`, or a status below 100.
    StatusLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// 101 to a request that asked for no upgrade, or without `Upgrade`.
    UnaskedSwitch,
}

impl BadResponse {
    /// A stable word for log and metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Flaw(flaw) => flaw.reason(),
            Self::StatusLine => "status_line",
            Self::Version => "version",
            Self::UnaskedSwitch => "unasked_switch",
        }
    }
}

impl From<Flaw> for BadResponse {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// A body that breaks its framing. The connection has no sure next byte: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// A chunk size that is not 1 to 16 hex digits, or a sum past what fits.
    ChunkSize,
    /// A chunk extension with other bytes than tokens and quoted strings, or too much of it.
    ChunkExtension,
    /// Something other than CRLF where a line or a chunk ends.
    LineEnd,
    /// A trailer line that is no field.
    Trailer,
    TrailersTooLarge,
    /// More octets than the limit allows.
    TooLarge,
    /// The connection closed before the body ended.
    Truncated,
}

impl BadBody {
    /// The status for a request with this body, when no response was begun.
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::TrailersTooLarge => 431,
            _ => 400,
        }
    }

    /// A stable word for log and metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ChunkSize => "chunk_size",
            Self::ChunkExtension => "chunk_extension",
            Self::LineEnd => "chunk_line_end",
            Self::Trailer => "trailer",
            Self::TrailersTooLarge => "trailers_too_large",
            Self::TooLarge => "body_too_large",
            Self::Truncated => "body_truncated",
        }
    }
}
