//! The response on its way to the client.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::account::add;
use super::exchange::{Exchange, Proxy};
use super::race::{First, first};
use super::{Cut, Failure, Responder};
use crate::http::{BodyEnd, Reuse};
use crate::http1::{BodyReader, header_slots, parse_response};
use crate::net::{Buffer, LARGE, Until};
use crate::upstream::{Broken, Channel};

/// Room before a response for what our head has and the site server's did not; chunk heads too.
const HEADROOM: usize = 1024;
/// Room behind a piece of a body for what ends a chunked body.
const TAILROOM: usize = 1024;
/// A response body of known length up to this leaves in one send, when it comes without a pause.
const GATHER_MAX: u64 = 64 * 1024;
/// The longest pause inside such a body before what is there is sent.
const GATHER_PAUSE: Duration = Duration::from_millis(3);
/// Interim responses before the final one; a server that sends more is broken.
const INTERIM_MAX: usize = 16;

/// A response that went out whole.
pub(super) struct Relayed {
    pub(super) status: u16,
    /// Whether the upstream connection may carry another exchange.
    pub(super) reuse: Reuse,
}

/// What came instead of a whole response.
pub(super) enum Stopped {
    /// Not one byte came: on a kept connection a sign that it had been closed before.
    Silent,
    /// The site server has said that it worked off nothing of the request.
    Refused,
    Unanswered(Failure),
    Cut(Cut),
    /// 101 (RFC 9110 §15.2.2): what is to be sent to the client first.
    Tunnel(Buffer),
}

/// What those who share an exchange see of each other.
#[derive(Default)]
pub(super) struct RelayState {
    /// Set before the first byte of the final response leaves.
    pub(super) answered: Cell<bool>,
    /// The last of the request's body is on its way: nobody reads from the client any more.
    pub(super) all_read: Cell<bool>,
    /// When the response head must be there; counted from the last of the request that was sent.
    pub(super) head_until: Cell<Option<Until>>,
    /// When something of the response came last.
    pub(super) heard_ms: Cell<u64>,
}

/// What reading a head led to.
enum Step {
    NeedMore,
    /// Bytes for the client, none when it cannot take an interim response.
    Interim(Buffer),
    Tunnel,
    Final(Begun),
}

/// A response whose head is in front of the first part of its body, ready to send.
struct Begun {
    status: u16,
    body: BodyEnd,
    // As declared.
    length: Option<u64>,
    reader: BodyReader,
    reuse: Reuse,
    part: Part,
}

/// A piece of a body.
#[derive(Clone, Copy)]
struct Part {
    end: bool,
    /// Bytes came behind the end of the response: the connection is not to be trusted.
    leftover: bool,
}

impl Proxy {
    /// Reads the response and sends it on.
    pub(super) async fn relay<R: Responder>(
        &self,
        exchange: &Exchange<'_>,
        upstream: &Channel,
        responder: &mut R,
        state: &RelayState,
    ) -> Result<Relayed, Stopped> {
        // Most responses fit; a large block is for those that turn out large, and never waits with nothing in it.
        let mut buffer = self.local.buffers.small();
        buffer.reset(HEADROOM, TAILROOM);
        let mut begun = self.begin(exchange, upstream, responder, state, &mut buffer).await?;
        let mut part = begun.part;
        if !part.end && begun.length.is_some_and(|length| length <= GATHER_MAX) {
            part = self.gather(&mut begun.reader, &mut buffer, upstream, responder).await?;
        }
        state.answered.set(true);
        let mut first = true;
        loop {
            state.heard_ms.set(self.local.clock.now_ms());
            // A head goes out before its body is there: in HTTP/2 it is no part of the buffer. The end is told even when
            // no byte is left to go with it: over TLS by close_notify.
            if std::mem::take(&mut first) || !buffer.is_empty() || part.end {
                self.counters.bytes_sent.add(buffer.len() as u64);
                add(&exchange.account.response_bytes, buffer.len());
                let sent = responder.send(&mut buffer, part.end).await;
                sent.map_err(|error| not_taken(&error))?;
            }
            if part.end {
                let reuse = if part.leftover { Reuse::Close } else { begun.reuse };
                return Ok(Relayed { status: begun.status, reuse });
            }
            part = match self.receive_more(upstream, responder, state, &mut buffer).await? {
                0 if upstream.is_over() => end_part(&mut buffer, upstream, responder),
                0 if begun.body == BodyEnd::Close => {
                    responder.frame(&mut buffer, Some(b""));
                    Part { end: true, leftover: true }
                }
                1.. => read_part(&mut begun.reader, &mut buffer, upstream, responder)
                    .ok_or(Stopped::Cut(Cut::Upstream))?,
                0 => return Err(Stopped::Cut(Cut::Upstream)),
            };
        }
    }

    /// Receives the next piece of a body into a block that is held only while there is something in it: the
    /// same few blocks serve all connections of the worker, and stay in its cache.
    async fn receive_more<R: Responder>(
        &self,
        upstream: &Channel,
        responder: &R,
        state: &RelayState,
        buffer: &mut Buffer,
    ) -> Result<usize, Stopped> {
        let cut = |error: io::Error| {
            let stalled = error.kind() == io::ErrorKind::TimedOut;
            Stopped::Cut(if stalled { Cut::Stalled } else { Cut::Upstream })
        };
        loop {
            *buffer = Buffer::default();
            let until = self.local.clock.after(self.limits().body_idle);
            {
                // Waiting for readiness holds no bytes, so that it may be given up.
                let mut ready = pin!(upstream.readable(until));
                let mut gone = pin!(self.client_gone(responder, state));
                match first(ready.as_mut(), gone.as_mut()).await {
                    First::Left(ready) => ready.map_err(cut)?,
                    First::Right(()) => return Err(Stopped::Cut(Cut::Downstream)),
                }
            }
            *buffer = self.local.buffers.large();
            buffer.reset(HEADROOM, TAILROOM);
            if let Some(received) = upstream.receive_now(buffer).map_err(cut)? {
                return Ok(received);
            }
        }
    }

    /// Ends when the client has gone while the site server takes its time. For answers that come at once nothing is
    /// asked of the ring: the watch begins after a tick or two.
    async fn client_gone<R: Responder>(&self, responder: &R, state: &RelayState) {
        self.local.pause().await;
        // While the request's body comes, whoever reads it sees the client go. The flag is set by the same task.
        poll_fn(|_| if state.all_read.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        responder.gone().await;
    }

    /// Reads up to the final head and sends interim responses on.
    async fn begin<R: Responder>(
        &self,
        exchange: &Exchange<'_>,
        upstream: &Channel,
        responder: &mut R,
        state: &RelayState,
        buffer: &mut Buffer,
    ) -> Result<Begun, Stopped> {
        let wait = || self.local.clock.after(self.limits().response_head);
        let mut silent = true;
        let mut interims = 0;
        loop {
            let until = state.head_until.get().unwrap_or_else(wait);
            state.head_until.set(Some(until));
            let received = {
                let mut receive = pin!(upstream.receive(buffer, until));
                let mut gone = pin!(self.client_gone(responder, state));
                match first(receive.as_mut(), gone.as_mut()).await {
                    First::Left(received) => received,
                    First::Right(()) => {
                        // The site server reads the end, and the receive in flight ends with its buffer.
                        upstream.abandon();
                        drop(receive.await);
                        return Err(Stopped::Cut(Cut::Downstream));
                    }
                }
            };
            match received {
                Ok(1..) => {
                    if silent {
                        exchange.account.first_byte_us.set(self.local.clock.now_us());
                    }
                    silent = false;
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Stopped::Unanswered(Failure::ResponseTimedOut));
                }
                // A head of uncommon size; its reader knows where that ends.
                Ok(0) if buffer.spare() == 0 => self.move_to_large(buffer),
                Ok(0) | Err(_) => return Err(unanswered(upstream, silent)),
            }
            while !buffer.is_empty() {
                match self.step(exchange, upstream, responder, buffer).map_err(Stopped::Unanswered)? {
                    Step::NeedMore => break,
                    Step::Final(begun) => return Ok(begun),
                    Step::Tunnel => return Err(Stopped::Tunnel(std::mem::take(buffer))),
                    Step::Interim(mut bytes) => {
                        interims += 1;
                        if interims > INTERIM_MAX {
                            return Err(Stopped::Unanswered(Failure::BadResponse));
                        }
                        if !bytes.is_empty() {
                            let sent = responder.send(&mut bytes, false).await;
                            sent.map_err(|error| not_taken(&error))?;
                        }
                    }
                }
            }
        }
    }

    /// Works off one head at the front of the buffer. Nothing of it is kept: our own head takes its place.
    fn step<R: Responder>(
        &self,
        exchange: &Exchange<'_>,
        upstream: &Channel,
        responder: &mut R,
        buffer: &mut Buffer,
    ) -> Result<Step, Failure> {
        let mut slots = header_slots();
        let parsed = parse_response(buffer.filled(), &mut slots, exchange.kind, &self.limits().response);
        let Some(head) = parsed.map_err(|_| Failure::BadResponse)? else {
            return Ok(Step::NeedMore);
        };
        let mut written = self.scratch.borrow_mut();
        written.clear();
        let head_bytes = head.head_bytes;
        if head.status == 101 {
            // The reader has refused it unless the client asked.
            responder.write_head(&head, &mut written);
            exchange.account.status.set(head.status);
            exchange.account.response_head_bytes.set(written.len() as u64);
            buffer.consume_to_headroom(head_bytes);
            buffer.prepend(&written);
            return Ok(Step::Tunnel);
        }
        if head.is_interim {
            responder.write_interim(&head, &mut written);
            buffer.consume_to_headroom(head_bytes);
            let mut bytes = self.local.buffers.at_least(written.len());
            bytes.append(&written);
            return Ok(Step::Interim(bytes));
        }
        let (status, body, reuse) = (head.status, head.body, head.reuse);
        responder.write_head(&head, &mut written);
        exchange.account.status.set(status);
        exchange.account.response_head_bytes.set(written.len() as u64);
        buffer.consume_to_headroom(head_bytes);
        let length = if let BodyEnd::Length(length) = body { Some(length) } else { None };
        let body = match upstream {
            // The protocol holds it to its length and tells its end, which trailers may follow in any case.
            Channel::Shared(_) if body != BodyEnd::None => BodyEnd::Close,
            _ => body,
        };
        let mut reader = BodyReader::new(body);
        let part = read_part(&mut reader, buffer, upstream, responder).ok_or(Failure::BadResponse)?;
        buffer.prepend(&written);
        Ok(Step::Final(Begun { status, body, length, reader, reuse, part }))
    }

    /// Waits for the rest of a short body of known length, as long as it comes without a pause.
    async fn gather<R: Responder>(
        &self,
        reader: &mut BodyReader,
        buffer: &mut Buffer,
        upstream: &Channel,
        responder: &mut R,
    ) -> Result<Part, Stopped> {
        self.move_to_large(buffer);
        loop {
            let before = buffer.len();
            match upstream.receive_now(buffer) {
                Ok(Some(1..)) => {}
                Ok(None) => {
                    let until = self.local.clock.after(self.limits().body_idle);
                    // Waiting for readiness holds no bytes, so that it may be given up.
                    let mut ready = pin!(upstream.readable(until));
                    let mut pause = pin!(self.local.sleep(GATHER_PAUSE));
                    match first(ready.as_mut(), pause.as_mut()).await {
                        First::Left(Ok(())) => continue,
                        First::Left(Err(_)) => return Err(Stopped::Unanswered(Failure::ClosedEarly)),
                        First::Right(()) => {
                            // Given up, it could not take its deadline back.
                            upstream.extend_read(Until::NEVER);
                            return Ok(Part { end: false, leftover: false });
                        }
                    }
                }
                Ok(Some(0)) if upstream.is_over() => {}
                // Nothing was sent yet: an error of ours is more honest than half a response.
                Ok(Some(0)) | Err(_) => return Err(unanswered(upstream, false)),
            }
            let progress = reader
                .read(&mut buffer.filled_mut()[before..])
                .map_err(|_| Stopped::Unanswered(Failure::BadResponse))?;
            let leftover = before + progress.consumed < buffer.len();
            buffer.truncate(before + progress.data);
            if progress.end {
                return Ok(Part { end: true, leftover });
            }
            if upstream.is_over() {
                return Ok(end_part(buffer, upstream, responder));
            }
        }
    }
}

impl Proxy {
    /// Moves what is in a buffer into a large block, and leaves a large block where it is.
    fn move_to_large(&self, buffer: &mut Buffer) {
        if buffer.spare() < LARGE / 2 {
            let mut large = self.local.buffers.large();
            large.reset(HEADROOM, TAILROOM);
            large.append(buffer.filled());
            *buffer = large;
        }
    }
}

/// Why the client took no more.
fn not_taken(error: &io::Error) -> Stopped {
    Stopped::Cut(if error.kind() == io::ErrorKind::TimedOut { Cut::TooSlow } else { Cut::Downstream })
}

/// Decodes what was received into body octets and frames them for the client; `None`: broken framing.
fn read_part<R: Responder>(
    reader: &mut BodyReader,
    buffer: &mut Buffer,
    upstream: &Channel,
    responder: &mut R,
) -> Option<Part> {
    let progress = reader.read(buffer.filled_mut()).ok()?;
    let leftover = progress.consumed < buffer.len();
    buffer.truncate(progress.data);
    if !progress.end && upstream.is_over() {
        return Some(end_part(buffer, upstream, responder));
    }
    responder.frame(buffer, progress.end.then(|| reader.trailers()));
    Some(Part { end: progress.end, leftover })
}

/// Frames what is left of a response that its channel says is over.
fn end_part<R: Responder>(buffer: &mut Buffer, upstream: &Channel, responder: &mut R) -> Part {
    match upstream {
        Channel::Own(_) => responder.frame(buffer, Some(b"")),
        Channel::Shared(stream) => responder.frame(buffer, Some(&stream.trailers())),
    }
    Part { end: true, leftover: false }
}

/// Why there is no answer when the channel ended before there was one. `silent`: not one byte of it came.
fn unanswered(upstream: &Channel, silent: bool) -> Stopped {
    let failure = match upstream.broken() {
        Some(Broken::Refused) if silent => return Stopped::Refused,
        Some(Broken::Reset(_)) => Failure::Reset,
        Some(Broken::Malformed) => Failure::BadResponse,
        Some(Broken::Upgrade) => Failure::NoUpgrade,
        _ if silent => return Stopped::Silent,
        _ => Failure::ClosedEarly,
    };
    Stopped::Unanswered(failure)
}
