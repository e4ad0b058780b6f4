//! What two processes say to each other at an upgrade, over a socket that only they have.
//!
//! ```text
//! frame:   kind u8 | length u32 | payload        descriptors travel with the first byte
//!
//! old                                   new
//! Listener × n, Begin ─────────────────▶        sockets
//!                     ◀───────────────── Verified   its generation can serve; with its version
//! Sessions × n, Begin ─────────────────▶
//!                     ◀───────────────── Serving    all its workers run
//! Gone ────────────────────────────────▶        the old one accepts no more, the new one begins
//!                     ◀───────────────── Failed     in place of Verified or Serving, with the reason
//! ```

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use zeroize::Zeroizing;

use crate::http::Scheme;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Listener,
    Begin,
    Verified,
    Sessions,
    Serving,
    Gone,
    Failed,
}

const KINDS: [Kind; 7] =
    [Kind::Listener, Kind::Begin, Kind::Verified, Kind::Sessions, Kind::Serving, Kind::Gone, Kind::Failed];

/// The kernel passes 253 at a time.
const DESCRIPTORS_MAX: usize = 250;
/// A chunk of sessions is a little over a megabyte.
const PAYLOAD_MAX: usize = 2 * 1024 * 1024;
const HEAD_BYTES: usize = 5;

pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) payload: Zeroizing<Vec<u8>>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// An address with its sockets, as another process bound it.
#[derive(Debug)]
pub struct Inherited {
    /// `None`: whoever bound it did not say.
    pub scheme: Option<Scheme>,
    /// As in the configuration: what it is known by.
    pub written: SocketAddr,
    pub sockets: Vec<TcpListener>,
}

impl Inherited {
    /// One frame for every [`DESCRIPTORS_MAX`] sockets.
    pub(super) fn send(&self, stream: &UnixStream) -> io::Result<()> {
        let scheme = self.scheme.map_or("any", Scheme::as_str);
        let payload = format!("{scheme} {}", self.written);
        for sockets in self.sockets.chunks(DESCRIPTORS_MAX) {
            send_with(stream, Kind::Listener, payload.as_bytes(), sockets)?;
        }
        Ok(())
    }

    pub(super) fn read(frame: Frame) -> Option<Inherited> {
        let text = std::str::from_utf8(&frame.payload).ok()?;
        let (scheme, written) = text.split_once(' ')?;
        let sockets = frame.descriptors.into_iter().map(TcpListener::from).collect();
        Some(Inherited { scheme: Scheme::parse(scheme.as_bytes()), written: written.parse().ok()?, sockets })
    }
}

pub(super) fn send(stream: &UnixStream, kind: Kind, payload: &[u8]) -> io::Result<()> {
    send_with(stream, kind, payload, &[])
}

fn send_with(mut stream: &UnixStream, kind: Kind, payload: &[u8], sockets: &[TcpListener]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut head = [0; HEAD_BYTES];
    head[0] = kind as u8;
    head[1..].copy_from_slice(&length.to_be_bytes());
    let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = rustix::net::sendmsg(stream, &[IoSlice::new(&head)], &mut ancillary, SendFlags::NOSIGNAL)?;
    stream.write_all(&head[sent..])?;
    stream.write_all(payload)
}

/// The next frame.
///
/// # Errors
/// `UnexpectedEof` when the other process has gone, `InvalidData` when it says what nobody says here, and those of
/// the socket, its timeout among them.
pub(super) fn receive(mut stream: &UnixStream) -> io::Result<Frame> {
    let mut head = [0; HEAD_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut head)];
    let received = rustix::net::recvmsg(stream, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    stream.read_exact(&mut head[received.bytes..])?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let kind = KINDS.get(usize::from(head[0])).copied().filter(|_| length <= PAYLOAD_MAX);
    let kind = kind.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut payload = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut payload)?;
    Ok(Frame { kind, payload, descriptors })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_words_arrive() {
        let (a, b) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets: Vec<_> = (0..300).map(|_| listener.try_clone().unwrap()).collect();
        Inherited { scheme: Some(Scheme::Https), written: address, sockets }.send(&a).unwrap();
        send(&a, Kind::Failed, b"no reason").unwrap();
        let mut count = 0;
        for expected in [250, 50] {
            let inherited = Inherited::read(receive(&b).unwrap()).unwrap();
            assert_eq!((inherited.scheme, inherited.written), (Some(Scheme::Https), address));
            assert_eq!(inherited.sockets.len(), expected);
            assert!(inherited.sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
            count += inherited.sockets.len();
        }
        assert_eq!(count, 300);
        let frame = receive(&b).unwrap();
        assert_eq!((frame.kind, frame.payload.as_slice()), (Kind::Failed, &b"no reason"[..]));
        drop(a);
        assert_eq!(receive(&b).err().map(|error| error.kind()), Some(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn what_nobody_says_is_refused() {
        for bytes in [[7, 0, 0, 0, 0], [3, 255, 0, 0, 0]] {
            let (mut a, b) = UnixStream::pair().unwrap();
            a.write_all(&bytes).unwrap();
            assert_eq!(receive(&b).err().map(|error| error.kind()), Some(io::ErrorKind::InvalidData));
        }
    }
}
