//! A request head means the same at once, byte by byte, and after it was written for the site server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use portcullis::http::{Forwarded, Hop, Limits, Scheme, Version};
use portcullis::http1::scan::HeadSpan;
use portcullis::http1::{
    HeadScan, Outbound, RequestHead, header_slots, parse_request, parse_scanned_request, write_request,
};

/// Small, so that they are met.
const LIMITS: Limits = Limits { head_bytes_max: 2048, headers_max: 32, target_bytes_max: 512 };
/// What we write is longer: fields of ours come in.
const WRITTEN: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256, target_bytes_max: 1024 };

pub fn check(bytes: &[u8]) {
    // What is refused may be refused sooner, and for another reason, when it comes byte by byte.
    let at_once = HeadScan::new().request(bytes, &LIMITS).map_err(drop);
    assert_eq!(at_once, by_byte(bytes), "the end of the head");

    let mut slots = header_slots();
    let parsed = parse_request(bytes, &mut slots, &LIMITS);
    let Ok(Some(span)) = at_once else {
        assert!(!matches!(parsed, Ok(Some(_))), "a head without an end");
        return;
    };
    let alone = bytes.get(..span.end).expect("the scan stays inside");
    let mut slots_alone = header_slots();
    let parsed_alone = parse_scanned_request(alone, span, &mut slots_alone, &LIMITS);
    let head = match (parsed, parsed_alone) {
        (Ok(Some(head)), Ok(head_alone)) => {
            assert_eq!(head.head_bytes, span.end);
            assert_eq!(format!("{head:?}"), format!("{head_alone:?}"), "what follows the head");
            head
        }
        (Err(bad), Err(bad_alone)) => return assert_eq!(bad, bad_alone),
        (found, alone) => panic!("{found:?} with what follows, {alone:?} alone"),
    };
    if head.version == Version::Http10 && head.authority().is_empty() {
        return; // it gets a host before it is written
    }
    for trusted in [false, true] {
        survives(&head, trusted);
    }
}

fn by_byte(bytes: &[u8]) -> Result<Option<HeadSpan>, ()> {
    let mut scan = HeadScan::new();
    for end in 0..=bytes.len() {
        if let Some(span) = scan.request(&bytes[..end], &LIMITS).map_err(drop)? {
            return Ok(Some(span));
        }
    }
    Ok(None)
}

fn survives(head: &RequestHead<'_, '_>, trusted: bool) {
    let forwarded = Forwarded {
        client: SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 1),
        scheme: Scheme::Https,
        host: b"a.example:8443",
        port: 8443,
        request_id: b"r",
        trusted: trusted.then_some(Hop { scheme: Scheme::Http, host: head.authority() }),
    };
    let mut outbound = Outbound::new(head, &forwarded);
    outbound.tunnel = true;
    let mut written = Vec::new();
    write_request(&mut written, head, &outbound);
    let shown = || written.escape_ascii().to_string();
    let mut slots = header_slots();
    let again = match parse_request(&written, &mut slots, &WRITTEN) {
        Ok(Some(again)) => again,
        other => panic!("{other:?}: {}", shown()),
    };
    let mut target = head.path_and_query().to_vec();
    if target.starts_with(b"?") {
        target.insert(0, b'/');
    }
    assert_eq!(again.head_bytes, written.len(), "nothing after the head: {}", shown());
    assert_eq!(again.method, head.method);
    assert_eq!(again.path_and_query().escape_ascii().to_string(), target.escape_ascii().to_string());
    assert_eq!(again.authority(), head.authority(), "{}", shown());
    assert_eq!(again.body, head.body, "{}", shown());
    assert_eq!(again.upgrade, head.upgrade, "{}", shown());
    assert_eq!(again.expects_continue, head.expects_continue, "{}", shown());
    assert_eq!(again.accepts_trailers, head.accepts_trailers, "{}", shown());
}
