//! One client connection: socket, TLS, the response in progress. It never blocks.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::http2::{Http2, Request};
use crate::response::{Fault, Response};
use crate::workload::Answer;

/// Buffers all connections share.
pub struct Scratch {
    received: Vec<u8>,
    plain: Vec<u8>,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch { received: vec![0; 256 * 1024], plain: vec![0; 64 * 1024] }
    }
}

/// Why a connection ended before its time.
#[derive(Debug)]
pub enum Failure {
    Socket(io::Error),
    Tls(rustls::Error),
    Response(Fault),
    /// The server closed the connection in the middle of a handshake or response.
    Cut,
    /// Nothing moved for too long.
    Stalled,
    /// The server does not speak HTTP/2.
    NoHttp2,
    /// The handshake was of another kind than the workload asks for.
    Handshake(Option<HandshakeKind>),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Socket(error) => write!(out, "socket: {error}"),
            Failure::Tls(error) => write!(out, "TLS: {error}"),
            Failure::Response(fault) => write!(out, "response: {fault:?}"),
            Failure::Cut => write!(out, "closed in the middle of a handshake or response"),
            Failure::Stalled => write!(out, "no progress for 10 s"),
            Failure::NoHttp2 => write!(out, "the server does not offer h2"),
            Failure::Handshake(kind) => write!(out, "unexpected handshake: {kind:?}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Socket(error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Connecting,
    Handshaking,
    /// Open, no request in flight.
    Idle,
    Waiting,
    /// The response is complete; the server still has to close.
    Ending,
    Ended,
}

pub struct Connection {
    pub stream: TcpStream,
    pub stage: Stage,
    /// When the connect, or the request, was due.
    pub began: Instant,
    /// The response asked for the connection to be closed.
    pub closes: bool,
    /// The server said goodbye in TLS before it closed.
    pub close_notified: bool,
    tls: Option<Box<ClientConnection>>,
    response: Response,
    /// The protocol it speaks when it is not HTTP/1.1.
    pub http2: Option<Box<Http2>>,
    pending: Vec<u8>,
}

impl Connection {
    /// Begins to connect from `source` (port 0: any) to `target`.
    pub fn open(
        source: SocketAddrV4,
        target: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        now: Instant,
    ) -> Result<Connection, Failure> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .map_err(io::Error::from)?;
        sockopt::set_tcp_nodelay(&socket, true).map_err(io::Error::from)?;
        rustix::net::bind(&socket, &source).map_err(io::Error::from)?;
        match rustix::net::connect(&socket, &target) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(Failure::Socket(error.into())),
        }
        let tls = tls.map(|config| {
            let name = ServerName::try_from(crate::HOST).expect("the host of the run is a name");
            ClientConnection::new(config.clone(), name).map(Box::new)
        });
        Ok(Connection {
            stream: TcpStream::from(socket),
            stage: Stage::Connecting,
            began: now,
            closes: false,
            close_notified: false,
            tls: tls.transpose().map_err(Failure::Tls)?,
            response: Response::default(),
            http2: None,
            pending: Vec::new(),
        })
    }

    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.tls.as_ref().and_then(|tls| tls.handshake_kind())
    }

    /// Sends a request; what is left of the handshake goes with it.
    pub fn send(&mut self, request: &[u8], began: Instant) -> Result<(), Failure> {
        self.began = began;
        self.response.reset();
        self.stage = Stage::Waiting;
        self.write(request)?;
        self.flush()
    }

    /// Sends so many requests at once over HTTP/2.
    pub fn send_http2(&mut self, request: &Request, count: usize, began: Instant) -> Result<(), Failure> {
        self.began = began;
        self.stage = Stage::Waiting;
        let http2 = self.http2.get_or_insert_default();
        let mut out = Vec::new();
        for _ in 0..count {
            http2.send(request, began, &mut out);
        }
        self.write(&out)?;
        self.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes)?,
            None => self.pending.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// What TLS settled on.
    pub fn is_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.alpn_protocol() == Some(b"h2"))
    }

    /// Moves what can be moved. The caller looks at `stage` afterwards. When a handshake has just ended
    /// (from `Handshaking` or `Connecting` to `Idle`) nothing is flushed, so that a request can go with it.
    ///
    /// `to_end`: read until the socket says there is no more, because the peer has closed.
    pub fn step(&mut self, to_end: bool, due: &Answer, scratch: &mut Scratch) -> Result<(), Failure> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            if self.tls.is_none() {
                self.stage = Stage::Idle;
                return Ok(());
            }
            self.stage = Stage::Handshaking;
        }
        let handshaking = self.stage == Stage::Handshaking;
        loop {
            let count = match self.stream.read(&mut scratch.received) {
                Ok(0) => {
                    self.ended()?;
                    break;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The answer was complete: how the connection ends is the server's affair.
                Err(error) if error.kind() == ErrorKind::ConnectionReset && self.stage == Stage::Ending => {
                    self.stage = Stage::Ended;
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let Scratch { received, plain } = scratch;
            if self.tls.is_some() {
                self.decrypt(&received[..count], plain, due)?;
            } else {
                self.plain(&received[..count], due)?;
            }
            // A short read has emptied the socket; later bytes make an event of their own.
            if count < received.len() && !to_end {
                break;
            }
        }
        if handshaking && self.stage == Stage::Idle { Ok(()) } else { self.flush() }
    }

    fn decrypt(&mut self, mut sealed: &[u8], plain: &mut [u8], due: &Answer) -> Result<(), Failure> {
        while !sealed.is_empty() {
            let Some(tls) = &mut self.tls else {
                return Ok(());
            };
            tls.read_tls(&mut sealed)?;
            let state = tls.process_new_packets().map_err(Failure::Tls)?;
            self.close_notified |= state.peer_has_closed();
            if self.stage == Stage::Handshaking && !tls.is_handshaking() {
                self.stage = Stage::Idle;
            }
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let Some(tls) = &mut self.tls else {
                    return Ok(());
                };
                let count = tls.reader().read(plain)?;
                left = left.saturating_sub(count);
                self.plain(&plain[..count], due)?;
            }
        }
        Ok(())
    }

    fn plain(&mut self, bytes: &[u8], due: &Answer) -> Result<(), Failure> {
        if let Some(http2) = &mut self.http2 {
            let mut out = Vec::new();
            http2.feed(bytes, due, &mut out).map_err(Failure::Response)?;
            if http2.is_idle() {
                self.stage = Stage::Idle;
            }
            return self.write(&out);
        }
        if self.stage != Stage::Waiting {
            return Err(Failure::Response(Fault::Extra));
        }
        if self.response.feed(bytes, due).map_err(Failure::Response)? {
            self.closes = self.response.close;
            self.stage = if self.closes { Stage::Ending } else { Stage::Idle };
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<(), Failure> {
        match self.stage {
            Stage::Idle | Stage::Ending | Stage::Ended => {
                self.stage = Stage::Ended;
                Ok(())
            }
            Stage::Connecting | Stage::Handshaking | Stage::Waiting => Err(Failure::Cut),
        }
    }

    /// Writes what is due, as far as the socket takes it.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.pending)?;
            }
        }
        let mut sent = 0;
        while sent < self.pending.len() {
            match self.stream.write(&self.pending[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.pending.drain(..sent);
        Ok(())
    }
}
