//! A TLS connection to a client: rustls in the middle for the handshake, then our own records; pooled buffers on
//! both sides.
//!
//! Receiving and sending may go on at once: each works on the session between its operations, never
//! across them. What is sent leaves in one send, however many records it takes. An idle connection holds
//! no buffer. The tickets that follow a TLS 1.3 handshake wait for the first response and leave with it.
//!
//! A connection of TLS 1.3 is taken over from rustls ([`Session::take_over`]) when it waits for another request, or
//! after a large piece of a body: one that closes after a request never pays for it.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};

use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

use crate::tls::{self, BadRecord, Opened, Records};

use super::buffer::{Buffer, LARGE, SMALL};
use super::clock::Until;
use super::local::Local;
use super::socket::Socket;
use super::tls_session::{RustlsSession, Session};

/// Plaintext sealed at a time, so that its records fit one large buffer: a record adds at most 29 bytes
/// (header, nonce of TLS 1.2 or content type of TLS 1.3, tag).
const SEALED_MAX: usize = LARGE - (LARGE / 16_384 + 1) * 29;
/// Room for a close_notify behind the last record.
const LAST_BYTES: usize = 64;

/// What a handshake settled, besides the version.
#[derive(Default)]
pub struct Settled {
    /// As `TLS13_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// Empty: none was agreed on.
    pub alpn: Box<[u8]>,
    /// Empty: none was asked for.
    pub server_name: Box<str>,
    /// The client showed a certificate, which was verified.
    pub client_certificate: bool,
}

pub struct TlsStream {
    socket: Socket,
    local: Local,
    session: RefCell<Session>,
    // Received and not yet opened: the beginning of a record, or there when a reader's buffer was full.
    ciphertext: RefCell<Buffer>,
    // At the front of `ciphertext`, from our own records.
    opened: Cell<OpenedPart>,
    // One sender at a time: records must leave in the order they were sealed.
    sending: Cell<bool>,
    // Tickets wait for the first response.
    holds_tickets: Cell<bool>,
    resumed: Cell<bool>,
}

/// Plaintext that a reader had no room for, and what is left of its record behind it.
#[derive(Clone, Copy, Default)]
struct OpenedPart {
    data: usize,
    behind: usize,
}

/// What reading from what was received came to.
enum Filled {
    Bytes(usize),
    End,
    /// Nothing yet: the record at the front has `record` bytes or more.
    NeedMore {
        record: usize,
    },
}

impl TlsStream {
    /// Takes over at the ClientHello: `session` has read it; `received` is what came behind it.
    pub(super) fn new(
        socket: Socket,
        local: Local,
        session: Box<RustlsSession>,
        received: Buffer,
    ) -> TlsStream {
        TlsStream {
            socket,
            local,
            session: RefCell::new(Session::Rustls(session)),
            ciphertext: RefCell::new(received),
            opened: Cell::default(),
            sending: Cell::new(false),
            holds_tickets: Cell::new(false),
            resumed: Cell::new(false),
        }
    }

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.resumed.get()
    }

    /// Asks rustls, which is there at least until the end of the first response.
    fn rustls<T>(&self, ask: impl FnOnce(&mut ServerConnection) -> T) -> Option<T> {
        match &mut *self.session.borrow_mut() {
            Session::Rustls(rustls) => Some(ask(&mut rustls.connection)),
            Session::Records(_) | Session::Lost => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.rustls(|connection| connection.is_handshaking()).unwrap_or(false)
    }

    /// Whether the client and the site agreed on HTTP/2; asked once the handshake is over.
    pub fn is_http2(&self) -> bool {
        self.rustls(|connection| connection.alpn_protocol() == Some(b"h2")).unwrap_or(false)
    }

    /// What the handshake settled, for those who are told of it; asked right after it.
    pub fn settled(&self) -> Settled {
        let settled = self.rustls(|session| Settled {
            cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or(""),
            alpn: session.alpn_protocol().map(Box::from).unwrap_or_default(),
            server_name: session.server_name().map(Box::from).unwrap_or_default(),
            client_certificate: session.peer_certificates().is_some(),
        });
        settled.unwrap_or_default()
    }

    /// The version that was agreed on, `1.2` or `1.3`.
    pub fn version(&self) -> &'static str {
        match self.rustls(|connection| connection.protocol_version()) {
            Some(Some(ProtocolVersion::TLSv1_2)) => "1.2",
            // Only these connections are taken over.
            _ => "1.3",
        }
    }

    /// Who the client is by the certificate that was verified, in this handshake or the one it resumes;
    /// known until the end of the first response.
    pub fn client_identity(&self, form: tls::IdentityForm) -> Option<Vec<u8>> {
        let identity = self.rustls(|connection| Some(form.of(connection.peer_certificates()?.first()?)));
        identity.flatten()
    }

    /// Runs the handshake to its end, all of it before `until`. `dates` says when the session began, so that it
    /// never resumes later than it may.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` when the client left; `InvalidData` with the `rustls::Error` inside,
    /// after the alert of RFC 8446 §6.2 was sent.
    pub async fn handshake(&self, until: Until, dates: &dyn tls::Clock) -> io::Result<()> {
        let mark = || self.rustls(|connection| tls::origin::mark(connection, dates.now()));
        // What the Acceptor read is already inside: there may be a flight to send at once.
        loop {
            mark();
            while self.is_handshaking() && self.digest_once(until).await? {
                mark();
            }
            if !self.is_handshaking() {
                break;
            }
            self.flush(|| until).await?;
            if self.receive_ciphertext(SMALL, 0, until).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let kind = self.rustls(|connection| connection.handshake_kind());
        self.resumed.set(kind == Some(Some(HandshakeKind::Resumed)));
        let version = self.rustls(|connection| connection.protocol_version());
        if version == Some(Some(ProtocolVersion::TLSv1_3)) {
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
        if self.has_input() {
            return Ok(());
        }
        if self.take_over() && !self.holds_tickets.get() {
            self.flush(|| until).await?;
            self.take_over();
        }
        self.socket.idle(until).await
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
    /// `TimedOut`; `InvalidData` with the `rustls::Error` or the [`BadRecord`] inside, after its alert was sent.
    pub async fn fill(&self, into: &mut Buffer, until: Until) -> io::Result<usize> {
        if into.spare() == 0 {
            return Ok(0);
        }
        loop {
            let filled = match self.open_into(into) {
                Some(Ok(filled)) => filled,
                Some(Err(bad)) => return Err(self.refuse(bad, until).await),
                None => self.digest_into(into, until).await?,
            };
            let record = match filled {
                Filled::Bytes(bytes) => return Ok(bytes),
                Filled::End => return Ok(0),
                Filled::NeedMore { record } => record,
            };
            // A reader with room for a body takes its ciphertext in as large pieces.
            if self.receive_ciphertext(into.spare(), record, until).await? == 0 {
                return Ok(0);
            }
        }
    }

    /// Seals and sends all of the buffer's content and leaves it empty: one send for each [`LARGE`] bytes. The
    /// block goes back when everything in it is sealed.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub async fn send(&self, plaintext: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        while !plaintext.is_empty() {
            if self.is_ours() {
                return self.send_records(plaintext, false, &until).await;
            }
            let length = plaintext.len().min(SEALED_MAX);
            self.send_some(plaintext, length, &until).await?;
            if length > LARGE / 2 {
                // Probably not the end of it.
                self.take_over();
            }
        }
        Ok(())
    }

    /// Says close_notify (RFC 8446 §6.1) and ends our side: nothing more will come from us.
    pub async fn close_notify(&self, until: Until) {
        if self.rustls(|connection| connection.send_close_notify()).is_some() {
            // The client may have gone; there is nobody to tell then.
            let _ = self.flush_last(|| until).await;
        } else {
            let _ = self.send_records(&mut Buffer::default(), true, || until).await;
        }
    }

    /// Like [`send`](Self::send), with close_notify behind the last record and the end of the stream behind that, in
    /// the same send.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub async fn send_last(&self, plaintext: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        while plaintext.len() > SEALED_MAX - LAST_BYTES && !self.is_ours() {
            let length = plaintext.len().min(SEALED_MAX);
            self.send_some(plaintext, length, &until).await?;
        }
        let sealed = self.rustls(|connection| {
            connection.writer().write_all(plaintext.filled())?;
            connection.send_close_notify();
            io::Result::Ok(())
        });
        match sealed {
            Some(result) => {
                result?;
                plaintext.clear();
                self.flush_last(until).await
            }
            None => self.send_records(plaintext, true, until).await,
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    async fn receive_ciphertext(&self, wanted: usize, record: usize, until: Until) -> io::Result<usize> {
        let mut buffer = std::mem::take(&mut *self.ciphertext.borrow_mut());
        let size = wanted.max(record).min(LARGE);
        if buffer.capacity() < size && buffer.capacity() < LARGE {
            let mut larger = self.local.buffers.at_least(size);
            larger.append(buffer.filled());
            buffer = larger;
        } else {
            // The beginning of a record: the rest gets room behind it.
            buffer.compact();
        }
        let received = self.socket.receive(&mut buffer, until).await;
        *self.ciphertext.borrow_mut() = buffer;
        received
    }

    /// Whether something that was received waits to be read.
    fn has_input(&self) -> bool {
        if !self.ciphertext.borrow().is_empty() {
            return true;
        }
        let waiting = |connection: &mut ServerConnection| matches!(connection.reader().into_first_chunk(), Ok(chunk) if !chunk.is_empty());
        self.rustls(waiting).unwrap_or(false)
    }

    /// As [`Session::take_over`].
    fn take_over(&self) -> bool {
        let quiet = self.ciphertext.borrow().is_empty() && !self.sending.get();
        quiet && self.session.borrow_mut().take_over()
    }

    fn is_ours(&self) -> bool {
        !matches!(&*self.session.borrow(), Session::Rustls(_))
    }
}

/// With our own records.
impl TlsStream {
    /// Opens what was received into the reader's buffer; `None`: rustls does that.
    fn open_into(&self, into: &mut Buffer) -> Option<Result<Filled, BadRecord>> {
        match &mut *self.session.borrow_mut() {
            Session::Rustls(_) => None,
            Session::Lost => Some(Ok(Filled::End)),
            Session::Records(records) => {
                Some(self.open_records(records, &mut self.ciphertext.borrow_mut(), into))
            }
        }
    }

    fn open_records(
        &self,
        records: &mut Records,
        ciphertext: &mut Buffer,
        into: &mut Buffer,
    ) -> Result<Filled, BadRecord> {
        let mut total = 0;
        loop {
            let OpenedPart { data, behind } = self.opened.get();
            let taken = data.min(into.spare());
            into.append(&ciphertext.filled()[..taken]);
            ciphertext.consume(taken);
            total += taken;
            if taken < data {
                self.opened.set(OpenedPart { data: data - taken, behind });
                return Ok(Filled::Bytes(total));
            }
            ciphertext.consume(behind);
            self.opened.set(OpenedPart::default());
            match records.open(ciphertext.filled_mut())? {
                Opened::Record { bytes, data } => {
                    ciphertext.consume(data.start);
                    self.opened.set(OpenedPart { data: data.len(), behind: bytes - data.end });
                }
                Opened::End => {
                    // After close_notify nothing more is read (RFC 8446 §6.1).
                    *ciphertext = Buffer::default();
                    return Ok(if total > 0 { Filled::Bytes(total) } else { Filled::End });
                }
                Opened::NeedMore { bytes } => {
                    if ciphertext.is_empty() {
                        *ciphertext = Buffer::default();
                    }
                    return Ok(if total > 0 {
                        Filled::Bytes(total)
                    } else {
                        Filled::NeedMore { record: bytes }
                    });
                }
            }
        }
    }

    /// Seals into a block of the pool and sends that, as often as it takes. `last`: close_notify goes with the
    /// end of it.
    async fn send_records(
        &self,
        plaintext: &mut Buffer,
        last: bool,
        until: impl Fn() -> Until,
    ) -> io::Result<()> {
        loop {
            let room = if last { LARGE - LAST_BYTES } else { LARGE };
            let length = plaintext.len().min(Records::data_bytes_max(room));
            let ends = length == plaintext.len();
            let mut sealed = self.local.buffers.at_least(Records::sealed_bytes_max(length) + LAST_BYTES);
            match &mut *self.session.borrow_mut() {
                Session::Records(records) => {
                    let written = records.seal(&plaintext.filled()[..length], sealed.spare_mut());
                    sealed.grow(written.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?);
                    if last && ends {
                        let written = records.seal_close(sealed.spare_mut());
                        sealed.grow(written);
                    }
                }
                Session::Rustls(_) | Session::Lost => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            if ends {
                // Others use the block while this one waits for the client.
                *plaintext = Buffer::default();
            } else {
                plaintext.consume(length);
            }
            self.sending.set(true);
            let sent = match last && ends {
                true => self.socket.send_last(&mut sealed, &until).await,
                false => self.socket.send(&mut sealed, &until).await,
            };
            self.sending.set(false);
            sent?;
            if ends {
                return Ok(());
            }
        }
    }

    /// Tells the client why the connection ends, unless a sender is at work: nothing can be put into its records.
    async fn refuse(&self, bad: BadRecord, until: Until) -> io::Error {
        let mut sealed = self.local.buffers.small();
        if let (Session::Records(records), Some(alert)) = (&mut *self.session.borrow_mut(), bad.alert()) {
            let written = records.seal_alert(alert, sealed.spare_mut());
            sealed.grow(written);
        }
        if !self.sending.get() && !sealed.is_empty() {
            // The client may have gone; there is nobody to tell then.
            let _ = self.socket.send(&mut sealed, || until).await;
        }
        io::Error::new(io::ErrorKind::InvalidData, bad)
    }
}

/// With rustls.
impl TlsStream {
    async fn digest_into(&self, into: &mut Buffer, until: Until) -> io::Result<Filled> {
        let mut total = 0;
        let ended = loop {
            let read = match &mut *self.session.borrow_mut() {
                Session::Rustls(rustls) => rustls.take_plaintext(into)?,
                Session::Records(_) | Session::Lost => break false,
            };
            total += read.bytes;
            if read.ended {
                break true;
            }
            if into.spare() == 0 || !self.digest_once(until).await? {
                break false;
            }
        };
        if total > 0 {
            return Ok(Filled::Bytes(total));
        }
        if ended {
            return Ok(Filled::End);
        }
        let owes = self.rustls(|connection| connection.wants_write()).unwrap_or(false);
        if owes && !self.holds_tickets.get() && !self.sending.get() {
            // An answer the record layer owes, to a key update for one.
            self.flush(|| until).await?;
        }
        Ok(Filled::NeedMore { record: 0 })
    }

    async fn send_some(
        &self,
        plaintext: &mut Buffer,
        length: usize,
        until: impl Fn() -> Until,
    ) -> io::Result<()> {
        let taken = self.rustls(|connection| connection.writer().write(&plaintext.filled()[..length]));
        let taken = taken.unwrap_or(Ok(0))?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        plaintext.consume(taken);
        self.flush(until).await
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
            let mut sealed = self.take_sealed()?;
            if sealed.is_empty() {
                return Ok(());
            }
            self.socket.send(&mut sealed, &until).await?;
        }
    }

    /// Sends what the session has sealed, close_notify at its end, and ends our side.
    async fn flush_last(&self, until: impl Fn() -> Until) -> io::Result<()> {
        if self.sending.replace(true) {
            // As in `flush`; the close of the connection says the end.
            return Ok(());
        }
        self.holds_tickets.set(false);
        let result = match self.take_sealed() {
            Ok(mut sealed) => self.socket.send_last(&mut sealed, until).await,
            Err(error) => Err(error),
        };
        self.sending.set(false);
        result
    }

    /// All records the session has sealed, in one block.
    fn take_sealed(&self) -> io::Result<Buffer> {
        let sealed = self.rustls(|connection| {
            // A block for each round: a small answer does not touch a large one.
            let mut sealed = Buffer::default();
            while connection.wants_write() {
                connection.write_tls(&mut Sealed { into: &mut sealed, local: &self.local })?;
            }
            io::Result::Ok(sealed)
        });
        sealed.unwrap_or_else(|| Ok(Buffer::default()))
    }

    /// Gives rustls some of what was received. False: there is nothing left.
    async fn digest_once(&self, until: Until) -> io::Result<bool> {
        let failure = {
            let mut ciphertext = self.ciphertext.borrow_mut();
            if ciphertext.is_empty() {
                *ciphertext = Buffer::default();
                return Ok(false);
            }
            let mut session = self.session.borrow_mut();
            let Session::Rustls(rustls) = &mut *session else { return Ok(false) };
            let mut unread = ciphertext.filled();
            let before = unread.len();
            rustls.connection.read_tls(&mut unread)?;
            let read = before - unread.len();
            rustls.fed.pass(&ciphertext.filled()[..read]);
            ciphertext.consume(read);
            let (processed, secrets) = tls::captured(|| rustls.connection.process_new_packets());
            if secrets.is_some() {
                rustls.secrets = secrets;
            }
            match processed {
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
}

/// Where rustls's records go: into a block as large as they need, chosen when their sizes are known.
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
