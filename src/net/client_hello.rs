//! The beginning of a TLS connection: the ClientHello is read before anything is chosen.

use std::io;

use rustls::server::{Accepted, AcceptedAlert, Acceptor};

use super::buffer::Buffer;
use super::clock::Until;
use super::local::Local;
use super::socket::Socket;
use super::tls_session::{RecordBoundary, RustlsSession};
use super::tls_stream::TlsStream;
use crate::tls::{SharedServerConfig, challenges, is_chacha20_first, sni};

/// A fatal `decode_error` alert before any keys (RFC 8446 §6.2).
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// A connection whose ClientHello has been read and not been answered.
pub struct ClientHello {
    socket: Socket,
    local: Local,
    // In a box: it is handed on several times, and is more than a kilobyte.
    accepted: Box<Accepted>,
    // Where the records ended that `accepted` has read.
    fed: RecordBoundary,
    // What came behind the ClientHello.
    received: Buffer,
}

impl ClientHello {
    /// Reads until the ClientHello is whole.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` when the client left; `InvalidData` with the `rustls::Error` inside when
    /// it is not TLS or breaks its rules, after the alert was sent.
    pub async fn read(socket: Socket, local: &Local, until: Until) -> io::Result<ClientHello> {
        let mut received = local.buffers.small();
        let mut acceptor = Acceptor::default();
        let mut fed = RecordBoundary::default();
        loop {
            if socket.receive(&mut received, until).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while !received.is_empty() {
                let mut unread = received.filled();
                let before = unread.len();
                acceptor.read_tls(&mut unread)?;
                let read = before - unread.len();
                fed.pass(&received.filled()[..read]);
                received.consume(read);
                match boxed(&mut acceptor) {
                    Ok(Some(accepted)) => {
                        return Ok(ClientHello { socket, local: local.clone(), accepted, fed, received });
                    }
                    Ok(None) => {}
                    Err((error, alert)) => return Err(refuse(&socket, local, error, alert, until).await),
                }
            }
        }
    }

    /// The name asked for, without trailing dot; `None`: the client sent none, or an address.
    pub fn with_server_name<T>(&self, look: impl FnOnce(Option<&[u8]>) -> T) -> T {
        look(sni::server_name(&self.accepted.client_hello()))
    }

    /// What a certificate authority that validates a name over TLS is answered with, if `look` knows the name;
    /// `None` for everybody else.
    pub fn validation(
        &self,
        look: impl FnOnce(&[u8]) -> Option<SharedServerConfig>,
    ) -> Option<SharedServerConfig> {
        look(challenges::validated_name(&self.accepted.client_hello())?)
    }

    /// Whether the client's order of cipher suites is to be followed.
    pub fn is_chacha20_first(&self) -> bool {
        is_chacha20_first(&self.accepted.client_hello())
    }

    /// Goes on with the configuration chosen.
    ///
    /// # Errors
    /// `InvalidData`: the two have no parameters in common; the alert was sent.
    pub async fn accept(self, config: SharedServerConfig, until: Until) -> io::Result<TlsStream> {
        let ClientHello { socket, local, accepted, fed, received } = self;
        match RustlsSession::begin(accepted, config, fed) {
            Ok(session) => Ok(TlsStream::new(socket, local, session, received)),
            Err((error, alert)) => Err(refuse(&socket, &local, error, alert, until).await),
        }
    }

    /// Ends the connection with `unrecognized_name` (RFC 6066 §3).
    pub async fn refuse_name(self, until: Until) {
        let mut bytes = self.local.buffers.small();
        bytes.append(&sni::UNRECOGNIZED_NAME);
        // The client may have gone; there is nobody to tell then.
        let _ = self.socket.send(&mut bytes, || until).await;
        self.socket.finish();
    }
}

/// The ClientHello, once it is whole. Not inlined: what is moved in here has no place in the future of the caller.
#[inline(never)]
fn boxed(acceptor: &mut Acceptor) -> Result<Option<Box<Accepted>>, (rustls::Error, AcceptedAlert)> {
    Ok(acceptor.accept()?.map(Box::new))
}

async fn refuse(
    socket: &Socket,
    local: &Local,
    error: rustls::Error,
    mut alert: AcceptedAlert,
    until: Until,
) -> io::Error {
    let mut bytes = local.buffers.small();
    if alert.write_all(&mut bytes).is_ok() {
        // The library has none for what does not even look like a handshake.
        if bytes.is_empty() {
            bytes.append(&DECODE_ERROR);
        }
        let _ = socket.send(&mut bytes, || until).await;
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}
