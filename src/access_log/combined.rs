//! A line in the combined format:
//!
//! ```text
//! 192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a HTTP/1.1" 200 2326 "referer" "agent"
//! ```

use super::{Outcome, Request, escape, json, time};

/// The line without status and length, which go in at the position returned.
pub(super) fn begin(request: &Request<'_>, vhost: bool, out: &mut Vec<u8>) -> usize {
    let from = out.len();
    if vhost {
        match request.head.as_ref().map(|head| name(head.host)).filter(|name| !name.is_empty()) {
            Some(name) => escape::combined(name, out),
            None => out.push(b'-'),
        }
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(request.port).as_bytes());
        out.push(b' ');
    }
    json::address(request, out);
    out.extend_from_slice(b" - - [");
    time::write_combined(request.time_ms, out);
    out.extend_from_slice(b"] \"");
    match &request.head {
        None => out.push(b'-'),
        Some(head) => {
            escape::combined(head.method, out);
            out.push(b' ');
            escape::combined(head.target, out);
            out.extend_from_slice(b" HTTP/");
            out.extend_from_slice(head.version.number().as_bytes());
        }
    }
    out.extend_from_slice(b"\" ");
    let split = out.len() - from;
    quoted(request.head.as_ref().and_then(|head| head.referer), out);
    quoted(request.head.as_ref().and_then(|head| head.user_agent), out);
    split
}

pub(super) fn end(begun: &[u8], split: usize, outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    let (front, back) = begun.split_at(split.min(begun.len()));
    out.extend_from_slice(front);
    // As nginx: 499 for a client that left before an answer.
    let status = if outcome.status == 0 { 499 } else { outcome.status };
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    let body = outcome.bytes_out.saturating_sub(outcome.head_out);
    out.extend_from_slice(itoa::Buffer::new().format(body).as_bytes());
    out.extend_from_slice(back);
}

/// Without port; a space would end the field.
fn name(host: &[u8]) -> &[u8] {
    let name = crate::http::location::split_port(host).0;
    if name.contains(&b' ') { b"" } else { name }
}

fn quoted(value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    match value {
        Some(value) => escape::combined(value, out),
        None => out.push(b'-'),
    }
    out.push(b'"');
}
