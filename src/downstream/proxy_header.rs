//! What a balancer in front says of a connection, before its first byte.

use std::io;

use super::service::Service;
use crate::net::Socket;
use crate::proxy_protocol::{BadHeader, Ends, HEADER_BYTES_MAX, Header, read, take};

/// Octets looked at in one go: every header of version 1, and most of version 2.
const LOOK_BYTES: usize = 256;

/// Why there is no header.
enum Failure {
    Bad(BadHeader),
    /// Late, or gone.
    Io(io::Error),
}

impl Failure {
    fn reason(&self) -> &'static str {
        match self {
            Failure::Bad(bad) => bad.reason(),
            Failure::Io(error) if error.kind() == io::ErrorKind::TimedOut => "proxy_header_timed_out",
            Failure::Io(_) => "proxy_header_missing",
        }
    }
}

/// Reads the header and not a byte behind it. `Ok(None)`: the balancer speaks for itself.
///
/// # Errors
/// The connection must end; why was counted and logged.
pub(super) async fn receive(service: &Service, socket: &Socket) -> Result<Option<Ends>, ()> {
    let failure = match header(service, socket).await {
        Ok(bytes) => match read(&bytes) {
            Ok(Header::Proxied(ends)) => return Ok(Some(ends)),
            Ok(Header::Local) => return Ok(None),
            Err(bad) => Failure::Bad(bad),
        },
        Err(failure) => failure,
    };
    service.counters.proxy_headers_refused.add(1);
    tracing::debug!(reason = failure.reason(), "a balancer's connection is closed");
    Err(())
}

async fn header(service: &Service, socket: &Socket) -> Result<Vec<u8>, Failure> {
    let until = service.local.clock.after(service.timeouts().handshake);
    let mut taken = Vec::new();
    let mut seen = [0; LOOK_BYTES];
    loop {
        socket.readable(until).await.map_err(Failure::Io)?;
        // Readiness of a socket that has nothing is the end of its wait, or of its peer.
        let looked = match socket.peek_now(&mut seen).map_err(Failure::Io)? {
            None => continue,
            Some(0) => return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())),
            Some(looked) => looked,
        };
        let count = take(&taken, &seen[..looked]).map_err(Failure::Bad)?;
        let start = taken.len();
        debug_assert!(start + count <= HEADER_BYTES_MAX, "take() bounds it");
        taken.resize(start + count, 0);
        // It lies there: it was seen just now, and nobody else reads.
        match socket.take_now(&mut taken[start..]).map_err(Failure::Io)? {
            Some(got) if got == count => {}
            _ => return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())),
        }
        if is_whole(&taken) {
            return Ok(taken);
        }
    }
}

/// Whether a byte behind it would not belong to it.
fn is_whole(taken: &[u8]) -> bool {
    take(taken, b"?") == Ok(0)
}
