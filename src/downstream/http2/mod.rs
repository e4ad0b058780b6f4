//! HTTP/2 with a client: many requests on one connection at once, each a task of its own (RFC 9113).
//!
//! ```text
//!  socket ── TLS ── pipe ── h2 ──┬── stream ── plan ── proxy::exchange
//!                                ├── stream ── …
//!                                └── at most STREAMS_MAX
//! ```
//!
//! The `h2` crate keeps the protocol: frames, HPACK, windows, the states of streams. Here it is driven: one task
//! receives, lets the protocol work, and sends what it has written, all in one send. A stream is decided by the
//! same `plan` as a request of HTTP/1.1 and runs the same exchange; only how heads and bodies are handed over
//! differs (`body`, `responder`).
//!
//! What a client can make a connection hold is bounded by 64 MiB (43 measured with uploads that stand
//! still, 13 with responses that are not read, `tests/it/http2_floods.rs`): for each of `STREAMS_MAX`
//! streams (100) its state, `STREAM_WINDOW` (128 KiB) of its request's body and one block of it (136 KiB) on its way, and one
//! block of a response that waits for the client's window; no more is read from the site server before that has
//! its place there, and none waits longer than `body_idle`. What it can make us do without asking for anything is
//! metered (`meter`), besides the crate's own defences.
//!
//! Set aside: priorities (RFC 9218). The crate sends what streams have in turn, and lets nobody have a say in that; the
//! `priority` field goes on to the site server, and PRIORITY_UPDATE is read and means nothing.

mod body;
mod driver;
mod meter;
mod responder;
mod stream;
mod tunnel;

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Waker;

use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;

use super::Visitor;
use super::http1::linger;
use super::service::Service;
use crate::net::{Buffer, Stream, contained};
use driver::{Driver, Farewell};

/// Serves a connection until it ends.
pub(super) async fn serve(service: &Rc<Service>, stream: &Stream, visitor: Visitor) {
    let shared = Rc::new(Shared::default());
    let visitor = Rc::new(visitor);
    let serve_stream = |request, respond| {
        spawn(service.clone(), visitor.clone(), shared.clone(), request, respond);
    };
    let driver = Driver::new(service, stream, &shared, serve_stream);
    service.counters.http2_connections.add(1);
    // Boxed: connections of the other version have no use for the room.
    let farewell = Box::pin(driver.run()).await;
    match farewell {
        Farewell::Linger => service.local.futures.place(|| linger(service, stream, Buffer::default())).await,
        Farewell::Close => stream.socket().finish(),
    }
}

/// What a connection and its streams share.
#[derive(Default)]
struct Shared {
    open: Cell<u32>,
    closing: Cell<bool>,
    // The connection's task.
    waker: Cell<Option<Waker>>,
}

impl Shared {
    /// No new streams: the connection ends with those that are open.
    fn close(&self) {
        self.closing.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Counts a stream for as long as it lives.
struct OpenStream(Rc<Shared>);

impl OpenStream {
    fn new(shared: Rc<Shared>) -> OpenStream {
        shared.open.set(shared.open.get() + 1);
        OpenStream(shared)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            // The connection waits for a request from here on.
            self.0.wake();
        }
    }
}

fn spawn(
    service: Rc<Service>,
    visitor: Rc<Visitor>,
    shared: Rc<Shared>,
    request: Request<RecvStream>,
    respond: SendResponse<Buffer>,
) {
    let open = OpenStream::new(shared);
    service.counters.http2_streams.add(1);
    monoio::spawn(async move {
        let shared = &*open.0;
        let work =
            service.local.futures.place(|| stream::serve(&service, &visitor, shared, request, respond));
        if contained(pin!(work)).await.is_err() {
            service.counters.connections_panicked.add(1);
            tracing::error!(client = %visitor.peer, "a defect ended a stream; others are not affected");
        }
    });
}
