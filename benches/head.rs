//! Time to read and rebuild the heads of a usual exchange.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis::http::{Forwarded, Limits, Reuse, Scheme, Version};
use portcullis::http1::{
    BodyReader, Outbound, Reply, RequestKind, header_slots, parse_request, parse_response, write_request,
    write_response,
};

const REQUEST: &[u8] = b"GET /en/page/1234/a-title-as-sites-have-them?utm_source=newsletter HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/en/\r\n\
    Connection: keep-alive\r\n\
    Cookie: z_sid=0123456789abcdef0123456789abcdef; z_logon=abcdefghijklmnopqrstuvwxyz; cotonic-sid=1234567890\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: Zotonic\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Encoding: gzip\r\n\
    Vary: accept-encoding, accept-language\r\n\
    Cache-Control: no-cache, private\r\n\
    Set-Cookie: z_sid=0123456789abcdef0123456789abcdef; Path=/; HttpOnly; SameSite=Lax\r\n\
    X-Frame-Options: sameorigin\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: origin-when-cross-origin\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let forwarded = Forwarded {
        client: "192.0.2.77:51234".parse().expect("a literal address"),
        scheme: Scheme::Https,
        host: b"www.example.com",
        port: 443,
        request_id: b"0192f0c1-7e1a-7c33-b0a0-5f0e2d9a4b11",
        trusted: None,
    };
    let mut out = Vec::with_capacity(4096);

    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("parse_request", |bencher| {
        bencher.iter(|| {
            let mut slots = header_slots();
            parse_request(black_box(REQUEST), &mut slots, &limits)
                .expect("valid")
                .map(|head| black_box(head).head_bytes)
        });
    });
    group.bench_function("parse_and_rebuild_request", |bencher| {
        bencher.iter(|| {
            let mut slots = header_slots();
            let head = parse_request(black_box(REQUEST), &mut slots, &limits).expect("valid").expect("whole");
            out.clear();
            write_request(&mut out, &head, &Outbound::new(&head, &forwarded));
            black_box(out.len())
        });
    });
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    let session_cookies = ["z_sid".to_owned(), "z_logon".to_owned()];
    group.bench_function("parse_and_rebuild_response", |bencher| {
        bencher.iter(|| {
            let mut slots = header_slots();
            let head = parse_response(black_box(RESPONSE), &mut slots, RequestKind::default(), &limits)
                .expect("valid")
                .expect("whole");
            out.clear();
            let mut reply = Reply::new(&head, Version::Http11, Reuse::Keep, b"Sun, 06 Nov 1994 08:49:37 GMT");
            reply.session_cookies = &session_cookies;
            reply.hsts = Some(b"max-age=31536000");
            write_response(&mut out, &head, &reply);
            black_box(out.len())
        });
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let mut wire = Vec::new();
    for _ in 0..8 {
        wire.extend_from_slice(b"7f8\r\n");
        wire.resize(wire.len() + 0x7f8, b'x');
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    let mut buffer = wire.clone();
    let mut reader = BodyReader::new(portcullis::http::BodyEnd::Chunked);
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("read_16_kib_in_8_chunks", |bencher| {
        bencher.iter(|| {
            buffer.copy_from_slice(&wire);
            reader.reset(portcullis::http::BodyEnd::Chunked);
            reader.read(black_box(&mut buffer)).expect("valid").data
        });
    });
    group.finish();
}

criterion_group!(benches, heads, bodies);
criterion_main!(benches);
