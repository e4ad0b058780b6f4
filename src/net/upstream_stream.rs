//! A connection to a site server, with or without TLS, behind one set of operations.

use std::io;

use super::buffer::Buffer;
use super::clock::Until;
use super::socket::Socket;
use super::upstream_tls::UpstreamTls;

pub enum UpstreamStream {
    Plain(Socket),
    Tls(Box<UpstreamTls>),
}

impl UpstreamStream {
    /// As [`Socket::receive`].
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first; those of the socket; `InvalidData` for broken TLS, `UnexpectedEof` when TLS
    /// ended without close_notify.
    pub async fn receive(&self, buffer: &mut Buffer, until: Until) -> io::Result<usize> {
        match self {
            UpstreamStream::Plain(socket) => socket.receive(buffer, until).await,
            UpstreamStream::Tls(tls) => tls.receive(buffer, until).await,
        }
    }

    /// As [`Socket::receive_now`].
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_now(&self, buffer: &mut Buffer) -> io::Result<Option<usize>> {
        match self {
            UpstreamStream::Plain(socket) => socket.receive_now(buffer),
            UpstreamStream::Tls(tls) => tls.receive_now(buffer),
        }
    }

    /// As [`Socket::send`].
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub async fn send(&self, buffer: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        match self {
            UpstreamStream::Plain(socket) => socket.send(buffer, until).await,
            UpstreamStream::Tls(tls) => tls.send(buffer, until).await,
        }
    }

    /// Waits until there may be something to read, holding no buffer. May be given up.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first.
    pub async fn readable(&self, until: Until) -> io::Result<()> {
        match self {
            UpstreamStream::Plain(socket) => socket.readable(until).await,
            UpstreamStream::Tls(tls) => tls.readable(until).await,
        }
    }

    /// Moves the deadline of the read in flight, if there is one: something happened elsewhere.
    pub fn extend_read(&self, until: Until) {
        self.socket().extend_read(until);
    }

    /// Whether the peer is silent and still there: what an idle connection must be to be used again.
    pub fn is_quiet(&self) -> bool {
        match self {
            UpstreamStream::Plain(socket) => socket.is_quiet(),
            UpstreamStream::Tls(tls) => tls.is_quiet(),
        }
    }

    /// No more will be sent: the peer reads the end of the stream, over TLS close_notify before it.
    pub async fn finish(&self, until: Until) {
        match self {
            UpstreamStream::Plain(socket) => socket.finish(),
            UpstreamStream::Tls(tls) => tls.finish(until).await,
        }
    }

    /// Ends what is in flight, both ways: nobody wants it any more.
    pub fn abandon(&self) {
        self.socket().abandon();
    }

    pub fn socket(&self) -> &Socket {
        match self {
            UpstreamStream::Plain(socket) => socket,
            UpstreamStream::Tls(tls) => tls.socket(),
        }
    }
}
