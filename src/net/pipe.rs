//! A transport in memory for a protocol that wants to poll one: bytes wait on each side until the other
//! takes them.
//!
//! Both ends live in one task, which polls them in turn; so nobody is woken here. What was [`moved`](Pipe::moved)
//! says whether another turn is worth it.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::{Buffer, LARGE};
use super::local::Local;

/// What waits to be sent at most; more is taken when that has left.
const OUTBOUND_MAX: usize = LARGE - 8 * 1024;

/// The end of the connection: puts in what was received, takes out what is to be sent.
#[derive(Clone)]
pub struct Pipe(Rc<Shared>);

/// The end of the protocol.
pub struct Transport(Rc<Shared>);

struct Shared {
    local: Local,
    inbound: RefCell<Buffer>,
    outbound: RefCell<Buffer>,
    // No more will be received.
    ended: Cell<bool>,
    // The protocol found nothing to read, or no room to write.
    starved: Cell<bool>,
    choked: Cell<bool>,
    moved: Cell<bool>,
}

impl Pipe {
    pub fn new(local: Local) -> (Pipe, Transport) {
        let shared = Rc::new(Shared {
            local,
            inbound: RefCell::default(),
            outbound: RefCell::default(),
            ended: Cell::new(false),
            starved: Cell::new(false),
            choked: Cell::new(false),
            moved: Cell::new(false),
        });
        (Pipe(shared.clone()), Transport(shared))
    }

    /// Whether the protocol has read all there was.
    pub fn is_hungry(&self) -> bool {
        self.0.inbound.borrow().is_empty()
    }

    /// Gives the protocol what was received; only when it [`is_hungry`](Self::is_hungry).
    pub fn put(&self, received: Buffer) {
        debug_assert!(self.is_hungry(), "what was received before has been read");
        self.0.inbound.replace(received);
        if self.0.starved.replace(false) {
            self.0.moved.set(true);
        }
    }

    /// Nothing more will be received.
    pub fn end(&self) {
        self.0.ended.set(true);
        self.0.moved.set(true);
    }

    pub fn has_output(&self) -> bool {
        !self.0.outbound.borrow().is_empty()
    }

    /// What is to be sent.
    pub fn take(&self) -> Buffer {
        if self.0.choked.replace(false) {
            self.0.moved.set(true);
        }
        self.0.outbound.take()
    }

    /// Puts bytes of ours behind those of the protocol, which has come to its end.
    pub fn say(&self, last: &[u8]) {
        let mut outbound = self.0.outbound.borrow_mut();
        if !outbound.has_block() {
            *outbound = self.0.local.buffers.small();
        }
        outbound.append(last);
    }

    /// Whether, since the last call, the protocol was given something it had asked for in vain.
    pub fn moved(&self) -> bool {
        self.0.moved.replace(false)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inbound = self.0.inbound.borrow_mut();
        if inbound.is_empty() {
            if self.0.ended.get() {
                return Poll::Ready(Ok(()));
            }
            self.0.starved.set(true);
            return Poll::Pending;
        }
        let taken = inbound.len().min(into.remaining());
        into.put_slice(&inbound.filled()[..taken]);
        inbound.consume(taken);
        if inbound.is_empty() {
            // Between two receives no block is held.
            *inbound = Buffer::default();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outbound = self.0.outbound.borrow_mut();
        let mut room = OUTBOUND_MAX.saturating_sub(outbound.len());
        if room == 0 {
            self.0.choked.set(true);
            return Poll::Pending;
        }
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>().min(room);
        if !outbound.has_block() {
            *outbound = self.0.local.buffers.at_least(wanted);
        } else if outbound.spare() < wanted {
            let mut larger = self.0.local.buffers.at_least(outbound.len() + wanted);
            larger.append(outbound.filled());
            *outbound = larger;
        }
        for slice in slices {
            let taken = slice.len().min(room);
            outbound.append(&slice[..taken]);
            room -= taken;
        }
        Poll::Ready(Ok(wanted))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn read(transport: &mut Transport, room: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; room];
        let mut into = ReadBuf::new(&mut bytes);
        let read = Pin::new(transport).poll_read(&mut Context::from_waker(Waker::noop()), &mut into);
        read.is_ready().then(|| into.filled().to_vec())
    }

    fn write(transport: &mut Transport, slices: &[&[u8]]) -> Option<usize> {
        let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        match Pin::new(transport).poll_write_vectored(&mut Context::from_waker(Waker::noop()), &slices) {
            Poll::Ready(written) => Some(written.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn bytes_pass_in_order_and_starving_is_noticed() {
        let (pipe, mut transport) = Pipe::new(Local::new());
        assert!(pipe.is_hungry());
        assert_eq!(read(&mut transport, 4), None);
        let mut received = Buffer::default();
        received.append(b"abcdef");
        pipe.put(received);
        assert!(pipe.moved() && !pipe.moved());
        assert_eq!(read(&mut transport, 4).unwrap(), b"abcd");
        assert!(!pipe.is_hungry());
        assert_eq!(read(&mut transport, 4).unwrap(), b"ef");
        assert_eq!(read(&mut transport, 4), None);
        pipe.end();
        assert_eq!(read(&mut transport, 4).unwrap(), b"");
    }

    #[test]
    fn what_waits_to_be_sent_is_bounded() {
        let (pipe, mut transport) = Pipe::new(Local::new());
        assert_eq!(write(&mut transport, &[b"head", &[7; 20_000]]), Some(20_004));
        let mut all = 20_004;
        while let Some(written) = write(&mut transport, &[&[7; 50_000]]) {
            all += written;
        }
        assert_eq!(all, OUTBOUND_MAX);
        assert!(!pipe.moved());
        let sent = pipe.take();
        assert_eq!((sent.len(), &sent.filled()[..5]), (OUTBOUND_MAX, &b"head\x07"[..]));
        assert!(pipe.moved() && !pipe.has_output());
        assert_eq!(write(&mut transport, &[b"more"]), Some(4));
        assert_eq!(pipe.take().filled(), b"more");
    }
}
