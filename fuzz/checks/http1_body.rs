//! A body reads the same in one piece and in many, and what was read can be written and read again.

use portcullis::http::BodyEnd;
use portcullis::http1::{BadBody, BodyReader, CHUNK_HEAD_BYTES_MAX, chunk_head, write_last_chunk};

/// What a body came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    content: Vec<u8>,
    /// Octets that belonged to the body, as they came.
    consumed: usize,
    end: bool,
    trailers: Vec<u8>,
    /// What the close of the connection makes of it.
    finish: Result<(), BadBody>,
}

pub fn check(bytes: &[u8]) {
    let length = bytes.len() as u64;
    for body in
        [BodyEnd::Chunked, BodyEnd::Close, BodyEnd::None, BodyEnd::Length(5), BodyEnd::Length(length + 1)]
    {
        for bytes_max in [u64::MAX, 7] {
            let whole = read(body, bytes_max, bytes, usize::MAX);
            for piece in [1, 3] {
                assert_eq!(whole, read(body, bytes_max, bytes, piece), "{body:?}, pieces of {piece}");
            }
            if let Ok(outcome) = whole {
                assert!(outcome.content.len() as u64 <= bytes_max);
                if outcome.end && body == BodyEnd::Chunked {
                    survives(&outcome);
                }
            }
        }
    }
}

fn read(body: BodyEnd, bytes_max: u64, bytes: &[u8], piece: usize) -> Result<Outcome, BadBody> {
    let mut reader = BodyReader::new(body);
    reader.limit(bytes_max);
    let mut content = Vec::new();
    let mut consumed = 0;
    for piece in bytes.chunks(piece.min(bytes.len().max(1))) {
        if reader.is_end() {
            break;
        }
        let mut buffer = piece.to_vec();
        let progress = match reader.read(&mut buffer) {
            Ok(progress) => progress,
            Err(bad) => {
                assert_eq!(reader.read(&mut [b'x']), Err(bad), "an error stays");
                assert_eq!(reader.finish(), Err(bad), "an error stays");
                return Err(bad);
            }
        };
        assert!(progress.data <= progress.consumed && progress.consumed <= piece.len());
        assert!(progress.end || progress.consumed == piece.len(), "only the end leaves bytes over");
        assert_eq!(buffer[progress.consumed..], piece[progress.consumed..], "the next message is untouched");
        assert_eq!(progress.end, reader.is_end());
        content.extend_from_slice(&buffer[..progress.data]);
        consumed += progress.consumed;
    }
    assert_eq!(reader.received(), content.len() as u64);
    let end = reader.is_end();
    let trailers = reader.trailers().to_vec();
    Ok(Outcome { content, consumed, end, trailers, finish: reader.finish() })
}

/// Chunks of ours give the same body.
fn survives(outcome: &Outcome) {
    let mut written = Vec::new();
    if !outcome.content.is_empty() {
        let mut head = [0; CHUNK_HEAD_BYTES_MAX];
        let length = chunk_head(outcome.content.len() as u64, &mut head);
        written.extend_from_slice(&head[..length]);
        written.extend_from_slice(&outcome.content);
        written.extend_from_slice(b"\r\n");
    }
    write_last_chunk(&mut written, &outcome.trailers);
    let again = read(BodyEnd::Chunked, u64::MAX, &written, usize::MAX)
        .unwrap_or_else(|bad| panic!("{bad:?}: {}", written.escape_ascii()));
    assert_eq!((&again.content, &again.trailers), (&outcome.content, &outcome.trailers));
    assert!(again.end && again.consumed == written.len());
}
