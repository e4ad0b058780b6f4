//! Sockets, buffers and deadlines of one worker thread.
//!
//! Everything here belongs to one thread and is shared by `Rc`: nothing locks. This is the only room
//! with `unsafe`: the ring writes into memory it is lent, and sockets are read and written at once.
//!
//! A socket's operations carry their deadline. When it passes, the half of the socket concerned is shut
//! down, which completes the operation in flight with its buffer: no operation is ever dropped to
//! cancel it, so no byte and no buffer is lost (dropping a future in this runtime loses both).
//!
//! A connection that waits holds no buffer: it waits for readiness, then borrows a buffer from the
//! worker's pool. Rejected: a receive posted with a buffer for each idle connection, which is as fast
//! and costs 4 KiB more memory for each.

mod buffer;
mod client_hello;
mod clock;
mod contained;
mod deadline;
mod future_pool;
mod inherit;
mod local;
mod mail;
mod pauses;
mod pipe;
mod socket;
mod stream;
mod tls_session;
mod tls_stream;
mod upstream_stream;
mod upstream_tls;

pub use buffer::{Buffer, BufferPool, LARGE, Mark, SMALL};
pub use client_hello::ClientHello;
pub use clock::{Clock, Until};
pub use contained::contained;
pub use future_pool::FuturePool;
pub use inherit::{inherited, keep_descriptors};
pub use local::Local;
pub use mail::{Letter, Mail};
pub use pauses::Pause;
pub use pipe::{Pipe, Transport};
pub use socket::Socket;
pub use stream::Stream;
pub use tls_stream::{Settled, TlsStream};
pub use upstream_stream::UpstreamStream;
pub use upstream_tls::UpstreamTls;

/// How often deadlines are looked at, and the grain of [`Clock::now`].
pub const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// Runs a future of a test as a worker would.
#[cfg(test)]
fn run<F: Future>(future: F) -> F::Output {
    monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
        .enable_timer()
        .build()
        .expect("a ring or epoll")
        .block_on(future)
}
