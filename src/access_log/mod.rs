//! Room: the access log. What is told of a request, and the bytes of its line.
//!
//! A line is written in two parts, since what the client sent is gone when its answer has left: [`Format::begin`]
//! while the head is there, [`Format::end`] when it is over. Both append to a buffer that is used again, so that
//! a line allocates nothing in steady state.
//!
//! Nothing is written to a file here: a log has a [`Sink`], which the shell gives.
//!
//! Any byte a client sends is written so that a line stays one line of its format (`escape`). Set aside: structs
//! that serde writes. They would copy what the client sent, or hold the head until the answer has left.

mod combined;
mod escape;
mod json;
#[cfg(test)]
mod tests;
mod time;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::http::{Scheme, Version};

pub use time::write_utc;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object; `docs/access-log.md` has its keys.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
    /// The same behind the virtual host and its port, as Apache's `vhost_combined`.
    VhostCombined,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    File(PathBuf),
    /// The socket of a syslog daemon.
    Syslog(PathBuf),
}

/// A log that is written to: shared by all workers, for as long as a generation or a line on its way needs it.
pub struct AccessLog {
    pub destination: Destination,
    pub format: Format,
    pub sink: Box<dyn Sink>,
}

/// Where lines are kept.
pub trait Sink: Send + Sync {
    /// Writes whole lines; called by one thread, which may have to wait. Returns how many were lost.
    fn write(&self, lines: &[u8]) -> u64;

    /// Opens anew what it writes to before the next line: somebody has moved the file away.
    fn reopen(&self);
}

/// What is known of a request when it has been decided on. Bytes are as received.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// When its first byte came, in milliseconds of Unix time.
    pub time_ms: u64,
    pub id: &'a [u8],
    pub client: SocketAddr,
    pub scheme: Scheme,
    /// The port visitors use, for formats that have it.
    pub port: u16,
    pub tls: Option<Tls>,
    /// `None`: what came could not be read as a request.
    pub head: Option<Head<'a>>,
    pub site: Option<&'a str>,
    pub rule: Option<&'a str>,
    pub decision: Decision,
}

/// What the client sent.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a [u8],
    pub host: &'a [u8],
    /// In origin form.
    pub target: &'a [u8],
    pub version: Version,
    pub referer: Option<&'a [u8]>,
    pub user_agent: Option<&'a [u8]>,
}

/// What the handshake of the request's connection settled.
#[derive(Clone, Copy, Debug)]
pub struct Tls {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    pub resumed: bool,
}

/// What was decided, in the words of `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Forward,
    Redirect,
    NotFound,
    Refuse,
    /// Answered for a certificate authority.
    Challenge,
}

impl Decision {
    pub fn word(self) -> &'static str {
        match self {
            Decision::Forward => "forward",
            Decision::Redirect => "redirect",
            Decision::NotFound => "not_found",
            Decision::Refuse => "refuse",
            Decision::Challenge => "challenge",
        }
    }
}

/// What became of a request. Times in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome<'a> {
    /// 0: nothing was answered.
    pub status: u16,
    /// Of the connection, for its first request.
    pub handshake_us: Option<u64>,
    /// From the first byte of the head to its last.
    pub head_us: u64,
    /// From the head to the first byte sent, or to the first question for a connection to a site server.
    pub decision_us: u64,
    /// Until there was a connection to a site server; near nothing for a kept one.
    pub connect_us: Option<u64>,
    /// From there to the first byte of the site server's answer.
    pub first_byte_us: Option<u64>,
    /// From the first byte of the head to the last of the answer.
    pub total_us: u64,
    /// Octets of the request: its head, and its body after transfer decoding.
    pub bytes_in: u64,
    /// Octets of the answer before TLS, its head among them.
    pub bytes_out: u64,
    /// Octets of the answer's head.
    pub head_out: u64,
    /// The site server that was asked last.
    pub upstream: Option<&'a str>,
    /// Whether the connection to it had carried an exchange before.
    pub reused: bool,
    /// How often another connection was tried.
    pub retries: u32,
    /// Why it did not end as it should have.
    pub reason: Option<&'static str>,
}

impl Format {
    /// Appends what is known when the request is decided on. Returns what [`end`](Self::end) needs of it.
    pub fn begin(self, request: &Request<'_>, out: &mut Vec<u8>) -> usize {
        match self {
            Format::Json => json::begin(request, out),
            Format::Combined => combined::begin(request, false, out),
            Format::VhostCombined => combined::begin(request, true, out),
        }
    }

    /// Appends the whole line. `begun`: what `begin` appended, and `split` what it returned.
    pub fn end(self, begun: &[u8], split: usize, outcome: &Outcome<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Json => json::end(begun, outcome, out),
            Format::Combined | Format::VhostCombined => combined::end(begun, split, outcome, out),
        }
        out.push(b'\n');
    }
}

/// Reasons are words with `_` between them, whoever says them.
pub fn reason_word(reason: &str) -> impl Iterator<Item = u8> + '_ {
    reason.bytes().map(|byte| if byte == b'-' { b'_' } else { byte })
}
