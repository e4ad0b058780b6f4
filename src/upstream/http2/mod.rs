//! HTTP/2 with site servers, as gRPC needs it: many exchanges on one connection at once (RFC 9113).
//!
//! ```text
//!  exchange ── stream ──┐
//!  exchange ── stream ──┼── h2 ── pipe ── driver ── (TLS) ── socket
//!         at most STREAMS_MAX
//! ```
//!
//! An exchange is given a stream that looks like a connection of its own ([`Http2Stream`]), so that `proxy` has one way
//! for both versions. Each connection is a task of the worker ([`driver`]) around the `h2` crate, over the transport in
//! memory that connections of clients have, too. One is made when those there are have no room; who comes meanwhile waits
//! for it. It takes no more streams once its peer has said GOAWAY, once it is outdated or seems dead, and ends with the
//! last that runs.
//!
//! The windows are such that no stream waits for another: a client that reads nothing holds back
//! `STREAM_WINDOW` of its own response, and the connection's window has a place for that of all streams.

mod driver;
mod making;
mod message;
mod stream;

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{Builder, SendRequest};

use super::connect::ConnectFailure;
use crate::http::Scheme;
use crate::net::{Buffer, LARGE, Local, Pipe, UpstreamStream};
use driver::Shared;
use making::Making;
use stream::Counted;

pub(super) use making::MakingGuard;
pub use stream::{Broken, Http2Stream};

/// Streams open at a time on one connection; more make another.
const STREAMS_MAX: usize = 100;
/// Octets of a response received ahead: of one stream, and of all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX as u32;
/// Octets of a request that wait in the protocol for the peer's window.
const SEND_BUFFER: usize = LARGE;

/// A connection that is used by many.
pub(super) struct Http2Connection {
    send: SendRequest<Buffer>,
    shared: Rc<Shared>,
    scheme: Scheme,
}

impl Http2Connection {
    /// Begins to speak HTTP/2 over a new connection; what the peer has to say to that is waited for by those alone who
    /// come after the first, by `making`. `head_bytes_max`: of a response.
    pub(super) async fn new(
        stream: UpstreamStream,
        making: Option<MakingGuard>,
        head_bytes_max: usize,
        local: &Local,
    ) -> io::Result<Http2Connection> {
        let scheme = match &stream {
            UpstreamStream::Plain(_) => Scheme::Http,
            UpstreamStream::Tls(_) => Scheme::Https,
        };
        let (pipe, transport) = Pipe::new(local.clone());
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(STREAMS_MAX)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX));
        // The transport takes the preface at once.
        let (send, connection) = builder.handshake(transport).await.map_err(io::Error::other)?;
        let shared = Rc::new(Shared::default());
        monoio::spawn(driver::run(stream, pipe, connection, making, shared.clone(), local.clone()));
        Ok(Http2Connection { send, shared, scheme })
    }

    /// Whether it can still be used.
    fn is_good(&mut self) -> bool {
        let ready = self.send.poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.shared.retired.get() && !matches!(ready, Poll::Ready(Err(_)))
    }

    fn has_room(&self, now: u64) -> bool {
        let open = self.shared.open.get();
        // One stream is always tried: a peer that allows none may change its mind. How many more it allows it has to say.
        let most = if self.shared.greeted.get() { self.send.current_max_send_streams() } else { 1 };
        open < most.clamp(1, STREAMS_MAX) && !self.shared.is_resting(now)
    }

    /// A stream, and whether there was one before.
    pub(super) fn open(&self, local: &Local) -> (Http2Stream, bool) {
        let served = self.shared.served.get();
        let counted = Counted::new(self.shared.clone());
        (Http2Stream::new(counted, self.send.clone(), self.scheme, local.clone()), served)
    }
}

/// The connections of one worker to one site server.
#[derive(Default)]
pub(super) struct Http2Connections {
    live: RefCell<Vec<Live>>,
    // The last one that was begun.
    making: RefCell<Rc<Making>>,
}

struct Live {
    connection: Http2Connection,
    // Of the addresses it was made with.
    version: u64,
}

/// Whose turn it is to make a connection.
pub(super) enum Turn {
    Ours(MakingGuard),
    /// Somebody has made one: look again.
    Look,
}

impl Http2Connections {
    /// A stream on one of the connections there are, and whether that has had one before.
    pub(super) fn open(&self, local: &Local, version: u64) -> Option<(Http2Stream, bool)> {
        let now = local.clock.now_ms();
        let mut live = self.live.borrow_mut();
        live.retain_mut(|live| live.version == version && live.connection.is_good());
        // The first with room: those behind it grow idle and go.
        live.iter().find(|live| live.connection.has_room(now)).map(|live| live.connection.open(local))
    }

    /// Waits for the connection that somebody makes, or says that it is ours to make one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn turn(&self, wait: Duration, local: &Local) -> Result<Turn, ConnectFailure> {
        let making = self.making.borrow().clone();
        if making.is_over() {
            let guard = MakingGuard::default();
            self.making.replace(guard.making());
            return Ok(Turn::Ours(guard));
        }
        let mut late = pin!(local.sleep(wait));
        poll_fn(|context| match making.poll(context) {
            Poll::Ready(made) => Poll::Ready(made.map(|()| Turn::Look)),
            Poll::Pending => late.as_mut().poll(context).map(|()| Err(ConnectFailure::TimedOut)),
        })
        .await
    }

    /// Takes in a connection that was made.
    pub(super) fn add(&self, connection: Http2Connection, version: u64) {
        self.live.borrow_mut().push(Live { connection, version });
    }

    /// Lets go of connections that are over, outdated, or idle since `oldest`; of idle ones `idle_max` stay.
    pub(super) fn sweep(&self, version: u64, oldest: Option<u64>, idle_max: usize) {
        let mut live = self.live.borrow_mut();
        let mut idle = 0;
        live.retain_mut(|live| {
            let shared = live.connection.shared.clone();
            let is_idle = shared.open.get() == 0;
            let is_old = oldest.is_some_and(|oldest| shared.moved_ms() < oldest);
            idle += usize::from(is_idle);
            live.version == version && live.connection.is_good() && !(is_idle && (is_old || idle > idle_max))
        });
    }
}
