//! The TLS handshake: the ClientHello first, then the site's policy and certificate.

use std::io;
use std::net::SocketAddr;

use rustls::server::{Accepted, Acceptor};
use rustls::HandshakeKind;

use super::service::Service;
use crate::dispatch::SiteId;
use crate::net::{Buffer, Socket, TlsStream, Until};
use crate::tls::sni;

/// Why a handshake failed; for logs.
enum Failure {
    UnknownName,
    Io(io::Error),
}

/// Runs a handshake within its deadline; `None`: the connection is over, and why was counted and logged.
pub(super) async fn run(service: &Service, socket: Socket, peer: SocketAddr) -> Option<(TlsStream, SiteId)> {
    match shake(service, socket).await {
        Ok((tls, site)) => {
            let counter = match tls.session(|session| session.handshake_kind()) {
                Some(HandshakeKind::Resumed) => &service.counters.handshakes_resumed,
                _ => &service.counters.handshakes_full,
            };
            counter.add(1);
            Some((tls, site))
        }
        Err(Failure::UnknownName) => {
            service.counters.handshakes_failed.add(1);
            service.counters.handshakes_unknown_name.add(1);
            tracing::debug!(client = %peer, "handshake refused: no site has the name asked for");
            None
        }
        Err(Failure::Io(error)) => {
            service.counters.handshakes_failed.add(1);
            tracing::debug!(client = %peer, %error, "handshake failed");
            None
        }
    }
}

async fn shake(service: &Service, socket: Socket) -> Result<(TlsStream, SiteId), Failure> {
    let until = service.local.clock.after(service.generation.config.timeouts.handshake);
    let mut received = service.local.buffers.small();
    let accepted = read_client_hello(service, &socket, &mut received, until).await?;
    let found = match sni::server_name(&accepted.client_hello()) {
        Some(name) => service.generation.sites.find(name),
        None => service.generation.sites.fallback(),
    };
    let site = found.and_then(|site| Some((site, service.generation.site_tls(site)?)));
    let Some((site, site_tls)) = site else {
        alert(service, &socket, &sni::UNRECOGNIZED_NAME, until).await;
        return Err(Failure::UnknownName);
    };
    let session = match accepted.into_connection(site_tls.config.clone()) {
        Ok(session) => session,
        Err((error, mut refusal)) => {
            let mut bytes = service.local.buffers.small();
            let written = refusal.write_all(&mut bytes);
            if written.is_ok() {
                let _ = socket.send(&mut bytes, || until).await;
            }
            return Err(Failure::Io(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
    };
    let tls = TlsStream::new(socket, service.local.clone(), session, received);
    tls.handshake(until, &*service.generation.dates).await.map_err(Failure::Io)?;
    Ok((tls, site))
}

/// Reads until the ClientHello is whole. What came behind it stays in `received`.
async fn read_client_hello(
    service: &Service,
    socket: &Socket,
    received: &mut Buffer,
    until: Until,
) -> Result<Accepted, Failure> {
    let mut acceptor = Acceptor::default();
    loop {
        if socket.receive(received, until).await.map_err(Failure::Io)? == 0 {
            return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        while !received.is_empty() {
            let mut unread = received.filled();
            let before = unread.len();
            acceptor.read_tls(&mut unread).map_err(Failure::Io)?;
            let read = before - unread.len();
            received.consume(read);
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err((error, mut refusal)) => {
                    let mut bytes = service.local.buffers.small();
                    if refusal.write_all(&mut bytes).is_ok() {
                        let _ = socket.send(&mut bytes, || until).await;
                    }
                    return Err(Failure::Io(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
    }
}

async fn alert(service: &Service, socket: &Socket, alert: &[u8], until: Until) {
    let mut bytes = service.local.buffers.small();
    bytes.append(alert);
    // The client may have gone; there is nobody to tell then.
    let _ = socket.send(&mut bytes, || until).await;
    socket.finish();
}
