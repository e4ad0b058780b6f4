//! What is refused in a response, and where its body ends.

use super::super::request::header_slots;
use super::*;

const LIMITS: Limits = Limits { head_bytes_max: 4096, headers_max: 16, target_bytes_max: 512 };
const GET: RequestKind = RequestKind { head: false, upgrade: false };
const HEAD: RequestKind = RequestKind { head: true, upgrade: false };
const UPGRADE: RequestKind = RequestKind { head: false, upgrade: true };

fn check<T: PartialEq + std::fmt::Debug>(
    text: impl AsRef<[u8]>,
    request: RequestKind,
    look: impl Fn(&ResponseHead<'_, '_>) -> T,
) -> Result<T, BadResponse> {
    let bytes = text.as_ref();
    let whole =
        parse_response(bytes, &mut header_slots(), request, &LIMITS).map(|head| head.map(|head| look(&head)));
    let mut scan = HeadScan::new();
    let pieces = (0..=bytes.len()).find_map(|end| match scan.response(&bytes[..end], &LIMITS) {
        Ok(None) => None,
        Ok(Some(span)) => Some(
            parse_scanned_response(&bytes[..end], span, &mut header_slots(), request, &LIMITS)
                .map(|head| look(&head)),
        ),
        Err(bad) => Some(Err(bad)),
    });
    assert_eq!(whole, pieces.transpose(), "{:?}", String::from_utf8_lossy(bytes));
    whole.map(|head| head.expect("a whole head"))
}

fn refused(text: impl AsRef<[u8]>) -> BadResponse {
    check(text, GET, |head| head.status).expect_err("refused")
}

fn with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")
}

#[test]
fn bodies_end_as_status_method_and_fields_say() {
    for (text, request, body, reuse) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", GET, BodyEnd::Length(5), Reuse::Keep),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", GET, BodyEnd::Chunked, Reuse::Keep),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            GET,
            BodyEnd::Length(5),
            Reuse::Close,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", GET, BodyEnd::Close, Reuse::Close),
        ("HTTP/1.1 200 OK\r\n\r\n", HEAD, BodyEnd::None, Reuse::Keep),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HEAD, BodyEnd::None, Reuse::Keep),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD, BodyEnd::None, Reuse::Keep),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", GET, BodyEnd::None, Reuse::Keep),
        ("HTTP/1.1 204 No Content\r\n\r\n", GET, BodyEnd::None, Reuse::Keep),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", GET, BodyEnd::None, Reuse::Keep),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", GET, BodyEnd::None, Reuse::Close),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", GET, BodyEnd::None, Reuse::Close),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", GET, BodyEnd::Length(5), Reuse::Close),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
            GET,
            BodyEnd::Length(5),
            Reuse::Keep,
        ),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", GET, BodyEnd::Close, Reuse::Close),
        ("HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", GET, BodyEnd::Length(0), Reuse::Keep),
    ] {
        assert_eq!(check(text, request, |head| (head.body, head.reuse)), Ok((body, reuse)), "{text:?}");
    }
}

#[test]
fn interim_responses_and_switches_are_told_apart() {
    let read =
        |text, request| check(text, request, |head| (head.is_interim, head.upgrade.map(<[u8]>::to_vec)));
    assert_eq!(read("HTTP/1.1 100 Continue\r\n\r\n", GET), Ok((true, None)));
    assert_eq!(read("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", GET), Ok((true, None)));
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(read(switch, UPGRADE), Ok((false, Some(b"websocket".to_vec()))));
    assert_eq!(read(switch, GET), Err(BadResponse::UnaskedSwitch));
    for fields in ["Connection: Upgrade", "Upgrade: websocket", "Connection: Upgrade\r\nUpgrade: "] {
        let text = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n");
        assert_eq!(check(text, UPGRADE, |_| ()), Err(BadResponse::UnaskedSwitch));
    }
    let other = "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(read(other, UPGRADE), Ok((false, None)));
    assert_eq!(refused("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"), Flaw::LengthInvalid.into());
    assert_eq!(refused("HTTP/1.1 103 \r\nTransfer-Encoding: chunked\r\n\r\n"), Flaw::Coding.into());
}

#[test]
fn refuses_ambiguous_framing() {
    for (fields, flaw) in [
        ("Content-Length: 5\r\nContent-Length: 5", Flaw::LengthRepeated),
        ("Content-Length: 5, 5", Flaw::LengthRepeated),
        ("Content-Length: +5", Flaw::LengthInvalid),
        ("Content-Length: ", Flaw::LengthInvalid),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Flaw::LengthWithCoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Flaw::Coding),
        ("Transfer-Encoding: gzip, chunked", Flaw::Coding),
        ("Transfer-Encoding: identity", Flaw::Coding),
        ("Connection: Content-Length\r\nContent-Length: 5", Flaw::Nomination),
        ("Connection: Set-Cookie\r\nSet-Cookie: a=b", Flaw::Nomination),
    ] {
        assert_eq!(refused(with(fields)), flaw.into(), "{fields}");
    }
    assert_eq!(refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Flaw::Coding.into());
}

#[test]
fn refuses_bad_lines() {
    for (text, bad) in [
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", Flaw::BareLineFeed.into()),
        ("HTTP/1.1 200 OK\r\nA: b\n\r\n", Flaw::BareLineFeed.into()),
        ("HTTP/1.1 200 OK\r\nA: b\r\n\n", Flaw::BareLineFeed.into()),
        ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", Flaw::BareCarriageReturn.into()),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Flaw::FoldedLine.into()),
        ("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", Flaw::FoldedLine.into()),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Flaw::FieldName.into()),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", Flaw::FieldName.into()),
        ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", Flaw::FieldValue.into()),
        ("HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n", Flaw::FieldValue.into()),
        ("HTTP/1.1 200 O\0K\r\n\r\n", BadResponse::StatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", BadResponse::StatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", BadResponse::StatusLine),
        ("HTTP/1.1 2000\r\n\r\n", BadResponse::StatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", BadResponse::StatusLine),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", BadResponse::StatusLine),
        ("HTTP/1.2 200 OK\r\n\r\n", BadResponse::Version),
        ("HTTP/2.0 200 OK\r\n\r\n", BadResponse::Version),
        ("ICY 200 OK\r\n\r\n", BadResponse::Version),
        ("\u{15}\u{3}\u{1}", BadResponse::StatusLine),
    ] {
        assert_eq!(refused(text), bad, "{text:?}");
    }
    assert_eq!(refused(with(&["A: b"; 17].join("\r\n"))), Flaw::TooManyFields.into());
    assert_eq!(refused(with(&format!("A: {}", "b".repeat(5000)))), Flaw::HeadTooLarge.into());
    assert_eq!(refused(format!("HTTP/1.1 200 {}\r\n\r\n", "b".repeat(2000))), Flaw::HeadTooLarge.into());
}

#[test]
fn odd_reason_phrases_are_let_through_or_left_out() {
    let phrase = |text: &[u8]| check(text, GET, |head| head.reason_phrase.to_owned()).unwrap();
    assert_eq!(phrase(b"HTTP/1.1 404 Not here, sorry\r\n\r\n"), "Not here, sorry");
    assert_eq!(phrase(b"HTTP/1.1 200\r\n\r\n"), "");
    assert_eq!(phrase(b"HTTP/1.1 200 \r\n\r\n"), "");
    assert_eq!(phrase(b"HTTP/1.1 200 Gr\xfc\xdfe\r\n\r\n"), "");
}
