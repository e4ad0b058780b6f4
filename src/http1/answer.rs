//! Answers of our own: errors, redirects, 100 (Continue).

use crate::http::field::FieldSink as _;
use crate::http::status::words;
use crate::http::{Reuse, Version};

/// What all answers of our own need.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// The version of the request; HTTP/1.1 when it could not be read.
    pub client: Version,
    pub reuse: Reuse,
    /// For `Date`.
    pub date: &'a [u8],
    /// The request was HEAD: headers as for GET, no body.
    pub head_only: bool,
    /// Shown on the page, so that a visitor can name the line in the log; may be empty.
    pub request_id: &'a [u8],
    /// `Strict-Transport-Security`; give it on HTTPS only.
    pub hsts: Option<&'a [u8]>,
    /// Seconds for `Retry-After` with 429 and 503.
    pub retry_after_secs: Option<u32>,
}

const PAGE_START: &[u8] = b"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>";
const PAGE_MIDDLE: &[u8] = b"</title></head>\n<body><h1>";
const PAGE_END: &[u8] = b"</body></html>\n";
/// What a client may use where CONNECT and TRACE are refused; 405 must say (RFC 9110 §15.5.6).
const ALLOW: &[u8] = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Appends a whole error response with a short page.
///
/// `no-store`: caches may keep a 404 or a 405 on their own account, and ours can be gone after a reload.
pub fn write_error(out: &mut Vec<u8>, answer: &Answer<'_>) {
    start(out, answer);
    if answer.status == 405 {
        out.field(b"Allow", ALLOW);
    }
    if let Some(seconds) = answer.retry_after_secs {
        out.field(b"Retry-After", itoa::Buffer::new().format(seconds).as_bytes());
    }
    out.extend_from_slice(b"Cache-Control: no-store\r\nContent-Type: text/html; charset=utf-8\r\n");
    end_with_body(out, answer, |out| error_page(out, answer.status, answer.request_id));
}

/// Appends a redirect. `location` appends an absolute URI of visible ASCII.
///
/// No `Cache-Control`: permanent redirects are meant to be kept and temporary ones are not kept without being told so
/// (RFC 9110 §15.4).
pub fn write_redirect(out: &mut Vec<u8>, answer: &Answer<'_>, location: impl FnOnce(&mut Vec<u8>)) {
    start(out, answer);
    out.extend_from_slice(b"Location: ");
    let from = out.len();
    location(out);
    let location = from..out.len();
    debug_assert!(out.iter().skip(from).all(u8::is_ascii_graphic), "a target is checked when it is parsed");
    out.extend_from_slice(b"\r\nContent-Type: text/html; charset=utf-8\r\n");
    end_with_body(out, answer, |out| {
        let (phrase, sentence) = words(answer.status);
        page_start(out, phrase, sentence);
        out.extend_from_slice(b"<p><a href=\"");
        for at in location.clone() {
            let byte = out.get(at).copied().unwrap_or(b' ');
            escape(out, byte);
        }
        out.extend_from_slice(b"\">Go there</a></p>");
        out.extend_from_slice(PAGE_END);
    });
}

/// Appends an answer whose body are these octets, for a program to read.
pub fn write_octets(out: &mut Vec<u8>, answer: &Answer<'_>, octets: &[u8]) {
    start(out, answer);
    out.extend_from_slice(b"Cache-Control: no-store\r\nContent-Type: application/octet-stream\r\n");
    end_with_body(out, answer, |out| out.extend_from_slice(octets));
}

/// Appends 100 (Continue).
pub fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends the page of an error, for any version of HTTP.
pub fn error_page(out: &mut Vec<u8>, status: u16, request_id: &[u8]) {
    let (phrase, sentence) = words(status);
    page_start(out, phrase, sentence);
    if !request_id.is_empty() {
        out.extend_from_slice(b"<p><small>Request ");
        for &byte in request_id {
            escape(out, byte);
        }
        out.extend_from_slice(b"</small></p>");
    }
    out.extend_from_slice(PAGE_END);
}

fn start(out: &mut Vec<u8>, answer: &Answer<'_>) {
    out.reserve(1024);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(answer.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(words(answer.status).0.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.field(b"Date", answer.date);
    match (answer.reuse, answer.client) {
        (Reuse::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (Reuse::Keep, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Reuse::Keep, _) => {}
    }
    if let Some(hsts) = answer.hsts {
        out.field(b"Strict-Transport-Security", hsts);
    }
}

/// The length stands before the body it counts: the body is written first, then moved up to let its length in.
fn end_with_body(out: &mut Vec<u8>, answer: &Answer<'_>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"Content-Length: ");
    let number_at = out.len();
    out.extend_from_slice(b"\r\n\r\n");
    let body_at = out.len();
    body(out);
    let length = out.len() - body_at;
    if answer.head_only {
        out.truncate(body_at);
    }
    let mut number = itoa::Buffer::new();
    out.splice(number_at..number_at, number.format(length).bytes());
}

fn page_start(out: &mut Vec<u8>, phrase: &str, sentence: &str) {
    out.extend_from_slice(PAGE_START);
    out.extend_from_slice(phrase.as_bytes());
    out.extend_from_slice(PAGE_MIDDLE);
    out.extend_from_slice(phrase.as_bytes());
    out.extend_from_slice(b"</h1><p>");
    out.extend_from_slice(sentence.as_bytes());
    out.extend_from_slice(b"</p>");
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'&' => out.extend_from_slice(b"&amp;"),
        b'<' => out.extend_from_slice(b"&lt;"),
        b'>' => out.extend_from_slice(b"&gt;"),
        b'"' => out.extend_from_slice(b"&quot;"),
        b'\'' => out.extend_from_slice(b"&#39;"),
        b' '..=b'~' => out.push(byte),
        _ => out.push(b'?'),
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
