//! Every counter: name, unit, meaning.
//!
//! Each worker has its own set and is the only one that writes to it; anyone may read. A store and a
//! load without a lock prefix cost the request path nothing measurable.

pub mod exposition;
pub mod families;
mod histogram;
mod reasons;
pub mod series;

use std::sync::atomic::{AtomicU64, Ordering};

pub use exposition::{Exposition, Family, Kind};
pub use histogram::{BOUNDS_US, Durations, Histogram};
pub use reasons::Reasons;
pub use series::{Ended, Table, Tables};

/// A number only its worker writes.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        // One writer: no read-modify-write is needed.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub fn subtract(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    /// Takes over what was counted elsewhere on the worker's thread.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is measured in time.
#[derive(Default)]
pub struct Timings {
    pub handshakes_full: Histogram,
    pub handshakes_resumed: Histogram,
    pub upstream_connect: Histogram,
    pub upstream_first_byte: Histogram,
}

/// How the numbers of workers make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It only grows; all are added.
    Counter,
    /// It goes up and down; all are added.
    Gauge,
    /// Each worker tells the same, but for those that are behind.
    Same,
}

impl Shape {
    /// Of a counter by its name here.
    pub fn of(name: &str) -> Shape {
        match name {
            "generation" => Shape::Same,
            _ if name.ends_with("_open") => Shape::Gauge,
            _ => Shape::Counter,
        }
    }

    /// The name for Prometheus.
    pub fn name(self, name: &str) -> String {
        match self {
            Shape::Counter => format!("portcullis_{name}_total"),
            Shape::Gauge | Shape::Same => format!("portcullis_{name}"),
        }
    }
}

macro_rules! counters {
    ($($name:ident: $help:literal,)*) => {
        /// The counters of one worker, on cache lines of their own.
        #[derive(Default)]
        #[repr(align(128))]
        pub struct Counters {
            $(#[doc = $help] pub $name: Counter,)*
            /// How long things took.
            pub timings: Timings,
            /// Requests that did not end as they should have.
            pub failures: Reasons,
            /// Handshakes that were not completed.
            pub handshake_failures: Reasons,
            /// By site and rule.
            pub tables: Tables,
        }

        impl Counters {
            /// Name, meaning and value of each, in a stable order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), $help, self.$name.value()),)*].into_iter()
            }
        }
    };
}

counters! {
    generation: "Number of the configuration that serves, counted from 1.",
    connections_accepted: "Connections accepted from clients.",
    connections_open: "Connections of clients open now.",
    connections_idle_closed: "Connections closed because no request came within keep_alive.",
    connections_panicked: "Connections ended by a defect of ours.",
    accepts_paused: "Times accepting paused because descriptors or connections ran out.",
    handshakes_full: "TLS handshakes completed without resumption.",
    handshakes_resumed: "TLS handshakes completed by resuming a session.",
    handshakes_failed: "TLS handshakes that ended in an alert, a timeout or a closed connection.",
    handshakes_unknown_name: "TLS handshakes refused because no site has the name asked for.",
    acme_validations: "Validations by ACME authorities answered, over HTTP and over TLS.",
    requests: "Requests read whole, answered in whatever way.",
    requests_forwarded: "Requests answered by a site server.",
    requests_redirected: "Requests answered with a redirect to the scheme or host they belong to.",
    requests_refused: "Requests answered with an error of ours: malformed, no such site, misdirected.",
    requests_timed_out: "Requests whose head or body did not arrive in time.",
    http2_connections: "Connections of clients that agreed on HTTP/2.",
    http2_streams: "Requests that came by HTTP/2.",
    http2_streams_reset: "Requests by HTTP/2 that the client took back before they were answered.",
    http2_floods: "Connections ended because the client kept us busy for nothing: resets, control frames, heads in pieces.",
    session_cookies_sealed: "Session cookies sealed on their way to a client.",
    session_cookies_opened: "Session cookies opened on their way to a site server.",
    session_cookies_dropped: "Session cookies of sites that seal them, dropped from a request: on HTTP, or not sealed by us.",
    session_cookies_withheld: "Session cookies of sites that seal them, dropped from a response: on HTTP, or too long.",
    upstream_connects: "Connections made to site servers.",
    upstream_reuses: "Exchanges that used a kept connection to a site server.",
    upstream_connects_failed: "Connections to site servers that could not be made, or whose handshake failed.",
    upstream_retries: "Requests sent again: a kept connection turned out closed, or another site server was asked.",
    upstream_refusals: "Requests that a site server refused by HTTP/2 before it touched them.",
    upstream_retries_denied: "Requests not sent again because too many were.",
    upstream_ejections: "Times a worker gave up asking a failing site server for a while.",
    upstream_recoveries: "Times a site server answered again after that.",
    upstream_checks: "Health checks made.",
    upstream_checks_failed: "Health checks that found a site server not well.",
    requests_abandoned: "Requests whose client left before the answer was complete.",
    requests_limited: "Requests answered 429: their client's address had asked too often.",
    requests_looping: "Requests answered 508: they had come through here too often.",
    connections_limited: "Connections closed at once: their client's address had too many open.",
    proxy_headers_refused: "Connections closed because their PROXY protocol header was missing or wrong.",
    upstream_failures: "Exchanges that failed on the side of the site server (502, 503, 504, cut bodies).",
    access_log_lines_dropped: "Lines of the access log that found no room on their way: the log is too slow.",
    sends: "Sends on sockets, to clients and to site servers.",
    bytes_received: "Octets of request bodies that were streamed, after transfer decoding.",
    bytes_sent: "Octets of site servers' responses sent to clients, heads included, before TLS.",
}
