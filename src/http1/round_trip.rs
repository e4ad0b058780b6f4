//! Properties: no bytes make a parser panic, and what goes up means what came in.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::http::{BodyEnd, FieldName, Forwarded, Limits, Scheme, Version};

const LIMITS: Limits = Limits { head_bytes_max: 4096, headers_max: 32, target_bytes_max: 1024 };

static FORWARDED: Forwarded<'static> = Forwarded {
    client: SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 1),
    scheme: Scheme::Https,
    host: b"a.example:8443",
    port: 8443,
    request_id: b"r",
    trusted: None,
};

/// What a request means to the site server; fields of ours and of the hop left out.
#[derive(Debug, PartialEq)]
struct Meaning {
    method: String,
    target: Vec<u8>,
    host: Vec<u8>,
    body: BodyEnd,
    fields: Vec<(String, Vec<u8>)>,
    cookies: Vec<u8>,
    trailers: bool,
    expects: bool,
}

fn meaning(head: &RequestHead<'_, '_>) -> Meaning {
    let of =
        |known| head.headers().iter().filter(move |header| FieldName::of(header.name.as_bytes()) == known);
    let mut target = head.path_and_query().to_vec();
    if target.starts_with(b"?") {
        target.insert(0, b'/');
    }
    let cookies: Vec<_> =
        of(FieldName::Cookie).map(|header| header.value).filter(|value| !value.is_empty()).collect();
    Meaning {
        method: head.method.to_owned(),
        target,
        host: head.authority().to_vec(),
        body: head.body,
        fields: of(FieldName::Other)
            .filter(|header| {
                header.name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
                    && !head.connection.nominates(header.name.as_bytes())
            })
            .map(|header| (header.name.to_owned(), header.value.to_vec()))
            .collect(),
        cookies: cookies.join(&b"; "[..]),
        trailers: head.accepts_trailers,
        expects: head.expects_continue,
    }
}

fn check_round_trip(bytes: &[u8]) -> bool {
    let mut slots = header_slots();
    let Ok(Some(head)) = parse_request(bytes, &mut slots, &LIMITS) else {
        return false;
    };
    if head.version == Version::Http10 && head.authority().is_empty() {
        return false; // the shell gives it a host
    }
    let mut outbound = Outbound::new(&head, &FORWARDED);
    outbound.tunnel = true;
    let mut up = Vec::new();
    write_request(&mut up, &head, &outbound);
    let mut up_slots = header_slots();
    let limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256, target_bytes_max: 4096 };
    let again = parse_request(&up, &mut up_slots, &limits)
        .unwrap_or_else(|bad| panic!("{bad:?} in {:?}", String::from_utf8_lossy(&up)))
        .unwrap_or_else(|| panic!("unfinished: {:?}", String::from_utf8_lossy(&up)));
    assert_eq!(again.head_bytes, up.len(), "nothing after the head");
    assert_eq!(meaning(&again), meaning(&head), "{:?}", String::from_utf8_lossy(&up));
    assert_eq!(again.upgrade, head.upgrade);
    assert_eq!(again.ambiguous_names, 0);
    let ours =
        |name| again.headers().iter().filter(|header| FieldName::of(header.name.as_bytes()) == name).count();
    for name in
        [FieldName::ForwardedFor, FieldName::Forwarded, FieldName::Via, FieldName::RequestId, FieldName::Host]
    {
        assert_eq!(ours(name), 1, "{name:?}");
    }
    assert_eq!(ours(FieldName::FrontEnd), 0);
    true
}

/// Text out of the words smuggling is made of.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "GET ",
        "POST ",
        "OPTIONS ",
        "/",
        "/a?b=c",
        "*",
        "http://a.example",
        "http://A.example:80/x?y",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\r\n\r\n",
        "Host: a.example\r\n",
        "Host: ",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Content-Length:",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ",
        "chunked",
        "Connection: ",
        "close",
        "keep-alive",
        "upgrade",
        "TE",
        ", ",
        "Upgrade: websocket\r\n",
        "TE: trailers\r\n",
        "Expect: 100-continue\r\n",
        "X-Forwarded-For: 1.2.3.4\r\n",
        "X_Forwarded_For: 1\r\n",
        "X-Real-IP: 1\r\n",
        "Forwarded: for=\"\r\n",
        "Via: 1.0 x\r\n",
        "Cookie: a=b\r\n",
        "Cookie: \r\n",
        "X-Hop: 1\r\n",
        "X-Hop",
        "Accept: */*\r\n",
        "Trailer: x\r\n",
        "X-Request-Id: q\r\n",
        ":",
        " ",
        "\t",
        "\0",
        "\u{7f}",
        "\u{e9}",
        "a",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        ";a=\"b\"",
        "200 OK",
        "HTTP/1.1 ",
        "101 x",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat().into_bytes())
}

/// Requests most of which are accepted.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1",
        "POST /a?b=c HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://a.example?q HTTP/1.1",
        "PUT /x HTTP/1.0",
        "get /%2e%2e//x HTTP/1.1",
    ]);
    let framing = prop::sample::select(vec![
        "",
        "Content-Length: 17\r\n",
        "transfer-encoding: Chunked\r\n",
        "Content-Length: 0\r\n",
    ]);
    let field = prop::sample::select(vec![
        "Accept: */*",
        "accept:text/html ",
        "Cookie: a=b; c=d",
        "cookie: e=f",
        "Cookie:",
        "Connection: keep-alive",
        "Connection: X-Hop",
        "Connection: TE, Upgrade",
        "X-Hop: 1",
        "x-hop: 2",
        "TE: trailers",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "X-Forwarded-For: 9.9.9.9",
        "X_Forwarded_For: 9",
        "Forwarded: for=\"",
        "Via: 1.0 a (b)",
        "X-Request-Id: z",
        "X-Real-Ip: 1",
        "X-Forwarded-Anything: 1",
        "Keep-Alive: 5",
        "Proxy: x",
        "Trailer: X-Sum",
        "X-Empty:",
        "X-Bytes: \u{e9}\u{fc}",
        "X.Y: z",
        "A!: b",
        "Date: x",
        "HTTP2-Settings: AAA",
    ]);
    (line, framing, prop::collection::vec(field, 0..12)).prop_map(|(line, framing, fields)| {
        let mut text = format!("{line}\r\nHost: a.example\r\n{framing}");
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    })
}

fn feed_everything(bytes: &[u8], cuts: &[usize]) {
    let _ = check_round_trip(bytes);
    for head in [false, true] {
        let mut slots = header_slots();
        let kind = RequestKind { head, upgrade: !head };
        if let Ok(Some(response)) = parse_response(bytes, &mut slots, kind, &LIMITS) {
            for client in [Version::Http10, Version::Http11] {
                let mut down = Vec::new();
                let names = ["a".to_owned()];
                let mut reply = Reply::new(&response, client, response.reuse, b"date");
                reply.session_cookies = &names;
                write_response(&mut down, &response, &reply);
                let mut slots = header_slots();
                let again = parse_response(
                    &down,
                    &mut slots,
                    kind,
                    &Limits { headers_max: 256, ..Limits::default() },
                )
                .unwrap_or_else(|bad| panic!("{bad:?} in {:?}", String::from_utf8_lossy(&down)));
                assert_eq!(
                    again.map(|head| (head.status, head.head_bytes)),
                    Some((response.status, down.len()))
                );
            }
        }
    }
    for body in [BodyEnd::Chunked, BodyEnd::Length(7), BodyEnd::Close, BodyEnd::None] {
        let mut reader = BodyReader::new(body);
        let mut rest = bytes;
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, later) = rest.split_at(cut.min(rest.len()));
            match reader.read(&mut piece.to_vec()) {
                Ok(progress) => {
                    assert!(progress.data <= progress.consumed && progress.consumed <= piece.len())
                }
                Err(_) => break,
            }
            rest = later;
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(0_usize..40, 0..8)) {
        feed_everything(&bytes, &cuts);
    }

    #[test]
    fn no_smuggling_words_panic_or_change_meaning(bytes in soup(), cuts in prop::collection::vec(0_usize..40, 0..8)) {
        feed_everything(&bytes, &cuts);
    }

    #[test]
    fn a_request_goes_up_with_the_meaning_it_came_with(bytes in likely()) {
        check_round_trip(&bytes);
    }

    #[test]
    fn one_changed_byte_is_refused_or_keeps_one_meaning(bytes in likely(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check_round_trip(&bytes);
    }

    #[test]
    fn chunked_bodies_read_the_same_in_any_pieces(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 0..6),
        cuts in prop::collection::vec(1_usize..30, 0..30),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            let mut head = [0; CHUNK_HEAD_BYTES_MAX];
            let size = chunk_head(chunk.len() as u64, &mut head);
            wire.extend_from_slice(&head[..size]);
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        write_last_chunk(&mut wire, b"A: b\r\n");
        wire.extend_from_slice(b"next");
        let mut reader = BodyReader::new(BodyEnd::Chunked);
        let mut content = Vec::new();
        let mut rest = &wire[..];
        let mut cuts = cuts.into_iter().chain(std::iter::repeat(usize::MAX));
        while !reader.is_end() {
            let (piece, _) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            let mut piece = piece.to_vec();
            let progress = reader.read(&mut piece).unwrap();
            content.extend_from_slice(&piece[..progress.data]);
            rest = &rest[progress.consumed..];
        }
        prop_assert_eq!(content, chunks.concat());
        prop_assert_eq!(rest, &b"next"[..]);
        prop_assert_eq!(reader.trailers(), &b"A: b\r\n"[..]);
    }
}

#[test]
fn most_likely_requests_are_accepted() {
    let text = b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: e\r\nConnection: TE, Upgrade, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
        Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nX.Y: z\r\nTrailer: a\r\n\r\n";
    assert!(check_round_trip(text));
}
