//! TLS towards a site server, through monoio-rustls.
//!
//! That stream waits on its socket inside of its operations: it cannot be read and written at once, and a read that
//! was given up makes the next one panic. So it gets no socket. Under it are two buffers in memory ([`Memory`]), on
//! which each of its operations ends at its first poll; none is ever waited for, kept or given up. What moves bytes
//! between the buffers and the socket is here, with deadlines as everywhere: receiving and sending go on at once, and
//! what is sealed leaves in one send.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio_rustls::{ClientTlsStream, TlsConnector};

use super::buffer::{Buffer, Content, LARGE, SMALL, Tail};
use super::clock::Until;
use super::local::Local;
use super::socket::Socket;
use crate::tls::{SharedClientConfig, UpstreamName};

pub struct UpstreamTls {
    socket: Socket,
    local: Local,
    memory: Rc<Memory>,
    // Never borrowed across an await.
    session: RefCell<ClientTlsStream<Ends>>,
    // The session has given all it has: there is something to read only when the socket has.
    drained: Cell<bool>,
}

/// What lies between the session and the socket.
#[derive(Default)]
struct Memory {
    received: RefCell<Buffer>,
    // The peer has ended its side of the socket.
    ended: Cell<bool>,
    sealed: RefCell<Buffer>,
    // The handshake waits in its reads; afterwards they say that nothing is there.
    waits: Cell<bool>,
}

impl UpstreamTls {
    /// Runs the handshake, all of it before `until`.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof`; `InvalidData` with the `rustls::Error` inside: the certificate was refused for one.
    pub async fn connect(
        socket: Socket,
        local: &Local,
        config: SharedClientConfig,
        name: &UpstreamName,
        until: Until,
    ) -> io::Result<UpstreamTls> {
        let memory = Rc::new(Memory::default());
        memory.waits.set(true);
        let connector = TlsConnector::from(config);
        let mut handshake = Box::pin(connector.connect(name.server_name(), Ends(memory.clone())));
        let session = loop {
            let step = poll_fn(|context| Poll::Ready(handshake.as_mut().poll(context))).await;
            let mut sealed = memory.sealed.take();
            let sent = socket.send(&mut sealed, || until).await;
            match step {
                Poll::Ready(Ok(session)) => {
                    sent?;
                    break session;
                }
                Poll::Ready(Err(failure)) => return Err(error_of(failure)),
                Poll::Pending => sent?,
            }
            let mut received = local.buffers.small();
            if socket.receive(&mut received, until).await? == 0 {
                memory.ended.set(true);
            }
            memory.received.replace(received);
        };
        drop(handshake);
        memory.waits.set(false);
        let (session, drained) = (RefCell::new(session), Cell::new(false));
        Ok(UpstreamTls { socket, local: local.clone(), memory, session, drained })
    }

    /// The protocol agreed on (RFC 7301).
    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.session.borrow().alpn_protocol()
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// As [`Socket::receive`], of what is inside the records.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` when the stream ended without close_notify, so that a body that ends with the
    /// connection is not taken for whole (RFC 8446 §6.1); `InvalidData` for broken records.
    pub async fn receive(&self, into: &mut Buffer, until: Until) -> io::Result<usize> {
        if into.spare() == 0 {
            return Ok(0);
        }
        loop {
            if let Some(read) = self.take(into)? {
                return Ok(read);
            }
            let mut ciphertext = self.local.buffers.at_least(into.spare().clamp(SMALL, LARGE));
            let received = self.socket.receive(&mut ciphertext, until).await;
            self.memory.ended.set(matches!(received, Ok(0)));
            self.memory.received.replace(ciphertext);
            received?;
        }
    }

    /// As [`Socket::receive_now`], of what is inside the records.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_now(&self, into: &mut Buffer) -> io::Result<Option<usize>> {
        loop {
            if into.spare() == 0 {
                return Ok(Some(0));
            }
            if let Some(read) = self.take(into)? {
                return Ok(Some(read));
            }
            let mut ciphertext = self.local.buffers.at_least(into.spare().clamp(SMALL, LARGE));
            match self.socket.receive_now(&mut ciphertext)? {
                None => return Ok(None),
                Some(received) => self.memory.ended.set(received == 0),
            }
            self.memory.received.replace(ciphertext);
        }
    }

    /// Waits until there may be something to read, holding no buffer.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first.
    pub async fn readable(&self, until: Until) -> io::Result<()> {
        if self.drained.get() { self.socket.readable(until).await } else { Ok(()) }
    }

    /// Seals and sends all of the buffer's content and leaves it empty. One sender at a time.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub async fn send(&self, content: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        // Records add at most 29 bytes for each 16 KiB.
        let room = content.len() + (content.len() / 16_384 + 2) * 64;
        let mut sealed = self.memory.sealed.take();
        if !sealed.has_block() {
            sealed = self.local.buffers.at_least(room);
        }
        self.memory.sealed.replace(sealed);
        while !content.is_empty() {
            let mut session = self.session.borrow_mut();
            let (written, Content(back)) = at_once(session.write(std::mem::take(content).into_content()))?;
            *content = back;
            match written? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => content.consume(count),
            }
        }
        self.flush(until).await
    }

    /// Says close_notify and ends our side.
    pub async fn finish(&self, until: Until) {
        let said = at_once(self.session.borrow_mut().shutdown());
        if matches!(said, Ok(Ok(()))) {
            // The peer may have gone; there is nobody to tell then.
            let _ = self.flush(|| until).await;
        }
        self.socket.finish();
    }

    /// Whether the peer is silent and still there. What the session keeps to itself, such as tickets that came late,
    /// is no breach of silence.
    pub fn is_quiet(&self) -> bool {
        loop {
            if self.drained.get() && self.socket.is_quiet() {
                return true;
            }
            let mut buffer = self.local.buffers.small();
            if !matches!(self.receive_now(&mut buffer), Ok(None)) {
                return false;
            }
        }
    }

    async fn flush(&self, until: impl Fn() -> Until) -> io::Result<()> {
        let mut sealed = self.memory.sealed.take();
        self.socket.send(&mut sealed, until).await
    }

    /// What the session can give now; `None`: it needs more from the socket.
    fn take(&self, into: &mut Buffer) -> io::Result<Option<usize>> {
        let tail = std::mem::take(into).into_tail();
        let (read, Tail(back)) = at_once(self.session.borrow_mut().read(tail))?;
        *into = back;
        match read {
            Ok(read) => {
                self.drained.set(false);
                Ok(Some(read))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.drained.set(true);
                // The block goes back while nothing is in it.
                self.memory.received.take();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The result of an operation on memory, which has it at its first poll.
fn at_once<F: Future>(operation: F) -> io::Result<F::Output> {
    let mut operation = pin!(operation);
    match operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(output),
        // Only a handshake waits; one that the peer asks for later does not exist in the versions we speak.
        Poll::Pending => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn error_of(failure: monoio_rustls::TlsError) -> io::Error {
    match failure {
        monoio_rustls::TlsError::Io(error) => error,
        monoio_rustls::TlsError::Rustls(error) => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

/// The session's ends of the two buffers.
struct Ends(Rc<Memory>);

impl Ends {
    fn read_now(&self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut received = self.0.received.borrow_mut();
        if received.is_empty() {
            return match (self.0.ended.get(), self.0.waits.get()) {
                (true, _) => Poll::Ready(Ok(0)),
                (false, true) => Poll::Pending,
                (false, false) => Poll::Ready(Err(io::ErrorKind::WouldBlock.into())),
            };
        }
        let count = received.len().min(into.len());
        into[..count].copy_from_slice(&received.filled()[..count]);
        received.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncReadRent for Ends {
    async fn read<T: IoBufMut>(&mut self, mut buf: T) -> BufResult<usize, T> {
        let result = poll_fn(|_| {
            let room = buf.bytes_total();
            // SAFETY: the trait's contract: `bytes_total` bytes from the pointer on are the buffer's own; those who give
            // us buffers (monoio-io-wrapper) give initialised ones. Nothing else reaches it while we hold it.
            let into = unsafe { std::slice::from_raw_parts_mut(buf.write_ptr(), room) };
            self.read_now(into)
        })
        .await;
        if let Ok(count) = result {
            // SAFETY: so many bytes were written just now.
            unsafe { buf.set_init(count) };
        }
        (result, buf)
    }

    async fn readv<T: IoVecBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), buf)
    }
}

impl AsyncWriteRent for Ends {
    async fn write<T: IoBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        // SAFETY: the trait's contract: `bytes_init` bytes from the pointer on are initialised and the buffer's own.
        let from = unsafe { std::slice::from_raw_parts(buf.read_ptr(), buf.bytes_init()) };
        self.0.sealed.borrow_mut().append(from);
        (Ok(from.len()), buf)
    }

    async fn writev<T: IoVecBuf>(&mut self, buf_vec: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), buf_vec)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}
