//! Making a connection to a site server.

use std::io;
use std::time::Duration;

use crate::config::Endpoint;
use crate::net::{Local, Socket};

/// Why there is no connection; nothing was sent.
#[derive(Debug)]
pub enum ConnectFailure {
    TimedOut,
    Failed(io::Error),
}

/// Connects within `wait`, which covers all addresses.
pub(super) async fn connect(
    endpoint: &Endpoint,
    wait: Duration,
    local: &Local,
) -> Result<Socket, ConnectFailure> {
    // Dropping a connect in flight is harmless: it owns its socket and holds no bytes.
    let connect = || monoio::time::timeout(wait, connect_any(endpoint, local));
    // Placed: a timer is large and aligned to 128 bytes, which every future around it would be, too.
    match local.futures.place(connect).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(ConnectFailure::Failed(error)),
        Err(_) => Err(ConnectFailure::TimedOut),
    }
}

async fn connect_any(endpoint: &Endpoint, local: &Local) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Unix(path) => Socket::connect_unix(path, local).await,
        Endpoint::Tcp(addresses) => {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in addresses {
                match Socket::connect_tcp(*address, local).await {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}
