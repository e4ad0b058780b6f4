//! The request body on its way to the site server.

use std::time::Duration;

use super::account::add;
use super::exchange::Exchange;
use super::relay::RelayState;
use super::{BodyFailure, BodyRead, RequestBody};
use crate::http::BodyEnd;
use crate::http1::{CHUNK_HEAD_BYTES_MAX, chunk_head};
use crate::net::{Buffer, Local, SMALL, UpstreamStream};

/// Room behind a piece of a body for what ends a chunked body.
const TAILROOM: usize = 64;

/// How the body came to its end.
pub(super) enum Uploaded {
    Whole,
    /// The site server takes no more; its response says why, if there is one.
    Refused,
    Failed(BodyFailure),
}

/// Streams the rest of a body; a buffer's worth is in flight at most, so that a slow site server slows
/// the client. The time for the response head begins anew with each piece: it is counted from the end of the request.
pub(super) async fn upload<B: RequestBody>(
    body: &mut B,
    exchange: &Exchange<'_>,
    upstream: &UpstreamStream,
    local: &Local,
    idle: Duration,
    state: &RelayState,
    response_head: Duration,
) -> Uploaded {
    loop {
        let small =
            body.remaining().is_some_and(|left| left <= (SMALL - CHUNK_HEAD_BYTES_MAX - TAILROOM) as u64);
        let mut buffer = if small { local.buffers.small() } else { local.buffers.large() };
        buffer.reset(CHUNK_HEAD_BYTES_MAX, TAILROOM);
        let read = match body.read(&mut buffer, state.answered.get()).await {
            Ok(read) => read,
            Err(failure) => return Uploaded::Failed(failure),
        };
        state.all_read.set(read == BodyRead::End);
        add(&exchange.account.request_bytes, buffer.len());
        if exchange.body == BodyEnd::Chunked {
            let trailers = (read == BodyRead::End).then(|| body.trailers());
            frame_chunk(&mut buffer, trailers);
        }
        if !buffer.is_empty() && upstream.send(&mut buffer, || local.clock.after(idle)).await.is_err() {
            return Uploaded::Refused;
        }
        if state.answered.get() {
            // A response beside its request may be silent for as long as the request is not.
            upstream.extend_read(local.clock.after(idle));
        } else {
            let until = local.clock.after(response_head);
            state.head_until.set(Some(until));
            upstream.extend_read(until);
        }
        if read == BodyRead::End {
            return Uploaded::Whole;
        }
    }
}

/// Makes the buffer's content one chunk (RFC 9112 §7.1), and ends the body after it when `end` is given.
pub fn frame_chunk(buffer: &mut Buffer, end: Option<&[u8]>) {
    if !buffer.is_empty() {
        let mut head = [0; CHUNK_HEAD_BYTES_MAX];
        let length = chunk_head(buffer.len() as u64, &mut head);
        buffer.prepend(&head[..length]);
        buffer.append(b"\r\n");
    }
    append_end(buffer, end);
}

/// Appends a chunk to what is in the buffer, and ends the body after it when `end` is given.
pub fn append_chunk(buffer: &mut Buffer, data: &[u8], end: Option<&[u8]>) {
    if !data.is_empty() {
        let mut head = [0; CHUNK_HEAD_BYTES_MAX];
        let length = chunk_head(data.len() as u64, &mut head);
        buffer.append(&head[..length]);
        buffer.append(data);
        buffer.append(b"\r\n");
    }
    append_end(buffer, end);
}

fn append_end(buffer: &mut Buffer, end: Option<&[u8]>) {
    if let Some(trailers) = end {
        buffer.append(b"0\r\n");
        buffer.append(trailers);
        buffer.append(b"\r\n");
    }
}
