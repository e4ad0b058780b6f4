//! Answers of our own, read back by our own parser.

use super::super::request::header_slots;
use super::super::response::{RequestKind, parse_response};
use super::*;
use crate::http::{BodyEnd, Limits};

const ANSWER: Answer<'static> = Answer {
    status: 400,
    client: Version::Http11,
    reuse: Reuse::Close,
    date: b"Sun, 06 Nov 1994 08:49:37 GMT",
    head_only: false,
    request_id: b"r-1",
    hsts: None,
    retry_after_secs: None,
};

/// Status, reuse, and the body, whose length is what the head says.
fn read(bytes: &[u8]) -> (u16, Reuse, String) {
    let mut slots = header_slots();
    let head =
        parse_response(bytes, &mut slots, RequestKind::default(), &Limits::default()).unwrap().unwrap();
    let body = &bytes[head.head_bytes..];
    assert_eq!(head.body, BodyEnd::Length(body.len() as u64));
    (head.status, head.reuse, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn errors_are_short_pages() {
    for status in [400, 404, 405, 408, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 299, 599] {
        for reuse in [Reuse::Keep, Reuse::Close] {
            let mut out = Vec::new();
            write_error(&mut out, &Answer { status, reuse, ..ANSWER });
            let (seen, seen_reuse, page) = read(&out);
            assert_eq!((seen, seen_reuse), (status, reuse));
            assert!(page.contains("r-1") && page.contains(words(status).1), "{page}");
        }
    }
}

#[test]
fn an_error_looks_like_this() {
    let mut out = Vec::new();
    write_error(
        &mut out,
        &Answer {
            status: 503,
            reuse: Reuse::Keep,
            client: Version::Http10,
            retry_after_secs: Some(30),
            ..ANSWER
        },
    );
    let page = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Service Unavailable</title></head>\n\
        <body><h1>Service Unavailable</h1><p>The site is not available at the moment.</p>\
        <p><small>Request r-1</small></p></body></html>\n";
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n\
             Retry-After: 30\r\nCache-Control: no-store\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{page}",
            page.len()
        )
    );
}

#[test]
fn head_gets_the_same_head_and_no_body() {
    let mut with_body = Vec::new();
    write_error(&mut with_body, &ANSWER);
    let mut without = Vec::new();
    write_error(&mut without, &Answer { head_only: true, ..ANSWER });
    assert!(with_body.starts_with(&without) && without.ends_with(b"\r\n\r\n"));
}

#[test]
fn redirects_name_the_place_and_escape_it_on_the_page() {
    let mut out = b"earlier".to_vec();
    let answer = Answer { status: 307, reuse: Reuse::Keep, hsts: Some(b"max-age=1"), ..ANSWER };
    write_redirect(&mut out, &answer, |out| out.extend_from_slice(b"https://example.com/?a&b=\"<'>"));
    let out = out.strip_prefix(b"earlier").unwrap();
    let head = String::from_utf8_lossy(out);
    assert!(head.contains("\r\nLocation: https://example.com/?a&b=\"<'>\r\n"), "{head}");
    assert!(head.contains("\r\nStrict-Transport-Security: max-age=1\r\n"), "{head}");
    let (status, reuse, page) = read(out);
    assert_eq!((status, reuse), (307, Reuse::Keep));
    assert!(page.contains("<a href=\"https://example.com/?a&amp;b=&quot;&lt;&#39;&gt;\">"), "{page}");
}

#[test]
fn a_request_id_cannot_become_markup() {
    let mut page = Vec::new();
    error_page(&mut page, 404, b"<script>\x01\xff");
    assert!(String::from_utf8(page).unwrap().contains("Request &lt;script&gt;??<"));
}

#[test]
fn methods_not_allowed_come_with_those_that_are() {
    let mut out = Vec::new();
    write_error(&mut out, &Answer { status: 405, ..ANSWER });
    assert!(String::from_utf8(out).unwrap().contains("\r\nAllow: GET, "));
}
