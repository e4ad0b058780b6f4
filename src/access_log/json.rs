//! A line as a JSON object. Every key is always there; `docs/access-log.md` says what each means.

use super::{Outcome, Request, escape, reason_word, time};

pub(super) fn begin(request: &Request<'_>, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(b"{\"time\":\"");
    time::write_utc(request.time_ms, out);
    out.extend_from_slice(b"\",\"id\":");
    text(Some(request.id), out);
    out.extend_from_slice(b",\"client\":\"");
    address(request, out);
    out.extend_from_slice(b"\",\"client_port\":");
    number(u64::from(request.client.port()), out);
    out.extend_from_slice(b",\"scheme\":\"");
    out.extend_from_slice(request.scheme.as_str().as_bytes());
    out.push(b'"');
    let head = request.head.as_ref();
    field("host", head.map(|head| head.host), out);
    field("method", head.map(|head| head.method), out);
    field("target", head.map(|head| head.target), out);
    field("http", head.map(|head| head.version.number().as_bytes()), out);
    field("referer", head.and_then(|head| head.referer), out);
    field("user_agent", head.and_then(|head| head.user_agent), out);
    field("tls", request.tls.map(|tls| tls.version.as_bytes()), out);
    out.extend_from_slice(match request.tls {
        None => b",\"resumed\":null".as_slice(),
        Some(tls) if tls.resumed => b",\"resumed\":true",
        Some(_) => b",\"resumed\":false",
    });
    field("site", request.site.map(str::as_bytes), out);
    field("rule", request.rule.map(str::as_bytes), out);
    field("decision", Some(request.decision.word().as_bytes()), out);
    0
}

pub(super) fn end(begun: &[u8], outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(begun);
    count("status", (outcome.status != 0).then_some(u64::from(outcome.status)), out);
    count("handshake_us", outcome.handshake_us, out);
    count("head_us", Some(outcome.head_us), out);
    count("decision_us", Some(outcome.decision_us), out);
    count("connect_us", outcome.connect_us, out);
    count("first_byte_us", outcome.first_byte_us, out);
    count("total_us", Some(outcome.total_us), out);
    count("bytes_in", Some(outcome.bytes_in), out);
    count("bytes_out", Some(outcome.bytes_out), out);
    field("upstream", outcome.upstream.map(str::as_bytes), out);
    out.extend_from_slice(match (outcome.upstream, outcome.reused) {
        (None, _) => b",\"reused\":null".as_slice(),
        (Some(_), true) => b",\"reused\":true",
        (Some(_), false) => b",\"reused\":false",
    });
    count("retries", Some(u64::from(outcome.retries)), out);
    out.extend_from_slice(b",\"reason\":");
    match outcome.reason {
        None => out.extend_from_slice(b"null"),
        Some(reason) => {
            out.push(b'"');
            out.extend(reason_word(reason));
            out.push(b'"');
        }
    }
    out.push(b'}');
}

fn field(key: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    key_of(key, out);
    text(value, out);
}

fn count(key: &str, value: Option<u64>, out: &mut Vec<u8>) {
    key_of(key, out);
    match value {
        Some(value) => number(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn key_of(key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => {
            out.push(b'"');
            escape::json(value, out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn address(request: &Request<'_>, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // A vector takes all of it.
    let _ = write!(out, "{}", request.client.ip());
}
