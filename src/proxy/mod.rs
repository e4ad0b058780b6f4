//! One exchange: a request that was decided on goes to a site server, its response comes back.
//!
//! Both versions of HTTP in front share this room through [`RequestBody`] and [`Responder`], and both versions towards
//! site servers through [`Channel`](crate::upstream::Channel): heads pass it as lines of HTTP/1.1. Nothing is decided here about sites, rules or redirects.
//!
//! ```text
//! checkout --> request head (and the body in hand) --> rest of the body |
//!                                                  --> response head    | both at once
//!                                                  --> response body    |
//! ```
//!
//! What goes wrong is told by how far it got: before the first byte of an answer, the caller may still
//! answer with an error ([`Ended::Unanswered`]); after it, the connection to the client is cut, so that
//! half a response is never taken for a whole one ([`Ended::Cut`]).

mod account;
mod exchange;
mod health_check;
mod race;
mod relay;
mod tunnel;
mod upload;

use std::io;

use crate::http1::ResponseHead;
use crate::net::Buffer;
use crate::upstream::Connection;

pub use account::Account;
pub use exchange::{Exchange, Proxy, ProxyLimits};
pub use race::{First, first};
pub use upload::{append_chunk, frame_chunk};

/// Where the octets of a request body come from.
#[expect(async_fn_in_trait, reason = "implemented and used on one thread: nothing is `Send` here")]
pub trait RequestBody {
    /// Appends octets of the body, after transfer decoding; at least one unless it returns `End`. `converses`: the
    /// body is one side of a conversation, which may be as slow as it likes.
    ///
    /// # Errors
    /// Why the rest of the body will not come.
    async fn read(&mut self, into: &mut Buffer, converses: bool) -> Result<BodyRead, BodyFailure>;

    /// Octets that are still to come, when that is known.
    fn remaining(&self) -> Option<u64>;

    /// The trailer section of a body that has ended: field lines, each ended by CRLF.
    fn trailers(&self) -> &[u8];

    /// Whether a read that was given up, or timed out, loses nothing and may be made anew.
    fn may_be_given_up(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRead {
    More,
    /// The body is complete; the buffer may hold its last octets.
    End,
}

/// Why a request body stopped coming.
#[derive(Debug)]
pub enum BodyFailure {
    /// The client has gone.
    Gone,
    TimedOut,
    /// It comes more slowly than a client may be.
    TooSlow,
    /// Larger than the site allows.
    TooLarge,
    /// Its framing is broken.
    Malformed,
}

/// Where a response goes.
#[expect(async_fn_in_trait, reason = "implemented and used on one thread: nothing is `Send` here")]
pub trait Responder {
    /// Writes an interim (1xx) response head, or nothing when the client cannot take one.
    fn write_interim(&mut self, head: &ResponseHead<'_, '_>, out: &mut Vec<u8>);

    /// Writes the final response head. Once something is sent the response is this one; before, its body may turn out to
    /// be none, and another server be asked.
    fn write_head(&mut self, head: &ResponseHead<'_, '_>, out: &mut Vec<u8>);

    /// Puts what frames this part of the body around it. `end`: nothing more follows but these trailers.
    fn frame(&mut self, body: &mut Buffer, end: Option<&[u8]>);

    /// Sends all of it and leaves the buffer empty. `last`: the response ends here.
    ///
    /// # Errors
    /// Those of the client's connection: it is of no more use. `TimedOut`: it took too little for too long.
    async fn send(&mut self, bytes: &mut Buffer, last: bool) -> io::Result<()>;

    /// Ends when the client has gone, so that nobody waits for the response any more; asked only when the whole request
    /// was read and the site server takes its time. May be given up and asked again.
    async fn gone(&self) {
        std::future::pending().await
    }
}

/// How an exchange ended.
pub enum Ended {
    /// The response went out whole. `request_whole`: so did the request; otherwise what the client sends
    /// next is still the old body.
    Answered { status: u16, request_whole: bool },
    /// Nothing was sent to the client: it is to be answered with an error.
    Unanswered(Failure),
    /// The response is incomplete, or the client has gone: its connection must end here.
    Cut(Cut),
    /// The site server switched protocols: the caller runs the tunnel ([`Proxy::tunnel`]), and `first` goes
    /// to the client before all else.
    Tunnel { upstream: Connection, first: Buffer },
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No upstream could be connected to.
    NoUpstream,
    /// All of them are known not to be well: none was asked.
    AllDown,
    /// The handshake with the site server failed: its certificate is not good for its name, for one.
    UpstreamTls,
    ConnectTimedOut,
    /// The connection ended before a response.
    ClosedEarly,
    /// What came is not a response, or its framing is ambiguous.
    BadResponse,
    ResponseTimedOut,
    /// Site servers refused to work it off, one after another.
    Refused,
    /// The site server took its stream back.
    Reset,
    /// The client asks for another protocol, and the site server is spoken to in HTTP/2.
    NoUpgrade,
    BodyTimedOut,
    BodyTooSlow,
    BodyTooLarge,
    BodyMalformed,
}

impl Failure {
    /// The status that tells the client (RFC 9110 §15.5, §15.6).
    pub fn status(self) -> u16 {
        match self {
            Failure::NoUpstream
            | Failure::UpstreamTls
            | Failure::ClosedEarly
            | Failure::BadResponse
            | Failure::Reset
            | Failure::NoUpgrade => 502,
            Failure::AllDown | Failure::Refused => 503,
            Failure::ConnectTimedOut | Failure::ResponseTimedOut => 504,
            Failure::BodyTimedOut | Failure::BodyTooSlow => 408,
            Failure::BodyTooLarge => 413,
            Failure::BodyMalformed => 400,
        }
    }

    /// One word for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Failure::NoUpstream => "no_upstream",
            Failure::AllDown => "upstreams_down",
            Failure::UpstreamTls => "upstream_tls",
            Failure::ConnectTimedOut => "connect_timed_out",
            Failure::ClosedEarly => "upstream_closed_early",
            Failure::BadResponse => "upstream_bad_response",
            Failure::ResponseTimedOut => "upstream_timed_out",
            Failure::Refused => "upstream_refused",
            Failure::Reset => "upstream_reset",
            Failure::NoUpgrade => "upstream_no_upgrade",
            Failure::BodyTimedOut => "body_timed_out",
            Failure::BodyTooSlow => "body_too_slow",
            Failure::BodyTooLarge => "body_too_large",
            Failure::BodyMalformed => "body_malformed",
        }
    }

    /// Whether the site server is to blame.
    pub fn is_upstream(self) -> bool {
        self.status() >= 500 && self != Failure::NoUpgrade
    }
}

/// Which side cut a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Downstream,
    /// The client took too little of it for too long.
    TooSlow,
    Upstream,
    /// The site server sent nothing of it for too long.
    Stalled,
}

impl Cut {
    /// Whether the site server is to blame.
    pub fn is_upstream(self) -> bool {
        matches!(self, Cut::Upstream | Cut::Stalled)
    }

    /// One word for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Cut::Downstream => "client_gone",
            Cut::TooSlow => "client_too_slow",
            Cut::Upstream => "upstream_cut",
            Cut::Stalled => "upstream_stalled",
        }
    }
}
