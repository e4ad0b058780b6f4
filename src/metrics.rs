//! Every counter: name, unit, meaning.
//!
//! Each worker has its own set and is the only one that writes to it; anyone may read. A store and a
//! load without a lock prefix cost the request path nothing measurable.

use std::sync::atomic::{AtomicU64, Ordering};

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

macro_rules! counters {
    ($($name:ident: $help:literal,)*) => {
        /// The counters of one worker, on cache lines of their own.
        #[derive(Default)]
        #[repr(align(128))]
        pub struct Counters {
            $(#[doc = $help] pub $name: Counter,)*
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
    connections_panicked: "Connections ended by a defect of ours.",
    accepts_paused: "Times accepting paused because descriptors or connections ran out.",
    handshakes_full: "TLS handshakes completed without resumption.",
    handshakes_resumed: "TLS handshakes completed by resuming a session.",
    handshakes_failed: "TLS handshakes that ended in an alert, a timeout or a closed connection.",
    handshakes_unknown_name: "TLS handshakes refused because no site has the name asked for.",
    handshakes_no_certificate: "TLS handshakes refused because no source has a certificate for the name.",
    handshakes_too_many: "TLS handshakes refused because as many ran on the worker already as may.",
    handshakes_timed_out: "TLS handshakes that did not end in time.",
    handshakes_client_left: "TLS handshakes in which the client closed the connection.",
    handshakes_client_alert: "TLS handshakes the client ended with an alert, most often for want of trust.",
    handshakes_not_tls: "TLS handshakes that began with something else than TLS.",
    handshakes_nothing_in_common: "TLS handshakes without a version, suite, group or signature in common.",
    handshakes_no_common_protocol: "TLS handshakes without a protocol of ALPN in common.",
    handshakes_client_certificate: "TLS handshakes refused because of the client's certificate, or the lack of it.",
    handshakes_broken_rules: "TLS handshakes in which the client broke the rules, or somebody changed what it sent.",
    handshakes_other: "TLS handshakes that failed for another reason.",
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
    upstream_retries: "Exchanges repeated because a kept connection turned out closed.",
    upstream_failures: "Exchanges that failed on the side of the site server (502, 503, 504, cut bodies).",
    access_log_lines_dropped: "Lines of the access log that found no room on their way: the log is too slow.",
    sends: "Sends on sockets, to clients and to site servers.",
    bytes_received: "Octets of request bodies that were streamed, after transfer decoding.",
    bytes_sent: "Octets of site servers' responses sent to clients, heads included, before TLS.",
}
