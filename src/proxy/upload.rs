//! The request body on its way to the site server.

use std::time::Duration;

use super::account::add;
use super::exchange::Exchange;
use super::relay::RelayState;
use super::{BodyFailure, BodyRead, RequestBody};
use crate::http::BodyEnd;
use crate::http1::{CHUNK_HEAD_BYTES_MAX, chunk_head};
use crate::net::{Buffer, Local, SMALL};
use crate::upstream::Channel;

/// Room behind a piece of a body for what ends a chunked body.
const TAILROOM: usize = 64;

/// How the body came to its end.
pub(super) enum Uploaded {
    Whole,
    /// The site server takes no more; its response says why, if there is one.
    Refused,
    Failed(BodyFailure),
}

/// What was read of a body and may have to be sent again, since a site server that refuses a request has not touched it.
/// Only a stream of HTTP/2 can say so: for others nothing is kept.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Buffer,
    // The body has ended, with these trailers.
    end: Option<Vec<u8>>,
    // There was more than is kept.
    lost: bool,
}

/// Octets of a body kept: of what is refused at all, most is small.
const KEPT_MAX: usize = 64 * 1024;

impl Kept {
    /// Whether all that was read of the body is here, and the rest can still be read.
    pub(super) fn is_all(&self, may_be_given_up: bool) -> bool {
        !self.lost && (self.end.is_some() || may_be_given_up)
    }

    fn add(&mut self, piece: &[u8], end: Option<&[u8]>, local: &Local) {
        if self.lost {
            return;
        }
        if self.bytes.len() + piece.len() > KEPT_MAX {
            return self.lose();
        }
        if !self.bytes.has_block() && !piece.is_empty() {
            self.bytes = local.buffers.at_least(piece.len());
        }
        self.bytes.append(piece);
        self.end = end.map(<[u8]>::to_vec);
    }

    /// It will not be sent again.
    fn lose(&mut self) {
        *self = Kept { lost: true, ..Kept::default() };
    }
}

/// Streams the rest of a body; a buffer's worth is in flight at most, so that a slow site server slows
/// the client. The time for the response head begins anew with each piece: it is counted from the end of the request. Once
/// there is one, what moves one way counts for the other, too: a call of gRPC may speak in turns.
pub(super) async fn upload<B: RequestBody>(
    (body, kept): (&mut B, &mut Kept),
    exchange: &Exchange<'_>,
    upstream: &Channel,
    local: &Local,
    idle: Duration,
    state: &RelayState,
    response_head: Duration,
) -> Uploaded {
    let until = || local.clock.after(idle);
    if let Channel::Shared(stream) = upstream
        && (!kept.bytes.is_empty() || kept.end.is_some())
    {
        let mut again = local.buffers.at_least(kept.bytes.len());
        again.append(kept.bytes.filled());
        state.all_read.set(kept.end.is_some());
        if stream.send_data(&mut again, kept.end.as_deref(), until).await.is_err() {
            return Uploaded::Refused;
        }
        if kept.end.is_some() {
            return Uploaded::Whole;
        }
    }
    loop {
        let small =
            body.remaining().is_some_and(|left| left <= (SMALL - CHUNK_HEAD_BYTES_MAX - TAILROOM) as u64);
        let mut buffer = if small { local.buffers.small() } else { local.buffers.large() };
        buffer.reset(CHUNK_HEAD_BYTES_MAX, TAILROOM);
        // Calls of gRPC, most of all: they may say little before they are answered.
        let converses = state.answered.get() || matches!(upstream, Channel::Shared(_));
        let read = match body.read(&mut buffer, converses).await {
            Ok(read) => read,
            Err(BodyFailure::TimedOut)
                if state.answered.get()
                    && body.may_be_given_up()
                    && state.heard_ms.get() + idle.as_millis() as u64 > local.clock.now_ms() =>
            {
                continue;
            }
            Err(failure) => return Uploaded::Failed(failure),
        };
        state.all_read.set(read == BodyRead::End);
        add(&exchange.account.request_bytes, buffer.len());
        let end = (read == BodyRead::End).then(|| body.trailers());
        let sent = match upstream {
            Channel::Own(stream) => {
                if exchange.body == BodyEnd::Chunked {
                    frame_chunk(&mut buffer, end);
                }
                match buffer.is_empty() {
                    true => Ok(()),
                    false => stream.send(&mut buffer, until).await,
                }
            }
            Channel::Shared(stream) => {
                match state.answered.get() {
                    true => kept.lose(),
                    false => kept.add(buffer.filled(), end, local),
                }
                stream.send_data(&mut buffer, end, until).await
            }
        };
        if sent.is_err() {
            return Uploaded::Refused;
        }
        if state.answered.get() {
            upstream.extend_read(until());
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
