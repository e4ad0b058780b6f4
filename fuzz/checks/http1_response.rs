//! A response head means the same at once, byte by byte, and after it was written for the client.

use portcullis::http::{Limits, Reuse, Version};
use portcullis::http1::scan::HeadSpan;
use portcullis::http1::{
    HeadScan, Reply, RequestKind, ResponseHead, header_slots, parse_response, parse_scanned_response,
    write_response,
};

/// Small, so that they are met.
const LIMITS: Limits = Limits { head_bytes_max: 2048, headers_max: 32, target_bytes_max: 512 };
/// What we write is longer: fields of ours come in.
const WRITTEN: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256, target_bytes_max: 1024 };

pub fn check(bytes: &[u8]) {
    // What is refused may be refused sooner, and for another reason, when it comes byte by byte.
    let at_once = HeadScan::new().response(bytes, &LIMITS).map_err(drop);
    assert_eq!(at_once, by_byte(bytes), "the end of the head");
    for head in [false, true] {
        for upgrade in [false, true] {
            answers(bytes, at_once, RequestKind { head, upgrade });
        }
    }
}

fn by_byte(bytes: &[u8]) -> Result<Option<HeadSpan>, ()> {
    let mut scan = HeadScan::new();
    for end in 0..=bytes.len() {
        if let Some(span) = scan.response(&bytes[..end], &LIMITS).map_err(drop)? {
            return Ok(Some(span));
        }
    }
    Ok(None)
}

fn answers(bytes: &[u8], at_once: Result<Option<HeadSpan>, ()>, request: RequestKind) {
    let mut slots = header_slots();
    let parsed = parse_response(bytes, &mut slots, request, &LIMITS);
    let Ok(Some(span)) = at_once else {
        assert!(!matches!(parsed, Ok(Some(_))), "a head without an end");
        return;
    };
    let alone = bytes.get(..span.end).expect("the scan stays inside");
    let mut slots_alone = header_slots();
    let parsed_alone = parse_scanned_response(alone, span, &mut slots_alone, request, &LIMITS);
    match (parsed, parsed_alone) {
        (Ok(Some(head)), Ok(head_alone)) => {
            assert_eq!(head.head_bytes, span.end);
            assert_eq!(format!("{head:?}"), format!("{head_alone:?}"), "what follows the head");
            survives(&head, request, Version::Http11);
            // HTTP/1.0 clients get no interim responses and no switches.
            if head.status >= 200 {
                survives(&head, request, Version::Http10);
            }
        }
        (Err(bad), Err(bad_alone)) => assert_eq!(bad, bad_alone),
        (found, alone) => panic!("{found:?} with what follows, {alone:?} alone"),
    }
}

fn survives(head: &ResponseHead<'_, '_>, request: RequestKind, client: Version) {
    let reply = Reply::new(head, client, Reuse::Keep, b"Thu, 01 Jan 1970 00:00:00 GMT");
    let mut written = Vec::new();
    write_response(&mut written, head, &reply);
    let shown = || written.escape_ascii().to_string();
    let mut slots = header_slots();
    let again = match parse_response(&written, &mut slots, request, &WRITTEN) {
        Ok(Some(again)) => again,
        other => panic!("{other:?}: {}", shown()),
    };
    assert_eq!(again.head_bytes, written.len(), "nothing after the head: {}", shown());
    assert_eq!(again.status, head.status);
    assert_eq!(again.body, head.body.relayed_to(client), "{}", shown());
    assert_eq!(again.is_interim, head.is_interim);
    assert_eq!(again.upgrade, head.upgrade, "{}", shown());
    if head.status >= 200 && head.status != 204 {
        assert_eq!(again.declared_length, head.declared_length, "{}", shown());
    }
    if client == Version::Http11 && again.upgrade.is_none() {
        assert_eq!(again.reuse, Reuse::Keep, "{}", shown());
    }
}
