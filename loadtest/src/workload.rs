//! What is measured: one line per workload, the same for every server.

use std::time::Duration;

/// The key the server proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    P256,
    Rsa2048,
}

/// How clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Plain HTTP, connections kept.
    Http,
    /// HTTPS, connections kept: one handshake before the measuring begins.
    Https,
    /// HTTP/2 over TLS, connections kept, so many requests at a time on each.
    Http2 { streams: usize },
    /// HTTPS, a connection per request, nothing remembered.
    FullHandshake,
    /// The same with X25519MLKEM768 in place of X25519.
    FullHandshakePostQuantum,
    /// HTTPS, a connection per request, each resuming a session.
    ResumedHandshake,
    /// The same with TLS 1.2, by the session's id: the server keeps it.
    ResumedByIdTls12,
}

impl Arrival {
    pub fn is_tls(self) -> bool {
        self != Arrival::Http
    }

    /// One connection per request?
    pub fn closes(self) -> bool {
        !matches!(self, Arrival::Http | Arrival::Https | Arrival::Http2 { .. })
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The next one as soon as the last is answered.
    Closed,
    /// At this rate whatever the answers do; latency counts from when a request was due.
    PerSecond(u32),
    /// One on each connection, which then stays open and silent.
    OnceThenIdle,
}

/// What a correct answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 with a body of this many bytes, compared with what the upstream sends.
    Body(usize),
    /// 302 with a `Location` on https of the same host.
    RedirectToHttps,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub title: &'static str,
    pub path: &'static str,
    pub answer: Answer,
    pub connections: usize,
    pub arrival: Arrival,
    pub pace: Pace,
    pub certificate: Certificate,
}

const KEPT: Workload = Workload {
    name: "keepalive-100",
    title: "keep-alive, 100 B, 64 connections",
    path: "/bytes/100",
    answer: Answer::Body(100),
    connections: 64,
    arrival: Arrival::Https,
    pace: Pace::Closed,
    certificate: Certificate::P256,
};

const HTTP2: Workload = Workload {
    name: "http2-100",
    title: "HTTP/2, 100 B, 8 connections of 32 streams",
    connections: 8,
    arrival: Arrival::Http2 { streams: 32 },
    ..KEPT
};

const HANDSHAKE: Workload = Workload {
    name: "handshake-p256",
    title: "full handshake a request, P-256",
    connections: 32,
    arrival: Arrival::FullHandshake,
    ..KEPT
};

/// Connections of the idle workload when nothing else is asked for.
pub const IDLE_CONNECTIONS: usize = 10_000;

/// All workloads, in the order of the table.
pub const WORKLOADS: &[Workload] = &[
    KEPT,
    Workload {
        name: "connections-512",
        title: "keep-alive, 100 B, 512 connections",
        connections: 512,
        ..KEPT
    },
    Workload {
        name: "keepalive-1k",
        title: "keep-alive, 1 KiB",
        path: "/bytes/1024",
        answer: Answer::Body(1024),
        ..KEPT
    },
    Workload {
        name: "keepalive-16k",
        title: "keep-alive, 16 KiB",
        path: "/bytes/16384",
        answer: Answer::Body(16_384),
        ..KEPT
    },
    Workload {
        name: "keepalive-64k",
        title: "keep-alive, 64 KiB",
        path: "/bytes/65536",
        answer: Answer::Body(65_536),
        ..KEPT
    },
    Workload {
        name: "keepalive-1m",
        title: "keep-alive, 1 MiB, 16 connections",
        path: "/bytes/1048576",
        answer: Answer::Body(1_048_576),
        connections: 16,
        ..KEPT
    },
    HTTP2,
    Workload {
        name: "http2-64k",
        title: "HTTP/2, 64 KiB, 8 connections of 8 streams",
        path: "/bytes/65536",
        answer: Answer::Body(65_536),
        arrival: Arrival::Http2 { streams: 8 },
        ..HTTP2
    },
    HANDSHAKE,
    Workload {
        name: "handshake-pq",
        title: "full handshake a request, X25519MLKEM768",
        arrival: Arrival::FullHandshakePostQuantum,
        ..HANDSHAKE
    },
    Workload {
        name: "handshake-resumed",
        title: "resumed handshake a request",
        arrival: Arrival::ResumedHandshake,
        ..HANDSHAKE
    },
    Workload {
        name: "handshake-resumed-tls12",
        title: "resumed handshake a request, TLS 1.2 by id",
        arrival: Arrival::ResumedByIdTls12,
        ..HANDSHAKE
    },
    Workload {
        name: "handshake-rsa",
        title: "full handshake a request, RSA-2048",
        certificate: Certificate::Rsa2048,
        ..HANDSHAKE
    },
    Workload {
        name: "redirect",
        title: "redirect on plain HTTP",
        path: "/secure/x",
        answer: Answer::RedirectToHttps,
        arrival: Arrival::Http,
        ..KEPT
    },
    Workload {
        name: "rate-5000",
        title: "keep-alive, 100 B, fixed 5,000 requests/s",
        pace: Pace::PerSecond(5_000),
        ..KEPT
    },
    Workload {
        name: "idle",
        title: "idle TLS connections",
        connections: IDLE_CONNECTIONS,
        pace: Pace::OnceThenIdle,
        ..KEPT
    },
];

/// How often and how long.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub rounds: usize,
    pub window: Duration,
    pub warm_up: Duration,
    pub idle_connections: usize,
}

impl Schedule {
    pub fn full() -> Schedule {
        Schedule {
            rounds: 5,
            window: Duration::from_secs(3),
            warm_up: Duration::from_millis(500),
            idle_connections: IDLE_CONNECTIONS,
        }
    }

    /// Every path once, as fast as it goes: shows that it works, measures nothing.
    pub fn smoke() -> Schedule {
        Schedule {
            rounds: 1,
            window: Duration::from_millis(300),
            warm_up: Duration::from_millis(100),
            idle_connections: 200,
        }
    }
}
