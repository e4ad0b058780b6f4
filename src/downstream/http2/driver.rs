//! The connection's one task: receives, lets the protocol work, sends.
//!
//! ```text
//! greeting --preface--> open --drain, idle too long, a reload's say--> closing --last stream--> flushing --> closed
//!                        └──────── a flood, a broken rule, a head too slow ──────────────────────▲
//! ```

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

use super::Shared;
use super::meter::{Flood, Meter};
use crate::downstream::service::Service;
use crate::net::{Buffer, LARGE, Pipe, Stream, Transport, Until};

/// Streams open at a time (RFC 9113 §5.1.2 advises against fewer than 100).
const STREAMS_MAX: u32 = 100;
/// Octets of request bodies received ahead: of one stream, and of all. The second has a place for all of the first, so that
/// bodies which site servers do not take never keep another one waiting.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX;
/// Octets of a response that wait in the protocol for the client's window.
const SEND_BUFFER: usize = LARGE;
/// Streams we had to reset because the client broke a rule on them; with one more the connection goes
/// (CVE-2025-8671).
const LOCAL_RESETS_MAX: usize = 64;
/// How long the last frames may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// Why no more is received.
enum ReceiveEnd {
    /// The client has ended its side, or the socket failed.
    Gone,
    /// No request came for as long as connections are kept, or the worker drains.
    Idle,
    /// A head, or the client's preface, took too long.
    Slow,
    Flood(Flood),
}

/// What follows the last frame.
pub(super) enum Farewell {
    /// The client was told to go and may not have stopped sending: a close at once would reset the connection before
    /// it has read why.
    Linger,
    Close,
}

enum Protocol {
    Greeting(Handshake<Transport, Buffer>),
    Open(Connection<Transport, Buffer>),
    Ended,
}

pub(super) struct Driver<'a, F> {
    service: &'a Rc<Service>,
    stream: &'a Stream,
    shared: &'a Rc<Shared>,
    pipe: Pipe,
    transport: Option<Transport>,
    // Until when a request may come; set while there is none. Frames that ask for nothing do not move it.
    idle_until: Cell<Option<Until>>,
    serve_stream: F,
}

impl<'a, F: Fn(Request<RecvStream>, SendResponse<Buffer>)> Driver<'a, F> {
    pub(super) fn new(
        service: &'a Rc<Service>,
        stream: &'a Stream,
        shared: &'a Rc<Shared>,
        serve_stream: F,
    ) -> Driver<'a, F> {
        let (pipe, transport) = Pipe::new(service.local.clone());
        Driver {
            service,
            stream,
            shared,
            pipe,
            transport: Some(transport),
            idle_until: Cell::new(None),
            serve_stream,
        }
    }

    /// Works until the connection has ended; what is left is to close it.
    pub(super) async fn run(mut self) -> Farewell {
        let Some(transport) = self.transport.take() else { return Farewell::Close };
        let limits = self.service.serving().limits;
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(STREAMS_MAX)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
            .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
            .enable_connect_protocol();
        let mut protocol = Protocol::Greeting(builder.handshake(transport));
        let sending = Cell::new(false);
        let mut receive = pin!(self.receive());
        let mut send = pin!(self.send(&sending));
        let mut receiving = true;
        let mut goodbye = Goodbye::No;
        let sent_away = Cell::new(false);
        let until_ended = poll_fn(|context| {
            self.shared.waker.set(Some(context.waker().clone()));
            loop {
                self.say_goodbye(&mut protocol, &mut goodbye);
                self.work(&mut protocol, &sent_away, context);
                if receiving && let Poll::Ready(end) = receive.as_mut().poll(context) {
                    receiving = false;
                    sent_away.set(sent_away.get() || matches!(end, ReceiveEnd::Slow | ReceiveEnd::Flood(_)));
                    self.received_all(&end, &mut protocol);
                    continue;
                }
                if send.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                if self.pipe.moved() {
                    continue;
                }
                let flushed = !self.pipe.has_output() && !sending.get();
                return match protocol {
                    Protocol::Ended if flushed => Poll::Ready(()),
                    _ => Poll::Pending,
                };
            }
        });
        until_ended.await;
        // Streams that are left see the end when the protocol goes.
        drop(protocol);
        self.stream.say_goodbye(self.service.local.clock.after(FLUSH)).await;
        if sent_away.get() { Farewell::Linger } else { Farewell::Close }
    }

    /// Takes the connection to its end when there is a reason.
    fn say_goodbye(&self, protocol: &mut Protocol, said: &mut Goodbye) {
        let Protocol::Open(connection) = protocol else { return };
        if *said == Goodbye::No && (self.service.is_draining() || self.shared.closing.get()) {
            *said = Goodbye::Said;
            connection.graceful_shutdown();
        }
    }

    /// Lets the protocol read, hand out streams, and write.
    fn work(&self, protocol: &mut Protocol, sent_away: &Cell<bool>, context: &mut Context<'_>) {
        loop {
            *protocol = match protocol {
                Protocol::Ended => return,
                Protocol::Greeting(handshake) => match Pin::new(handshake).poll(context) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(connection)) => Protocol::Open(connection),
                    Poll::Ready(Err(_)) => Protocol::Ended,
                },
                Protocol::Open(connection) => match connection.poll_accept(context) {
                    Poll::Pending => return,
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        self.stream.socket().set_idle(false);
                        self.idle_until.set(None);
                        (self.serve_stream)(request, respond);
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        tracing::debug!(%error, "an HTTP/2 connection ended");
                        sent_away.set(!error.is_remote() && !error.is_io());
                        if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) && !error.is_remote() {
                            self.service.counters.http2_floods.add(1);
                        }
                        Protocol::Ended
                    }
                    Poll::Ready(None) => Protocol::Ended,
                },
            };
        }
    }

    fn received_all(&self, end: &ReceiveEnd, protocol: &mut Protocol) {
        let reason = match end {
            ReceiveEnd::Gone => {
                self.pipe.end();
                return;
            }
            ReceiveEnd::Idle => {
                self.service.idle_ended(&io::ErrorKind::TimedOut.into());
                Reason::NO_ERROR
            }
            ReceiveEnd::Slow => {
                self.service.counters.requests_timed_out.add(1);
                Reason::NO_ERROR
            }
            ReceiveEnd::Flood(flood) => {
                self.service.counters.http2_floods.add(1);
                tracing::debug!(reason = flood.reason(), "an HTTP/2 connection was ended");
                Reason::ENHANCE_YOUR_CALM
            }
        };
        match protocol {
            Protocol::Open(connection) => connection.abrupt_shutdown(reason),
            // Before its preface is whole the protocol cannot say it.
            _ => {
                self.pipe.end();
                self.pipe.say(&goaway(reason));
            }
        }
    }

    /// Receives whenever the protocol has read what there was.
    async fn receive(&self) -> ReceiveEnd {
        let clock = &self.service.local.clock;
        let mut meter = Meter::new(clock.now_ms());
        let mut head_until: Option<Until> = Some(clock.after(self.service.timeouts().request_head));
        loop {
            poll_fn(|_| if self.pipe.is_hungry() { Poll::Ready(()) } else { Poll::Pending }).await;
            if let Err(error) = self.wait(head_until).await {
                return match (error.kind(), head_until) {
                    (io::ErrorKind::TimedOut, Some(_)) => ReceiveEnd::Slow,
                    (io::ErrorKind::TimedOut, None) => ReceiveEnd::Idle,
                    _ => ReceiveEnd::Gone,
                };
            }
            let mut received = self.service.local.buffers.small();
            match self.stream.fill(&mut received, head_until.unwrap_or_else(|| self.next_until())).await {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return ReceiveEnd::Slow,
                Ok(0) | Err(_) => return ReceiveEnd::Gone,
            }
            if let Err(flood) = meter.read(received.filled(), clock.now_ms()) {
                return ReceiveEnd::Flood(flood);
            }
            head_until = match (meter.is_inside_head(), head_until) {
                (true, Some(until)) => Some(until),
                (true, None) => Some(clock.after(self.service.timeouts().request_head)),
                (false, _) => None,
            };
            self.pipe.put(received);
        }
    }

    /// Waits for the client's next bytes. Between requests this is the wait that a drain ends.
    async fn wait(&self, head_until: Option<Until>) -> io::Result<()> {
        let socket = self.stream.socket();
        let until = head_until.unwrap_or_else(|| self.next_until());
        let idles = head_until.is_none() && self.shared.open.get() == 0;
        socket.set_idle(idles);
        let result = poll_with(self.stream.readable(until), || {
            // The last stream has ended since: from here on this is a wait for a request.
            if head_until.is_none() && self.shared.open.get() == 0 && !socket.is_idle() {
                socket.set_idle(true);
                socket.extend_read(self.next_until());
            }
        })
        .await;
        socket.set_idle(false);
        result
    }

    /// With streams open they have deadlines of their own.
    fn next_until(&self) -> Until {
        const FAR: Duration = Duration::from_secs(366 * 24 * 3600);
        let clock = &self.service.local.clock;
        if self.shared.open.get() > 0 {
            self.idle_until.set(None);
            return clock.after(FAR);
        }
        let until = self.idle_until.get();
        let until = until.unwrap_or_else(|| clock.after(self.service.timeouts().keep_alive));
        self.idle_until.set(Some(until));
        until
    }

    /// Sends what the protocol has written, all there is at a time; returns when the client is gone.
    async fn send(&self, sending: &Cell<bool>) {
        loop {
            poll_fn(|_| if self.pipe.has_output() { Poll::Ready(()) } else { Poll::Pending }).await;
            let mut output = self.pipe.take();
            sending.set(true);
            let idle = self.service.timeouts().body_idle;
            let sent = self.stream.send(&mut output, || self.service.local.clock.after(idle)).await;
            sending.set(false);
            if sent.is_err() {
                return;
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Goodbye {
    No,
    Said,
}

/// A GOAWAY frame (RFC 9113 §6.8): no stream was or will be processed.
fn goaway(reason: Reason) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[2] = 8;
    frame[3] = 7;
    frame[13..].copy_from_slice(&u32::from(reason).to_be_bytes());
    frame
}

/// Calls `before` before each poll of the future.
async fn poll_with<T>(future: impl Future<Output = T>, before: impl Fn()) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        before();
        future.as_mut().poll(context)
    })
    .await
}
