//! The task of one connection: receives, lets the protocol work, sends; asks a peer that is silent whether it is there.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::client::Connection;
use h2::{Ping, PingPong};

use super::making::MakingGuard;
use crate::net::{Buffer, Local, Pipe, Transport, Until, UpstreamStream, contained};

/// A request that is not answered by anything for so long makes us ask whether the peer is there.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long it has to say so.
const PING_PATIENCE: Duration = Duration::from_secs(5);
/// The least from one such question to the next: servers of gRPC end connections that ask more often.
const PING_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long a connection gets no new streams after its peer has refused one.
const REST: Duration = Duration::from_secs(1);
/// How long the peer may take nothing: windows are for what it does not want yet.
const SEND_PATIENCE: Duration = Duration::from_secs(30);
/// How long the last frames may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// What a connection's task, its streams and the pool share. Moments are milliseconds of the worker's clock.
#[derive(Default)]
pub(super) struct Shared {
    /// Streams open.
    pub(super) open: Cell<usize>,
    /// It has carried a stream.
    pub(super) served: Cell<bool>,
    /// It takes no more streams: it is over, or nobody seems to be there.
    pub(super) retired: Cell<bool>,
    /// Its peer has said what it allows.
    pub(super) greeted: Cell<bool>,
    // When something that wants an answer was sent, and when anything was received.
    asked_ms: Cell<u64>,
    heard_ms: Cell<u64>,
    rests_until_ms: Cell<u64>,
}

impl Shared {
    pub(super) fn asks(&self, local: &Local) {
        self.asked_ms.set(local.clock.now_ms());
    }

    /// No new streams for a while.
    pub(super) fn rests(&self, local: &Local) {
        self.rests_until_ms.set(local.clock.now_ms() + REST.as_millis() as u64);
    }

    pub(super) fn is_resting(&self, now: u64) -> bool {
        now < self.rests_until_ms.get()
    }

    /// When something last moved.
    pub(super) fn moved_ms(&self) -> u64 {
        self.asked_ms.get().max(self.heard_ms.get())
    }

    /// A stream has waited in vain: when all of them have, new ones go elsewhere.
    pub(super) fn suspect(&self) {
        if self.heard_ms.get() < self.asked_ms.get() {
            self.retired.set(true);
        }
    }
}

/// Runs the connection until it has ended: when the site server says so or is gone, or when nobody here can use it any
/// more.
pub(super) async fn run(
    stream: UpstreamStream,
    pipe: Pipe,
    connection: Connection<Transport, Buffer>,
    making: Option<MakingGuard>,
    shared: Rc<Shared>,
    local: Local,
) {
    shared.heard_ms.set(local.clock.now_ms());
    let driver = Driver { stream, pipe, making: Cell::new(making), shared, local };
    let work = pin!(driver.run(connection));
    let panicked = contained(work).await.is_err();
    driver.shared.retired.set(true);
    if panicked {
        tracing::error!("a defect ended a connection to a site server; others are not affected");
    }
}

struct Driver {
    stream: UpstreamStream,
    pipe: Pipe,
    // Until the peer has greeted.
    making: Cell<Option<MakingGuard>>,
    shared: Rc<Shared>,
    local: Local,
}

impl Driver {
    async fn run(&self, mut connection: Connection<Transport, Buffer>) {
        let pings = RefCell::new(connection.ping_pong());
        let sending = Cell::new(false);
        let mut receive = pin!(self.receive());
        let mut send = pin!(self.send(&sending));
        let mut watch = pin!(self.watch(&pings));
        let (mut receiving, mut ended) = (true, false);
        let until_ended = poll_fn(|context| {
            loop {
                ended = ended || self.work(&mut connection, context);
                if receiving && receive.as_mut().poll(context).is_ready() {
                    receiving = false;
                    self.pipe.end();
                    continue;
                }
                if send.as_mut().poll(context).is_ready() || watch.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                if self.pipe.moved() {
                    continue;
                }
                let flushed = !self.pipe.has_output() && !sending.get();
                return if ended && flushed { Poll::Ready(()) } else { Poll::Pending };
            }
        });
        until_ended.await;
        self.shared.retired.set(true);
        // Streams that are left see the end when the protocol goes.
        drop(connection);
        if ended {
            self.stream.finish(self.local.clock.after(FLUSH)).await;
        } else {
            self.stream.abandon();
        }
    }

    /// Whether the connection has come to its end.
    fn work(&self, connection: &mut Connection<Transport, Buffer>, context: &mut Context<'_>) -> bool {
        match Pin::new(connection).poll(context) {
            Poll::Pending => false,
            Poll::Ready(result) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "an HTTP/2 connection to a site server ended");
                }
                self.shared.retired.set(true);
                true
            }
        }
    }

    /// Receives whenever the protocol has read what there was; returns when the peer has ended its side.
    async fn receive(&self) {
        loop {
            poll_fn(|_| if self.pipe.is_hungry() { Poll::Ready(()) } else { Poll::Pending }).await;
            // Its streams have deadlines; without any, the pool closes it.
            if self.stream.readable(Until::NEVER).await.is_err() {
                return;
            }
            let mut received = self.local.buffers.small();
            if !matches!(self.stream.receive(&mut received, Until::NEVER).await, Ok(1..)) {
                return;
            }
            self.shared.heard_ms.set(self.local.clock.now_ms());
            self.pipe.put(received);
            if !self.shared.greeted.replace(true) {
                // Its SETTINGS are in there, and will be read before anybody else runs.
                drop(self.making.take());
            }
        }
    }

    /// Sends what the protocol has written, all there is at a time; returns when the peer is gone.
    async fn send(&self, sending: &Cell<bool>) {
        loop {
            poll_fn(|_| if self.pipe.has_output() { Poll::Ready(()) } else { Poll::Pending }).await;
            let mut output = self.pipe.take();
            sending.set(true);
            let sent = self.stream.send(&mut output, || self.local.clock.after(SEND_PATIENCE)).await;
            sending.set(false);
            if sent.is_err() {
                return;
            }
        }
    }

    /// Returns when the peer does not answer a PING.
    async fn watch(&self, pings: &RefCell<Option<PingPong>>) {
        loop {
            self.local.sleep(SILENCE_MAX).await;
            let asked = self.shared.asked_ms.get();
            let silent = self.local.clock.now_ms().saturating_sub(asked) >= SILENCE_MAX.as_millis() as u64;
            if self.shared.open.get() == 0 || self.shared.heard_ms.get() > asked || !silent {
                continue;
            }
            if let Some(pings) = &mut *pings.borrow_mut()
                && pings.send_ping(Ping::opaque()).is_err()
            {
                return;
            }
            let answered = async {
                poll_fn(|context| match &mut *pings.borrow_mut() {
                    Some(pings) => pings.poll_pong(context).map(drop),
                    None => Poll::Ready(()),
                })
                .await;
            };
            let mut answered = pin!(answered);
            let mut late = pin!(self.local.sleep(PING_PATIENCE));
            let alive = poll_fn(|context| match answered.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => late.as_mut().poll(context).map(|()| false),
            });
            if !alive.await {
                tracing::debug!("a site server does not answer a PING: its connection is given up");
                return;
            }
            self.local.sleep(PING_PAUSE).await;
        }
    }
}
