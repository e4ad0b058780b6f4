//! Making a connection to a site server.

use std::io;
use std::time::Duration;

use super::pool::Upstream;
use crate::config::Upstream as Address;
use crate::net::{Buffer, Local, Socket, UpstreamStream, UpstreamTls};

/// Why there is no connection; nothing of a request was sent.
#[derive(Debug)]
pub enum ConnectFailure {
    TimedOut,
    Failed(io::Error),
    /// The handshake failed: its certificate for one does not cover the name, or nobody vouches for it.
    Tls(io::Error),
}

/// Connects within `wait`, which covers all addresses, what the connection begins with, and the handshake.
pub(super) async fn connect(
    upstream: &Upstream,
    preface: Option<Buffer>,
    wait: Duration,
    local: &Local,
) -> Result<UpstreamStream, ConnectFailure> {
    let until = local.clock.after(wait);
    // Dropping a connect in flight is harmless: it owns its socket and holds no bytes.
    let connect = || monoio::time::timeout(wait, connect_any(upstream, local));
    // Placed: a timer is large and aligned to 128 bytes, which every future around it would be, too.
    let socket = match local.futures.place(connect).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(ConnectFailure::Failed(error)),
        Err(_) => return Err(ConnectFailure::TimedOut),
    };
    if let Some(mut preface) = preface {
        socket.send(&mut preface, || until).await.map_err(failed)?;
    }
    let Some(tls) = upstream.endpoint().tls.clone() else {
        return Ok(UpstreamStream::Plain(socket));
    };
    // Placed: a handshake's state is large, and few are under way.
    let handshake = || UpstreamTls::connect(socket, local, tls.config, &tls.name, until);
    match local.futures.place(handshake).await {
        // Who does not agree on HTTP/2 would take it for nonsense; ALPN offered nothing else.
        Ok(stream) if upstream.is_http2() && stream.alpn().as_deref() != Some(b"h2") => {
            Err(ConnectFailure::Tls(io::Error::other("the site server does not agree on h2 by ALPN")))
        }
        Ok(stream) => Ok(UpstreamStream::Tls(Box::new(stream))),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(ConnectFailure::TimedOut),
        Err(error) => Err(ConnectFailure::Tls(error)),
    }
}

fn failed(error: io::Error) -> ConnectFailure {
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectFailure::TimedOut,
        _ => ConnectFailure::Failed(error),
    }
}

/// Tries the addresses in turn, the one that answered last first.
async fn connect_any(upstream: &Upstream, local: &Local) -> io::Result<Socket> {
    let endpoint = upstream.endpoint();
    if let Address::Unix { path } = &endpoint.key.upstream {
        return Socket::connect_unix(path, local).await;
    }
    let addresses = upstream.addresses();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let first = upstream.preferred(addresses.len());
    for step in 0..addresses.len() {
        let index = (first + step) % addresses.len();
        match Socket::connect_tcp(addresses[index], local).await {
            Ok(socket) => {
                upstream.prefer(index);
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
