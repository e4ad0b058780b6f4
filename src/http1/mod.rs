//! HTTP/1.1 on both sides: heads and bodies read from bytes, heads and bodies written to bytes (RFC 9110, RFC 9112).
//!
//! ```text
//! client bytes ── HeadScan ── parse_request ── RequestHead ── write_request ──▶ site server
//! client ◀── write_response ── ResponseHead ── parse_response ── HeadScan ── site server bytes
//!            bodies both ways: BodyReader decodes in place, chunk_head and last_chunk encode
//! ```
//!
//! **One meaning or none.** Every reader of a message must find the same end, the same host and the same target, or
//! requests can be smuggled from one reader to the next. So what the RFC lets a recipient repair is refused: bare LF,
//! line folding, space before a colon, two lengths even when equal, a length next to a transfer coding, `Host` that
//! differs from the target. What is accepted is written anew from what was understood; no line is copied through.
//!
//! **Nothing is kept.** Heads borrow the buffer they were read from, writers append to the caller's buffer, and no
//! function here allocates, waits or asks the clock. A connection keeps a [`HeadScan`] and a [`BodyReader`] only.
//!
//! `httparse` does the inner loop. It is more lenient than we are (bare LF, any UTF-8 in targets), hence [`scan`],
//! which sees every line end anyway while it looks for the end of the head.

pub mod answer;
pub mod body;
pub mod chunk;
pub mod flaw;
pub mod http2_request;
pub mod request;
pub mod response;
pub mod scan;
pub mod write_request;
pub mod write_response;

mod header_map;
mod request_fields;
mod trailers;

#[cfg(test)]
mod round_trip;

pub use answer::{Answer, error_page, write_continue, write_error, write_octets, write_redirect};
pub use body::{BodyReader, Progress};
pub use chunk::{CHUNK_HEAD_BYTES_MAX, chunk_head, write_last_chunk};
pub use flaw::{BadBody, BadRequest, BadResponse, Flaw};
pub use header_map::{MapSink, field_lines, map_of_trailers, write_trailers};
pub use http2_request::request_from_http2;
pub use request::{HeaderSlots, RequestHead, Target, header_slots, parse_request, parse_scanned_request};
pub use response::{RequestKind, ResponseHead, parse_response, parse_scanned_response};
pub use scan::HeadScan;
pub use trailers::{may_trail, may_trail_response};
pub use write_request::{Outbound, write_request};
pub use write_response::{Reply, declared_length, each_response_field, write_response};
