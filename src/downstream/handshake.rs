//! The TLS handshake: the ClientHello first, then the site's policy and certificate.

use std::io;
use std::net::SocketAddr;

use super::Shaken;
use super::service::Service;
use crate::access_log;
use crate::net::{ClientHello, Settled, Socket, TlsStream};

/// Why there is no TLS connection.
enum Failure {
    UnknownName,
    /// It was a certificate authority, which has seen what it wanted to.
    Validation,
    Io(io::Error),
}

impl Failure {
    /// One word for metrics.
    fn reason(&self) -> &'static str {
        match self {
            Failure::UnknownName => "unknown_name",
            Failure::Validation => "acme_validation",
            Failure::Io(error) => match error.kind() {
                io::ErrorKind::TimedOut => "timed_out",
                // What breaks the rules of TLS, theirs or ours: the alert says which.
                io::ErrorKind::InvalidData => "tls_error",
                _ => "client_gone",
            },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// Runs a handshake within its deadline; `None`: the connection is over, and why was counted and logged.
pub(super) async fn run(
    service: &Service,
    socket: Socket,
    peer: SocketAddr,
) -> Option<(Box<TlsStream>, Shaken)> {
    let counters = &service.counters;
    match shake(service, socket).await {
        Ok((tls, shaken)) => {
            let (counter, timing) = match tls.is_resumed() {
                true => (&counters.handshakes_resumed, &counters.timings.handshakes_resumed),
                false => (&counters.handshakes_full, &counters.timings.handshakes_full),
            };
            counter.add(1);
            timing.observe(shaken.duration_us.get().unwrap_or(0));
            // Boxed here: only a pointer stays in the connection's task.
            return Some((Box::new(tls), shaken));
        }
        Err(Failure::Validation) => {
            counters.acme_validations.add(1);
            tracing::debug!(client = %peer, "a certificate authority validated a name over TLS");
            return None;
        }
        Err(failure) => {
            counters.handshake_failures.add(failure.reason());
            match failure {
                Failure::UnknownName => {
                    counters.handshakes_unknown_name.add(1);
                    tracing::debug!(client = %peer, "handshake refused: no site has the name asked for");
                }
                Failure::Io(error) => tracing::debug!(client = %peer, %error, "handshake failed"),
                Failure::Validation => {}
            }
        }
    }
    counters.handshakes_failed.add(1);
    None
}

async fn shake(service: &Service, socket: Socket) -> Result<(TlsStream, Shaken), Failure> {
    let began_us = service.local.clock.now_us();
    let until = service.local.clock.after(service.timeouts().handshake);
    let hello = ClientHello::read(socket, &service.local, until).await?;
    if let Some(config) = hello.validation(|name| service.challenges.alpn(&service.serving(), name)) {
        let dates = service.serving().generation.dates.clone();
        let stream = hello.accept(config, until).await?;
        stream.handshake(until, &*dates).await?;
        // It exchanges nothing more (RFC 8737 §3).
        stream.close_notify(until).await;
        return Err(Failure::Validation);
    }
    let serving = service.serving();
    let generation = &serving.generation;
    let site = hello.with_server_name(|name| match name {
        Some(name) => generation.sites.find(name),
        None => generation.sites.fallback(),
    });
    let Some((site, tls)) = site.and_then(|site| Some((site, generation.site_tls(site)?))) else {
        hello.refuse_name(until).await;
        return Err(Failure::UnknownName);
    };
    let stream = hello.accept(tls.config.clone(), until).await?;
    stream.handshake(until, &*generation.dates).await?;
    let told = access_log::Tls { version: stream.version(), resumed: stream.is_resumed() };
    let duration_us = service.local.clock.now_us() - began_us;
    let settled = if generation.tells_tls() { stream.settled() } else { Settled::default() };
    Ok((stream, Shaken::new(tls.clone(), site, generation, told, duration_us, settled)))
}
