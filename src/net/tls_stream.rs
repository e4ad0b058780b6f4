//! A TLS connection to a client: rustls in the middle, pooled buffers on both sides.
//!
//! Receiving and sending may go on at once: each works on the session between its operations, never
//! across them. What is sent leaves in one send, however many records it takes. An idle connection holds
//! no buffer. The tickets that follow a TLS 1.3 handshake wait for the first response and leave with it.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};

use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

use crate::tls;

use super::buffer::{Buffer, LARGE, SMALL};
use super::clock::Until;
use super::local::Local;
use super::socket::Socket;

/// Plaintext sealed at a time, so that its records fit one large buffer: a record adds at most 29 bytes
/// (header, nonce of TLS 1.2 or content type of TLS 1.3, tag).
const SEALED_MAX: usize = LARGE - (LARGE / 16_384 + 1) * 29;
/// Room for a close_notify behind the last record.
const LAST_BYTES: usize = 64;

pub struct TlsStream {
    socket: Socket,
    local: Local,
    session: RefCell<ServerConnection>,
    // Received and not yet given to the session: there when a reader's buffer was full.
    ciphertext: RefCell<Buffer>,
    // One sender at a time: records must leave in the order they were sealed.
    sending: Cell<bool>,
    // Tickets wait for the first response.
    holds_tickets: Cell<bool>,
}

impl TlsStream {
    /// Takes over at the ClientHello: `session` has read it; `received` is what came behind it.
    pub(super) fn new(
        socket: Socket,
        local: Local,
        mut session: ServerConnection,
        received: Buffer,
    ) -> TlsStream {
        // Writers seal at most a buffer's worth before they send: the bound is ours.
        session.set_buffer_limit(None);
        TlsStream {
            socket,
            local,
            session: RefCell::new(session),
            ciphertext: RefCell::new(received),
            sending: Cell::new(false),
            holds_tickets: Cell::new(false),
        }
    }

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.session.borrow().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The version that was agreed on, `1.2` or `1.3`.
    pub fn version(&self) -> &'static str {
        match self.session.borrow().protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        }
    }

    /// Who the client is by the certificate that was verified, in this handshake or the one it resumes.
    pub fn client_identity(&self, form: tls::IdentityForm) -> Option<Vec<u8>> {
        let session = self.session.borrow();
        let leaf = session.peer_certificates()?.first()?;
        Some(form.of(leaf))
    }

    /// Runs the handshake to its end, all of it before `until`. `dates` says when the session began, so that it
    /// never resumes later than it may.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` when the client left; `InvalidData` with the `rustls::Error` inside,
    /// after the alert of RFC 8446 §6.2 was sent.
    pub async fn handshake(&self, until: Until, dates: &dyn tls::Clock) -> io::Result<()> {
        // What the Acceptor read is already inside: there may be a flight to send at once.
        loop {
            tls::origin::mark(&mut self.session.borrow_mut(), dates.now());
            while self.session.borrow().is_handshaking() && self.digest_once(until).await? {
                tls::origin::mark(&mut self.session.borrow_mut(), dates.now());
            }
            if !self.session.borrow().is_handshaking() {
                break;
            }
            self.flush(|| until).await?;
            if self.receive_ciphertext(SMALL, until).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if self.session.borrow().protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            self.holds_tickets.set(true);
            Ok(())
        } else {
            // The client waits for Finished.
            self.flush(|| until).await
        }
    }

    /// Waits for the next request, holding no buffer.
    ///
    /// # Errors
    /// As [`Socket::idle`].
    pub async fn idle(&self, until: Until) -> io::Result<()> {
        if self.has_input() { Ok(()) } else { self.socket.idle(until).await }
    }

    /// Waits until there may be something to read, holding no buffer.
    ///
    /// # Errors
    /// As [`Socket::readable`].
    pub async fn readable(&self, until: Until) -> io::Result<()> {
        if self.has_input() { Ok(()) } else { self.socket.readable(until).await }
    }

    /// Reads plaintext behind the buffer's content: as much as is there, at least one byte; 0: the
    /// client has ended its side (close_notify, or just the connection: HTTP has its own framing,
    /// RFC 9112 §9.8).
    ///
    /// # Errors
    /// `TimedOut`; `InvalidData` with the `rustls::Error` inside, after its alert was sent.
    pub async fn fill(&self, into: &mut Buffer, until: Until) -> io::Result<usize> {
        if into.spare() == 0 {
            return Ok(0);
        }
        loop {
            let mut total = 0;
            let ended = loop {
                let read = self.take_plaintext(into)?;
                total += read.bytes;
                if read.ended {
                    break true;
                }
                if into.spare() == 0 || !self.digest_once(until).await? {
                    break false;
                }
            };
            if total > 0 || ended {
                return Ok(total);
            }
            if !self.holds_tickets.get() && !self.sending.get() && self.session.borrow().wants_write() {
                // An answer the record layer owes, to a key update for one.
                self.flush(|| until).await?;
            }
            // A reader with room for a body takes its ciphertext in as large pieces.
            if self.receive_ciphertext(into.spare(), until).await? == 0 {
                return Ok(0);
            }
        }
    }

    /// Seals and sends all of the buffer's content and leaves it empty: one send for each
    /// [`LARGE`] bytes.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub async fn send(&self, plaintext: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        while !plaintext.is_empty() {
            let length = plaintext.len().min(SEALED_MAX);
            self.send_some(plaintext, length, &until).await?;
        }
        Ok(())
    }

    /// Says close_notify (RFC 8446 §6.1): nothing more will come from us.
    pub async fn close_notify(&self, until: Until) {
        self.session.borrow_mut().send_close_notify();
        // The client may have gone; there is nobody to tell then.
        let _ = self.flush(|| until).await;
    }

    /// Like [`send`](Self::send), with close_notify behind the last record, in the same send.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub async fn send_last(&self, plaintext: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        while plaintext.len() > SEALED_MAX - LAST_BYTES {
            let length = plaintext.len().min(SEALED_MAX);
            self.send_some(plaintext, length, &until).await?;
        }
        {
            let mut session = self.session.borrow_mut();
            session.writer().write_all(plaintext.filled())?;
            session.send_close_notify();
        }
        plaintext.clear();
        self.flush(until).await
    }

    async fn send_some(
        &self,
        plaintext: &mut Buffer,
        length: usize,
        until: impl Fn() -> Until,
    ) -> io::Result<()> {
        let taken = self.session.borrow_mut().writer().write(&plaintext.filled()[..length])?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        plaintext.consume(taken);
        self.flush(until).await
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends what the session has sealed.
    async fn flush(&self, until: impl Fn() -> Until) -> io::Result<()> {
        if self.sending.replace(true) {
            // The sender at work takes what is added meanwhile.
            return Ok(());
        }
        let result = self.flush_alone(until).await;
        self.sending.set(false);
        result
    }

    async fn flush_alone(&self, until: impl Fn() -> Until) -> io::Result<()> {
        self.holds_tickets.set(false);
        loop {
            let mut sealed = {
                let mut session = self.session.borrow_mut();
                if !session.wants_write() {
                    return Ok(());
                }
                // Read again for each round: a small answer does not touch a large block.
                let mut sealed = Buffer::default();
                while session.wants_write() {
                    session.write_tls(&mut Sealed { into: &mut sealed, local: &self.local })?;
                }
                sealed
            };
            self.socket.send(&mut sealed, &until).await?;
        }
    }

    /// Whether something that was received waits to be read.
    fn has_input(&self) -> bool {
        if !self.ciphertext.borrow().is_empty() {
            return true;
        }
        let mut session = self.session.borrow_mut();
        matches!(session.reader().into_first_chunk(), Ok(chunk) if !chunk.is_empty())
    }

    fn take_plaintext(&self, into: &mut Buffer) -> io::Result<Taken> {
        let mut session = self.session.borrow_mut();
        let mut bytes = 0;
        while into.spare() > 0 {
            match session.reader().read(into.spare_mut()) {
                Ok(0) => return Ok(Taken { bytes, ended: true }),
                Ok(read) => {
                    into.grow(read);
                    bytes += read;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(Taken { bytes, ended: true });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Taken { bytes, ended: false })
    }

    /// Gives the session some of what was received. False: there is nothing left.
    async fn digest_once(&self, until: Until) -> io::Result<bool> {
        let failure = {
            let mut ciphertext = self.ciphertext.borrow_mut();
            if ciphertext.is_empty() {
                *ciphertext = Buffer::default();
                return Ok(false);
            }
            let mut session = self.session.borrow_mut();
            let mut unread = ciphertext.filled();
            let before = unread.len();
            session.read_tls(&mut unread)?;
            let read = before - unread.len();
            ciphertext.consume(read);
            match session.process_new_packets() {
                Ok(_) if read == 0 => {
                    // After close_notify nothing more is read (RFC 8446 §6.1).
                    *ciphertext = Buffer::default();
                    return Ok(false);
                }
                Ok(_) => return Ok(true),
                Err(failure) => failure,
            }
        };
        // The alert that says why; the peer may have gone already.
        let _ = self.flush(|| until).await;
        Err(io::Error::new(io::ErrorKind::InvalidData, failure))
    }

    async fn receive_ciphertext(&self, wanted: usize, until: Until) -> io::Result<usize> {
        debug_assert!(self.ciphertext.borrow().is_empty(), "digested before more is received");
        let mut buffer = self.local.buffers.at_least(wanted.min(LARGE));
        let received = self.socket.receive(&mut buffer, until).await;
        *self.ciphertext.borrow_mut() = buffer;
        received
    }
}

struct Taken {
    bytes: usize,
    ended: bool,
}

/// Where sealed records go: into a block as large as they need, chosen when their sizes are known.
struct Sealed<'a> {
    into: &'a mut Buffer,
    local: &'a Local,
}

impl Write for Sealed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if !self.into.has_block() {
            *self.into = if length <= SMALL {
                self.local.buffers.small()
            } else {
                self.local.buffers.at_least(length)
            };
        }
        self.into.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
