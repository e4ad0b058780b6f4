//! What one exchange with a site server goes over: a connection of its own, or a stream of one that is shared.

use std::io;

use super::http2::{Broken, Http2Stream};
use crate::net::{Buffer, Until, UpstreamStream};

pub enum Channel {
    /// HTTP/1.1.
    Own(UpstreamStream),
    /// HTTP/2.
    Shared(Box<Http2Stream>),
}

impl Channel {
    /// As [`Socket::receive`](crate::net::Socket::receive), or [`Http2Stream::receive`].
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first; those of the connection.
    pub async fn receive(&self, buffer: &mut Buffer, until: Until) -> io::Result<usize> {
        match self {
            Channel::Own(stream) => stream.receive(buffer, until).await,
            Channel::Shared(stream) => stream.receive(buffer, until).await,
        }
    }

    /// What is there already; `None`: nothing is.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_now(&self, buffer: &mut Buffer) -> io::Result<Option<usize>> {
        match self {
            Channel::Own(stream) => stream.receive_now(buffer),
            Channel::Shared(stream) => stream.receive_now(buffer),
        }
    }

    /// Sends all of it: first a request's head with what is in hand of its body, as HTTP/1.1 has it.
    ///
    /// # Errors
    /// `TimedOut` when nothing was taken until then; those of the connection.
    pub async fn send(&self, buffer: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        match self {
            Channel::Own(stream) => stream.send(buffer, until).await,
            Channel::Shared(stream) => stream.send(buffer, until).await,
        }
    }

    /// Waits until there may be something to read, holding no buffer. May be given up.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first.
    pub async fn readable(&self, until: Until) -> io::Result<()> {
        match self {
            Channel::Own(stream) => stream.readable(until).await,
            Channel::Shared(stream) => stream.readable(until).await,
        }
    }

    /// Moves the deadline of the read in flight, if there is one: something happened elsewhere.
    pub fn extend_read(&self, until: Until) {
        match self {
            Channel::Own(stream) => stream.extend_read(until),
            Channel::Shared(stream) => stream.extend_read(until),
        }
    }

    /// No more will be sent.
    pub async fn finish(&self, until: Until) {
        match self {
            Channel::Own(stream) => stream.finish(until).await,
            Channel::Shared(stream) => stream.finish(),
        }
    }

    /// Ends what is in flight, both ways: nobody wants it any more.
    pub fn abandon(&self) {
        match self {
            Channel::Own(stream) => stream.abandon(),
            Channel::Shared(stream) => stream.abandon(),
        }
    }

    /// Whether a response is over where its octets do not say so, as they never do in HTTP/2.
    pub fn is_over(&self) -> bool {
        match self {
            Channel::Own(_) => false,
            Channel::Shared(stream) => stream.is_over(),
        }
    }

    /// Why it failed, as far as the protocol says it.
    pub fn broken(&self) -> Option<Broken> {
        match self {
            Channel::Own(_) => None,
            Channel::Shared(stream) => stream.broken(),
        }
    }
}
