//! A client's connection, with or without TLS, behind one set of operations.

use std::io;

use super::buffer::Buffer;
use super::clock::Until;
use super::local::Local;
use super::socket::Socket;
use super::tls_stream::TlsStream;

pub enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Waits for the next request, holding no buffer; a drain ends this wait.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first or the worker drains.
    pub async fn idle(&self, until: Until) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.idle(until).await,
            Stream::Tls(tls) => tls.idle(until).await,
        }
    }

    /// Waits until there may be something to read, holding no buffer.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first.
    pub async fn readable(&self, until: Until) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.readable(until).await,
            Stream::Tls(tls) => tls.readable(until).await,
        }
    }

    /// Reads behind the buffer's content, at least one byte; 0: the client has ended its side, or the
    /// buffer is full.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first; those of the socket; `InvalidData` for broken TLS.
    pub async fn fill(&self, into: &mut Buffer, until: Until) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.receive(into, until).await,
            Stream::Tls(tls) => tls.fill(into, until).await,
        }
    }

    /// Sends all of the buffer's content and leaves it empty.
    ///
    /// # Errors
    /// `TimedOut` when nothing was taken until the moment `until` says before each send.
    pub async fn send(&self, content: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.send(content, until).await,
            Stream::Tls(tls) => tls.send(content, until).await,
        }
    }

    /// Sends the last bytes of the connection and ends our side; over TLS close_notify is in the same send.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_last(&self, content: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.send_last(content, until).await,
            Stream::Tls(tls) => tls.send_last(content, until).await,
        }
    }

    /// Before a connection is closed that waits for a request: close_notify over TLS, nothing without.
    pub async fn say_goodbye(&self, until: Until) {
        if let Stream::Tls(tls) = self {
            tls.close_notify(until).await;
        }
    }

    /// Ends when the client has gone. Holds no buffer, takes nothing of what has come; may be given up.
    ///
    /// A client that ends its own side only cannot be told from one that has closed: both have sent their last.
    pub async fn gone(&self, local: &Local) {
        loop {
            if self.socket().readable(Until::NEVER).await.is_err() || self.socket().is_hung_up() {
                return;
            }
            // More has come, the next request or a close_notify, and stays where it is: readiness says nothing now.
            local.pause().await;
        }
    }

    /// Ends our side: close_notify, then the end of the stream.
    pub async fn finish(&self, until: Until) {
        self.say_goodbye(until).await;
        self.socket().finish();
    }

    pub fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.socket(),
        }
    }
}
