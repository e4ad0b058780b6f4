//! The TLS handshake: the ClientHello first, then the site's policy and certificate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::service::Service;
use super::{Shaken, identity};
use crate::access_log;
use crate::net::{ClientHello, Settled, Socket, TlsStream, Until};
use crate::tls::{Answer, Found, HandshakeFailure, ServedTls, SiteTls};

/// Why there is no TLS connection.
enum Failure {
    UnknownName,
    /// Of a site that there is; the name asked for. `tell`: nobody was told within the last minute.
    NoCertificate {
        name: Option<Box<[u8]>>,
        tell: bool,
    },
    TooMany,
    /// It was a certificate authority, which has seen what it wanted to.
    Validation,
    Io(io::Error),
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
    let failure = match shake(service, socket).await {
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
        Err(failure) => failure,
    };
    let why = match &failure {
        Failure::UnknownName => HandshakeFailure::UnknownName,
        Failure::NoCertificate { .. } => HandshakeFailure::NoCertificate,
        Failure::TooMany => HandshakeFailure::TooMany,
        Failure::Io(error) => HandshakeFailure::of(error),
        Failure::Validation => {
            counters.acme_validations.add(1);
            tracing::debug!(client = %peer, "a certificate authority validated a name over TLS");
            return None;
        }
    };
    let reason = why.reason();
    counters.handshake_failures.add(reason);
    counters.handshakes_failed.add(1);
    match failure {
        Failure::UnknownName => {
            counters.handshakes_unknown_name.add(1);
            tracing::debug!(client = %peer, reason, "handshake refused: no site has the name asked for");
        }
        Failure::NoCertificate { name, tell: true } => {
            let name = String::from_utf8_lossy(name.as_deref().unwrap_or_default()).into_owned();
            tracing::warn!(name, reason, "handshake refused: no source has a certificate for the name");
        }
        Failure::NoCertificate { tell: false, .. } | Failure::Validation => {}
        Failure::TooMany => {
            tracing::debug!(client = %peer, reason, "handshake refused: `handshakes_per_worker` run already");
        }
        Failure::Io(error) => tracing::debug!(client = %peer, reason, %error, "handshake failed"),
    }
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
    // From here on it costs memory and time: a hello alone is a connection like any other.
    let Some(_running) = service.begin_handshake(generation.config.limits.handshakes_per_worker) else {
        return Err(Failure::TooMany);
    };
    let name = if tls.asks() { hello.with_server_name(|name| name.map(Box::from)) } else { None };
    let Some(served) = served(service, tls, name.as_deref(), until).await else {
        let name: Option<Box<[u8]>> = hello.with_server_name(|name| name.map(Box::from));
        hello.refuse_name(until).await;
        let now = generation.dates.now();
        let tell = tls.may_tell(name.as_deref().unwrap_or_default(), now);
        return Err(Failure::NoCertificate { name, tell });
    };
    let stream = hello.accept(served.config.clone(), until).await?;
    stream.handshake(until, &*generation.dates).await?;
    let told = access_log::Tls { version: stream.version(), resumed: stream.is_resumed() };
    let duration_us = service.local.clock.now_us() - began_us;
    let settled = if generation.tells_tls() { stream.settled() } else { Settled::default() };
    let asked = served.policy.client_auth().is_some();
    let mut shaken = Shaken::new((served, name), site, generation, told, duration_us, settled);
    if asked {
        let (_, form) = identity::told(generation, site);
        shaken.identity = stream.client_identity(form).map(Vec::into_boxed_slice);
    }
    Ok((stream, shaken))
}

/// The certificate for a name: at once where it is known, else after its sources were asked, each in turn.
async fn served(
    service: &Service,
    tls: &SiteTls,
    name: Option<&[u8]>,
    until: Until,
) -> Option<Arc<ServedTls>> {
    let mut from = 0;
    loop {
        match tls.find(name, from) {
            Found::Served(served) => return Some(served),
            Found::Nothing => return None,
            Found::Ask { source, after } => {
                let (letter, reply) = service.answers.letter().ok()?;
                source.ask(name?, Box::new(reply));
                let answer = letter.or(service.local.sleep_until(until)).await;
                if let Some(Answer::Served(served)) = answer {
                    return Some(served);
                }
                from = after;
            }
        }
    }
}
