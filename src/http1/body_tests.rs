//! Bodies in one piece, byte by byte, split at every point, and through a small buffer: always the same reading.

use super::*;

/// What a body came to: content, raw bytes used up, trailers; or what was wrong.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    content: Vec<u8>,
    consumed: usize,
    end: bool,
    trailers: String,
}

fn read(body: BodyEnd, bytes: &[u8], pieces: &[usize]) -> Result<Outcome, BadBody> {
    let mut reader = BodyReader::new(body);
    let mut outcome =
        Outcome { content: Vec::new(), consumed: 0, end: reader.is_end(), trailers: String::new() };
    let mut rest = bytes;
    let mut pieces = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() && !outcome.end {
        let (piece, later) = rest.split_at(pieces.next().unwrap_or(usize::MAX).min(rest.len()));
        let mut buffer = piece.to_vec();
        let progress = reader.read(&mut buffer)?;
        assert!(progress.data <= progress.consumed && progress.consumed <= piece.len());
        assert!(progress.end || progress.consumed == piece.len(), "only the end leaves bytes over");
        assert_eq!(
            &buffer[progress.consumed..],
            &piece[progress.consumed..],
            "the next message is untouched"
        );
        outcome.content.extend_from_slice(&buffer[..progress.data]);
        outcome.consumed += progress.consumed;
        outcome.end = progress.end;
        rest = later;
    }
    assert_eq!(reader.received(), outcome.content.len() as u64);
    outcome.trailers = String::from_utf8(reader.trailers().to_vec()).unwrap();
    Ok(outcome)
}

fn check(body: BodyEnd, bytes: &[u8]) -> Result<Outcome, BadBody> {
    let whole = read(body, bytes, &[]);
    assert_eq!(whole, read(body, bytes, &vec![1; bytes.len()]), "byte by byte");
    for split in 1..bytes.len() {
        assert_eq!(whole, read(body, bytes, &[split]), "split at {split}");
        assert_eq!(whole, read(body, bytes, &[split, 1, 2]), "split at {split} and after");
    }
    whole
}

#[test]
fn lengths_end_where_they_say() {
    for (length, bytes, content, consumed, end) in
        [(0, "rest", "", 0, true), (3, "abcrest", "abc", 3, true), (5, "abc", "abc", 3, false)]
    {
        let outcome = check(BodyEnd::Length(length), bytes.as_bytes()).unwrap();
        assert_eq!((outcome.content, outcome.consumed, outcome.end), (content.into(), consumed, end));
    }
    assert_eq!(check(BodyEnd::None, b"rest").unwrap().consumed, 0);
    let outcome = check(BodyEnd::Close, b"all of it").unwrap();
    assert_eq!((outcome.consumed, outcome.end), (9, false));
}

#[test]
fn chunks_are_joined_and_trailers_kept() {
    for (text, content, trailers, left) in [
        ("0\r\n\r\n", "", "", 0),
        ("3\r\nabc\r\n0\r\n\r\nGET /", "abc", "", 5),
        ("3\r\nabc\r\n2\r\nde\r\n00\r\n\r\n", "abcde", "", 0),
        ("A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n", "0123456789abcdefghij", "", 0),
        ("0000000000000003\r\n\r\n\n\r\n0\r\n\r\n", "\r\n\n", "", 0),
        ("3;a\r\nabc\r\n0;b=c;d=\"e\\\";\u{e9} f\"\r\n\r\n", "abc", "", 0),
        ("1;a;b;c=d\r\nx\r\n0\r\n\r\n", "x", "", 0),
        (
            "0\r\nX-Sum:  abc \t\r\nETag:\"x\"\r\nX-Empty:\r\nX-Blank: \t\r\n\r\n",
            "",
            "X-Sum: abc\r\nETag: \"x\"\r\nX-Empty: \r\nX-Blank: \r\n",
            0,
        ),
        (
            "1\r\nx\r\n0\r\nContent-Length: 5\r\nHost: b\r\nGrpc-Status: 0\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\
          Cookie: c\r\nX-Forwarded-For: 1\r\nX_Sum: 2\r\nAuthorization: x\r\nConnection: close\r\nContent-Type: a/b\r\n\
          Via: x\r\nTE: x\r\nTrailer: x\r\nUpgrade: y\r\nCache-Control: no-store\r\nLocation: /\r\nX-Request-Id: 3\r\n\r\nrest",
            "x",
            "Grpc-Status: 0\r\n",
            4,
        ),
    ] {
        let outcome =
            check(BodyEnd::Chunked, text.as_bytes()).unwrap_or_else(|bad| panic!("{bad:?}: {text:?}"));
        assert_eq!(outcome.content, content.as_bytes(), "{text:?}");
        assert_eq!(outcome.trailers, trailers, "{text:?}");
        assert!(outcome.end && outcome.consumed == text.len() - left, "{text:?}");
    }
}

#[test]
fn refuses_bad_chunk_sizes() {
    for text in [
        "\r\n",
        ";a\r\n",
        " 3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "3\t\r\nabc\r\n",
        "+3\r\nabc\r\n",
        "-3\r\n",
        "0x3\r\nabc\r\n",
        "g\r\n",
        "3 ;a\r\n",
        "\u{663}\r\n",
        "00000000000000003\r\nabc\r\n",
        "ffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "10000000000000000\r\n",
        "3,4\r\n",
        "3\u{0}\r\n",
        "_3\r\n",
    ] {
        assert_eq!(check(BodyEnd::Chunked, text.as_bytes()), Err(BadBody::ChunkSize), "{text:?}");
    }
    // Sizes that overflow only in sum.
    let mut reader = BodyReader::new(BodyEnd::Chunked);
    let mut huge = *b"7fffffffffffffff\r\nx";
    assert!(reader.read(&mut huge).is_ok());
}

#[test]
fn refuses_line_ends_other_than_crlf() {
    for text in [
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc",
        "3\r\rabc",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\r0",
        "0\n\n",
        "0\r\n\n",
        "0\r\nA: b\n\r\n",
        "0\r\nA: b\r\r\n",
        "0\r\n\rx",
        "3;a\nabc\r\n",
        "3;a=\"\nb\"\r\n",
        "2\r\nabc\r\n",
    ] {
        assert_eq!(check(BodyEnd::Chunked, text.as_bytes()), Err(BadBody::LineEnd), "{text:?}");
    }
}

#[test]
fn refuses_extensions_that_hide_something() {
    for text in [
        "3;\r\n",
        "3;a=\r\n",
        "3; a\r\n",
        "3;a b\r\n",
        "3;a =b\r\n",
        "3;a= b\r\n",
        "3;;\r\n",
        "3;a=\"b\r\n",
        "3;a=\"b\"c\r\n",
        "3;a=\"\\\r\n",
        "3;a\u{0}\r\n",
        "3;=b\r\n",
        "3;\u{e9}\r\n",
        "3;a=\u{e9}\r\n",
    ] {
        assert_eq!(check(BodyEnd::Chunked, text.as_bytes()), Err(BadBody::ChunkExtension), "{text:?}");
    }
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(5000));
    assert_eq!(read(BodyEnd::Chunked, long.as_bytes(), &[]), Err(BadBody::ChunkExtension));
    let many = "1;abc\r\nx\r\n".repeat(2000);
    assert_eq!(read(BodyEnd::Chunked, many.as_bytes(), &[]), Err(BadBody::ChunkExtension));
}

#[test]
fn refuses_trailers_that_are_no_fields_or_too_many() {
    for text in [
        "0\r\nA\r\n\r\n",
        "0\r\n: b\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\n A: b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA: b\u{0}\r\n\r\n",
        "0\r\nA: \u{7f}\r\n\r\n",
        "0\r\nA(: b\r\n\r\n",
    ] {
        assert_eq!(check(BodyEnd::Chunked, text.as_bytes()), Err(BadBody::Trailer), "{text:?}");
    }
    for text in [
        format!("0\r\nA: {}\r\n\r\n", "b".repeat(9000)),
        format!("0\r\nA: {}", "b".repeat(9000)),
        format!("0\r\n{}\r\n", "A: b\r\n".repeat(65)),
        // Dropped ones count, too.
        format!("0\r\n{}\r\n", format!("Host: {}\r\n", "b".repeat(500)).repeat(20)),
    ] {
        assert_eq!(read(BodyEnd::Chunked, text.as_bytes(), &[]), Err(BadBody::TrailersTooLarge));
        assert_eq!(
            read(BodyEnd::Chunked, text.as_bytes(), &vec![7; text.len()]),
            Err(BadBody::TrailersTooLarge)
        );
    }
}

#[test]
fn limits_count_content_only_and_strike_early() {
    for (body, bytes, expected) in [
        (BodyEnd::Length(4), "abcd", Ok(4)),
        (BodyEnd::Length(5), "a", Err(BadBody::TooLarge)),
        (BodyEnd::Chunked, "2;x=yyyyyyyyyy\r\nab\r\n2\r\ncd\r\n0\r\nA: bbbbbb\r\n\r\n", Ok(4)),
        (BodyEnd::Chunked, "2\r\nab\r\n3\r\n", Err(BadBody::TooLarge)),
        (BodyEnd::Close, "abcd", Ok(4)),
        (BodyEnd::Close, "abcde", Err(BadBody::TooLarge)),
    ] {
        let mut reader = BodyReader::new(body);
        reader.limit(4);
        let mut bytes = bytes.as_bytes().to_vec();
        assert_eq!(reader.read(&mut bytes).map(|progress| progress.data), expected, "{body:?}");
    }
}

#[test]
fn a_cut_is_no_end() {
    for (body, bytes, whole) in [
        (BodyEnd::Length(3), "ab", false),
        (BodyEnd::Length(3), "abc", true),
        (BodyEnd::Chunked, "", false),
        (BodyEnd::Chunked, "3\r\nabc", false),
        (BodyEnd::Chunked, "3\r\nabc\r\n0\r\n", false),
        (BodyEnd::Chunked, "3\r\nabc\r\n0\r\n\r\n", true),
        (BodyEnd::Close, "ab", true),
        (BodyEnd::None, "", true),
    ] {
        let mut reader = BodyReader::new(body);
        reader.read(&mut bytes.as_bytes().to_vec()).unwrap();
        assert_eq!(reader.finish().is_ok(), whole, "{body:?} {bytes:?}");
    }
}

#[test]
fn after_an_error_nothing_is_read() {
    let mut reader = BodyReader::new(BodyEnd::Chunked);
    assert_eq!(reader.read(&mut b"x".to_vec()), Err(BadBody::ChunkSize));
    assert_eq!(reader.read(&mut b"0\r\n\r\n".to_vec()), Err(BadBody::ChunkSize));
    assert_eq!(reader.finish(), Err(BadBody::ChunkSize));
    reader.reset(BodyEnd::Chunked);
    assert!(reader.read(&mut b"0\r\n\r\n".to_vec()).unwrap().end);
}

#[test]
fn what_was_written_in_chunks_reads_back() {
    let mut written = Vec::new();
    let mut content = Vec::new();
    for length in [1_usize, 15, 16, 300, 5000] {
        let mut head = [0; super::super::chunk::CHUNK_HEAD_BYTES_MAX];
        let size = super::super::chunk::chunk_head(length as u64, &mut head);
        written.extend_from_slice(&head[..size]);
        written.resize(written.len() + length, b'x');
        written.extend_from_slice(b"\r\n");
        content.resize(content.len() + length, b'x');
    }
    super::super::chunk::write_last_chunk(&mut written, b"A: b\r\n");
    let outcome = read(BodyEnd::Chunked, &written, &[4096, 1, 1]).unwrap();
    assert_eq!((outcome.content, outcome.end, outcome.trailers.as_str()), (content, true, "A: b\r\n"));
}
