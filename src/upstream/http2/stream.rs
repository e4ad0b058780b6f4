//! One exchange with a site server over a connection that others use, too.
//!
//! To those who send requests and read responses it looks like a connection of its own that speaks HTTP/1.1: heads pass
//! as its lines, so that they are rebuilt and judged in one place for both versions. Bodies pass as they are; where they
//! end is told apart from their octets ([`is_over`](Http2Stream::is_over)).

use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Response;

use super::driver::Shared;
use super::message;
use crate::http::{BodyEnd, Scheme};
use crate::http1::{BodyReader, map_of_trailers, may_trail_response, write_trailers};
use crate::net::{Buffer, Local, Until};

/// Why a stream gave no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nothing of the request was worked off: the site server has said so, or never saw it.
    Refused,
    /// The site server took it back, with this code (RFC 9113 §7).
    Reset(u32),
    /// What came is not HTTP/2.
    Malformed,
    /// The connection ended.
    Gone,
    /// The request asks for another protocol.
    Upgrade,
}

pub struct Http2Stream {
    local: Local,
    scheme: Scheme,
    connection: Counted,
    // Never borrowed across an await.
    sending: RefCell<Sending>,
    reading: RefCell<Reading>,
    trailers: RefCell<Vec<u8>>,
    broken: Cell<Option<Broken>>,
    // When the read under way must be over.
    read_until: Cell<Until>,
}

enum Sending {
    Head(SendRequest<Buffer>),
    Body(SendStream<Buffer>),
}

enum Reading {
    /// No request has left.
    Nothing,
    Head {
        response: ResponseFuture,
        // Came before the response.
        interim: Option<Response<()>>,
    },
    Body {
        // Not handed on yet.
        head: Option<Response<()>>,
        rest: Bytes,
        body: RecvStream,
        // Nothing comes behind `rest`.
        ends: bool,
    },
}

/// Counts a stream of a connection for as long as it lives.
pub(super) struct Counted(Rc<Shared>);

impl Counted {
    pub(super) fn new(shared: Rc<Shared>) -> Counted {
        shared.open.set(shared.open.get() + 1);
        shared.served.set(true);
        Counted(shared)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl Http2Stream {
    pub(super) fn new(
        connection: Counted,
        send: SendRequest<Buffer>,
        scheme: Scheme,
        local: Local,
    ) -> Http2Stream {
        Http2Stream {
            local,
            scheme,
            connection,
            sending: RefCell::new(Sending::Head(send)),
            reading: RefCell::new(Reading::Nothing),
            trailers: RefCell::default(),
            broken: Cell::new(None),
            read_until: Cell::new(Until::NEVER),
        }
    }

    /// Why it failed, when that is known.
    pub fn broken(&self) -> Option<Broken> {
        self.broken.get()
    }

    /// Whether the response has ended and all of it was received.
    pub fn is_over(&self) -> bool {
        matches!(&*self.reading.borrow(), Reading::Body { head: None, rest, ends: true, .. } if rest.is_empty())
    }

    /// The trailers of a response that [`is_over`](Self::is_over), as lines.
    pub fn trailers(&self) -> Ref<'_, Vec<u8>> {
        self.trailers.borrow()
    }

    /// The first call takes a head, and what is in hand of the body, framed as HTTP/1.1 frames it; later ones take octets
    /// of the body. All is sent or in the place where it waits for the peer's window.
    ///
    /// # Errors
    /// `TimedOut` when the peer's window had no place until then; `BrokenPipe` when it wants no more: see
    /// [`broken`](Self::broken).
    pub async fn send(&self, buffer: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        let begins = matches!(*self.reading.borrow(), Reading::Nothing);
        if !begins {
            return self.send_data(buffer, None, until).await;
        }
        let (mut data, end) = self.begin(buffer.filled())?;
        buffer.consume(buffer.len());
        match end {
            None if data.is_empty() => Ok(()),
            Some(End::WithHead) => Ok(()),
            None => self.send_data(&mut data, None, until).await,
            Some(End::Trailers(lines)) => self.send_data(&mut data, Some(&lines), until).await,
        }
    }

    /// Sends octets of the body; `end`: they are the last, and these trailers follow.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_data(
        &self,
        buffer: &mut Buffer,
        end: Option<&[u8]>,
        until: impl Fn() -> Until,
    ) -> io::Result<()> {
        let trailers = end.filter(|lines| !lines.is_empty()).map(map_of_trailers);
        let ends = end.is_some() && trailers.is_none();
        self.connection.0.asks(&self.local);
        if !buffer.is_empty() {
            // One piece at most waits for the peer's window, and its end with it: so one block is held.
            let length = buffer.len();
            let fits = self.with_body(|body| {
                body.reserve_capacity(length);
                Ok(body.capacity() >= length)
            })?;
            self.with_body(|body| body.send_data(std::mem::take(buffer), ends && fits))?;
            if !fits {
                self.room(until()).await?;
            }
            if ends && !fits {
                self.with_body(|body| body.send_data(Buffer::default(), true))?;
            }
        } else if ends {
            self.with_body(|body| body.send_data(Buffer::default(), true))?;
        }
        match trailers {
            Some(trailers) => self.with_body(|body| body.send_trailers(trailers)),
            None => Ok(()),
        }
    }

    /// Receives behind the buffer's content; 0: the response has ended, or the buffer is full. A head is appended
    /// whatever its size.
    ///
    /// # Errors
    /// `TimedOut` when nothing came until then; `BrokenPipe`: see [`broken`](Self::broken).
    pub async fn receive(&self, into: &mut Buffer, until: Until) -> io::Result<usize> {
        loop {
            if let Some(received) = self.receive_now(into)? {
                return Ok(received);
            }
            self.readable(until).await?;
        }
    }

    /// The same of what is there already; `None`: nothing is.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_now(&self, into: &mut Buffer) -> io::Result<Option<usize>> {
        let before = into.len();
        while self.poll_readable(&mut Context::from_waker(Waker::noop())).is_ready() {
            let taken = self.take(into);
            if taken == 0 {
                break;
            }
        }
        match into.len() - before {
            0 if self.broken.get().is_some() => Err(io::ErrorKind::BrokenPipe.into()),
            0 if self.is_over() || into.spare() == 0 => Ok(Some(0)),
            0 => Ok(None),
            received => Ok(Some(received)),
        }
    }

    /// Waits until there may be something to receive. May be given up.
    ///
    /// # Errors
    /// `TimedOut` when `until`, or what [`extend_read`](Self::extend_read) has made of it, passed first.
    pub async fn readable(&self, until: Until) -> io::Result<()> {
        self.read_until.set(until);
        let readable = self.within(|| self.read_until.get(), |context| self.poll_readable(context)).await;
        self.read_until.set(Until::NEVER);
        if readable.is_err() {
            // When nothing at all comes, the connection may be dead: others begin on another.
            self.connection.0.suspect();
        }
        readable
    }

    /// Moves the deadline of the read under way: something happened elsewhere.
    pub fn extend_read(&self, until: Until) {
        if self.read_until.get() != Until::NEVER {
            self.read_until.set(until);
        }
    }

    /// No more of the body will be sent.
    pub fn finish(&self) {
        // The peer may have taken the stream back; there is nobody to tell then.
        let _ = self.with_body(|body| body.send_data(Buffer::default(), true));
    }

    /// Nobody wants the answer any more (RST_STREAM with CANCEL).
    pub fn abandon(&self) {
        let _ = self.with_body(|body| {
            body.send_reset(Reason::CANCEL);
            Ok(())
        });
        self.broken.set(Some(Broken::Gone));
    }

    /// Sends the head. Returns the octets of the body that were in hand, and their end when it is.
    fn begin(&self, bytes: &[u8]) -> io::Result<(Buffer, Option<End>)> {
        let Some(head) = message::read_request(bytes, self.scheme) else {
            return Err(self.fail(Broken::Malformed));
        };
        if head.upgrades {
            return Err(self.fail(Broken::Upgrade));
        }
        let in_hand = &bytes[head.head_bytes..];
        let mut data = Buffer::default();
        if !in_hand.is_empty() {
            data = self.local.buffers.at_least(in_hand.len());
            data.append(in_hand);
        }
        let end = match head.body {
            BodyEnd::None | BodyEnd::Length(0) | BodyEnd::Close => Some(End::WithHead),
            BodyEnd::Length(length) => (length == data.len() as u64).then(|| End::Trailers(Vec::new())),
            BodyEnd::Chunked => {
                // Whole chunks of ours.
                let mut reader = BodyReader::new(BodyEnd::Chunked);
                let progress = reader.read(data.filled_mut()).map_err(|_| self.fail(Broken::Malformed))?;
                data.truncate(progress.data);
                progress.end.then(|| End::Trailers(reader.trailers().to_vec()))
            }
        };
        let mut sending = self.sending.borrow_mut();
        let Sending::Head(send) = &mut *sending else {
            return Err(self.fail(Broken::Gone));
        };
        self.connection.0.asks(&self.local);
        // When the connection has come to its end meanwhile, nobody has seen the request.
        let begun = send.send_request(head.request, matches!(end, Some(End::WithHead)));
        let (response, body) = begun.map_err(|_| self.fail(Broken::Refused))?;
        *sending = Sending::Body(body);
        self.reading.replace(Reading::Head { response, interim: None });
        Ok((data, end))
    }

    /// Ready when [`take`](Self::take) has something to give or never will have.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.broken.get().is_some() {
            return Poll::Ready(());
        }
        let mut reading = self.reading.borrow_mut();
        let result = match &mut *reading {
            Reading::Nothing => Poll::Pending,
            Reading::Head { interim: Some(_), .. } => Poll::Ready(Ok(())),
            Reading::Head { response, interim } => match response.poll_informational(context) {
                Poll::Ready(Some(Ok(head))) => {
                    *interim = Some(head);
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
                Poll::Ready(None) | Poll::Pending => match Pin::new(response).poll(context) {
                    Poll::Ready(Ok(response)) => {
                        let (parts, body) = response.into_parts();
                        let (head, ends) = (Some(Response::from_parts(parts, ())), body.is_end_stream());
                        *reading = Reading::Body { head, rest: Bytes::new(), body, ends };
                        Poll::Ready(Ok(()))
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                },
            },
            Reading::Body { head, rest, ends, .. } if head.is_some() || !rest.is_empty() || *ends => {
                Poll::Ready(Ok(()))
            }
            Reading::Body { rest, body, ends, .. } => match body.poll_data(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(data))) => {
                    *rest = data;
                    *ends = body.is_end_stream();
                    if rest.is_empty() && !*ends {
                        // Nothing in it: the next look finds what follows, or asks to be woken.
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
                Poll::Ready(None) => match body.poll_trailers(context) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(trailers)) => {
                        *ends = true;
                        if let Some(trailers) = trailers {
                            write_trailers(&trailers, may_trail_response, &mut self.trailers.borrow_mut());
                        }
                        Poll::Ready(Ok(()))
                    }
                },
            },
        };
        result.map(|result| {
            if let Err(error) = result {
                self.fail_by(&error);
            }
        })
    }

    /// Moves what is there into the buffer, and opens the peer's window by as much.
    fn take(&self, into: &mut Buffer) -> usize {
        let before = into.len();
        match &mut *self.reading.borrow_mut() {
            Reading::Nothing => {}
            Reading::Head { interim, .. } => {
                if let Some(head) = interim.take() {
                    message::write_response(&head, into);
                }
            }
            Reading::Body { head, rest, body, .. } => {
                if let Some(head) = head.take() {
                    message::write_response(&head, into);
                }
                let taken = rest.len().min(into.spare());
                if taken > 0 {
                    into.append(&rest.split_to(taken));
                    // It fails when the stream is gone, and then the next read does.
                    let _ = body.flow_control().release_capacity(taken);
                }
            }
        }
        into.len() - before
    }

    /// Waits until the peer's window has a place for more than what was given before.
    async fn room(&self, until: Until) -> io::Result<()> {
        let mut open = false;
        self.within(
            || until,
            |context| {
                let mut sending = self.sending.borrow_mut();
                let Sending::Body(body) = &mut *sending else {
                    return Poll::Ready(());
                };
                body.reserve_capacity(1);
                loop {
                    open = body.capacity() > 0;
                    if open {
                        return Poll::Ready(());
                    }
                    match body.poll_capacity(context) {
                        Poll::Ready(Some(Ok(0))) => {}
                        Poll::Ready(Some(Ok(_))) => {
                            open = true;
                            return Poll::Ready(());
                        }
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            },
        )
        .await?;
        if open { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Polls until it is ready or the moment has passed that `until` says then.
    async fn within(
        &self,
        until: impl Fn() -> Until,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> io::Result<()> {
        // Mostly it is there, and no timer is made.
        if poll_fn(|context| Poll::Ready(poll(context))).await.is_ready() {
            return Ok(());
        }
        loop {
            // A day at most: timers have an end.
            let wait = self.local.clock.left(until()).min(Duration::from_secs(24 * 3600));
            if wait.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut late = pin!(self.local.sleep(wait));
            let ready = poll_fn(|context| match poll(context) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => late.as_mut().poll(context).map(|()| false),
            });
            if ready.await {
                return Ok(());
            }
        }
    }

    fn with_body<T>(
        &self,
        work: impl FnOnce(&mut SendStream<Buffer>) -> Result<T, h2::Error>,
    ) -> io::Result<T> {
        match &mut *self.sending.borrow_mut() {
            // Why it is gone is what the response says.
            Sending::Body(body) => work(body).map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Sending::Head(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn fail(&self, why: Broken) -> io::Error {
        self.broken.set(Some(why));
        io::ErrorKind::BrokenPipe.into()
    }

    fn fail_by(&self, error: &h2::Error) {
        let why = match error.reason() {
            Some(reason) if error.is_remote() => match reason {
                // Streams behind the last one that a GOAWAY names fail with it; the others go on (RFC 9113 §6.8).
                _ if error.is_go_away() => Broken::Refused,
                Reason::REFUSED_STREAM => {
                    self.connection.0.rests(&self.local);
                    Broken::Refused
                }
                reason => Broken::Reset(reason.into()),
            },
            Some(_) if error.is_library() => Broken::Malformed,
            _ => Broken::Gone,
        };
        tracing::debug!(%error, "a stream to a site server failed");
        self.broken.set(Some(why));
    }
}

/// How a body in hand ends.
enum End {
    /// There is none.
    WithHead,
    /// With these lines, mostly none.
    Trailers(Vec<u8>),
}
